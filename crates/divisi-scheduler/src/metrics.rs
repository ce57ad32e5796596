//! Counters: written by the worker of a seat alone with plain stores, readable by anybody at any time.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer at a time. Bumping it is a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one seat.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) polls: Counter,
    /// Polls of a root future by the thread that holds the seat.
    pub(crate) root_polls: Counter,
    pub(crate) steals: Counter,
    pub(crate) stolen_tasks: Counter,
    pub(crate) parks: Counter,
    pub(crate) futile_wakeups: Counter,
    pub(crate) injector_pops: Counter,
    pub(crate) looks: Counter,
    pub(crate) rescued_drivers: Counter,
}

impl Counters {
    /// Polls of any kind: two of the same number were read inside one poll.
    pub(crate) fn all_polls(&self) -> u64 {
        self.polls.get().wrapping_add(self.root_polls.get())
    }
}

/// What one worker has done so far, and what waits for it now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Polls of tasks.
    pub polls: u64,
    /// Successful thefts from other workers.
    pub steals: u64,
    /// Tasks that those thefts moved.
    pub stolen_tasks: u64,
    /// Times the worker went to sleep in its driver.
    pub parks: u64,
    /// Times another thread woke this worker and it found nothing to run.
    pub futile_wakeups: u64,
    /// Tasks taken from the shared injector.
    pub injector_pops: u64,
    /// Looks at the queues and drivers of busy workers while this one had nothing to do.
    pub looks: u64,
    /// Drivers of busy workers that this worker polled in their place.
    pub rescued_drivers: u64,
    /// Tasks that wait in this worker's run queue and run slot at the moment of the call.
    pub queue_length: usize,
}

/// A snapshot of a whole scheduler; see [`Scheduler::metrics`](crate::Scheduler::metrics).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchedulerMetrics {
    /// One entry a worker.
    pub workers: Vec<WorkerMetrics>,
    /// One entry a seat for a spare worker, used or not.
    pub spares: Vec<WorkerMetrics>,
    /// Spare workers that run now.
    pub spares_running: usize,
    /// Polls that were taken for stuck, so far.
    pub stalls: u64,
    /// Tasks that wait in the shared injector at the moment of the call, without those from threads of lowered priority.
    pub injector_length: usize,
    /// Tasks whose polls take long and that wait for a worker with nothing else to do, at the moment of the call.
    pub slow_lane_length: usize,
    /// Tasks that have not ended.
    pub live_tasks: usize,
    /// Wake-ups of the monitor thread so far.
    pub monitor_wakeups: u64,
}
