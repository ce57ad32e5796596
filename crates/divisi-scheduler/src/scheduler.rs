//! The handle to a scheduler: start, spawn, drive, stop.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divisi_task::{Cause, Closed, JoinHandle, Prepared, Registry, SpawnOptions};

use crate::config::Setup;
use crate::context;
use crate::metrics::SchedulerMetrics;
use crate::monitor;
use crate::root;
use crate::shared::{Home, Phase, Shared};
use crate::threads::Threads;
use crate::worker::Worker;

/// A counted handle to a scheduler. Dropping handles stops nothing; see [`stop`](Scheduler::stop).
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
    home: Arc<Home>,
}

/// Why [`Scheduler::block_on`] could not run a future to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockOnError {
    /// The thread already drives a scheduler.
    Nested,
    /// The scheduler has been stopped.
    Stopped,
}

impl fmt::Display for BlockOnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BlockOnError::Nested => {
                "this thread already drives a divisi runtime, and blocking on another future here would stall its tasks: \
                 `.await` the future, or block on it from a thread of its own (`spawn_blocking`)"
            }
            BlockOnError::Stopped => "the divisi runtime was shut down before the future completed: keep the `Runtime` alive until it has",
        })
    }
}

impl std::error::Error for BlockOnError {}

/// What was left when a scheduler had stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Seats whose threads were still inside a poll at the deadline. They end when that poll returns.
    pub stuck_seats: Vec<usize>,
}

impl Scheduler {
    /// Makes a scheduler; no thread runs before [`start`](Scheduler::start).
    ///
    /// # Panics
    ///
    /// If `setup` has no driver.
    pub fn new(setup: Setup) -> Scheduler {
        assert!(
            !setup.drivers.is_empty(),
            "a scheduler needs at least one worker"
        );
        let shared = Arc::new(Shared::new(setup));
        let home = Arc::new(Home {
            shared: shared.clone(),
            shard: shared.seats.len(),
        });
        Scheduler { shared, home }
    }

    /// Starts the background threads.
    ///
    /// # Errors
    ///
    /// The operating system's, if it refuses a thread; the scheduler is stopped then.
    pub fn start(&self) -> io::Result<()> {
        if !self.shared.background {
            return Ok(());
        }
        let shared = &self.shared;
        let started = (0..shared.workers).try_for_each(|seat| {
            Threads::start(shared, seat, move |shared| run_in_background(shared, seat))
        });
        if started.is_err() {
            self.stop(Instant::now() + Duration::from_secs(1));
        }
        started
    }

    /// Spawns a task. From a worker it goes to that worker's queue, from elsewhere to the injector.
    ///
    /// # Errors
    ///
    /// [`Closed`] after [`close`](Scheduler::close).
    // Always inlined: see `divisi_task::Prepared`.
    #[inline(always)]
    pub fn spawn<F>(
        &self,
        future: F,
        options: SpawnOptions,
    ) -> Result<JoinHandle<F::Output>, Closed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if self.shared.monitor.is_missing() {
            monitor::start_for_spawn(&self.shared);
        }
        let home = context::home_of_spawn(&self.home);
        let options = options.shard(home.shard);
        let prepared = Prepared::new(home, &self.shared.registry, options)?;
        let (task, handle) = prepared.spawn(future)?;
        context::schedule(&self.shared, task, Cause::Spawned);
        Ok(handle)
    }

    /// Spawns a task that never leaves the current thread. Only a scheduler without background threads can run it, on the
    /// thread that drives it.
    ///
    /// # Errors
    ///
    /// [`Closed`] after [`close`](Scheduler::close).
    ///
    /// # Panics
    ///
    /// If the scheduler has background threads.
    pub fn spawn_local<F>(
        &self,
        future: F,
        options: SpawnOptions,
    ) -> Result<JoinHandle<F::Output>, Closed>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        assert!(
            !self.shared.background,
            "local tasks need a scheduler that runs on one thread only"
        );
        let home = context::home_of_spawn(&self.home);
        let options = options.shard(home.shard);
        let (task, handle) =
            divisi_task::spawn_local(future, home, &self.shared.registry, options)?;
        context::schedule(&self.shared, task, Cause::Spawned);
        Ok(handle)
    }

    /// Drives `future` on the current thread until it completes; the thread is a worker meanwhile if seat 0 can be had.
    ///
    /// # Errors
    ///
    /// [`BlockOnError::Nested`] on a thread that drives a scheduler already, [`BlockOnError::Stopped`] if this one stops first.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, BlockOnError> {
        if context::is_driving() {
            return Err(BlockOnError::Nested);
        }
        if self.shared.phase() != Phase::Running {
            return Err(BlockOnError::Stopped);
        }
        match self.shared.seats[0].take_from_holder() {
            Some(core) => {
                root::run_on_seat(&self.shared, 0, core, future).ok_or(BlockOnError::Stopped)
            }
            None => root::run_alone(&self.shared, future).ok_or(BlockOnError::Stopped),
        }
    }

    /// Drives `future` on the current thread without taking a seat. The tasks it waits for must be run by others.
    ///
    /// # Errors
    ///
    /// [`BlockOnError::Nested`] on a thread that drives a scheduler already.
    pub fn block_on_alone<F: Future>(&self, future: F) -> Result<F::Output, BlockOnError> {
        if context::is_driving() {
            return Err(BlockOnError::Nested);
        }
        root::run_alone(&self.shared, future).ok_or(BlockOnError::Stopped)
    }

    /// Handles ready events and runs ready tasks on the current thread, at most `polls` of them, without ever waiting. Returns how
    /// many tasks it polled. For schedulers without background threads that another event loop drives.
    ///
    /// # Errors
    ///
    /// [`BlockOnError::Nested`] on a thread that drives a scheduler already, or while another thread drives this one.
    pub fn turn(&self, polls: usize) -> Result<usize, BlockOnError> {
        if context::is_driving() {
            return Err(BlockOnError::Nested);
        }
        if self.shared.phase() != Phase::Running {
            return Err(BlockOnError::Stopped);
        }
        let core = self.shared.seats[0]
            .take_now()
            .ok_or(BlockOnError::Nested)?;
        let _entered_hook = (self.shared.enter)(0);
        let entered = context::enter(&self.shared, 0, core);
        let worker = Worker::new(entered.context.clone());
        Ok(worker.turn(polls))
    }

    /// A thread that may have no seat is about to wait with the first driver: sees that somebody looks after that, whatever the root does that keeps
    /// its worker.
    #[inline]
    pub fn attend(&self) {
        if self.shared.monitor.is_missing() && self.current_seat().is_none() {
            monitor::start_for_spawn(&self.shared);
        }
    }

    /// The seat that the current thread holds in this scheduler.
    pub fn current_seat(&self) -> Option<usize> {
        context::seat_in(&self.shared)
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.shared.workers
    }

    /// Whether tasks wait to be run on the current moment's snapshot of all queues.
    pub fn has_ready_tasks(&self) -> bool {
        self.shared.has_shared_work()
            || self.shared.seats.iter().any(|seat| seat.queue_length() > 0)
    }

    /// Where all tasks are listed.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// Counters and queue lengths as they are now.
    pub fn metrics(&self) -> SchedulerMetrics {
        SchedulerMetrics {
            workers: self.shared.seats[..self.shared.workers]
                .iter()
                .map(|seat| seat.metrics())
                .collect(),
            spares: self.shared.seats[self.shared.workers..]
                .iter()
                .map(|seat| seat.metrics())
                .collect(),
            spares_running: self
                .shared
                .idle
                .present()
                .saturating_sub(self.shared.workers),
            stalls: self.shared.monitor.stalls.get(),
            injector_length: self.shared.injector.len(),
            slow_lane_length: self.shared.slow_lane.len(),
            live_tasks: self.shared.registry.len(),
            monitor_wakeups: self.shared.monitor.wakeups.get(),
        }
    }

    /// Keeps virtual time from moving until [`release_clock`](Scheduler::release_clock): something runs that the scheduler does not see.
    pub fn hold_clock(&self) {
        self.shared.census.hold();
    }

    /// Ends one [`hold_clock`](Scheduler::hold_clock).
    pub fn release_clock(&self) {
        if self.shared.census.release() {
            self.shared.wake_any();
        }
    }

    /// Something ended that may have kept virtual time from moving, or was the last thing that [`wait_empty`](Scheduler::wait_empty) waits for,
    /// and that is not a task of this scheduler: a job of a pool.
    pub fn job_ended(&self) {
        self.shared.emptying.task_ended();
        if self.shared.census.is_virtual() {
            self.shared.wake_any();
        }
    }

    /// Blocks the calling thread until no task lives, the caller's own not counted, or the deadline has passed. Returns whether none lives.
    pub fn wait_empty(&self, deadline: Instant) -> bool {
        let own = self.current_seat().and_then(|_| divisi_task::current::id());
        let left = usize::from(own.is_some());
        self.shared
            .emptying
            .wait(&self.shared.registry, left, deadline)
    }

    /// Lets every worker leave as soon as the poll it is in returns, and does not wait for that; see [`stop`](Scheduler::stop).
    pub fn begin_stop(&self) {
        self.close();
        self.shared.advance_to(Phase::Stopping);
        self.shared.wake_everybody();
    }

    /// Refuses new tasks from now on. Those that live go on.
    pub fn close(&self) {
        self.shared.registry.close();
    }

    /// Stops the workers: each leaves as soon as the poll it is in returns. Waits for that until `deadline`, then drops what is still queued,
    /// which cancels it. May be called again, and from a worker, which does not wait for itself.
    pub fn stop(&self, deadline: Instant) -> Stopped {
        self.begin_stop();
        let mut stuck_seats = Threads::wait(&self.shared, deadline);
        // The monitor is on its way out; it runs nothing of the user's that could hold it.
        stuck_seats.retain(|&number| number < self.shared.seats.len());
        self.shared.advance_to(Phase::Stopped);
        self.shared.drop_injected();
        self.shared.seats.iter().for_each(|seat| seat.drop_queued());
        Stopped { stuck_seats }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheduler").field(&self.shared).finish()
    }
}

/// Whether the current thread drives a scheduler at the moment.
pub fn is_worker_thread() -> bool {
    context::is_driving()
}

/// The life of a background thread: hold the seat whenever nobody else wants it.
fn run_in_background(shared: &Arc<Shared>, seat: usize) {
    let _entered_hook = (shared.enter)(seat);
    let stopping = || shared.phase() != Phase::Running;
    while let Some(core) = shared.seats[seat].take_in_background(stopping) {
        let entered = context::enter(shared, seat, core);
        let worker = Worker::new(entered.context.clone());
        let leave = || stopping() || shared.seats[seat].is_wanted();
        while !leave() {
            if !worker.step() {
                worker.sleep(leave);
            }
        }
    }
}
