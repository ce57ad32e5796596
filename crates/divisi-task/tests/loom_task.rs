//! Models of the task: wake against run, cancel against completion, join against both, shutdown against all.
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-task --release --test 'loom_*'
//! ```
//!
//! Every model explores all interleavings with at most [`PREEMPTIONS`] forced switches, and every value that
//! a relaxed load may see. What a task's future shares with its wakers is relaxed on purpose, so that the
//! visibility of it rests on the task's state word alone. Futures also write to a cell without any
//! synchronisation, which loom checks for races: two runs that overlap, or a run that does not see the one
//! before, fail.
#![cfg(divisi_loom)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};

use divisi_task::{
    CancelReason, Cause, JoinError, JoinHandle, Ran, Registry, Runnable, Schedule, SpawnOptions,
    TaskId, TaskState, UnhandledPanic,
};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// Loom's own advice: most bugs show with two, three leave little to be found.
const PREEMPTIONS: usize = 3;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(f);
}

#[derive(Default)]
struct Counts {
    queue: Mutex<Vec<Runnable>>,
    completed: AtomicUsize,
    reported: AtomicUsize,
}

struct Queue(Arc<Counts>);

impl Schedule for Queue {
    fn schedule(&self, task: Runnable, _: Cause) {
        self.0.queue.lock().unwrap().push(task);
    }

    fn unhandled_panic(&self, _: UnhandledPanic) {
        self.0.reported.fetch_add(1, Ordering::Relaxed);
    }

    fn completed(&self, _: TaskId) {
        self.0.completed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn run_one(&self) -> Option<Ran> {
        // The lock is released before the task runs.
        let task = self.queue.lock().unwrap().pop();
        task.map(Runnable::run)
    }

    fn run_all(&self) {
        while self.run_one().is_some() {}
    }
}

/// What a model sees of its task.
#[derive(Default)]
struct Seen {
    ready: AtomicUsize,
    futures_dropped: AtomicUsize,
    outputs_dropped: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// Ready when it is told so.
struct Probe {
    seen: Arc<Seen>,
    polls: UnsafeCell<usize>,
    panics: bool,
}

struct Output(Arc<Seen>);

impl Drop for Output {
    fn drop(&mut self) {
        self.0.outputs_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Future for Probe {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        // SAFETY: a poll has the future to itself. That is what loom checks here.
        self.polls.with_mut(|polls| unsafe { *polls += 1 });
        if self.seen.ready.load(Ordering::Relaxed) == 0 {
            let mut waker = self.seen.waker.lock().unwrap();
            if waker.is_none() {
                *waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        if self.panics {
            std::panic::resume_unwind(Box::new("probe"));
        }
        Poll::Ready(Output(self.seen.clone()))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: as in `poll`.
        self.polls.with_mut(|polls| unsafe { *polls += 1 });
        self.seen.futures_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

struct World {
    seen: Arc<Seen>,
    counts: Arc<Counts>,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        Self {
            seen: Arc::new(Seen::default()),
            counts: Arc::new(Counts::default()),
            registry: Registry::new(1),
        }
    }

    /// A task that is ready from the first poll if `ready`, and scheduled.
    fn spawn(&self, ready: bool, panics: bool) -> JoinHandle<Output> {
        self.spawn_with(SpawnOptions::new(), ready, panics)
    }

    fn spawn_with(&self, options: SpawnOptions, ready: bool, panics: bool) -> JoinHandle<Output> {
        self.seen.ready.store(usize::from(ready), Ordering::Relaxed);
        let probe = Probe {
            seen: self.seen.clone(),
            polls: UnsafeCell::new(0),
            panics,
        };
        let scheduler = StdArc::new(Queue(self.counts.clone()));
        let (task, handle) = divisi_task::spawn(probe, scheduler, &self.registry, options).unwrap();
        self.counts.queue.lock().unwrap().push(task);
        handle
    }

    /// A task that was polled once and waits, and its waker.
    fn spawn_waiting(&self) -> (JoinHandle<Output>, Waker) {
        let handle = self.spawn(false, false);
        assert_eq!(self.counts.run_one(), Some(Ran::Pending));
        let waker = self.seen.waker.lock().unwrap().take().unwrap();
        (handle, waker)
    }

    /// Whatever happened, the task has ended once and left nothing behind.
    fn check_ended(&self) {
        assert!(self.registry.is_empty());
        assert_eq!(self.counts.completed.load(Ordering::Relaxed), 1);
        assert_eq!(self.seen.futures_dropped.load(Ordering::Relaxed), 1);
        assert!(self.counts.queue.lock().unwrap().is_empty());
    }

    fn outputs_dropped(&self) -> usize {
        self.seen.outputs_dropped.load(Ordering::Relaxed)
    }

    fn reported(&self) -> usize {
        self.counts.reported.load(Ordering::Relaxed)
    }
}

/// Counts wake-ups.
struct Joiner(AtomicUsize);

impl Wake for Joiner {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Joiner {
    fn new() -> (StdArc<Self>, Waker) {
        let joiner = StdArc::new(Self(AtomicUsize::new(0)));
        (joiner.clone(), joiner.into())
    }
}

fn poll(handle: &mut JoinHandle<Output>, waker: &Waker) -> Poll<Result<Output, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}

fn outcome(mut handle: JoinHandle<Output>) -> Result<Output, JoinError> {
    match poll(&mut handle, Waker::noop()) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("the task has not ended"),
    }
}

/// One thread makes the task ready and wakes it, while this one runs it: whether the wake-up comes before,
/// during or after the run, the task ends.
#[test]
fn a_wake_during_a_run_is_not_lost() {
    for by_value in [false, true] {
        model(move || {
            let world = World::new();
            let (handle, waker) = world.spawn_waiting();
            // Scheduled already: the other thread's wake-up may find it so.
            waker.wake_by_ref();
            let seen = world.seen.clone();
            let waking = thread::spawn(move || {
                seen.ready.store(1, Ordering::Relaxed);
                if by_value {
                    waker.wake();
                } else {
                    waker.wake_by_ref();
                }
            });
            world.counts.run_all();
            waking.join().unwrap();
            world.counts.run_all();
            assert!(outcome(handle).is_ok());
            world.check_ended();
        });
    }
}

/// Two threads wake and run an idle task: it never runs twice at a time, and each run sees the one before.
#[test]
fn runs_never_overlap() {
    model(|| {
        let world = World::new();
        let (handle, waker) = world.spawn_waiting();
        let (seen, counts) = (world.seen.clone(), world.counts.clone());
        let other = thread::spawn({
            let waker = waker.clone();
            move || {
                waker.wake();
                counts.run_one();
            }
        });
        seen.ready.store(1, Ordering::Relaxed);
        waker.wake();
        world.counts.run_one();
        other.join().unwrap();
        world.counts.run_all();
        assert!(outcome(handle).is_ok());
        world.check_ended();
    });
}

/// A task that wakes itself is scheduled by its runner; a thief runs it to its end, and frees it, before the
/// runner returns.
#[test]
fn a_yielded_task_may_be_gone_when_its_runner_returns() {
    struct YieldOnce(UnsafeCell<bool>);
    impl Future for YieldOnce {
        type Output = ();
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            // SAFETY: a poll has the future to itself. That is what loom checks here.
            let second = self
                .0
                .with_mut(|polled| unsafe { std::mem::replace(&mut *polled, true) });
            if second {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    model(|| {
        let world = World::new();
        let scheduler = StdArc::new(Queue(world.counts.clone()));
        let future = YieldOnce(UnsafeCell::new(false));
        let (task, handle) =
            divisi_task::spawn(future, scheduler, &world.registry, SpawnOptions::new()).unwrap();
        drop(handle);
        let counts = world.counts.clone();
        let thief = thread::spawn(move || counts.run_all());
        assert_eq!(task.run(), Ran::Yielded);
        thief.join().unwrap();
        world.counts.run_all();
        assert!(world.registry.is_empty());
        assert_eq!(world.counts.completed.load(Ordering::Relaxed), 1);
    });
}

/// A request against a run that comes to an output: one of the two is the outcome, and the request's reason
/// is whole.
#[test]
fn cancel_or_completion_is_the_outcome() {
    for ready in [true, false] {
        model(move || {
            let world = World::new();
            let handle = world.spawn(ready, false);
            let abort = handle.abort_handle();
            let asking = thread::spawn(move || abort.cancel("asked"));
            world.counts.run_all();
            asking.join().unwrap();
            world.counts.run_all();
            match outcome(handle) {
                Ok(output) => {
                    assert!(ready);
                    drop(output);
                    assert_eq!(world.outputs_dropped(), 1);
                }
                Err(error) => assert_eq!(error.reason().unwrap().text(), "asked"),
            }
            drop(world.seen.waker.lock().unwrap().take());
            world.check_ended();
        });
    }
}

/// Two requests: the task ends once, with one of the two reasons.
fn check_two_requests(world: &World, handle: JoinHandle<Output>) {
    let abort = handle.abort_handle();
    let asking = thread::spawn(move || abort.cancel("one"));
    handle.cancel("two");
    world.counts.run_all();
    asking.join().unwrap();
    world.counts.run_all();
    let error = outcome(handle).err().unwrap();
    assert!(["one", "two"].contains(&error.reason().unwrap().text()));
    world.check_ended();
}

#[test]
fn of_two_requests_one_is_the_reason() {
    model(|| {
        let world = World::new();
        let (handle, waker) = world.spawn_waiting();
        drop(waker);
        check_two_requests(&world, handle);
    });
}

/// The same for a task with a name, which has where the reason goes already.
#[test]
fn of_two_requests_to_a_named_task_one_is_the_reason() {
    model(|| {
        let world = World::new();
        let handle = world.spawn_with(SpawnOptions::new().name("named"), false, false);
        check_two_requests(&world, handle);
    });
}

/// The handle is polled while the task completes: it gets the output at once or its waker, the last one that
/// it gave, is woken.
#[test]
fn a_joiner_is_woken_or_finds_the_output() {
    for polls in [1, 2] {
        model(move || {
            let world = World::new();
            let mut handle = world.spawn(true, false);
            let counts = world.counts.clone();
            let running = thread::spawn(move || counts.run_all());
            let mut last = None;
            let mut output = None;
            for _ in 0..polls {
                let (joiner, waker) = Joiner::new();
                match poll(&mut handle, &waker) {
                    Poll::Ready(outcome) => {
                        output = Some(outcome.unwrap());
                        break;
                    }
                    Poll::Pending => last = Some(joiner),
                }
            }
            running.join().unwrap();
            if output.is_none() {
                assert_eq!(last.as_ref().unwrap().0.load(Ordering::Relaxed), 1);
                output = Some(outcome(handle).unwrap());
            } else {
                drop(handle);
            }
            drop(output);
            assert_eq!(world.outputs_dropped(), 1);
            if let Some(joiner) = last {
                assert_eq!(StdArc::strong_count(&joiner), 1, "its waker is dropped");
            }
            world.check_ended();
        });
    }
}

/// The handle is dropped while the task completes: the output is dropped once, the waker too, and a panic is
/// reported once.
#[test]
fn a_leaving_handle_and_a_completing_task_share_the_work() {
    for (panics, polls) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 1)] {
        model(move || {
            let world = World::new();
            let mut handle = world.spawn(true, panics);
            let (joiner, waker) = Joiner::new();
            if polls > 0 {
                assert!(poll(&mut handle, &waker).is_pending());
            }
            let counts = world.counts.clone();
            let running = thread::spawn(move || counts.run_all());
            // With a waker that is there already, this only looks at it.
            let output = (polls > 1).then(|| poll(&mut handle, &waker));
            drop((waker, handle));
            drop(output);
            running.join().unwrap();
            assert_eq!(world.outputs_dropped(), usize::from(!panics));
            assert_eq!(world.reported(), usize::from(panics));
            assert_eq!(StdArc::strong_count(&joiner), 1, "its waker is dropped");
            world.check_ended();
        });
    }
}

/// Shutdown, a wake-up and a runner meet: the task ends once.
#[test]
fn shutdown_overtakes_wakers_and_runners() {
    model(|| {
        let world = World::new();
        let (handle, waker) = world.spawn_waiting();
        let (seen, counts) = (world.seen.clone(), world.counts.clone());
        let waking = thread::spawn(move || {
            seen.ready.store(1, Ordering::Relaxed);
            waker.wake();
            counts.run_all();
        });
        let ended = handle.task().shutdown(CancelReason::new("closing"));
        if ended {
            assert!(handle.is_finished());
        }
        waking.join().unwrap();
        world.counts.run_all();
        match outcome(handle) {
            Ok(output) => drop(output),
            Err(error) => {
                assert_eq!(error.reason().unwrap().text(), "closing");
                assert_eq!(world.outputs_dropped(), 0);
            }
        }
        world.check_ended();
    });
}

/// Shutdown of a task that another thread runs: the runner sees the request, and the reason with it.
#[test]
fn a_runner_sees_the_reason_of_a_shutdown() {
    model(|| {
        let world = World::new();
        let handle = world.spawn(false, false);
        let counts = world.counts.clone();
        let running = thread::spawn(move || counts.run_all());
        handle.task().shutdown(CancelReason::new("closing"));
        running.join().unwrap();
        world.counts.run_all();
        let error = outcome(handle).err().unwrap();
        assert_eq!(error.reason().unwrap().text(), "closing");
        drop(world.seen.waker.lock().unwrap().take());
        world.check_ended();
    });
}

/// Shutdown against the run of a queued task.
#[test]
fn shutdown_and_run_of_a_queued_task_end_it_once() {
    model(|| {
        let world = World::new();
        let handle = world.spawn(true, false);
        let task = handle.task();
        drop(handle);
        let counts = world.counts.clone();
        let running = thread::spawn(move || counts.run_all());
        task.shutdown(CancelReason::new("closing"));
        running.join().unwrap();
        assert!(task.is_finished());
        drop(task);
        world.check_ended();
    });
}

/// A runnable is dropped unrun while somebody cancels and somebody wakes.
#[test]
fn an_abandoned_task_ends_once() {
    model(|| {
        let world = World::new();
        let (handle, waker) = world.spawn_waiting();
        waker.wake_by_ref();
        let abort = handle.abort_handle();
        let asking = thread::spawn(move || {
            abort.cancel("asked");
            waker.wake();
        });
        let task = world.counts.queue.lock().unwrap().pop();
        drop(task);
        asking.join().unwrap();
        assert!(outcome(handle).err().unwrap().is_cancelled());
        world.check_ended();
    });
}

/// The last references go on several threads at once: the task is freed once (loom's allocation tracking sees
/// leaks).
#[test]
fn the_last_reference_frees_the_task() {
    model(|| {
        let world = World::new();
        let (handle, waker) = world.spawn_waiting();
        let task = handle.task();
        let other = thread::spawn(move || {
            drop(waker.clone());
            drop(waker);
        });
        let counts = world.counts.clone();
        handle.cancel("enough");
        drop(handle);
        counts.run_all();
        drop(task);
        other.join().unwrap();
        world.check_ended();
    });
}

/// A wake-up of a task that is scheduled already, against whoever claims the task: if the wake-up comes
/// first, the claimant sees what the waker's thread wrote before it.
#[test]
fn whoever_claims_a_task_sees_what_came_before_its_wake_ups() {
    struct Look {
        written: Arc<AtomicUsize>,
        seen: Arc<AtomicUsize>,
        waker: Arc<Mutex<Option<Waker>>>,
    }
    impl Future for Look {
        type Output = ();
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }
    }
    impl Drop for Look {
        fn drop(&mut self) {
            let written = self.written.load(Ordering::Relaxed);
            self.seen.store(written, Ordering::Relaxed);
        }
    }
    for by_shutdown in [false, true] {
        model(move || {
            let world = World::new();
            let (written, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let slot = Arc::new(Mutex::new(None));
            let future = Look {
                written: written.clone(),
                seen: seen.clone(),
                waker: slot.clone(),
            };
            let scheduler = StdArc::new(Queue(world.counts.clone()));
            let (task, handle) =
                divisi_task::spawn(future, scheduler, &world.registry, SpawnOptions::new())
                    .unwrap();
            assert_eq!(task.run(), Ran::Pending);
            let waker = slot.lock().unwrap().take().unwrap();
            waker.wake_by_ref();
            let task = handle.task();
            let waking = thread::spawn(move || {
                written.store(1, Ordering::Relaxed);
                waker.wake_by_ref();
                // Still queued, so the claim comes after the wake-up.
                task.state() == TaskState::Queued
            });
            if by_shutdown {
                assert!(handle.task().shutdown(CancelReason::new("closing")));
            } else {
                let runnable = world.counts.queue.lock().unwrap().pop();
                drop(runnable);
            }
            if waking.join().unwrap() {
                assert_eq!(seen.load(Ordering::Relaxed), 1);
            }
            world.counts.run_all();
            drop(handle);
            assert!(world.registry.is_empty());
        });
    }
}
