//! Everything that can be done to a task, at every moment, with every kind of future: each future and each
//! output is dropped once and on the right side, each panic is heard of once, and nothing stays behind.
#![cfg(not(divisi_loom))]

mod support;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use divisi_task::{
    CancelReason, Cause, JoinError, JoinHandle, Ran, Registry, Runnable, Schedule, SpawnOptions,
    TaskRef,
};
use support::{CountingWaker, Manual, panic_of, quiet_panic};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Ask for the end through the handle.
    Cancel,
    /// The same through several handles, some of which were cloned.
    CancelTwice,
    /// Poll the handle.
    Join,
    /// Drop the handle.
    Detach,
    /// Cancel, then drop the handle.
    CancelAndDetach,
    /// Use the task's own waker, once by reference and once by value.
    Wake,
    /// `TaskRef::shutdown`.
    Shutdown,
    /// Drop the runnable unrun, if there is one at that moment.
    Abandon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    During,
    After,
}

/// What the first poll does. After `Pending` the second is `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Pending,
    Ready,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DropPanic {
    Nothing,
    Future,
    Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Runtime,
    Handle,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    action: Action,
    moment: Moment,
    first: First,
    drop_panic: DropPanic,
    local: bool,
}

thread_local! {
    /// On whose behalf the thread acts.
    static SIDE: Cell<Side> = const { Cell::new(Side::Handle) };
}

fn on_side<R>(side: Side, f: impl FnOnce() -> R) -> R {
    struct Restore(Side);
    impl Drop for Restore {
        fn drop(&mut self) {
            SIDE.set(self.0);
        }
    }
    let _restore = Restore(SIDE.replace(side));
    f()
}

#[derive(Default)]
struct Seen {
    polls: usize,
    future_drops: Vec<Side>,
    outputs_made: usize,
    output_drops: Vec<Side>,
    task_waker: Option<Waker>,
    /// Panics that came out where a handle was dropped.
    propagated: Vec<String>,
    /// Outcomes read from the handle.
    outcome: Option<Result<(), String>>,
    joins_pending: usize,
}

type Log = Arc<Mutex<Seen>>;

struct Output {
    log: Log,
    panics: bool,
}

impl Drop for Output {
    fn drop(&mut self) {
        self.log.lock().unwrap().output_drops.push(SIDE.get());
        if self.panics {
            quiet_panic("output");
        }
    }
}

/// What to do in the first poll.
type Act = Box<dyn FnOnce(&Waker) + Send>;

struct Probe {
    case: Case,
    log: Log,
    act: Option<Act>,
}

impl Future for Probe {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let first = {
            let mut seen = self.log.lock().unwrap();
            seen.polls += 1;
            seen.task_waker = Some(cx.waker().clone());
            seen.polls == 1
        };
        if let Some(act) = self.act.take() {
            act(cx.waker());
        }
        let kind = if first { self.case.first } else { First::Ready };
        match kind {
            First::Pending => Poll::Pending,
            First::Panic => quiet_panic("poll"),
            First::Ready => {
                self.log.lock().unwrap().outputs_made += 1;
                Poll::Ready(Output {
                    log: self.log.clone(),
                    panics: self.case.drop_panic == DropPanic::Output,
                })
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.log.lock().unwrap().future_drops.push(SIDE.get());
        if self.case.drop_panic == DropPanic::Future {
            quiet_panic("future");
        }
    }
}

struct World {
    scheduler: Arc<Manual>,
    log: Log,
    handle: Mutex<Option<JoinHandle<Output>>>,
    task: TaskRef,
    joiner: (Arc<CountingWaker>, Waker),
}

impl World {
    fn join(&self) {
        let mut slot = self.handle.lock().unwrap();
        let Some(handle) = slot.as_mut() else { return };
        let mut cx = Context::from_waker(&self.joiner.1);
        let polled = on_side(Side::Handle, || Pin::new(&mut *handle).poll(&mut cx));
        match polled {
            Poll::Pending => self.log.lock().unwrap().joins_pending += 1,
            Poll::Ready(outcome) => {
                let outcome = outcome.map_err(|error| kind_of(&error)).map(|output| {
                    // The reader drops it, and gets its panic, if any.
                    if let Some(message) = panic_of(|| drop(output)) {
                        self.log.lock().unwrap().propagated.push(message);
                    }
                });
                self.log.lock().unwrap().outcome = Some(outcome);
                let handle = slot.take();
                drop(slot);
                drop(handle);
            }
        }
    }

    fn detach(&self) {
        let handle = self.handle.lock().unwrap().take();
        let panic = on_side(Side::Handle, || panic_of(|| drop(handle)));
        self.log.lock().unwrap().propagated.extend(panic);
    }

    fn cancel(&self, why: &'static str) {
        if let Some(handle) = &*self.handle.lock().unwrap() {
            handle.cancel(why);
        }
    }

    fn act(&self, action: Action, waker: Option<&Waker>) {
        match action {
            Action::Cancel => self.cancel("first"),
            Action::CancelTwice => {
                let abort = self.task.abort_handle();
                self.cancel("first");
                abort.clone().cancel("second");
                abort.cancel("third");
            }
            Action::Join => self.join(),
            Action::Detach => self.detach(),
            Action::CancelAndDetach => {
                self.cancel("first");
                self.detach();
            }
            Action::Wake => {
                if let Some(waker) = waker {
                    waker.wake_by_ref();
                    let by_value = waker.clone();
                    by_value.wake();
                }
            }
            Action::Shutdown => {
                on_side(Side::Runtime, || {
                    self.task.shutdown(CancelReason::new("first"));
                });
            }
            Action::Abandon => {
                let task = self.scheduler.next();
                on_side(Side::Runtime, || drop(task));
            }
        }
    }

    fn run_one(&self) -> Option<Ran> {
        on_side(Side::Runtime, || self.scheduler.run_one())
    }
}

fn kind_of(error: &JoinError) -> String {
    match error.reason() {
        Some(reason) => format!("cancelled: {}", reason.text()),
        None => error.to_string().rsplit(": ").next().unwrap().to_owned(),
    }
}

/// What must come of a case, worked out from the contracts and not from the code.
#[derive(Debug, PartialEq)]
struct Expected {
    polls: usize,
    outcome: Result<(), String>,
    /// Whether a handle sees the outcome.
    read: bool,
    future_drop: Side,
    output_drop: Option<Side>,
    /// All panics that are thrown, in no order.
    panics: Vec<&'static str>,
    reported: Vec<&'static str>,
    propagated: Vec<&'static str>,
}

fn expect(case: Case) -> Expected {
    let Case {
        action,
        moment,
        first,
        drop_panic,
        ..
    } = case;
    let cancels = matches!(
        action,
        Action::Cancel | Action::CancelTwice | Action::CancelAndDetach | Action::Shutdown
    );
    let abandons = action == Action::Abandon && moment == Moment::Before;
    let detaches = matches!(action, Action::Detach | Action::CancelAndDetach);
    let cancelled = abandons
        || cancels
            && match moment {
                Moment::Before => true,
                Moment::During | Moment::After => first == First::Pending,
            };
    let unpolled = cancelled && moment == Moment::Before;
    let polls = match (unpolled, cancelled, first) {
        (true, ..) => 0,
        (_, true, _) => 1,
        (_, _, First::Pending) => 2,
        _ => 1,
    };
    let reason = if abandons {
        "cancelled: its scheduler dropped it before it could run"
    } else {
        "cancelled: first"
    };
    let future_drop_panics = drop_panic == DropPanic::Future;
    let outcome = if cancelled {
        Err(if future_drop_panics { "future" } else { reason })
    } else if first == First::Panic {
        Err("poll")
    } else {
        Ok(())
    };
    let complete_after_first_run =
        unpolled || cancelled && moment == Moment::During || first != First::Pending;
    // Whoever is there when the task completes gets the outcome.
    let handle_gets_it =
        !detaches || moment == Moment::After && complete_after_first_run && !cancelled;
    let read = !detaches;

    let mut panics = Vec::new();
    let mut reported = Vec::new();
    let mut propagated = Vec::new();
    if let Err(message @ ("future" | "poll")) = outcome {
        panics.push(message);
        if !read {
            reported.push(message);
        }
    }
    if future_drop_panics && !cancelled {
        panics.push("future");
        reported.push("future");
    }
    let output_drop = outcome.is_ok().then_some(if handle_gets_it {
        Side::Handle
    } else {
        Side::Runtime
    });
    if drop_panic == DropPanic::Output && outcome.is_ok() {
        panics.push("output");
        match output_drop {
            Some(Side::Handle) => propagated.push("output"),
            _ => reported.push("output"),
        }
    }
    Expected {
        polls,
        outcome: outcome.map_err(str::to_owned),
        read,
        future_drop: Side::Runtime,
        output_drop,
        panics,
        reported,
        propagated,
    }
}

fn spawn_probe(
    case: Case,
    probe: Probe,
    scheduler: &Arc<Manual>,
    registry: &Registry,
) -> (Runnable, JoinHandle<Output>) {
    if case.local {
        divisi_task::spawn_local(probe, scheduler.clone(), registry, SpawnOptions::new())
    } else {
        divisi_task::spawn(probe, scheduler.clone(), registry, SpawnOptions::new())
    }
    .unwrap()
}

fn check(case: Case) {
    let expected = expect(case);
    let log = Log::default();
    let scheduler = Manual::new();
    let registry = Registry::new(1);
    let world = Arc::new(Mutex::new(None::<Arc<World>>));
    let in_poll = world.clone();
    let act = (case.moment == Moment::During).then(|| {
        Box::new(move |waker: &Waker| {
            let world = in_poll.lock().unwrap().clone().unwrap();
            world.act(case.action, Some(waker));
        }) as Act
    });
    let probe = Probe {
        case,
        log: log.clone(),
        act,
    };
    let (task, handle) = spawn_probe(case, probe, &scheduler, &registry);
    let id = task.id();
    let current = Arc::new(World {
        scheduler: scheduler.clone(),
        log: log.clone(),
        task: handle.task(),
        handle: Mutex::new(Some(handle)),
        joiner: CountingWaker::new(),
    });
    *world.lock().unwrap() = Some(current.clone());
    scheduler.schedule(task, Cause::Spawned);

    if case.moment == Moment::Before {
        current.act(case.action, None);
    }
    let ran = current.run_one();
    if case.moment == Moment::During && case.action == Action::Wake && case.first == First::Pending
    {
        assert_eq!(ran, Some(Ran::Yielded), "{case:?}");
        assert_eq!(scheduler.causes(), [Cause::Yielded], "{case:?}");
    }
    if case.moment == Moment::After {
        let waker = log.lock().unwrap().task_waker.clone();
        current.act(case.action, waker.as_ref());
        assert!(scheduler.queued() <= 1, "one runnable at most: {case:?}");
    }
    while current.run_one().is_some() {}
    if !current.task.is_finished() {
        let waker = log.lock().unwrap().task_waker.clone().unwrap();
        waker.wake();
        assert_eq!(scheduler.causes(), [Cause::Woken], "{case:?}");
        while current.run_one().is_some() {}
    }
    assert!(current.task.is_finished(), "{case:?}");
    assert!(registry.is_empty(), "{case:?}");
    assert!(registry.list().is_empty(), "{case:?}");

    let joins_pending = log.lock().unwrap().joins_pending;
    if joins_pending > 0 {
        assert_eq!(
            current.joiner.0.count(),
            1,
            "the joiner is woken once: {case:?}"
        );
    }
    current.join();

    let mut seen = log.lock().unwrap();
    assert_eq!(seen.polls, expected.polls, "{case:?}");
    assert_eq!(seen.future_drops, [expected.future_drop], "{case:?}");
    assert_eq!(seen.outputs_made, seen.output_drops.len(), "{case:?}");
    assert_eq!(
        seen.output_drops,
        expected.output_drop.into_iter().collect::<Vec<_>>(),
        "{case:?}"
    );
    if expected.read {
        assert_eq!(seen.outcome, Some(expected.outcome), "{case:?}");
    } else {
        assert_eq!(seen.outcome, None, "{case:?}");
    }
    assert_eq!(seen.propagated, expected.propagated, "{case:?}");
    let mut reported = scheduler.panic_messages();
    let mut heard = reported.len() + seen.propagated.len();
    if matches!(&seen.outcome, Some(Err(why)) if !why.starts_with("cancelled")) {
        heard += 1;
    }
    assert_eq!(
        heard,
        expected.panics.len(),
        "each panic is heard of once: {case:?}"
    );
    reported.sort();
    let mut expected_reports = expected.reported;
    expected_reports.sort();
    assert_eq!(reported, expected_reports, "{case:?}");
    assert_eq!(*scheduler.completed.lock().unwrap(), [id], "{case:?}");

    // With the last reference to the task goes its reference to the scheduler.
    seen.task_waker = None;
    drop(seen);
    *world.lock().unwrap() = None;
    drop(Arc::into_inner(current).expect("nobody keeps the world"));
    assert_eq!(Arc::strong_count(&scheduler), 1, "{case:?}");
    assert_eq!(Arc::strong_count(&log), 1, "{case:?}");
}

fn cases() -> impl Iterator<Item = Case> {
    use {Action::*, DropPanic as D, First as F, Moment::*};
    let actions = [
        Cancel,
        CancelTwice,
        Join,
        Detach,
        CancelAndDetach,
        Wake,
        Shutdown,
        Abandon,
    ];
    actions.into_iter().flat_map(move |action| {
        [Before, During, After].into_iter().flat_map(move |moment| {
            [F::Pending, F::Ready, F::Panic]
                .into_iter()
                .flat_map(move |first| {
                    [D::Nothing, D::Future, D::Output]
                        .into_iter()
                        .flat_map(move |drop_panic| {
                            [false, true].into_iter().map(move |local| Case {
                                action,
                                moment,
                                first,
                                drop_panic,
                                local,
                            })
                        })
                })
        })
    })
}

#[test]
fn whatever_is_done_whenever_nothing_is_lost_or_doubled() {
    let mut checked = 0;
    for case in cases() {
        check(case);
        checked += 1;
    }
    assert_eq!(checked, 8 * 3 * 3 * 3 * 2);
}
