//! The handle to a running runtime.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use divisi_task::{JoinHandle, SpawnOptions};

use super::metrics::RuntimeMetrics;
use super::shutdown::{Shutdown, ShutdownReport};
use super::tasks::TaskInfo;
use super::{Inner, Report};
use crate::context::{self, EnterGuard};
use crate::task::spawn::{SHUT_DOWN, refused, spawn_options};

/// A counted handle to a runtime, to spawn on it and ask about it from anywhere.
///
/// It does not keep the runtime running: that ends with [`Runtime`](crate::Runtime) (or [`LocalRuntime`](crate::LocalRuntime)).
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

impl Handle {
    pub(crate) fn new(inner: Arc<Inner>) -> Handle {
        Handle { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The runtime of the current thread.
    ///
    /// # Panics
    ///
    /// If there is none; the message says what to do. [`try_current`](Handle::try_current) does not panic.
    #[track_caller]
    pub fn current() -> Handle {
        context::handle()
    }

    /// The runtime of the current thread, if there is one.
    pub fn try_current() -> Option<Handle> {
        context::try_handle()
    }

    /// Makes this the current runtime of the thread while the guard lives, so that `spawn`, sockets and timers work outside of its
    /// threads. Guards must be dropped in the reverse order of their creation.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = divisi::Runtime::builder().worker_threads(1).build()?;
    /// let _guard = runtime.enter();
    /// let task = divisi::spawn(async { 1 });
    /// assert_eq!(runtime.block_on(task).unwrap(), 1);
    /// # Ok::<(), divisi::BuildError>(())
    /// ```
    pub fn enter(&self) -> EnterGuard {
        context::enter(self.inner.clone(), 0)
    }

    /// Drives `future` on the current thread until it completes; see [`Runtime::block_on`](crate::Runtime::block_on).
    ///
    /// The handle of a [`LocalRuntime`](crate::LocalRuntime) drives only the future itself: that runtime's tasks run on its own thread.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`](crate::Runtime::block_on).
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if cfg!(debug_assertions) && divisi_blocking::compute::on_compute_thread() {
            panic!(
                "`block_on` inside an offloaded closure would keep a compute thread waiting, and can deadlock the pool: \
                 await the future in a task and offload only the computation, or use `spawn_blocking`"
            );
        }
        let scheduler = self.inner.scheduler();
        let result = if self.inner.is_local() {
            scheduler.block_on_alone(future)
        } else {
            scheduler.block_on(future)
        };
        match result {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }

    /// Spawns a task on this runtime; see [`spawn`](crate::spawn).
    ///
    /// After the runtime was shut down the task is not run and its handle tells so.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_with(future, spawn_options())
    }

    pub(crate) fn spawn_with<F>(&self, future: F, options: SpawnOptions) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_on(&self.inner, future, options)
    }

    /// The tasks and jobs that have not ended, in no particular order.
    ///
    /// # Examples
    ///
    /// ```
    /// divisi::run(async {
    ///     let task = divisi::task::Builder::new().name("sleeper").spawn(divisi::time::sleep(std::time::Duration::MAX));
    ///     let tasks = divisi::Handle::current().tasks();
    ///     assert_eq!(tasks[0].name.as_deref(), Some("sleeper"));
    ///     task.cancel("seen enough");
    /// });
    /// ```
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.inner
            .registry()
            .list()
            .iter()
            .map(TaskInfo::from)
            .collect()
    }

    /// Counters of all parts as they are now.
    pub fn metrics(&self) -> RuntimeMetrics {
        RuntimeMetrics::of(&self.inner)
    }

    /// Ends the runtime; see [`Runtime::shutdown`](crate::Runtime::shutdown).
    ///
    /// A [`LocalRuntime`](crate::LocalRuntime) should be ended on its own thread, by [its method](crate::LocalRuntime::shutdown) or by dropping it. The
    /// futures of [`spawn_local`](crate::spawn_local) can be dropped on that thread only. So a shutdown from any other thread lets that thread, if it drives the
    /// runtime meanwhile, end tasks within the grace, and then **leaks the futures of the local tasks that are left**; their handles resolve to an error, and the
    /// report lists them.
    pub fn shutdown(&self, how: Shutdown) -> ShutdownReport {
        Arc::unwrap_or_clone(self.shut_down(how))
    }

    /// As [`shutdown`](Self::shutdown), for those who do not keep the report: it may list many tasks.
    pub(crate) fn shut_down(&self, how: Shutdown) -> Arc<ShutdownReport> {
        self.inner.shut_down(how, |deadline| {
            self.inner.scheduler().wait_empty(deadline);
        })
    }

    /// Hands a failure to the exception handler.
    pub(crate) fn report(&self, report: &Report) {
        self.inner.handler().handle(report);
    }
}

/// Inlined, as is all that a spawn goes through on its way to the task's memory, where the future is taken at last: see [`Prepared`](divisi_task::Prepared).
#[inline(always)]
pub(crate) fn spawn_on<F>(
    inner: &Arc<Inner>,
    future: F,
    options: SpawnOptions,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let location = options.spawned_at();
    if !inner.accepts() {
        return refused(location, SHUT_DOWN.to_owned());
    }
    #[cfg(feature = "tracing")]
    let future = super::tracing::traced(future, &options);
    inner
        .scheduler()
        .spawn(future, options)
        .unwrap_or_else(|_closed| refused(location, SHUT_DOWN.to_owned()))
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}
