//! What the compute pool counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::order::Priority;
use crate::job::Outcome;

/// What a [`ComputePool`](crate::ComputePool) is doing, and has done since it was made. The numbers are read one by
/// one, and need not fit together while jobs come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComputeMetrics {
    /// Threads now: 0 before the first job, then as many as configured.
    pub threads: usize,
    /// Offloaded jobs that run now. Never more than the configured number of threads, and one that is [`helped`](Self::helped).
    pub running: usize,
    /// The most jobs that ever ran at a time.
    pub running_peak: usize,
    /// Jobs that wait, by priority; in the order of [`Priority::ALL`].
    pub queued: [usize; Priority::ALL.len()],
    /// Jobs taken in.
    pub submitted: u64,
    /// Jobs that returned a value.
    pub completed: u64,
    /// Jobs that were cancelled before they started.
    pub cancelled: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Panics of closures that were given to rayon directly (`rayon::spawn`), for which nobody waits.
    pub stray_panics: u64,
    /// Threads that could not be made as nice as was asked for.
    pub demotion_failed: usize,
    /// How often compute threads gave their core away, between jobs and at checkpoints.
    pub yields: u64,
    /// Jobs that the helper ran because the compute threads were starved of the cores.
    pub helped: u64,
    /// Wake-ups of the per-core tickers, if there are any.
    pub ticks: u64,
    /// How often a runner began on a thread that was in the middle of a job, and had to be sent elsewhere.
    pub bounced: u64,
    /// How long jobs waited, from being submitted to being taken, all added up.
    pub queue_wait: Duration,
    /// How long jobs ran, all added up.
    pub run_time: Duration,
}

impl ComputeMetrics {
    /// How many jobs of one priority wait.
    #[must_use]
    pub fn queued(&self, priority: Priority) -> usize {
        self.queued[priority.index()]
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) threads: AtomicUsize,
    pub(super) running: AtomicUsize,
    pub(super) running_peak: AtomicUsize,
    pub(super) queued: [AtomicUsize; Priority::ALL.len()],
    pub(super) submitted: AtomicU64,
    completed: AtomicU64,
    cancelled: AtomicU64,
    panicked: AtomicU64,
    pub(super) stray_panics: AtomicU64,
    pub(super) demotion_failed: AtomicUsize,
    pub(super) yields: AtomicU64,
    pub(super) helped: AtomicU64,
    pub(super) ticks: AtomicU64,
    pub(super) bounced: AtomicU64,
    queue_wait_ns: AtomicU64,
    run_ns: AtomicU64,
}

impl Counters {
    pub(super) fn ended(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Returned => &self.completed,
            Outcome::Cancelled => &self.cancelled,
            Outcome::Panicked => &self.panicked,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// How many jobs have left the queue.
    pub(super) fn begun(&self) -> u64 {
        let queued = self.queued.iter().map(|line| line.load(Relaxed) as u64);
        self.submitted.load(Relaxed).saturating_sub(queued.sum())
    }

    pub(super) fn waited(&self, wait: Duration) {
        self.queue_wait_ns.fetch_add(nanos(wait), Relaxed);
    }

    pub(super) fn ran(&self, time: Duration) {
        self.run_ns.fetch_add(nanos(time), Relaxed);
    }

    pub(super) fn read(&self) -> ComputeMetrics {
        ComputeMetrics {
            threads: self.threads.load(Relaxed),
            running: self.running.load(Relaxed),
            running_peak: self.running_peak.load(Relaxed),
            queued: std::array::from_fn(|line| self.queued[line].load(Relaxed)),
            submitted: self.submitted.load(Relaxed),
            completed: self.completed.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            panicked: self.panicked.load(Relaxed),
            stray_panics: self.stray_panics.load(Relaxed),
            demotion_failed: self.demotion_failed.load(Relaxed),
            yields: self.yields.load(Relaxed),
            helped: self.helped.load(Relaxed),
            ticks: self.ticks.load(Relaxed),
            bounced: self.bounced.load(Relaxed),
            queue_wait: Duration::from_nanos(self.queue_wait_ns.load(Relaxed)),
            run_time: Duration::from_nanos(self.run_ns.load(Relaxed)),
        }
    }
}

/// 584 years of job time pass before the sum wraps.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
