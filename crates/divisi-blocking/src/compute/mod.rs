//! The compute pool: per-core threads for closures that compute, so that I/O never waits for them.
//!
//! ```text
//!  async workers              dispatcher (not nicer)             compute threads (nice 10)
//!  offload ── push ──► inbox ────────────────────────────────►  runner: inbox ─► ordered queue ─► job
//!     └── claim a runner, unpark ──► rayon's `spawn(runner)` ──►      ▲                            │
//!                                                                     └──── between jobs ◄─────────┘
//! ```
//!
//! What it guarantees:
//! - **No async worker waits for a compute thread.** A submitter pushes to an inbox that never waits, and unparks the dispatcher
//!   at most. The ordered queue has a lock, which compute threads take; besides them only the dispatcher (when the pool is closed or
//!   cannot start) and a shutdown (to report) do. A futex has no priority inheritance: a nice thread that is
//!   preempted while it holds a lock that others want holds them up for as long as its neighbours compute.
//! - **Admission is the pool's, not rayon's**: at most as many offloaded jobs run as there are threads; the most urgent is
//!   taken first, and none is starved ([`Priority`]).
//! - **No job is stranded.** A job is made visible (pushed, or moved to the ordered queue) before a runner is claimed
//!   for it, and a runner that finds nothing looks again after it has given its claim up (module `admission` has the proof);
//!   a claim turns into a runner through the dispatcher (module `dispatcher`), or is withdrawn together with all queued
//!   jobs; and a pool that is closed keeps its dispatcher until the census of jobs is zero, so a job that was pushed
//!   while the pool was being closed still ends (cancelled, unrun).
//! - A job that is cancelled before it starts never runs. Its closure is dropped on a compute thread when its turn comes.
//! - A job's panic comes back to whoever awaits the handle.
//! - `par_iter`, `rayon::join` and [`offload_scope`] inside a job use this pool's threads.
//!
//! # What rayon keeps to itself
//!
//! rayon serves what its own threads have spawned before what comes from outside, and a runner comes from outside. A
//! runner that is at work looks at the queue after each piece of such work; but if every compute thread is
//! kept busy by closures given to `rayon::spawn` that spawn their successors themselves and outlive their job, and no
//! runner is at work at that time, a new job waits until one of these threads runs out of them. Use
//! [`offload_scope`] for parts of a job: then the job lasts as long as they do, and the thread comes back to the queue.

mod admission;
mod batch;
mod bounces;
mod builder;
mod checkpoint;
mod context;
mod dispatcher;
mod helper;
mod metrics;
mod nesting;
mod nice;
mod order;
mod parallel;
mod reserve;
mod room;
mod runner;
mod scope;
mod submit;
mod ticker;
mod worker;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::thread::Thread;
use std::time::{Duration, Instant};

use divisi_task::{
    Cause, Inbox, JoinHandle, Registry, Runnable, Schedule, SpawnOptions, UnhandledPanic,
};
use parking_lot::Mutex;

use admission::Admission;
pub use builder::ComputePoolBuilder;
use builder::{PanicHook, StrayPanicHook};
use checkpoint::YieldHook;
pub(crate) use checkpoint::{Caught, MISLED, caught_in_job};
pub use checkpoint::{ComputeYield, checkpoint};
pub use context::on_compute_thread;
pub use metrics::ComputeMetrics;
use metrics::Counters;
use nesting::Nesting;
pub use nice::ComputePriority;
use nice::IdleClass;
pub use order::Priority;
use order::{Caller, Order};
pub use parallel::Parallel;
pub use reserve::{Permit, Reserve};
use room::Room;
pub use scope::{OffloadScope, offload_scope};
use ticker::Ticker;
use worker::{Living, Threads};

use crate::census::Census;
use crate::error::{SpawnError, TryOffloadError};
use crate::offload::Work;
use crate::stuck::{self, Running, StuckJob};
use crate::thread::ThreadConfig;

/// Why jobs are cancelled that have not started when the pool is closed.
const SHUT_DOWN: &str = "the compute pool was shut down before the job started";

/// Per-core threads for closures that compute.
///
/// Dropping the pool cancels the jobs that have not started and lets the threads end by themselves; it does not wait.
/// To wait, call [`shutdown`](Self::shutdown).
///
/// # Examples
/// ```
/// use divisi_blocking::ComputePool;
///
/// let pool = ComputePool::builder().threads(2).build()?;
/// let handle = pool.offload(|| (1..=20_u64).product::<u64>())?;
/// assert_eq!(futures_lite::future::block_on(handle)?, 2_432_902_008_176_640_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ComputePool {
    shared: Arc<Shared>,
}

/// A job that waits.
struct Job {
    runnable: Runnable,
    priority: Priority,
    caller: Caller,
    submitted: Instant,
}

/// What compute threads share among themselves, under a lock that no async worker takes.
struct Queue {
    order: Order<Job>,
    /// The job that each thread runs, or ran last; the helper's is the last place.
    running: Box<[Option<Running>]>,
}

struct Shared {
    admission: Admission,
    inbox: Inbox<Job>,
    queue: Mutex<Queue>,
    /// The length of the ordered queue, for those who must not take its lock.
    ordered: AtomicUsize,
    room: Room,
    census: Census,
    counters: Counters,

    /// Claims whose runners the dispatcher has yet to begin.
    wanted: AtomicUsize,
    /// Claims whose runners could not begin, to be tried again.
    bounced: AtomicUsize,
    phase: AtomicU8,
    dispatcher: OnceLock<Thread>,
    /// The dispatcher sleeps until it is woken, and watches over nothing.
    dozing: AtomicBool,
    /// The helper is at a job, or has been sent to one.
    helping: AtomicBool,
    /// A helper may run a job that the compute threads do not come to.
    may_help: bool,
    /// It may, and the compute threads can be starved: they are watched over.
    helps: bool,
    ticker: Option<Ticker>,
    living: Living,
    compute_threads: Threads,
    nesting: Nesting,

    registry: Arc<Registry>,
    threads: ThreadConfig,
    priority: ComputePriority,
    idle_class: Option<IdleClass>,
    yields: ComputeYield,
    yield_when: Option<YieldHook>,
    unhandled_panic: Option<PanicHook>,
    stray_panic: Option<StrayPanicHook>,
}

/// How a job is offloaded: its priority, and what every task has (name, parent, place in the registry).
#[derive(Debug)]
pub struct OffloadOptions {
    priority: Priority,
    spawn: SpawnOptions,
}

impl OffloadOptions {
    /// Normal priority, no name, and the caller's place in the source as the place of submission.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        SpawnOptions::new().into()
    }

    /// Sets the priority among the jobs that wait.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the name under which the job is listed.
    #[must_use]
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.spawn = self.spawn.name(name);
        self
    }
}

impl Default for OffloadOptions {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl From<SpawnOptions> for OffloadOptions {
    fn from(spawn: SpawnOptions) -> Self {
        Self {
            priority: Priority::default(),
            spawn,
        }
    }
}

impl ComputePool {
    /// Starts to set a pool up.
    pub fn builder() -> ComputePoolBuilder {
        ComputePoolBuilder::new()
    }

    fn from_builder(builder: ComputePoolBuilder) -> Self {
        let limit = builder.limit;
        Self {
            shared: Arc::new(Shared {
                admission: Admission::new(limit),
                inbox: Inbox::new(),
                queue: Mutex::new(Queue {
                    order: Order::new(),
                    running: vec![None; limit + 1].into(),
                }),
                ordered: AtomicUsize::new(0),
                room: Room::new(builder.queue_bound),
                census: Census::new(builder.on_quiet),
                counters: Counters::default(),
                wanted: AtomicUsize::new(0),
                bounced: AtomicUsize::new(0),
                phase: AtomicU8::new(dispatcher::IDLE),
                dispatcher: OnceLock::new(),
                dozing: AtomicBool::new(false),
                helping: AtomicBool::new(false),
                may_help: builder.helps,
                helps: builder.helps && builder.priority != ComputePriority::Normal,
                ticker: builder.ticker.then(Ticker::new),
                living: Living::new(),
                compute_threads: Threads::new(limit),
                nesting: Nesting::new(),
                registry: builder
                    .registry
                    .unwrap_or_else(|| Arc::new(Registry::new(1))),
                threads: builder.threads,
                priority: builder.priority,
                idle_class: builder.idle_class,
                yields: builder.yields,
                yield_when: builder.yield_when,
                unhandled_panic: builder.unhandled_panic,
                stray_panic: builder.stray_panic,
            }),
        }
    }

    /// Runs the closure on a compute thread. Never waits, and takes the job even if the queue is full: the bound is for
    /// those who can be refused ([`try_offload`](Self::try_offload)) or can wait ([`reserve`](Self::reserve)).
    ///
    /// Dropping the handle detaches the job. Cancelling it before it has started means that the closure is dropped
    /// without having been called, when its turn comes; once it runs, it ends at its next [`checkpoint`], if it has any.
    ///
    /// # Errors
    /// [`SpawnError::Closed`] after the pool has been shut down, [`SpawnError::NoThread`] if this is the first job and the
    /// system refuses to start a thread. The closure is dropped then.
    #[track_caller]
    pub fn offload<F, T>(&self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.offload_with(OffloadOptions::new(), f)
    }

    /// [`offload`](Self::offload) with a priority, a name, or a parent.
    ///
    /// # Errors
    /// As [`offload`](Self::offload).
    pub fn offload_with<F, T>(
        &self,
        options: OffloadOptions,
        f: F,
    ) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.shared.room.take_anyway();
        self.shared.offload(options, f)
    }

    /// Runs the closure on a compute thread if there is room in the queue, and nobody waits for room.
    ///
    /// # Errors
    /// [`TryOffloadError::Full`] with the closure if there is no room, else as [`offload`](Self::offload).
    #[track_caller]
    pub fn try_offload<F, T>(&self, f: F) -> Result<JoinHandle<T>, TryOffloadError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_offload_with(OffloadOptions::new(), f)
    }

    /// [`try_offload`](Self::try_offload) with a priority, a name, or a parent.
    ///
    /// # Errors
    /// As [`try_offload`](Self::try_offload).
    pub fn try_offload_with<F, T>(
        &self,
        options: OffloadOptions,
        f: F,
    ) -> Result<JoinHandle<T>, TryOffloadError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !self.shared.room.try_take() {
            return Err(TryOffloadError::Full(f));
        }
        self.shared
            .offload(options, f)
            .map_err(TryOffloadError::Refused)
    }

    /// Waits until there is room in the queue, first come, first served. Ready at once if the queue has no bound.
    ///
    /// # Errors
    /// The future resolves to [`SpawnError::Closed`] when the pool is shut down.
    ///
    /// # Examples
    /// ```
    /// # use divisi_blocking::ComputePool;
    /// # futures_lite::future::block_on(async {
    /// let pool = ComputePool::builder().threads(1).queue_bound(Some(2)).build()?;
    /// let mut handles = Vec::new();
    /// for n in 0..10_u64 {
    ///     handles.push(pool.reserve().await?.offload(move || n * n)?);
    /// }
    /// assert_eq!(handles.pop().unwrap().await?, 81);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn reserve(&self) -> Reserve<'_> {
        Reserve::new(self)
    }

    /// Takes work from elsewhere, with that priority among the jobs that wait.
    pub(crate) fn execute_with(&self, priority: Priority, work: Work) {
        self.shared.room.take_anyway();
        match self.shared.enter() {
            Ok(()) => {
                let caller = work.caller();
                // If no thread can be had, the job is ended like all others, and the handle says so.
                let _ = self.shared.submit(work.into_runnable(), priority, caller);
            }
            Err(error) => work.refuse(error.to_string()),
        }
    }

    /// How many jobs were taken in and have not completed. A job counts from before anybody can run it until after
    /// its joiner was woken.
    pub fn in_flight(&self) -> usize {
        self.shared.census.in_flight()
    }

    /// What the pool is doing, and has done.
    pub fn metrics(&self) -> ComputeMetrics {
        self.shared.counters.read()
    }

    /// How many threads the pool has once it has started.
    pub fn thread_limit(&self) -> usize {
        self.shared.admission.limit()
    }

    /// Takes no more jobs, cancels those that have not started, and waits until every thread has ended, but no longer
    /// than `deadline`. Returns the jobs that were still running then; their threads end when they do.
    ///
    /// May be called again, to wait for longer. A job of the pool that calls it waits for itself in vain.
    pub fn shutdown(&self, deadline: Duration) -> Vec<StuckJob> {
        self.shared.close();
        self.shared
            .living
            .wait_for_none(Instant::now().checked_add(deadline));
        let running: Vec<Running> = {
            let queue = self.shared.queue.lock();
            queue.running.iter().flatten().copied().collect()
        };
        stuck::report(&running, &self.shared.registry)
    }
}

impl Drop for ComputePool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for ComputePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputePool")
            .field("name", &self.shared.threads.name)
            .field("runners", &self.shared.admission.runners())
            .field("ordered", &self.shared.ordered.load(Relaxed))
            .field("living", &self.shared.living)
            .field("census", &self.shared.census)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A closure that was given to rayon directly has panicked.
    fn stray_panic(&self, payload: Box<dyn Any + Send>) {
        if checkpoint::is_unwinding_of_a_job(&*payload) {
            return;
        }
        self.counters.stray_panics.fetch_add(1, Relaxed);
        if let Some(hook) = &self.stray_panic {
            hook(payload);
        }
    }
}

impl Schedule for Shared {
    fn schedule(&self, task: Runnable, _cause: Cause) {
        // A job completes at its first poll and keeps no waker, so nobody ever schedules it a second time. Should
        // that change, dropping it ends it, with its handle told.
        debug_assert!(false, "a job was scheduled twice");
        drop(task);
    }

    fn unhandled_panic(&self, report: UnhandledPanic) {
        if let Some(hook) = &self.unhandled_panic {
            hook(report);
        }
    }
}

#[cfg(test)]
mod tests;
