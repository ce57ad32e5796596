//! Calling a function with a task's result.
#![cfg(not(divisi_loom))]

mod support;

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use divisi_task::{Registry, budget};
use support::{Gate, Manual, outcome, start};

#[test]
fn a_function_is_called_though_the_budget_of_the_calling_task_is_spent() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let ended = start(async { 7 }, &scheduler, &registry);
    scheduler.run_all();
    let seen = Arc::new(Mutex::new(None));
    let result = seen.clone();
    let mut ended = Some(ended);
    let caller = start(
        poll_fn(move |cx| {
            while let Poll::Ready(charge) = budget::poll_proceed(cx) {
                charge.made_progress();
            }
            let result = result.clone();
            let ended = ended.take().unwrap();
            ended.on_done(move |outcome| *result.lock().unwrap() = Some(outcome.unwrap()));
            Poll::Ready(())
        }),
        &scheduler,
        &registry,
    );
    scheduler.run_all();
    assert!(outcome(caller).is_ok());
    assert_eq!(*seen.lock().unwrap(), Some(7));
}

#[test]
fn a_function_is_called_when_the_task_is_cancelled() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, _state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    let abort = handle.abort_handle();
    let seen = Arc::new(Mutex::new(None));
    let result = seen.clone();
    handle.on_done(move |outcome| *result.lock().unwrap() = Some(outcome.is_err()));
    scheduler.run_all();
    assert_eq!(*seen.lock().unwrap(), None);
    abort.cancel("enough");
    scheduler.run_all();
    assert_eq!(*seen.lock().unwrap(), Some(true));
}
