//! The runtime: workers, reactors, clock and pools, and the handles to them.

mod builder;
mod callback;
mod cleanups;
#[cfg(feature = "criterion")]
mod criterion;
mod driver;
mod handle;
mod inner;
mod interrupt;
mod local;
mod metrics;
mod report;
mod shutdown;
mod tasks;
#[cfg(feature = "tokio-compat")]
mod tokio_compat;
#[cfg(feature = "tracing")]
mod tracing;
mod unhandled;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use divisi_task::JoinHandle;

pub(crate) use builder::DEFAULT_CLEANUP_DEADLINE;
pub(crate) use builder::pool_hooks;
pub use builder::{BuildError, Builder, Clock};
pub use callback::CallHandle;
pub use divisi_blocking::{BlockingMetrics, ComputeMetrics};
pub use divisi_reactor::ReactorMetrics;
pub use divisi_scheduler::{SchedulerMetrics, WorkerMetrics};
pub use handle::Handle;
pub(crate) use handle::spawn_on;
pub(crate) use inner::Inner;
pub use interrupt::{Interrupted, run_interruptible};
pub use local::LocalRuntime;
pub(crate) use local::spawn_local_on;
pub use metrics::RuntimeMetrics;
pub use report::Report;
pub(crate) use report::{ExceptionHandler, panic_message};
pub use shutdown::{Shutdown, ShutdownReport};
pub use tasks::TaskInfo;
pub use unhandled::UnhandledPanics;

use crate::context::EnterGuard;

/// A multi-threaded runtime.
///
/// It runs tasks on `worker_threads` workers, each with a reactor of its own, and owns two thread pools, for closures that wait
/// ([`spawn_blocking`](crate::spawn_blocking)) and for closures that compute ([`offload`](crate::offload)). Several runtimes may live in one process.
///
/// Dropping it cancels all its tasks and waits, up to 5 s, for polls and jobs that are running;
/// [`shutdown`](Runtime::shutdown) does it with a grace period and tells what was left.
///
/// # Examples
///
/// A program with a plain `main` starts, uses and stops a runtime:
///
/// ```
/// use std::time::Duration;
/// use divisi::{Runtime, Shutdown};
///
/// let runtime = Runtime::builder().worker_threads(2).build()?;
/// let handle = runtime.spawn(async { 6 * 7 });
/// assert_eq!(runtime.block_on(handle).unwrap(), 42);
/// assert!(runtime.shutdown(Shutdown::graceful(Duration::from_secs(1))).is_clean());
/// # Ok::<(), divisi::BuildError>(())
/// ```
pub struct Runtime {
    handle: Handle,
}

impl Runtime {
    /// A runtime with the defaults: one worker and one compute thread per core that this process may use.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`].
    pub fn new() -> Result<Runtime, BuildError> {
        Builder::new().build()
    }

    /// Choices to build a runtime with.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Runtime {
        Runtime {
            handle: Handle::new(inner),
        }
    }

    /// A handle that can be cloned and sent anywhere. It does not keep the runtime running.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Drives `future` on the current thread until it completes. The future may borrow and need not be `Send`.
    ///
    /// The thread becomes a worker while it is inside, and one background worker rests meanwhile; so spawning from the root
    /// future costs what spawning from a task costs. If another thread is inside `block_on` already, this one only drives
    /// its own future.
    ///
    /// # Panics
    ///
    /// If the thread already drives a runtime, if the runtime was shut down, or (with debug assertions) on a compute thread;
    /// the message says what to do. Panics of the future pass through.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Spawns a task; see [`spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Makes this the current runtime of the thread while the guard lives; see [`Handle::enter`].
    pub fn enter(&self) -> EnterGuard {
        self.handle.enter()
    }

    /// The tasks that have not ended; see [`Handle::tasks`].
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.handle.tasks()
    }

    /// Counters of all parts as they are now.
    pub fn metrics(&self) -> RuntimeMetrics {
        self.handle.metrics()
    }

    /// Ends the runtime in numbered phases: no new tasks from outside, task groups are cancelled, grace, cancel, pools, workers; then tells what was cancelled and
    /// where it waited, and what could not be stopped. Blocks the calling thread meanwhile, for at most the grace plus
    /// [the patience](Shutdown::patience) (and a little).
    ///
    /// Calling it again returns the first report. On a worker of this very runtime it does not wait for that worker.
    pub fn shutdown(&self, how: Shutdown) -> ShutdownReport {
        self.handle.shutdown(how)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.handle.shut_down(Shutdown::now());
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.handle, f)
    }
}

/// Builds a runtime with the defaults, drives `future` on the current thread and shuts the runtime down.
///
/// # Panics
///
/// If the operating system refuses what a runtime needs, or the thread already drives one; the message says what to do.
///
/// # Examples
///
/// ```
/// let answer = divisi::run(async {
///     let task = divisi::spawn(async { 21 });
///     2 * task.await.unwrap()
/// });
/// assert_eq!(answer, 42);
/// ```
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    new_for_run().block_on(future)
}

#[track_caller]
fn new_for_run() -> Runtime {
    if divisi_scheduler::is_worker_thread() {
        panic!("{}", divisi_scheduler::BlockOnError::Nested);
    }
    match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => panic!("could not start a divisi runtime: {error}"),
    }
}
