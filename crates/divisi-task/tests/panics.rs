//! Panics in code that is not the task's own: whatever they interrupt, the task comes out whole.
#![cfg(not(divisi_loom))]

mod support;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use divisi_task::{
    Cause, JoinHandle, Ran, Registry, Runnable, Schedule, SpawnOptions, TaskId, UnhandledPanic,
};
use support::{Gate, Manual, outcome, panic_of, quiet_panic, start};

/// Panics where it is told to.
#[derive(Default)]
struct Hostile {
    in_schedule: AtomicBool,
    in_report: AtomicBool,
    in_completed: AtomicBool,
    queue: Mutex<Vec<Runnable>>,
    reports: AtomicUsize,
}

impl Schedule for Hostile {
    fn schedule(&self, task: Runnable, _: Cause) {
        if self.in_schedule.load(Ordering::SeqCst) {
            quiet_panic("schedule");
        }
        self.queue.lock().unwrap().push(task);
    }

    fn unhandled_panic(&self, _: UnhandledPanic) {
        self.reports.fetch_add(1, Ordering::SeqCst);
        if self.in_report.load(Ordering::SeqCst) {
            quiet_panic("report");
        }
    }

    fn completed(&self, _: TaskId) {
        if self.in_completed.load(Ordering::SeqCst) {
            quiet_panic("completed");
        }
    }
}

fn spawn_hostile<F>(
    future: F,
    scheduler: &Arc<Hostile>,
    registry: &Registry,
) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    divisi_task::spawn(future, scheduler.clone(), registry, SpawnOptions::new()).unwrap()
}

#[test]
fn a_scheduler_that_panics_when_a_task_is_woken_cancels_it() {
    for by_value in [false, true] {
        let (scheduler, registry) = (Arc::<Hostile>::default(), Registry::new(1));
        let (gate, state) = Gate::new();
        let (task, handle) = spawn_hostile(gate, &scheduler, &registry);
        task.run();
        scheduler.in_schedule.store(true, Ordering::SeqCst);
        let waker = state.waker();
        state.release();
        let message = panic_of(|| {
            if by_value {
                waker.wake();
            } else {
                waker.wake_by_ref();
                drop(waker);
            }
        });
        assert_eq!(message.as_deref(), Some("schedule"));
        // The runnable was dropped by the unwinding, which cancels.
        assert!(outcome(handle).unwrap_err().is_cancelled());
        assert!(state.is_dropped() && registry.is_empty());
        assert_eq!(Arc::strong_count(&scheduler), 1);
    }
}

#[test]
fn a_scheduler_that_panics_when_a_task_yields_cancels_it() {
    let (scheduler, registry) = (Arc::<Hostile>::default(), Registry::new(1));
    let yielding = poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let (task, handle) = spawn_hostile(yielding, &scheduler, &registry);
    scheduler.in_schedule.store(true, Ordering::SeqCst);
    let message = panic_of(|| {
        task.run();
    });
    assert_eq!(message.as_deref(), Some("schedule"));
    assert!(outcome(handle).unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn a_scheduler_that_panics_when_a_task_is_cancelled_cancels_it_all_the_same() {
    let (scheduler, registry) = (Arc::<Hostile>::default(), Registry::new(1));
    let (gate, state) = Gate::new();
    let (task, handle) = spawn_hostile(gate, &scheduler, &registry);
    task.run();
    state.release();
    scheduler.in_schedule.store(true, Ordering::SeqCst);
    let message = panic_of(|| handle.cancel("mine"));
    assert_eq!(message.as_deref(), Some("schedule"));
    assert!(state.is_dropped());
    assert_eq!(
        outcome(handle).unwrap_err().reason().unwrap().text(),
        "mine"
    );
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn handlers_that_panic_interrupt_no_completion() {
    let (scheduler, registry) = (Arc::<Hostile>::default(), Registry::new(1));
    scheduler.in_report.store(true, Ordering::SeqCst);
    scheduler.in_completed.store(true, Ordering::SeqCst);
    let (task, handle) = spawn_hostile(async { quiet_panic("task") }, &scheduler, &registry);
    drop::<JoinHandle<()>>(handle);
    assert_eq!(task.run(), Ran::Completed);
    assert_eq!(scheduler.reports.load(Ordering::SeqCst), 1);
    assert!(registry.is_empty());
    assert_eq!(Arc::strong_count(&scheduler), 1);

    // And where the handle reports.
    let (task, handle) = spawn_hostile(async { quiet_panic("task") }, &scheduler, &registry);
    task.run();
    drop::<JoinHandle<()>>(handle);
    assert_eq!(scheduler.reports.load(Ordering::SeqCst), 2);
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

/// A waker that panics in one of its functions, once. Counts how many of it there are.
struct BadWaker {
    in_clone: AtomicBool,
    in_wake: AtomicBool,
    in_drop: AtomicBool,
    alive: AtomicUsize,
}

impl BadWaker {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            in_clone: AtomicBool::new(false),
            in_wake: AtomicBool::new(false),
            in_drop: AtomicBool::new(false),
            alive: AtomicUsize::new(0),
        })
    }

    fn waker(self: &Arc<Self>) -> Waker {
        static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);
        fn raw(data: Arc<BadWaker>) -> RawWaker {
            data.alive.fetch_add(1, Ordering::SeqCst);
            RawWaker::new(Arc::into_raw(data).cast(), &VTABLE)
        }
        fn borrowed(data: *const ()) -> Arc<BadWaker> {
            // SAFETY: the pointer is from `into_raw`; one more count is made for the result.
            unsafe {
                Arc::increment_strong_count(data.cast::<BadWaker>());
                Arc::from_raw(data.cast())
            }
        }
        unsafe fn clone(data: *const ()) -> RawWaker {
            let this = borrowed(data);
            if this.in_clone.swap(false, Ordering::SeqCst) {
                quiet_panic("clone");
            }
            raw(this)
        }
        unsafe fn wake(data: *const ()) {
            // SAFETY: passed on.
            unsafe {
                wake_by_ref(data);
                drop_waker(data);
            }
        }
        unsafe fn wake_by_ref(data: *const ()) {
            if borrowed(data).in_wake.swap(false, Ordering::SeqCst) {
                quiet_panic("wake");
            }
        }
        unsafe fn drop_waker(data: *const ()) {
            // SAFETY: the waker's count.
            let this = unsafe { Arc::from_raw(data.cast::<BadWaker>()) };
            this.alive.fetch_sub(1, Ordering::SeqCst);
            if this.in_drop.swap(false, Ordering::SeqCst) {
                quiet_panic("drop");
            }
        }
        // SAFETY: the functions keep the contract of a waker, panics aside.
        unsafe { Waker::from_raw(raw(self.clone())) }
    }
}

fn poll_with<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Option<String> {
    panic_of(|| {
        let polled = Pin::new(handle).poll(&mut Context::from_waker(waker));
        assert!(polled.is_pending());
    })
}

#[test]
fn a_join_waker_that_panics_when_woken_is_reported_and_the_output_is_there() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let mut handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    let bad = BadWaker::new();
    assert_eq!(poll_with(&mut handle, &bad.waker()), None);
    bad.in_wake.store(true, Ordering::SeqCst);
    state.open();
    scheduler.run_all();
    assert_eq!(scheduler.panic_messages(), ["wake"]);
    assert!(outcome(handle).is_ok());
    assert_eq!(bad.alive.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn a_join_waker_that_panics_when_cloned_leaves_the_old_one_in_place() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let mut handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    let (counter, good) = support::CountingWaker::new();
    let bad = BadWaker::new();
    for stored in [false, true] {
        if stored {
            assert_eq!(poll_with(&mut handle, &good), None);
        }
        bad.in_clone.store(true, Ordering::SeqCst);
        assert_eq!(
            poll_with(&mut handle, &bad.waker()).as_deref(),
            Some("clone")
        );
    }
    state.open();
    scheduler.run_all();
    assert_eq!(counter.count(), 1);
    assert!(outcome(handle).is_ok());
    assert_eq!(bad.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_join_waker_that_panics_when_dropped_is_heard_of_and_the_task_stays_whole() {
    // When it is replaced, the poller hears of it.
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let mut handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    let bad = BadWaker::new();
    assert_eq!(poll_with(&mut handle, &bad.waker()), None);
    bad.in_drop.store(true, Ordering::SeqCst);
    let (counter, good) = support::CountingWaker::new();
    assert_eq!(poll_with(&mut handle, &good).as_deref(), Some("drop"));
    assert_eq!(bad.alive.load(Ordering::SeqCst), 0);
    state.open();
    scheduler.run_all();
    assert_eq!(counter.count(), 1, "the new waker is in place");
    assert!(outcome(handle).is_ok());

    // When the handle is dropped, the scheduler does.
    let (gate, state) = Gate::new();
    let mut handle = start(gate, &scheduler, &registry);
    scheduler.run_all();
    assert_eq!(poll_with(&mut handle, &bad.waker()), None);
    bad.in_drop.store(true, Ordering::SeqCst);
    drop(handle);
    assert_eq!(scheduler.panic_messages(), ["drop"]);
    assert_eq!(bad.alive.load(Ordering::SeqCst), 0);
    state.open();
    scheduler.run_all();
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn a_panic_is_reported_with_the_origin_of_the_task() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let options = SpawnOptions::new().name("doomed");
    let line = line!() - 1;
    let (task, handle) = divisi_task::spawn(
        async { quiet_panic("boom") },
        scheduler.clone(),
        &registry,
        options,
    )
    .unwrap();
    let id = task.id();
    drop::<JoinHandle<()>>(handle);
    task.run();
    let panics = scheduler.panics.lock().unwrap();
    let [report] = &panics[..] else {
        panic!("{panics:?}")
    };
    assert_eq!((report.task, report.name.as_deref()), (id, Some("doomed")));
    assert_eq!(
        (report.spawned_at.file(), report.spawned_at.line()),
        (file!(), line)
    );
    assert_eq!(
        report.to_string(),
        format!(
            "task {id} `doomed` (spawned at {}) panicked: boom",
            report.spawned_at
        )
    );
}
