//! Random scripts of everything that can be done to a task from outside: whatever the order, the task ends
//! once, with one outcome, and is freed.
#![cfg(not(divisi_loom))]

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divisi_task::{CancelReason, JoinHandle, Registry, TaskRef, TaskState};
use proptest::prelude::*;
use support::{CountingWaker, Gate, Manual, start};

#[derive(Clone, Copy, Debug)]
enum Step {
    Run,
    DropRunnable,
    TakeWaker,
    CloneWaker,
    WakeByRef,
    WakeByValue,
    DropWaker,
    Open,
    Cancel,
    Shutdown,
    PollHandle,
    DropHandle,
    Refer,
    Unrefer,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Step::*;
    // The steps that end a task are rarer, so that scripts get somewhere.
    let step = prop_oneof![
        6 => Just(Run),
        1 => Just(DropRunnable),
        4 => Just(TakeWaker),
        3 => Just(CloneWaker),
        5 => Just(WakeByRef),
        3 => Just(WakeByValue),
        2 => Just(DropWaker),
        1 => Just(Open),
        1 => Just(Cancel),
        1 => Just(Shutdown),
        3 => Just(PollHandle),
        1 => Just(DropHandle),
        2 => Just(Refer),
        2 => Just(Unrefer),
    ];
    proptest::collection::vec(step, 0..40)
}

fn play(steps: &[Step]) -> Result<(), TestCaseError> {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let mut handle: Option<JoinHandle<()>> = Some(start(gate, &scheduler, &registry));
    let watcher: TaskRef = handle.as_ref().unwrap().task();
    let (mut wakers, mut refs) = (Vec::<Waker>::new(), Vec::<TaskRef>::new());
    let (joiner, joiner_waker) = CountingWaker::new();
    let mut cx = Context::from_waker(&joiner_waker);
    let (mut outcomes, mut pending_joins) = (0, 0);

    let mut finished = false;
    for step in steps {
        let dropped_before = state.is_dropped();
        match step {
            Step::Run => drop(scheduler.run_one()),
            Step::DropRunnable => drop(scheduler.next()),
            Step::TakeWaker => wakers.extend(state.waker.lock().unwrap().clone()),
            Step::CloneWaker => wakers.extend(wakers.last().cloned()),
            Step::WakeByRef => wakers.iter().for_each(Waker::wake_by_ref),
            Step::WakeByValue => drop(wakers.pop().map(Waker::wake)),
            Step::DropWaker => drop(wakers.pop()),
            Step::Open => state.open(),
            Step::Cancel => watcher.abort_handle().cancel("script"),
            Step::Shutdown => {
                prop_assert!(
                    watcher.shutdown(CancelReason::new("script")),
                    "it is not running"
                );
            }
            Step::PollHandle => {
                if let Some(mut polled) = handle.take() {
                    match Pin::new(&mut polled).poll(&mut cx) {
                        Poll::Ready(_) => outcomes += 1,
                        Poll::Pending => {
                            pending_joins += 1;
                            handle = Some(polled);
                        }
                    }
                }
            }
            Step::DropHandle => drop(handle.take()),
            Step::Refer => refs.push(watcher.clone()),
            Step::Unrefer => drop(refs.pop()),
        }
        // One runnable at most, plus one that a shutdown has made worthless.
        let live = usize::from(watcher.state() == TaskState::Queued);
        prop_assert!(scheduler.queued() <= 1);
        prop_assert!(scheduler.queued() >= live);
        prop_assert!(!finished || watcher.is_finished(), "an end is final");
        finished = watcher.is_finished();
        prop_assert_eq!(registry.is_empty(), finished);
        prop_assert_eq!(state.is_dropped(), finished);
        prop_assert!(!dropped_before || finished);
        prop_assert_eq!(
            scheduler.completed.lock().unwrap().len(),
            usize::from(finished)
        );
    }

    // Whatever is left can be brought to its end.
    state.open();
    scheduler.run_all();
    if !watcher.is_finished() {
        // The waker that the gate held may have been taken; the last one always works.
        watcher.abort_handle().cancel("end");
        scheduler.run_all();
    }
    prop_assert!(watcher.is_finished());
    if let Some(mut handle) = handle {
        if pending_joins > 0 {
            prop_assert_eq!(joiner.count(), 1);
        }
        prop_assert!(Pin::new(&mut handle).poll(&mut cx).is_ready());
        outcomes += 1;
    }
    prop_assert!(outcomes <= 1);
    drop((wakers, refs, watcher));
    state.release();
    prop_assert_eq!(Arc::strong_count(&scheduler), 1, "the task is freed");
    drop(joiner_waker);
    prop_assert_eq!(Arc::strong_count(&joiner), 1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_script_ends_the_task_once(steps in steps()) {
        play(&steps)?;
    }
}
