//! Bring your own executor: one trait for whatever runs closures.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use divisi_task::{Closed, JoinHandle, Registry, Runnable, Schedule, SpawnOptions, TaskId, spawn};

use crate::compute::Priority;
use crate::job;
use crate::{BlockingPool, ComputePool};

/// Something that runs closures on threads of its own: divisi's two pools, or anything else that has threads.
///
/// It is what `concurrent.futures.Executor` is to asyncio's `run_in_executor`.
///
/// # Examples
/// A thread for each closure:
/// ```
/// use divisi_blocking::{Offload, Work};
///
/// struct ThreadEach;
///
/// impl Offload for ThreadEach {
///     fn execute(&self, work: Work) {
///         std::thread::spawn(move || work.run());
///     }
/// }
/// ```
pub trait Offload: Send + Sync {
    /// Sees to it that [`work.run()`](Work::run) is called, once, on a thread where that may take long. It is called by async
    /// workers, so it must not wait itself.
    ///
    /// Work that cannot be taken is [refused](Work::refuse), or dropped: its handle then resolves to an error.
    fn execute(&self, work: Work);
}

impl<T: Offload + ?Sized> Offload for Arc<T> {
    fn execute(&self, work: Work) {
        (**self).execute(work);
    }
}

impl<T: Offload + ?Sized> Offload for &T {
    fn execute(&self, work: Work) {
        (**self).execute(work);
    }
}

impl<T: Offload + ?Sized> Offload for Box<T> {
    fn execute(&self, work: Work) {
        (**self).execute(work);
    }
}

/// A closure that wants to run, with the handle that its result goes to.
#[must_use = "work that is dropped never runs"]
pub struct Work {
    runnable: Runnable,
}

impl Work {
    /// Wraps a closure, and makes the handle of its result.
    ///
    /// # Errors
    /// If the registry is closed. The closure is dropped then.
    pub fn new<F, T, S>(
        f: F,
        home: Arc<S>,
        registry: &Registry,
        options: SpawnOptions,
    ) -> Result<(Self, JoinHandle<T>), Closed>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        S: Schedule,
    {
        spawn(job::once(f), home, registry, options)
            .map(|(runnable, handle)| (Self { runnable }, handle))
    }

    /// Calls the closure; its value, or its panic, goes to the handle. If it was cancelled meanwhile, it is dropped instead.
    /// Never panics.
    pub fn run(self) {
        job::run(self.runnable);
    }

    /// Ends the work without running it. The handle resolves to an error with this reason: say what to do.
    #[track_caller]
    pub fn refuse(self, why: impl Into<Cow<'static, str>>) {
        job::cancel(self.runnable, why);
    }

    /// Its number among the tasks of its runtime.
    pub fn id(&self) -> TaskId {
        self.runnable.id()
    }

    /// Where it was submitted.
    pub fn submitted_at(&self) -> &'static Location<'static> {
        self.runnable.spawned_at()
    }

    /// The task that submitted it, if one did.
    pub fn caller(&self) -> Option<TaskId> {
        self.runnable.task().parent()
    }

    pub(crate) fn into_runnable(self) -> Runnable {
        self.runnable
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("id", &self.id())
            .field("submitted_at", &format_args!("{}", self.submitted_at()))
            .finish_non_exhaustive()
    }
}

/// With normal priority, and whether or not there is room in the queue.
impl Offload for ComputePool {
    fn execute(&self, work: Work) {
        self.execute_with(Priority::Normal, work);
    }
}

impl Offload for BlockingPool {
    fn execute(&self, work: Work) {
        self.execute_work(work);
    }
}
