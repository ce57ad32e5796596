//! Compute pools beside the runtime's own one: with a name, a size and a priority of their own.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use divisi_blocking::{
    ComputeMetrics, ComputePool, ComputePoolBuilder, ComputePriority, Offload, OffloadOptions,
    SpawnError, Work,
};
use divisi_task::{JoinHandle, SpawnOptions};
use parking_lot::Mutex;

use super::{Parallel, gate, refused_job};
use crate::context;
use crate::runtime::{BuildError, ExceptionHandler, Inner, Report, pool_hooks};

/// A compute pool of its own: for work that must not queue behind other work, or must stand back further.
///
/// It belongs to the runtime that it was built in: its jobs are listed there, its panics reported there, its threads yield to
/// that runtime's I/O, and it ends with it. Dropping the last clone cancels jobs that have not started.
///
/// More compute threads than cores slow each other down, and this pool's come on top of the runtime's: give it few.
///
/// # Examples
///
/// ```
/// use divisi::compute::{ComputePriority, Pool};
///
/// divisi::run(async {
///     let thumbnails = Pool::builder("thumbs").threads(1).priority(ComputePriority::Background).build()?;
///     let job = thumbnails.offload(|| (1..=10u32).product::<u32>());
///     assert_eq!(job.await.unwrap(), 3_628_800);
///     # Ok::<(), divisi::BuildError>(())
/// })?;
/// # Ok::<(), divisi::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pool {
    pool: Arc<ComputePool>,
    shard: usize,
}

/// Sets a [`Pool`] up.
#[must_use = "a builder does nothing until `build` is called"]
#[derive(Debug)]
pub struct PoolBuilder {
    name: String,
    threads: usize,
    queue_bound: Option<usize>,
    settings: ComputePoolBuilder,
}

impl Pool {
    /// Starts to set a pool up whose threads' names begin with `name`. It has one thread unless told otherwise.
    pub fn builder(name: impl Into<String>) -> PoolBuilder {
        PoolBuilder {
            name: name.into(),
            threads: 1,
            queue_bound: None,
            settings: ComputePool::builder(),
        }
    }

    #[track_caller]
    fn options(&self) -> OffloadOptions {
        SpawnOptions::new().shard(self.shard).into()
    }

    /// Runs a closure on this pool; otherwise as [`offload`](crate::offload).
    #[track_caller]
    pub fn offload<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let options = self.options();
        let location = std::panic::Location::caller();
        self.pool
            .offload_with(options, f)
            .unwrap_or_else(|error| refused_job(location, &error))
    }

    /// Waits until there is room in the queue, and then runs the closure; otherwise as
    /// [`offload_when_room`](super::offload_when_room).
    ///
    /// # Errors
    ///
    /// None of its own: a pool that was shut down gives a handle that says so.
    #[expect(
        clippy::async_yields_async,
        reason = "the wait for room and the wait for the result are two"
    )]
    #[track_caller]
    pub fn offload_when_room<F, T>(
        &self,
        f: F,
    ) -> impl Future<Output = JoinHandle<T>> + use<'_, F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let options = self.options();
        let location = std::panic::Location::caller();
        async move {
            let offloaded = match self.pool.reserve().await {
                Ok(permit) => permit.offload_with(options, f),
                Err(error) => Err(error),
            };
            offloaded.unwrap_or_else(|error| refused_job(location, &error))
        }
    }

    /// As [`compute::map`](super::map), on this pool.
    #[track_caller]
    pub fn map<I, F, R>(&self, items: I, f: F) -> Parallel<Vec<R>>
    where
        I: IntoIterator<Item: Send + 'static>,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        let options = self.options();
        let location = std::panic::Location::caller();
        let map = self.pool.map(options, items, f);
        map.unwrap_or_else(|error: SpawnError| refused_job(location, &error).into())
    }

    /// What the pool is doing, and has done.
    pub fn metrics(&self) -> ComputeMetrics {
        self.pool.metrics()
    }
}

impl Offload for Pool {
    fn execute(&self, work: Work) {
        self.pool.execute(work);
    }
}

impl PoolBuilder {
    /// How many threads compute; one by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How far the threads stand back; [`ComputePriority::Low`] by default.
    pub fn priority(mut self, priority: ComputePriority) -> Self {
        self.settings = self.settings.priority(priority);
        self
    }

    /// The most jobs that may wait before [`offload_when_room`](Pool::offload_when_room) waits; no bound by default.
    pub fn queue_bound(mut self, jobs: usize) -> Self {
        self.queue_bound = Some(jobs);
        self
    }

    /// Builds the pool for the current runtime. Its threads start with the first job.
    ///
    /// # Errors
    ///
    /// A number that makes no sense, or a zero byte in the name; see [`BuildError`].
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread; the message says what to do.
    #[track_caller]
    pub fn build(self) -> Result<Pool, BuildError> {
        let runtime = context::handle();
        let inner = runtime.inner();
        let settings = self
            .settings
            .threads(self.threads)
            .queue_bound(self.queue_bound)
            .thread_name(self.name)
            .registry(inner.shared_registry());
        let pool = for_runtime(settings, &Arc::downgrade(inner), inner.handler())
            .build()
            .map_err(|error| match error {
                divisi_blocking::BuildError::NoThreads => BuildError::ComputeThreads(self.threads),
                divisi_blocking::BuildError::NoRoom => BuildError::ComputeQueue,
                _ => BuildError::ThreadName,
            })?;
        let pool = Arc::new(pool);
        inner.named_pools().add(&pool);
        Ok(Pool {
            pool,
            shard: inner.job_shard(),
        })
    }
}

/// What every compute pool of a runtime has of it, besides its size and the like. Panics are reported even when the runtime is gone.
pub(crate) fn for_runtime(
    settings: ComputePoolBuilder,
    runtime: &Weak<Inner>,
    handler: &ExceptionHandler,
) -> ComputePoolBuilder {
    let (start, stop) = pool_hooks(runtime.clone());
    let (unhandled, stray) = (handler.clone(), handler.clone());
    let (quiet, gate) = (runtime.clone(), runtime.clone());
    settings
        .on_thread_start(move || {
            divisi_reactor::thread_priority::mark_lowered();
            divisi_scheduler::mark_lowered();
            start();
        })
        .on_thread_stop(move || stop())
        .unhandled_panic(move |panic| unhandled.handle(&Report::from(panic)))
        .stray_panic(move |payload| stray.handle(&Report::of_stray_panic(payload)))
        .on_quiet(move || {
            if let Some(inner) = quiet.upgrade() {
                inner.scheduler().job_ended();
            }
        })
        .idle_class(divisi_reactor::thread_priority::become_idle_class)
        .yield_when(move || gate.upgrade().is_some_and(|inner| gate::io_waits(&inner)))
}

/// The named pools of a runtime.
#[derive(Default)]
pub(crate) struct NamedPools(Mutex<Vec<Weak<ComputePool>>>);

impl NamedPools {
    fn add(&self, pool: &Arc<ComputePool>) {
        let mut pools = self.0.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn living(&self) -> Vec<Arc<ComputePool>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Jobs of all pools that have not completed.
    pub(crate) fn in_flight(&self) -> usize {
        self.living().iter().map(|pool| pool.in_flight()).sum()
    }

    /// Shuts all pools down and waits for their threads, until `end`.
    pub(crate) fn shutdown(&self, end: Instant) {
        let pools = self.living();
        // All are closed before any is waited for.
        for pool in &pools {
            pool.shutdown(Duration::ZERO);
        }
        for pool in &pools {
            pool.shutdown(end.saturating_duration_since(Instant::now()));
        }
    }
}

impl fmt::Debug for NamedPools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.living()).finish()
    }
}
