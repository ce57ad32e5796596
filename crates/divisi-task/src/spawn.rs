//! Making a task.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use crate::cell::Cell;
use crate::context::Context;
use crate::current;
use crate::error::Closed;
use crate::header::{Content, Header, Prefix, Trailer};
use crate::id::TaskId;
use crate::join::JoinHandle;
use crate::local;
use crate::raw;
use crate::registry::Registry;
use crate::runnable::Runnable;
use crate::schedule::Schedule;
use crate::sync::UnsafeCell;

/// What is known of a task besides its future.
#[derive(Clone, Debug)]
pub struct SpawnOptions {
    /// Where it is spawned.
    pub location: &'static Location<'static>,
    /// The task that spawns it.
    pub parent: Option<TaskId>,
    /// A name for lists and errors. Costs the task a second allocation.
    pub name: Option<Box<str>>,
    /// The values it inherits. Costs the task a second allocation (one for name and context together).
    pub context: Option<Context>,
    /// Which part of the registry to use (modulo the number of parts): the number of the worker, so that
    /// workers do not meet there.
    pub shard: usize,
}

impl SpawnOptions {
    /// Spawned by the caller's line, by the task that runs on this thread, with the [context](Context::current) of the caller, without a name, into
    /// the first shard.
    #[inline]
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        Self {
            location: Location::caller(),
            parent: current::id(),
            name: None,
            context: Context::current(),
            shard: 0,
        }
    }

    /// Sets the place that lists and errors name as the task's origin.
    #[must_use]
    pub fn location(mut self, location: &'static Location<'static>) -> Self {
        self.location = location;
        self
    }

    /// Sets the task that lists name as the parent.
    #[must_use]
    pub fn parent(mut self, parent: Option<TaskId>) -> Self {
        self.parent = parent;
        self
    }

    /// Gives the task a name.
    #[must_use]
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the values that the task inherits.
    #[must_use]
    pub fn context(mut self, context: Option<Context>) -> Self {
        self.context = context;
        self
    }

    /// Sets the part of the registry to use.
    #[inline]
    #[must_use]
    pub fn shard(mut self, shard: usize) -> Self {
        self.shard = shard;
        self
    }
}

impl Default for SpawnOptions {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a task of `future` and enters it into the registry. The caller schedules the [`Runnable`].
///
/// # Errors
/// [`Closed`] if the registry is closed: the future is dropped here.
///
/// # Panics
/// If more than 2^28 tasks are alive in one shard of the registry; as the future's destructor does when the
/// registry is closed.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use divisi_task::{Cause, Ran, Registry, Runnable, Schedule, SpawnOptions, UnhandledPanic};
///
/// #[derive(Default)]
/// struct Queue(Mutex<Vec<Runnable>>);
/// impl Schedule for Queue {
///     fn schedule(&self, task: Runnable, _: Cause) {
///         self.0.lock().unwrap().push(task);
///     }
///     fn unhandled_panic(&self, panic: UnhandledPanic) {
///         eprintln!("{panic}");
///     }
/// }
///
/// let registry = Registry::new(1);
/// let scheduler = Arc::new(Queue::default());
/// let (task, handle) = divisi_task::spawn(async { 6 * 7 }, scheduler, &registry, SpawnOptions::new())?;
/// assert_eq!(task.run(), Ran::Completed);
/// assert!(handle.is_finished());
/// # Ok::<_, divisi_task::Closed>(())
/// ```
pub fn spawn<F, S>(
    future: F,
    scheduler: Arc<S>,
    registry: &Registry,
    options: SpawnOptions,
) -> Result<(Runnable, JoinHandle<F::Output>), Closed>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    // SAFETY: both are `Send`.
    unsafe { spawn_owned(future, scheduler, registry, options, local::ANY_THREAD) }
}

/// Makes a task of a future that stays on this thread.
///
/// As [`spawn`], but the future need not be `Send`: the task remembers this thread, and nobody else touches
/// the future. So the scheduler must bring the [`Runnable`] back here:
///
/// - run on another thread, it panics; the task ends as cancelled;
/// - dropped on another thread, the task ends as cancelled;
///
/// and in both cases the future, which could be dropped here only, is leaked, together with the memory of the
/// task.
///
/// # Errors
/// As [`spawn`].
///
/// # Panics
/// As [`spawn`], and if more than 2^32 threads of the process have called this.
pub fn spawn_local<F, S>(
    future: F,
    scheduler: Arc<S>,
    registry: &Registry,
    options: SpawnOptions,
) -> Result<(Runnable, JoinHandle<F::Output>), Closed>
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    // SAFETY: the task is marked as this thread's.
    unsafe { spawn_owned(future, scheduler, registry, options, local::this_thread()) }
}

/// # Safety
/// `owner` is the calling thread's number, or future and output are `Send`.
unsafe fn spawn_owned<F, S>(
    future: F,
    scheduler: Arc<S>,
    registry: &Registry,
    options: SpawnOptions,
    owner: u32,
) -> Result<(Runnable, JoinHandle<F::Output>), Closed>
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    let reserved = registry.reserve(options.shard)?;
    let prefix = || Prefix {
        header: Header::new(
            &Cell::<F, S>::VTABLE,
            Arc::into_raw(scheduler).cast(),
            reserved.id(),
            options.parent,
            options.location,
            options.name,
            options.context,
        ),
        trailer: Trailer {
            join_waker: UnsafeCell::new(None),
            shard: reserved.shard(),
            owner,
            content: UnsafeCell::new(Content::Future),
            #[cfg(divisi_loom)]
            alive: UnsafeCell::new(()),
            #[cfg(divisi_loom)]
            _leak_check: loom::alloc::Track::new(()),
        },
    };
    let task = Cell::<F, S>::allocate(prefix, future);
    // SAFETY: the new task has three references, of which the registry gets one.
    if unsafe { reserved.publish(task) } {
        // SAFETY: the runnable and the handle get the other two; a new task is scheduled and has a handle.
        unsafe { Ok((Runnable::from_owned(task), JoinHandle::from_owned(task))) }
    } else {
        /// Gives all three references back, even if the future's destructor panics.
        struct Free(std::ptr::NonNull<Header>);
        impl Drop for Free {
            fn drop(&mut self) {
                // SAFETY: nobody else has seen the task.
                unsafe { raw::release(self.0, 3) };
            }
        }
        let free = Free(task);
        // SAFETY: nobody else has seen the task, and its future has not moved to another thread.
        unsafe { (raw::header(&free.0).vtable.drop_future)(task) };
        Err(Closed)
    }
}
