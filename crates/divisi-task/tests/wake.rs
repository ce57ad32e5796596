//! Wakers.
#![cfg(not(divisi_loom))]

mod support;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use divisi_task::{Cause, Ran, Registry, TaskState};
use support::{Gate, Manual, outcome, start};

#[test]
fn wakers_of_one_task_know_each_other() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let ((a, a_state), (b, b_state)) = (Gate::new(), Gate::new());
    let _handles = (
        start(a, &scheduler, &registry),
        start(b, &scheduler, &registry),
    );
    scheduler.run_all();
    assert!(a_state.waker().will_wake(&a_state.waker().clone()));
    assert!(!a_state.waker().will_wake(&b_state.waker()));
}

#[test]
fn many_wakes_make_one_runnable() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    assert_eq!(handle.task().state(), TaskState::Queued);
    assert_eq!(scheduler.run_one(), Some(Ran::Pending));
    assert_eq!(handle.task().state(), TaskState::Waiting);
    let waker = state.waker();
    waker.wake_by_ref();
    waker.wake_by_ref();
    let by_value = waker.clone();
    by_value.wake();
    assert_eq!(scheduler.causes(), [Cause::Woken]);
    assert_eq!(handle.task().state(), TaskState::Queued);
    assert_eq!(scheduler.run_one(), Some(Ran::Pending));
    assert_eq!(handle.task().polls(), 2);
}

#[test]
fn a_task_that_wakes_itself_yields() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let mut rounds = 0;
    let handle = start(
        poll_fn(move |cx| {
            rounds += 1;
            if rounds == 3 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            let by_value = cx.waker().clone();
            by_value.wake();
            Poll::Pending
        }),
        &scheduler,
        &registry,
    );
    assert_eq!(scheduler.run_one(), Some(Ran::Yielded));
    assert_eq!(scheduler.causes(), [Cause::Yielded]);
    assert_eq!(scheduler.run_one(), Some(Ran::Yielded));
    assert_eq!(scheduler.run_one(), Some(Ran::Completed));
    assert!(outcome(handle).is_ok());
}

#[test]
fn a_wake_that_the_output_overtakes_makes_no_runnable() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let handle = start(
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        }),
        &scheduler,
        &registry,
    );
    assert_eq!(scheduler.run_one(), Some(Ran::Completed));
    assert_eq!(scheduler.queued(), 0);
    assert!(outcome(handle).is_ok());
}

#[test]
fn a_waker_keeps_the_memory_but_not_the_future_of_a_task_that_has_ended() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    let waker = state.waker();
    handle.cancel("enough");
    scheduler.run_all();
    drop(handle);
    state.release();
    assert!(state.is_dropped());
    assert_eq!(
        Arc::strong_count(&scheduler),
        2,
        "the task still has its scheduler"
    );
    waker.wake_by_ref();
    let another = waker.clone();
    another.wake();
    assert_eq!(scheduler.queued(), 0);
    waker.wake();
    assert_eq!(
        Arc::strong_count(&scheduler),
        1,
        "it went with the last waker"
    );
}

#[test]
fn a_detached_task_lives_without_any_waker() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    drop(start(gate, &scheduler, &registry));
    scheduler.run_all();
    state.release();
    assert!(!state.is_dropped());
    assert_eq!(registry.len(), 1);
    assert_eq!(registry.list()[0].state(), TaskState::Waiting);
}

#[test]
fn the_scheduler_may_run_the_task_inside_schedule() {
    use divisi_task::{Runnable, Schedule, SpawnOptions, UnhandledPanic};

    /// Runs at once what is woken, so that the task may be complete, and freed, when `schedule` returns.
    struct Eager(Arc<()>);
    impl Schedule for Eager {
        fn schedule(&self, task: Runnable, cause: Cause) {
            assert_eq!(cause, Cause::Woken);
            task.run();
            // Still here, though the task that owned a reference to this scheduler may be gone.
            assert_eq!(Arc::strong_count(&self.0), 2);
        }
        fn unhandled_panic(&self, report: UnhandledPanic) {
            panic!("{report}");
        }
    }

    for by_value in [false, true] {
        let alive = Arc::new(());
        let registry = Registry::new(1);
        let (gate, state) = Gate::new();
        let eager = Arc::new(Eager(alive.clone()));
        let (task, handle) =
            divisi_task::spawn(gate, eager, &registry, SpawnOptions::new()).unwrap();
        drop(handle);
        assert_eq!(task.run(), Ran::Pending);
        state.open.store(true, std::sync::atomic::Ordering::SeqCst);
        let waker = state.waker();
        state.release();
        if by_value {
            waker.wake();
        } else {
            waker.wake_by_ref();
            drop(waker);
        }
        assert!(state.is_dropped());
        assert_eq!(
            Arc::strong_count(&alive),
            1,
            "the scheduler went with the task"
        );
    }
}
