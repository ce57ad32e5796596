//! The blocking pool: elastic threads for closures that wait (files, DNS, a C library, a lock).
//!
//! What it guarantees:
//! - A job that was taken in runs, or its handle resolves to an error; none is lost to a thread that is about to time
//!   out, or to a thread that cannot be started ([`roster`] has the proof).
//! - Jobs start in the order in which they were submitted.
//! - There are never more than `max_threads` threads at work, and none after `keep_alive` without work.
//! - Wake-ups and thread starts happen outside the lock.

mod builder;
mod misuse;
mod roster;
mod worker;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use divisi_task::{Cause, JoinHandle, Registry, Runnable, Schedule, SpawnOptions, UnhandledPanic};
use parking_lot::{Condvar, Mutex};

pub use builder::BlockingPoolBuilder;
use builder::PanicHook;
use misuse::CpuBoundHook;
pub use misuse::CpuBoundJob;
use roster::{Refused, Roster, Summons};

use crate::census::Census;
use crate::error::{SpawnError, no_thread};
use crate::job;
use crate::offload::Work;
use crate::stuck::{self, Running, StuckJob};
use crate::thread::ThreadConfig;

/// Elastic threads for closures that wait.
///
/// A job runs at once on an idle thread, or on a new one, up to the cap; past the cap it queues. For closures that
/// compute there is [`ComputePool`](crate::ComputePool).
///
/// Dropping the pool cancels the jobs that have not started and lets the threads end by themselves; it does not wait.
/// To wait, call [`shutdown`](Self::shutdown).
///
/// # Examples
/// ```
/// use divisi_blocking::BlockingPool;
///
/// let pool = BlockingPool::builder().max_threads(8).build()?;
/// let handle = pool.spawn(|| std::fs::read_to_string("/etc/hostname").is_ok())?;
/// let _found: bool = futures_lite::future::block_on(handle)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BlockingPool {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    roster: Mutex<Roster<Runnable>>,
    /// Notified when the last thread has ended, or the last but one.
    empty: Condvar,
    census: Census,
    registry: Arc<Registry>,
    threads: ThreadConfig,
    keep_alive: Duration,
    unhandled_panic: Option<PanicHook>,
    cpu_bound: Option<CpuBoundHook>,
    /// Threads asked for since the pool was made; gives them their numbers.
    asked_for: AtomicUsize,
    start_failures: AtomicUsize,
}

/// What a [`BlockingPool`] is doing. The numbers are taken under one lock, and fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockingMetrics {
    /// Threads now.
    pub threads: usize,
    /// Threads that wait for a job.
    pub idle: usize,
    /// Threads that run a job.
    pub running: usize,
    /// Jobs that wait for a thread.
    pub queued: usize,
    /// The most threads there ever were at a time.
    pub peak: usize,
    /// Threads started since the pool was made.
    pub started: usize,
    /// How often the system refused to start a thread.
    pub start_failures: usize,
}

impl BlockingPool {
    /// Starts to set a pool up.
    pub fn builder() -> BlockingPoolBuilder {
        BlockingPoolBuilder::new()
    }

    fn from_builder(builder: BlockingPoolBuilder) -> Self {
        Self {
            shared: Arc::new(Shared {
                roster: Mutex::new(Roster::new(builder.max_threads)),
                empty: Condvar::new(),
                census: Census::new(builder.on_quiet),
                registry: builder
                    .registry
                    .unwrap_or_else(|| Arc::new(Registry::new(1))),
                threads: builder.threads,
                keep_alive: builder.keep_alive,
                unhandled_panic: builder.unhandled_panic,
                cpu_bound: builder.cpu_bound,
                asked_for: AtomicUsize::new(0),
                start_failures: AtomicUsize::new(0),
            }),
        }
    }

    /// Runs the closure on a thread of the pool. Never waits.
    ///
    /// Dropping the handle detaches the job. Cancelling it before it has started means that the closure is dropped
    /// without having been called, when its turn comes; once it runs, nothing can stop it.
    ///
    /// # Errors
    /// [`SpawnError::Closed`] after the pool has been shut down, [`SpawnError::NoThread`] if the pool has no thread and
    /// the system refuses to start one. The closure is dropped then.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(SpawnOptions::new(), f)
    }

    /// [`spawn`](Self::spawn) with a name, a parent or another place in the registry.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_with<F, T>(&self, options: SpawnOptions, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.shared.census.enter()?;
        match divisi_task::spawn(
            job::once(f),
            Arc::clone(&self.shared),
            &self.shared.registry,
            options,
        ) {
            Ok((job, handle)) => self.shared.submit(job).map(|()| handle),
            Err(closed) => {
                self.shared.census.leave();
                Err(closed.into())
            }
        }
    }

    /// Takes work from elsewhere.
    pub(crate) fn execute_work(&self, work: Work) {
        match self.shared.census.enter() {
            // If no thread can be had, or the pool was just closed, the job is dropped, and the handle says so.
            Ok(()) => drop(self.shared.submit(work.into_runnable())),
            Err(closed) => work.refuse(SpawnError::from(closed).to_string()),
        }
    }

    /// How many jobs were taken in and have not completed. A job counts from before anybody can run it until after
    /// its joiner was woken.
    pub fn in_flight(&self) -> usize {
        self.shared.census.in_flight()
    }

    /// What the pool is doing now.
    pub fn metrics(&self) -> BlockingMetrics {
        let count = self.shared.roster.lock().headcount();
        let start_failures = self.shared.start_failures.load(Relaxed);
        BlockingMetrics {
            threads: count.threads,
            idle: count.idle,
            running: count.running,
            queued: count.queued,
            peak: count.peak,
            started: self
                .shared
                .asked_for
                .load(Relaxed)
                .saturating_sub(start_failures),
            start_failures,
        }
    }

    /// Takes no more jobs, cancels those that have not started, and waits until every thread has ended, but no longer
    /// than `deadline`. Returns the jobs that were still running then; their threads end when they do.
    ///
    /// May be called again, to wait for longer. Called by a job of the pool, it does not wait for that job.
    pub fn shutdown(&self, deadline: Duration) -> Vec<StuckJob> {
        self.shared.close();
        let until = Instant::now().checked_add(deadline);
        let own = usize::from(worker::is_own(&self.shared));
        let mut roster = self.shared.roster.lock();
        while !roster.is_down_to(own) {
            let timed_out = match until {
                Some(until) => self.shared.empty.wait_until(&mut roster, until).timed_out(),
                None => {
                    self.shared.empty.wait(&mut roster);
                    false
                }
            };
            if timed_out {
                break;
            }
        }
        let running: Vec<Running> = roster.running().collect();
        drop(roster);
        stuck::report(&running, &self.shared.registry)
    }
}

impl Drop for BlockingPool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool")
            .field("name", &self.shared.threads.name)
            .field("metrics", &self.metrics())
            .field("census", &self.shared.census)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn submit(self: &Arc<Self>, job: Runnable) -> Result<(), SpawnError> {
        let id = job.id();
        let submitted = self.roster.lock().submit(job);
        let failure = match submitted {
            Ok(summons) => self.answer_as(summons, Some(id)),
            Err(Refused(job)) => {
                drop(job);
                self.census.leave();
                Some(SpawnError::Closed)
            }
        };
        failure.map_or(Ok(()), Err)
    }

    /// Wakes or starts the thread that a transition of the roster has claimed.
    fn answer(self: &Arc<Self>, summons: Summons) {
        // A thread answers for a thread to follow it; while it lives itself, no job is failed.
        let failure = self.answer_as(summons, None);
        debug_assert!(failure.is_none());
    }

    /// As [`answer`](Self::answer). The error is for the job with the id `own`, if that job is among those that nobody
    /// is left to run.
    fn answer_as(
        self: &Arc<Self>,
        mut summons: Summons,
        own: Option<divisi_task::TaskId>,
    ) -> Option<SpawnError> {
        let mut failure = None;
        loop {
            let (seat, doorbell) = match summons {
                Summons::Nobody => return failure,
                Summons::Ring(bell) => {
                    // A full doorbell has been rung already and not been heard yet, which serves as well.
                    let _ = bell.try_send(());
                    return failure;
                }
                Summons::Start(seat, doorbell) => (seat, doorbell),
            };
            let number = self.asked_for.fetch_add(1, Relaxed);
            let shared = Arc::clone(self);
            let body = Box::new(move || worker::run(&shared, seat, &doorbell));
            let Err(error) = self.threads.start(number, body) else {
                return failure;
            };
            self.start_failures.fetch_add(1, Relaxed);
            let (orphans, instead) = self.roster.lock().start_failed(seat);
            failure = self.fail(orphans, error, own);
            summons = instead;
        }
    }

    /// Ends jobs that nobody is left to run: with an error for the caller's own, with a reason for the others'.
    fn fail(
        &self,
        orphans: Vec<Runnable>,
        error: io::Error,
        own: Option<divisi_task::TaskId>,
    ) -> Option<SpawnError> {
        let mut is_own = false;
        for job in orphans {
            if Some(job.id()) == own {
                is_own = true;
                drop(job);
            } else {
                job::cancel(job, no_thread(&error));
            }
            self.census.leave();
        }
        is_own.then_some(SpawnError::NoThread(error))
    }

    fn close(&self) {
        self.census.close();
        let (jobs, bells) = self.roster.lock().close();
        for bell in bells {
            let _ = bell.try_send(());
        }
        for job in jobs {
            job::cancel(
                job,
                "the blocking pool was shut down before the job started",
            );
            self.census.leave();
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
