//! Counters of all parts of a runtime in one snapshot.

use divisi_blocking::{BlockingMetrics, ComputeMetrics};
use divisi_reactor::ReactorMetrics;
use divisi_scheduler::{SchedulerMetrics, WorkerMetrics};

use super::Inner;

/// What a runtime has done so far and what waits in it; see [`Handle::metrics`](crate::Handle::metrics).
///
/// The parts are read one after the other while the runtime goes on, so they need not fit together exactly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeMetrics {
    /// Workers, queues and live tasks.
    pub scheduler: SchedulerMetrics,
    /// One entry a reactor, in the order of the workers.
    pub reactors: Vec<ReactorMetrics>,
    /// The pool of [`spawn_blocking`](crate::spawn_blocking).
    pub blocking: BlockingMetrics,
    /// The pool of [`offload`](crate::offload).
    pub compute: ComputeMetrics,
}

impl RuntimeMetrics {
    pub(super) fn of(inner: &Inner) -> RuntimeMetrics {
        RuntimeMetrics {
            scheduler: inner.scheduler().metrics(),
            reactors: inner
                .reactors()
                .iter()
                .map(|reactor| reactor.metrics())
                .collect(),
            blocking: inner.blocking().metrics(),
            compute: inner.compute().metrics(),
        }
    }

    /// The sum of one counter over all workers.
    ///
    /// # Examples
    ///
    /// ```
    /// let polls = divisi::run(async {
    ///     divisi::spawn(async {}).await.unwrap();
    ///     divisi::Handle::current().metrics().sum(|worker| worker.polls)
    /// });
    /// assert!(polls >= 1);
    /// ```
    pub fn sum(&self, counter: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.scheduler.workers.iter().map(counter).sum()
    }
}
