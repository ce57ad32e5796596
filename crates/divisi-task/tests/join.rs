//! Waiting for a task.
#![cfg(not(divisi_loom))]

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divisi_task::{
    AbortHandle, JoinError, JoinHandle, Registry, Runnable, SpawnOptions, TaskId, TaskRef,
};
use support::{CountingWaker, Gate, Manual, outcome, panic_of, poll_once, quiet_panic, start};

fn poll_with<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}

#[test]
fn handles_and_errors_are_one_pointer_wide() {
    let pointer = size_of::<usize>();
    assert_eq!(size_of::<Runnable>(), pointer);
    assert_eq!(size_of::<Option<Runnable>>(), pointer);
    assert_eq!(size_of::<JoinHandle<String>>(), pointer);
    assert_eq!(size_of::<Option<JoinHandle<String>>>(), pointer);
    assert_eq!(size_of::<AbortHandle>(), pointer);
    assert_eq!(size_of::<TaskRef>(), pointer);
    assert_eq!(size_of::<Result<(), JoinError>>(), pointer);
    assert_eq!(size_of::<Result<String, JoinError>>(), size_of::<String>());
    assert_eq!(size_of::<Option<TaskId>>(), 8);
}

#[test]
fn handles_cross_threads_when_their_output_may() {
    fn send_sync<T: Send + Sync>() {}
    send_sync::<Runnable>();
    send_sync::<JoinHandle<String>>();
    send_sync::<AbortHandle>();
    send_sync::<TaskRef>();
    send_sync::<JoinError>();
    send_sync::<Registry>();
    send_sync::<divisi_task::RunSlot>();
    send_sync::<divisi_task::Inbox<Box<u8>>>();
    fn unpin<T: Unpin>() {}
    unpin::<JoinHandle<std::marker::PhantomPinned>>();
}

#[test]
fn only_the_waker_of_the_last_poll_is_woken() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let mut handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    let ((first, first_waker), (second, second_waker)) =
        (CountingWaker::new(), CountingWaker::new());
    assert!(poll_with(&mut handle, &first_waker).is_pending());
    assert!(poll_with(&mut handle, &first_waker).is_pending());
    assert!(poll_with(&mut handle, &second_waker).is_pending());
    assert_eq!(
        Arc::strong_count(&first),
        2,
        "the old waker is dropped when it is replaced"
    );
    state.open();
    scheduler.run_all();
    assert_eq!((first.count(), second.count()), (0, 1));
    assert!(poll_with(&mut handle, &second_waker).is_ready());
}

#[test]
fn a_dropped_handle_drops_its_waker_and_wakes_nobody() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let mut handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    let (counter, waker) = CountingWaker::new();
    assert!(poll_with(&mut handle, &waker).is_pending());
    assert_eq!(Arc::strong_count(&counter), 3);
    drop(handle);
    assert_eq!(Arc::strong_count(&counter), 2);
    state.open();
    scheduler.run_all();
    assert_eq!(counter.count(), 0);
    assert!(registry.is_empty());
}

#[test]
fn a_handle_that_has_given_the_output_drops_its_waker() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let mut handle = start(gate, &scheduler, &registry);
    let task = handle.task();
    scheduler.run_all();
    let (counter, waker) = CountingWaker::new();
    assert!(poll_with(&mut handle, &waker).is_pending());
    state.open();
    scheduler.run_all();
    assert!(poll_with(&mut handle, &waker).is_ready());
    drop(handle);
    assert_eq!(
        Arc::strong_count(&counter),
        2,
        "even while a reference to the task lives on"
    );
    drop(task);
}

#[test]
fn a_handle_gives_its_output_once() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let mut handle = start(async { 7 }, &scheduler, &registry);
    scheduler.run_all();
    assert!(matches!(poll_once(&mut handle), Poll::Ready(Ok(7))));
    let message = panic_of(|| {
        let _ = poll_once(&mut handle);
    });
    assert!(
        message
            .unwrap()
            .contains("was polled after it gave the output")
    );
}

#[test]
fn a_task_can_await_a_task() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let inner = start(
        async move {
            gate.await;
            String::from("inner")
        },
        &scheduler,
        &registry,
    );
    let line = line!();
    let outer = start(
        async move { inner.await.unwrap().len() },
        &scheduler,
        &registry,
    );
    scheduler.run_all();
    let waits_at = outer.task().waits_at().expect("it waits");
    assert_eq!(waits_at.file(), file!());
    assert!((line..line + 8).contains(&waits_at.line()), "{waits_at}");
    state.open();
    scheduler.run_all();
    assert_eq!(outcome(outer).unwrap(), 5);
}

#[test]
fn joining_is_an_operation_that_the_budget_counts() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let many: Vec<_> = (0..1000)
        .map(|_| start(async {}, &scheduler, &registry))
        .collect();
    scheduler.run_all();
    let joiner = start(
        async move {
            for handle in many {
                handle.await.unwrap();
            }
        },
        &scheduler,
        &registry,
    );
    scheduler.run_all();
    let polls = joiner.task().polls();
    assert!(outcome(joiner).is_ok());
    assert_eq!(
        polls,
        1000_u64.div_ceil(u64::from(divisi_task::budget::LIMIT))
    );
}

#[test]
fn a_panic_comes_to_the_handle_with_its_payload() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (task, handle) = divisi_task::spawn(
        async { std::panic::resume_unwind(Box::new(17_u8)) },
        scheduler.clone(),
        &registry,
        SpawnOptions::new().name("thrower"),
    )
    .unwrap();
    task.run();
    let error: JoinError = outcome::<()>(handle).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled() && error.reason().is_none());
    let shown = error.to_string();
    assert!(
        shown.contains("`thrower`") && shown.contains(file!()),
        "{shown}"
    );
    assert_eq!(*error.into_panic().downcast::<u8>().unwrap(), 17);
    assert!(scheduler.panics.lock().unwrap().is_empty());
}

#[test]
fn the_error_shows_the_message_of_the_panic() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let handle = start(async { quiet_panic("seventeen") }, &scheduler, &registry);
    scheduler.run_all();
    let error: JoinError = outcome::<()>(handle).unwrap_err();
    assert!(
        error.to_string().ends_with("panicked: seventeen"),
        "{error}"
    );
    assert!(format!("{error:?}").contains("seventeen"));
}

#[test]
fn a_cancelled_task_has_no_panic_to_give() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let handle = start(async {}, &scheduler, &registry);
    handle.cancel("no");
    scheduler.run_all();
    let error = outcome(handle).unwrap_err();
    let error = error.try_into_panic().unwrap_err();
    assert_eq!(error.reason().unwrap().text(), "no");
    let message = panic_of(|| drop(error.into_panic())).unwrap();
    assert!(
        message.contains("did not panic") && message.contains("was cancelled: no"),
        "{message}"
    );
}
