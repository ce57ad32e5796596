//! The compute pool: CPU-bound closures on threads of their own, one per core, that stand back behind I/O.
//!
//! A worker that computes for 10 ms keeps every connection it handles waiting for 10 ms. [`offload`] hands the closure to a pool of per-core
//! threads with lowered priority instead. The pool is rayon's, so `par_iter` and `join` inside the closure use the same threads;
//! [`offload_scope`] forks and joins closures that borrow, [`map`] and [`chunks`] work on collections. [`checkpoint`] in a long
//! loop lets I/O through in between, and ends a job that was cancelled.
//!
//! | the work | the call |
//! |---|---|
//! | one closure | [`offload`]; with a priority, a name, or a refusal when the queue is full: [`Builder`] |
//! | the same for many items | [`map`], [`chunks`] |
//! | more than the queue should hold | [`offload_when_room`] |
//! | must not queue behind other work | a [`Pool`] of its own |
//! | on threads of your own | [`offload_to`] |
//!
//! ```
//! use divisi::compute::{self, Priority};
//!
//! divisi::run(async {
//!     let sum = compute::Builder::new()
//!         .priority(Priority::High)
//!         .name("sum")
//!         .spawn(|| {
//!             let (low, high) = rayon::join(|| (1..=500u64).sum::<u64>(), || (501..=1000u64).sum::<u64>());
//!             low + high
//!         })
//!         .await
//!         .unwrap();
//!     assert_eq!(sum, 500_500);
//! });
//! ```

mod executor;
mod gate;
mod named;
mod parallel;

use divisi_blocking::{OffloadOptions, SpawnError, TryOffloadError};
use divisi_task::{JoinHandle, SpawnOptions};

pub use divisi_blocking::compute::{checkpoint, on_compute_thread};
pub use divisi_blocking::{
    ComputeMetrics, ComputePriority, ComputeYield, OffloadScope, Priority, offload_scope,
};
pub use executor::{Blocking, Compute, Offload, Work, offload_to};
pub(crate) use named::{NamedPools, for_runtime};
pub use named::{Pool, PoolBuilder};
pub use parallel::{Parallel, chunks, map};

use crate::context;
use crate::runtime::Inner;
use crate::task::spawn::refused;

/// Runs a closure that *computes* on the compute pool of the current runtime.
///
/// At most [`compute_threads`](crate::runtime::Builder::compute_threads) such closures run at a time; the rest waits in a queue by priority and age. A job
/// that is cancelled before it starts never runs; one that runs ends at its next [`checkpoint`]. A panic comes back through the handle. The value is dropped by
/// whoever holds the handle. Do not share locks that block between jobs and tasks: a compute thread may be kept off its core
/// with the lock held, for as long as other programs like. For closures that *wait*, use
/// [`spawn_blocking`](crate::spawn_blocking).
///
/// # Panics
///
/// If there is no runtime on this thread; the message says what to do.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     let primes = divisi::offload(|| (2..1000u32).filter(|n| (2..*n).all(|d| n % d != 0)).count()).await.unwrap();
///     assert_eq!(primes, 168);
/// });
/// ```
#[track_caller]
pub fn offload<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f)
}

/// Offloads a closure with a priority or a name.
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `spawn` is called"]
pub struct Builder {
    priority: Priority,
    name: Option<Box<str>>,
}

/// The compute pool's queue is full; the closure comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<F>(pub F);

impl<F> std::fmt::Debug for Full<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<F> std::fmt::Display for Full<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the queue of the compute pool is full: wait for room with `offload_when_room`, or shed the work")
    }
}

impl<F> std::error::Error for Full<F> {}

impl Builder {
    /// A job of normal priority without a name.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Which waiting jobs go first. A job that waits long rises, so none waits for ever.
    pub fn priority(mut self, priority: Priority) -> Builder {
        self.priority = priority;
        self
    }

    /// The name that reports and [`Handle::tasks`](crate::Handle::tasks) show.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    #[track_caller]
    fn options(self, runtime: &Inner) -> OffloadOptions {
        let options = OffloadOptions::from(SpawnOptions::new().shard(runtime.job_shard()))
            .priority(self.priority);
        match self.name {
            Some(name) => options.name(name),
            None => options,
        }
    }

    /// Offloads the closure; see [`offload`]. It is taken in even if the queue is at its bound.
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread; the message says what to do.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let handle = context::handle();
        let location = std::panic::Location::caller();
        handle
            .inner()
            .compute()
            .offload_with(self.options(handle.inner()), f)
            .unwrap_or_else(|error| refused_job(location, &error))
    }

    /// Offloads the closure unless the queue is at its bound (see [`compute_queue_bound`](crate::runtime::Builder::compute_queue_bound)).
    ///
    /// # Errors
    ///
    /// [`Full`] with the closure.
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread; the message says what to do.
    #[track_caller]
    pub fn try_spawn<F, T>(self, f: F) -> Result<JoinHandle<T>, Full<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let handle = context::handle();
        let location = std::panic::Location::caller();
        match handle
            .inner()
            .compute()
            .try_offload_with(self.options(handle.inner()), f)
        {
            Ok(handle) => Ok(handle),
            Err(TryOffloadError::Full(f)) => Err(Full(f)),
            Err(TryOffloadError::Refused(error)) => Ok(refused_job(location, &error)),
        }
    }
}

/// Waits until the compute queue is below its bound, in order of arrival, and then offloads the closure. Without a bound it never waits.
///
/// # Cancel safety
///
/// Dropping the future before it is ready gives its place in the line up; the closure is dropped with it.
///
/// # Panics
///
/// If there is no runtime on this thread; the message says what to do.
///
/// # Examples
///
/// ```
/// let runtime = divisi::Runtime::builder().worker_threads(1).compute_threads(1).compute_queue_bound(2).build()?;
/// runtime.block_on(async {
///     for n in 0..10u32 {
///         let _job = divisi::compute::offload_when_room(move || n * n).await;
///     }
/// });
/// # Ok::<(), divisi::BuildError>(())
/// ```
#[track_caller]
#[expect(
    clippy::async_yields_async,
    reason = "the wait for room and the wait for the result are two"
)]
pub fn offload_when_room<F, T>(f: F) -> impl Future<Output = JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let handle = context::handle();
    let location = std::panic::Location::caller();
    let options = Builder::new().options(handle.inner());
    async move {
        let pool = handle.inner().compute();
        let offloaded = match pool.reserve().await {
            Ok(permit) => permit.offload_with(options, f),
            Err(error) => Err(error),
        };
        offloaded.unwrap_or_else(|error| refused_job(location, &error))
    }
}

/// The handle of a job that a pool did not take.
pub(crate) fn refused_job<T: 'static>(
    location: &'static std::panic::Location<'static>,
    error: &SpawnError,
) -> JoinHandle<T> {
    refused(location, error.to_string())
}
