//! What all workers share, and how a task gets to a place where one of them finds it.
//!
//! # Stopping without a leak
//!
//! A waker may be used after the workers have left. A task that it pushed to the injector then would keep itself alive: the
//! task owns a reference to [`Shared`], which owns the injector. So whoever pushes looks at the phase *after* the push, and
//! whoever sets [`Phase::Stopped`] empties the injector (and the inbox beside it) *after* the store; with a `SeqCst` fence between the two steps on both sides,
//! one of them sees what the other did and drops the task, which cancels it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering, fence};
use std::thread::Thread;

use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;
use divisi_task::{Cause, Inbox, Registry, Runnable, Schedule, TaskId, UnhandledPanic};

use parking_lot::Mutex;

use crate::census::Census;
use crate::config::{EnterSeat, LONG_QUEUE, LongPolls, Setup, Spares};
use crate::context;
use crate::emptying::Emptying;
use crate::idle::Idle;
use crate::lookout::Lookout;
use crate::lowered;
use crate::monitor::Monitor;
use crate::seat::Seat;
use crate::settled::settled;
use crate::slow_lane::SlowLane;
use crate::spare::Muster;
use crate::threads::Threads;

/// How far a scheduler is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Running = 0,
    /// Workers leave their seats as soon as the poll they are in returns.
    Stopping = 1,
    /// No worker will look at the injector again.
    Stopped = 2,
}

pub(crate) struct Shared {
    pub(crate) seats: Box<[Seat]>,
    /// Seats that are held all the time; the rest are spares.
    pub(crate) workers: usize,
    pub(crate) spares: Option<Spares>,
    pub(crate) muster: Muster,
    pub(crate) threads: Threads,
    /// Threads that drive a root future without a seat.
    pub(crate) alone: Mutex<Vec<Thread>>,
    pub(crate) injector: Injector<Runnable>,
    /// What threads of lowered priority inject. A thread that is preempted in the middle of a push to the injector keeps
    /// whoever takes from it spinning, and a lowered one stays preempted for long; nobody ever waits for anybody at an inbox.
    pub(crate) lowered: CachePadded<Inbox<Runnable>>,
    pub(crate) slow_lane: SlowLane,
    /// Counts the looks of the lookout and the monitor: a coarse clock for workers that never sleep.
    pub(crate) looks: CachePadded<AtomicU32>,
    pub(crate) idle: Idle,
    /// These are written now and then, next to much that is read at every step.
    pub(crate) lookout: CachePadded<Lookout>,
    pub(crate) monitor: CachePadded<Monitor>,
    pub(crate) census: CachePadded<Census>,
    pub(crate) emptying: Emptying,
    pub(crate) registry: Arc<Registry>,
    pub(crate) background: bool,
    pub(crate) enter: EnterSeat,
    pub(crate) long_polls: Option<LongPolls>,
    unhandled_panic: Arc<dyn Fn(UnhandledPanic) + Send + Sync>,
    phase: AtomicU8,
}

impl Shared {
    pub(crate) fn new(setup: Setup) -> Shared {
        let workers = setup.drivers.len();
        let count = workers + setup.spares.as_ref().map_or(0, |spares| spares.most);
        let seats: Box<[Seat]> = setup
            .drivers
            .into_iter()
            .enumerate()
            .map(|(index, driver)| Seat::new(index, count, Some(driver)))
            .chain((workers..count).map(|index| Seat::new(index, count, None)))
            .collect();
        Shared {
            idle: Idle::new(count, workers),
            workers,
            spares: setup.spares,
            looks: CachePadded::new(AtomicU32::new(0)),
            lookout: CachePadded::new(Lookout::default()),
            monitor: CachePadded::new(Monitor::new(setup.background && count > 1)),
            census: CachePadded::new(Census::new(setup.jump)),
            long_polls: setup.long_polls,
            emptying: Emptying::default(),
            registry: setup.registry,
            background: setup.background,
            enter: setup.enter,
            unhandled_panic: setup.unhandled_panic,
            injector: Injector::new(),
            lowered: CachePadded::new(Inbox::new()),
            slow_lane: SlowLane::new(),
            phase: AtomicU8::new(Phase::Running as u8),
            muster: Muster::default(),
            alone: Mutex::new(Vec::new()),
            threads: Threads::new(setup.thread_name, setup.stack_size),
            seats,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Stopping,
            _ => Phase::Stopped,
        }
    }

    /// Never goes back.
    pub(crate) fn advance_to(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Queues a task from a thread that holds no seat of this scheduler.
    pub(crate) fn inject(&self, task: Runnable) {
        if lowered::is_marked() {
            self.lowered.push(task);
        } else if self.slow_lane.is_for(task.id()) {
            return self.queue_slowly(task);
        } else {
            self.injector.push(task);
        }
        // Contains the fence that the module doc asks for.
        self.wake_for_work();
        self.drop_if_stopped();
    }

    /// Queues a task whose polls take long.
    pub(crate) fn queue_slowly(&self, task: Runnable) {
        self.keep_slowly(task);
        self.wake_worker();
    }

    /// The same for a worker that takes the task back at once, sooner than a peer is awake.
    pub(crate) fn keep_slowly(&self, task: Runnable) {
        self.slow_lane.push(task);
        fence(Ordering::SeqCst);
        self.drop_if_stopped();
    }

    /// Looks at the phase, as the module doc asks of whoever has pushed and passed a fence.
    pub(crate) fn drop_if_stopped(&self) {
        if self.phase() == Phase::Stopped {
            self.drop_injected();
        }
    }

    /// Wakes a sleeping worker, not a spare.
    pub(crate) fn wake_worker(&self) {
        if let Some(seat) = self.idle.wake_among(self.workers) {
            self.seats[seat].driver().unpark();
        }
    }

    /// Whether the seat is held all the time, not by a spare.
    pub(crate) fn is_worker(&self, seat: usize) -> bool {
        seat < self.workers
    }

    /// Whether a task waits that belongs to no worker.
    pub(crate) fn has_shared_work(&self) -> bool {
        self.has_injected() || !self.slow_lane.is_empty()
    }

    /// Whether a task waits that no worker has taken yet, the slow lane aside.
    pub(crate) fn has_injected(&self) -> bool {
        !self.injector.is_empty() || !self.lowered.is_empty()
    }

    pub(crate) fn drop_injected(&self) {
        drop(self.lowered.take_all());
        while let Some(task) = self.slow_lane.take() {
            drop(task);
        }
        while let Some(task) = settled(|| self.injector.steal()) {
            drop(task);
        }
    }

    /// Wakes a sleeping worker for work that was just made visible, unless one searches already.
    pub(crate) fn wake_for_work(&self) {
        if let Some(seat) = self.idle.wake_for_work() {
            self.seats[seat].driver().unpark();
        }
    }

    /// Wakes one sleeping worker, whoever it is.
    pub(crate) fn wake_any(&self) {
        if let Some(seat) = self.idle.claim() {
            self.seats[seat].driver().unpark();
        }
    }

    /// Makes every worker, and everybody who waits for a seat, look at the phase.
    pub(crate) fn wake_everybody(&self) {
        for seat in &self.seats {
            if let Some(driver) = seat.existing_driver() {
                driver.unpark();
            }
            seat.wake_waiting();
        }
        self.monitor.wake();
        self.alone.lock().iter().for_each(Thread::unpark);
    }

    /// Whether a worker that is about to sleep should look through the queues once more.
    pub(crate) fn work_visible(&self, seat: usize) -> bool {
        self.has_injected()
            || (self.is_worker(seat) && !self.slow_lane.is_empty())
            || self.seats[seat].queue_length() > 0
            || self
                .seats
                .iter()
                .any(|other| other.stealer.len() >= LONG_QUEUE)
    }

    /// The census of an idle scheduler, every seat parked and every queue empty: all polls until then.
    pub(crate) fn nothing_runs(&self) -> Option<u64> {
        let rests = self.idle.all_resting()
            && !self.has_shared_work()
            && self.seats.iter().all(|seat| seat.queue_length() == 0);
        rests.then(|| self.total_polls())
    }

    /// A look was taken: workers that never sleep do their maintenance.
    pub(crate) fn count_look(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// Polls by all workers so far.
    pub(crate) fn total_polls(&self) -> u64 {
        self.seats
            .iter()
            .map(|seat| seat.counters.all_polls())
            .fold(0, u64::wrapping_add)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("phase", &self.phase())
            .field("seats", &self.seats)
            .field("injector", &self.injector.len())
            .field("lowered", &self.lowered)
            .field("idle", &self.idle)
            .field("lookout", &self.lookout)
            .field("census", &self.census)
            .finish_non_exhaustive()
    }
}

/// What a task holds of its scheduler. One per seat and one for spawns from elsewhere, so that the reference count that every
/// spawn and every end of a task touches is not shared between cores. Aligned so that the count, which the [`Arc`] keeps in front, is not on the
/// line that wakers on other cores read.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Home {
    pub(crate) shared: Arc<Shared>,
    /// The registry shard of tasks that are spawned through this home.
    pub(crate) shard: usize,
}

impl Schedule for Home {
    fn schedule(&self, task: Runnable, cause: Cause) {
        context::schedule(&self.shared, task, cause);
    }

    fn unhandled_panic(&self, report: UnhandledPanic) {
        (self.shared.unhandled_panic)(report);
    }

    fn completed(&self, _task: TaskId) {
        self.shared.emptying.task_ended();
    }
}
