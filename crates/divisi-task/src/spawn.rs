//! Making a task.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::cell::Cell;
use crate::context::Context;
use crate::current;
use crate::error::Closed;
use crate::header::{Cold, Content, Header, Prefix, Trailer};
use crate::id::TaskId;
use crate::join::JoinHandle;
use crate::local;
use crate::raw;
use crate::registry::{Registry, Reserved};
use crate::runnable::Runnable;
use crate::schedule::Schedule;
use crate::sync::UnsafeCell;

/// What is known of a task besides its future.
#[derive(Clone)]
pub struct SpawnOptions {
    location: &'static Location<'static>,
    parent: Option<TaskId>,
    shard: usize,
    /// Name and context: few tasks have any, so that most options are a few words.
    cold: Option<Box<Cold>>,
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
            shard: 0,
            cold: Context::current().map(inherited),
        }
    }

    fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
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

    /// Gives the task a name for lists and errors. Costs it a second allocation.
    #[must_use]
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.cold().name = Some(name.into());
        self
    }

    /// Takes the name away.
    #[must_use]
    pub fn unnamed(mut self) -> Self {
        if let Some(cold) = &mut self.cold {
            cold.name = None;
        }
        self.without_empty_cold()
    }

    /// Sets the values that the task inherits. Costs it a second allocation (one for name and context together).
    #[must_use]
    pub fn context(mut self, context: Option<Context>) -> Self {
        if self.cold.is_some() || context.is_some() {
            self.cold().context = context;
        }
        self.without_empty_cold()
    }

    fn without_empty_cold(mut self) -> Self {
        self.cold = self
            .cold
            .filter(|cold| cold.name.is_some() || cold.context.is_some());
        self
    }

    /// Sets the part of the registry to use (modulo the number of parts): the number of the worker, so that workers do not meet there.
    #[inline]
    #[must_use]
    pub fn shard(mut self, shard: usize) -> Self {
        self.shard = shard;
        self
    }

    /// Where it is spawned.
    #[inline]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.location
    }

    /// The task that spawns it.
    pub fn spawned_by(&self) -> Option<TaskId> {
        self.parent
    }

    /// The task's name.
    pub fn task_name(&self) -> Option<&str> {
        self.cold.as_ref()?.name.as_deref()
    }
}

#[cold]
fn inherited(context: Context) -> Box<Cold> {
    let mut cold = Box::<Cold>::default();
    cold.context = Some(context);
    cold
}

impl fmt::Debug for SpawnOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnOptions")
            .field("location", &format_args!("{}", self.location))
            .field("parent", &self.parent)
            .field("name", &self.task_name())
            .field("shard", &self.shard)
            .finish_non_exhaustive()
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
#[inline]
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
    Prepared::new(scheduler, registry, options)?.spawn(future)
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
    let prepared = Prepared::new(scheduler, registry, options)?;
    // SAFETY: the task is marked as this thread's.
    unsafe { prepared.spawn_owned(future, local::this_thread()) }
}

/// A task that has all but its future: [`spawn`] in two steps. The first does all that can be done without the future, and is where a closed registry is
/// found as a rule; the second takes the future straight to its place. (Handed down through calls that may still fail, a future is copied at each of
/// them.) Dropped unused, it gives its place in the registry back.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use divisi_task::{Cause, Prepared, Ran, Registry, Runnable, Schedule, SpawnOptions, UnhandledPanic};
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
/// let prepared = Prepared::new(Arc::new(Queue::default()), &registry, SpawnOptions::new())?;
/// assert!(registry.is_empty());
/// let (task, _handle) = prepared.spawn(async { 6 * 7 })?;
/// assert_eq!(task.run(), Ran::Completed);
/// # Ok::<_, divisi_task::Closed>(())
/// ```
#[must_use = "the task is made by `spawn`"]
pub struct Prepared<'a, S> {
    scheduler: Arc<S>,
    reserved: Reserved<'a>,
    options: SpawnOptions,
}

impl<'a, S: Schedule> Prepared<'a, S> {
    /// Reserves a place in the registry.
    ///
    /// # Errors
    /// [`Closed`] if the registry is closed.
    ///
    /// # Panics
    /// As [`spawn`].
    // Both steps always inlined: see `Cell::allocate`.
    #[inline(always)]
    pub fn new(
        scheduler: Arc<S>,
        registry: &'a Registry,
        options: SpawnOptions,
    ) -> Result<Self, Closed> {
        Ok(Self {
            reserved: registry.reserve(options.shard)?,
            scheduler,
            options,
        })
    }

    /// Makes a task of `future` and enters it into the registry. The caller schedules the [`Runnable`].
    ///
    /// # Errors
    /// [`Closed`] if the registry was closed in between: the future is dropped here.
    ///
    /// # Panics
    /// As the future's destructor does when the registry is closed.
    #[inline(always)]
    pub fn spawn<F>(self, future: F) -> Result<(Runnable, JoinHandle<F::Output>), Closed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: both are `Send`.
        unsafe { self.spawn_owned(future, local::ANY_THREAD) }
    }

    /// # Safety
    /// `owner` is the calling thread's number, or future and output are `Send`.
    #[inline(always)]
    unsafe fn spawn_owned<F>(
        self,
        future: F,
        owner: u32,
    ) -> Result<(Runnable, JoinHandle<F::Output>), Closed>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let Self {
            scheduler,
            reserved,
            options,
        } = self;
        let prefix = || Prefix {
            header: Header::new(
                &Cell::<F, S>::VTABLE,
                Arc::into_raw(scheduler).cast(),
                reserved.id(),
                options.parent,
                options.location,
                options.cold,
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
            // SAFETY: nobody else has seen the task, and its future has not moved to another thread.
            unsafe { refuse(task) };
            Err(Closed)
        }
    }
}

impl<S> fmt::Debug for Prepared<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prepared").field(&self.options).finish()
    }
}

/// Drops a task that could not be entered.
///
/// # Safety
/// Nobody else has seen it, and this thread may touch its future, which is there.
#[cold]
unsafe fn refuse(task: NonNull<Header>) {
    /// Gives all three references back, even if the future's destructor panics.
    struct Free(NonNull<Header>);
    impl Drop for Free {
        fn drop(&mut self) {
            // SAFETY: nobody else has seen the task.
            unsafe { raw::release(self.0, 3) };
        }
    }
    let free = Free(task);
    // SAFETY: the caller's.
    unsafe { (raw::header(&free.0).vtable.drop_future)(task) };
}
