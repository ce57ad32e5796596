//! Asking a task to end.
#![cfg(not(divisi_loom))]

mod support;

use std::sync::{Arc, Mutex};

use divisi_task::{
    AbortHandle, CancelReason, Cause, Ran, Registry, SpawnOptions, TaskState, current,
};
use support::{Gate, Manual, outcome, start};

#[test]
fn the_error_tells_who_asked_where_and_why() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, _state) = Gate::new();
    let victim = start(gate, &scheduler, &registry);
    let abort = victim.abort_handle();
    let asked = start(
        async move {
            abort.cancel(format!("reason {}", 1));
            (current::id().unwrap(), line!() - 1)
        },
        &scheduler,
        &registry,
    );
    scheduler.run_all();

    let (asker, line) = outcome(asked).unwrap();
    let id = victim.id();
    let error = outcome(victim).unwrap_err();
    assert!(error.is_cancelled() && !error.is_panic());
    assert_eq!(error.task_id(), id);
    let reason = error.reason().unwrap();
    assert_eq!(reason.text(), "reason 1");
    assert_eq!(reason.by(), Some(asker));
    assert_eq!((reason.at().file(), reason.at().line()), (file!(), line));
    let shown = error.to_string();
    assert!(
        shown.contains(&format!("task {id} (spawned at ")),
        "{shown}"
    );
    assert!(
        shown.contains(&format!(
            "was cancelled: reason 1 (asked by task {asker} at "
        )),
        "{shown}"
    );
}

#[test]
fn the_first_reason_wins() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, _state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    let abort: AbortHandle = handle.abort_handle();
    handle.cancel("first");
    abort.cancel("second");
    handle.task().shutdown(CancelReason::new("third"));
    assert_eq!(
        outcome(handle).unwrap_err().reason().unwrap().text(),
        "first"
    );
    // The runnable of the first request is stale by now.
    assert_eq!(scheduler.run_one(), Some(Ran::Completed));
}

#[test]
fn who_asks_again_while_the_future_is_dropped_changes_nothing() {
    struct AsksAgain;

    impl Drop for AsksAgain {
        fn drop(&mut self) {
            let task = current::task().expect("a future is dropped inside of its task");
            assert!(!task.shutdown(CancelReason::new("second")));
            task.abort_handle().cancel("third");
        }
    }

    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let last_words = AsksAgain;
    let handle = start(
        async move {
            let _last_words = last_words;
            std::future::pending::<()>().await;
        },
        &scheduler,
        &registry,
    );
    assert_eq!(scheduler.run_one(), Some(Ran::Pending));
    assert!(handle.task().shutdown(CancelReason::new("first")));
    assert_eq!(
        outcome(handle).unwrap_err().reason().unwrap().text(),
        "first"
    );
}

#[test]
fn a_waiting_task_is_dropped_by_its_scheduler_and_not_by_who_asks() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    assert_eq!(scheduler.run_one(), Some(Ran::Pending));
    handle.cancel("enough");
    assert!(!state.is_dropped());
    assert_eq!(handle.task().state(), TaskState::Cancelling);
    assert_eq!(scheduler.causes(), [Cause::Woken]);
    assert_eq!(scheduler.run_one(), Some(Ran::Completed));
    assert!(state.is_dropped());
    assert_eq!(state.polls(), 1);
    assert!(outcome(handle).unwrap_err().is_cancelled());
}

#[test]
fn a_task_that_never_ran_is_dropped_unpolled_by_its_scheduler() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    handle.cancel("changed my mind");
    assert_eq!(scheduler.causes(), [Cause::Spawned], "no second runnable");
    assert!(!state.is_dropped());
    scheduler.run_all();
    assert!(state.is_dropped());
    assert_eq!(state.polls(), 0);
    assert!(outcome(handle).unwrap_err().is_cancelled());
}

#[test]
fn a_value_beats_a_request_that_comes_while_it_is_computed() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let abort = Arc::new(Mutex::new(None::<AbortHandle>));
    let inner = abort.clone();
    let handle = start(
        async move {
            inner.lock().unwrap().as_ref().unwrap().cancel("too late");
            7
        },
        &scheduler,
        &registry,
    );
    *abort.lock().unwrap() = Some(handle.abort_handle());
    scheduler.run_all();
    assert_eq!(outcome(handle).unwrap(), 7);
}

#[test]
fn a_request_to_a_finished_task_changes_nothing() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let handle = start(async { 7 }, &scheduler, &registry);
    scheduler.run_all();
    handle.cancel("too late");
    assert_eq!(scheduler.queued(), 0);
    assert!(handle.is_finished());
    assert!(handle.task().shutdown(CancelReason::new("too late")));
    assert_eq!(outcome(handle).unwrap(), 7);
}

#[test]
fn a_task_can_cancel_itself_and_ends_at_its_next_await() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let handle = start(
        async move {
            current::task().unwrap().abort_handle().cancel("I quit");
            gate.await;
        },
        &scheduler,
        &registry,
    );
    assert_eq!(scheduler.run_one(), Some(Ran::Completed));
    assert_eq!(state.polls(), 1);
    assert!(state.is_dropped());
    assert!(outcome(handle).unwrap_err().is_cancelled());
}

#[test]
fn a_woken_and_cancelled_task_is_dropped_and_not_polled() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    state.waker().wake();
    handle.cancel("enough");
    scheduler.run_all();
    assert_eq!(state.polls(), 1);
    assert!(outcome(handle).unwrap_err().is_cancelled());
}

#[test]
fn shutdown_overtakes_the_queue() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    assert!(handle.task().shutdown(CancelReason::new("closing")));
    assert!(state.is_dropped());
    assert_eq!(state.polls(), 0);
    assert!(handle.is_finished());
    // The runnable that was in the queue is worth nothing now.
    assert_eq!(scheduler.run_one(), Some(Ran::Completed));
    assert_eq!(
        outcome(handle).unwrap_err().reason().unwrap().text(),
        "closing"
    );
    assert_eq!(scheduler.completed.lock().unwrap().len(), 1);
}

#[test]
fn shutdown_of_a_running_task_leaves_it_to_its_runner() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let handle = start(
        async move {
            let me = current::task().unwrap();
            assert_eq!(me.state(), TaskState::Running);
            assert!(!me.shutdown(CancelReason::new("closing")));
            assert_eq!(me.state(), TaskState::Cancelling);
            gate.await;
        },
        &scheduler,
        &registry,
    );
    assert_eq!(scheduler.run_one(), Some(Ran::Completed));
    assert!(state.is_dropped());
    assert_eq!(
        outcome(handle).unwrap_err().reason().unwrap().text(),
        "closing"
    );
}

#[test]
fn the_destructor_of_a_cancelled_future_runs_inside_the_task() {
    struct Tell(Arc<Mutex<Option<divisi_task::TaskId>>>);
    impl Drop for Tell {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = current::id();
        }
    }
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let seen = Arc::default();
    let tell = Tell(Arc::clone(&seen));
    let (gate, _state) = Gate::new();
    let handle = start(
        async move {
            let _tell = tell;
            gate.await;
        },
        &scheduler,
        &registry,
    );
    scheduler.run_all();
    handle.cancel("enough");
    scheduler.run_all();
    assert_eq!(*seen.lock().unwrap(), Some(handle.id()));
    assert_eq!(current::id(), None);
}

#[test]
fn a_runnable_that_is_dropped_cancels_in_place() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let (task, handle) = divisi_task::spawn(
        gate,
        scheduler.clone(),
        &registry,
        SpawnOptions::new().name("n"),
    )
    .unwrap();
    drop(task);
    assert!(state.is_dropped());
    let error = outcome(handle).unwrap_err();
    assert_eq!(error.task_name(), Some("n"));
    assert!(
        error
            .reason()
            .unwrap()
            .text()
            .contains("dropped it before it could run")
    );
    assert_eq!(scheduler.completed.lock().unwrap().len(), 1);
    assert_eq!(Arc::strong_count(&scheduler), 1);
}
