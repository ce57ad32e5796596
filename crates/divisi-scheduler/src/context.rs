//! What the current thread is to a scheduler: the holder of a seat, or nobody.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use divisi_task::{Cause, Runnable, TaskId};

use crate::config::{EVENTS_PER_BUSY_LOOK, LONG_QUEUE};
use crate::monitor;
use crate::seat::{Core, Seat};
use crate::shared::{Home, Phase, Shared};
use crate::slow_lane::TimedPoll;
use crate::spare;
use crate::thread_state::ThreadNumber;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Context>>> = const { RefCell::new(None) };
    /// This thread drives a root without a seat.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// A thread that holds a seat.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) home: Arc<Home>,
    pub(crate) seat: usize,
    /// `None` only while the thread leaves the seat.
    pub(crate) core: RefCell<Option<Box<Core>>>,
    /// Set while the driver handles events: what it wakes goes to the run queue in order, and a peer is woken once at the end.
    in_driver: Cell<bool>,
    /// So many polls to come are timed.
    pub(crate) timed_polls: Cell<u32>,
    /// The poll that runs now, if it is timed.
    pub(crate) timed_poll: Cell<Option<TimedPoll>>,
}

impl Context {
    pub(crate) fn seat(&self) -> &Seat {
        &self.shared.seats[self.seat]
    }

    fn push(&self, task: Runnable, cause: Cause) {
        let seat = self.seat();
        if cause == Cause::Yielded {
            // Its poll has just ended.
            self.judge(task.id());
        }
        if self.shared.slow_lane.is_for(task.id()) {
            return self.queue_slowly(task, cause);
        }
        if cause == Cause::Woken && !self.in_driver.get() {
            // The task that was just woken most likely continues with data that is in this core's cache.
            if let Some(displaced) = seat.slot.replace(task) {
                self.queue(displaced);
            } else {
                self.want_lookout();
            }
        } else {
            self.queue(task);
        }
    }

    /// Calls what lets a driver handle events.
    pub(crate) fn in_driver<R>(&self, handle: impl FnOnce() -> R) -> R {
        self.in_driver.set(true);
        let result = handle();
        self.in_driver.set(false);
        result
    }

    /// Handles what is ready in the driver of a seat whose holder does not. Returns whether anything was.
    pub(crate) fn rescue(&self, seat: &Seat) -> bool {
        let handled = self.in_driver(|| seat.driver().poll(EVENTS_PER_BUSY_LOOK));
        self.seat().counters.rescued_drivers.add(1);
        handled > 0
    }

    /// If the poll of this task was timed, decides where it queues from now on.
    pub(crate) fn judge(&self, task: TaskId) {
        // Mostly there is none, and then nothing is written.
        if let Some(poll) = self.timed_poll.get() {
            self.timed_poll.set(None);
            self.shared.slow_lane.judge(task, poll.end());
        }
    }

    fn queue_slowly(&self, task: Runnable, cause: Cause) {
        let shared = &self.shared;
        let comes_back = cause == Cause::Yielded
            && shared.is_worker(self.seat)
            && shared.slow_lane.is_empty()
            && self.seat().queue_length() == 0;
        if comes_back {
            shared.keep_slowly(task);
        } else {
            shared.queue_slowly(task);
        }
    }

    fn queue(&self, task: Runnable) {
        let core = self.core.borrow();
        let Some(core) = core.as_ref() else {
            return self.shared.inject(task);
        };
        core.queue.push(task);
        // First what is hardly ever written: the length is on a line that thieves write.
        if self.in_driver.get() || !self.shared.idle.any_parked() {
            return;
        }
        if core.queue.len() >= LONG_QUEUE || self.shared.lookout.is_vacant() {
            self.shared.wake_for_work();
        }
    }

    /// Wakes a peer for a queue that has become long.
    pub(crate) fn offer_work(&self) {
        if self.shared.idle.any_parked() {
            self.shared.wake_for_work();
        }
    }

    /// Something waits behind the poll that runs now: see that somebody looks after it if this poll does not end.
    fn want_lookout(&self) {
        if self.shared.lookout.is_vacant() && self.shared.idle.any_parked() {
            self.shared.wake_for_work();
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("seat", &self.seat)
            .finish_non_exhaustive()
    }
}

/// Puts a runnable task where it belongs: the current worker's slot or queue if it belongs to that scheduler, else the injector.
pub(crate) fn schedule(shared: &Arc<Shared>, task: Runnable, cause: Cause) {
    let mut task = Some(task);
    with_seat_in(shared, |context| {
        if let Some(task) = task.take() {
            context.push(task, cause);
        }
    });
    if let Some(task) = task {
        shared.inject(task);
        if shared.monitor.is_missing() {
            // Who was to take the task, and to start the monitor then, may have gone on to something that blocks it.
            monitor::start_for_spawn(shared);
        }
    }
}

/// Uses what the current thread is to this scheduler, if it holds a seat there.
fn with_seat_in<R>(shared: &Shared, f: impl FnOnce(&Context) -> R) -> Option<R> {
    // The thread-local may be gone already when a destructor of another one wakes a task.
    let found = CURRENT.try_with(|current| {
        let current = current.borrow();
        let context = current.as_ref()?;
        std::ptr::eq(&*context.shared, shared).then(|| f(context))
    });
    found.ok().flatten()
}

/// Whether the current thread drives any scheduler: holds a seat, or drives a root without one.
pub(crate) fn is_driving() -> bool {
    let holds_a_seat = CURRENT.try_with(|current| current.borrow().is_some());
    holds_a_seat.unwrap_or(false) || ALONE.try_with(Cell::get).unwrap_or(false)
}

/// Notes that the current thread, which does not drive anything, drives a root without a seat until the guard is dropped.
pub(crate) fn enter_alone() -> Alone {
    ALONE.with(|alone| alone.set(true));
    Alone(())
}

/// See [`enter_alone`].
pub(crate) struct Alone(());

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = ALONE.try_with(|alone| alone.set(false));
    }
}

/// The seat that the current thread holds in this scheduler.
pub(crate) fn seat_in(shared: &Shared) -> Option<usize> {
    with_seat_in(shared, |context| context.seat)
}

/// The home that a spawn from the current thread goes through.
pub(crate) fn home_of_spawn(fallback: &Arc<Home>) -> Arc<Home> {
    with_seat_in(&fallback.shared, |context| context.home.clone())
        .unwrap_or_else(|| fallback.clone())
}

/// Makes the current thread a worker until the guard is dropped; the core then goes back to its seat.
pub(crate) fn enter(shared: &Arc<Shared>, seat: usize, mut core: Box<Core>) -> Entered {
    if std::mem::take(&mut core.announced) {
        core.searching = shared.idle.unpark(seat);
    }
    let thread = ThreadNumber::current().as_raw();
    shared.seats[seat].thread.store(thread, Ordering::Relaxed);
    let context = Rc::new(Context {
        shared: shared.clone(),
        home: Arc::new(Home {
            shared: shared.clone(),
            shard: seat,
        }),
        seat,
        core: RefCell::new(Some(core)),
        in_driver: Cell::new(false),
        timed_polls: Cell::new(0),
        timed_poll: Cell::new(None),
    });
    CURRENT.with(|current| {
        let before = current.borrow_mut().replace(context.clone());
        assert!(before.is_none(), "a thread holds one seat at a time");
    });
    Entered { context }
}

/// See [`enter`].
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) context: Rc<Context>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.borrow_mut().take());
        // Also if the last poll here was taken for stuck.
        spare::recall(&self.context.shared, self.context.seat);
        self.context.seat().thread.store(0, Ordering::Relaxed);
        let core = self.context.core.borrow_mut().take();
        if let Some(mut core) = core {
            if core.searching {
                core.searching = false;
                // Wake-ups that producers left out on this worker's account are made good.
                self.context.shared.idle.end_search();
                self.context.shared.wake_for_work();
            }
            self.context.seat().give_back(core);
        }
        // What was queued here after the stopping thread emptied the queues (see `shared`).
        fence(Ordering::SeqCst);
        if self.context.shared.phase() == Phase::Stopped {
            self.context.seat().drop_queued();
        }
    }
}
