//! The right to run a task.

use std::fmt;
use std::mem;
use std::panic::Location;
use std::ptr::NonNull;

use crate::header::Header;
use crate::id::TaskId;
use crate::raw::{Reference, header, trailer};
use crate::task_ref::TaskRef;
use crate::{harness, local};

/// A task that can run: what a scheduler keeps in its queues. There is at most one for a task at any time
/// (one that [`TaskRef::shutdown`] has overtaken does nothing any more).
///
/// Dropping it without running it cancels the task in place: the future is dropped here, and the handle gets
/// a [`JoinError`](crate::JoinError) that says so.
#[must_use = "dropping a task unrun cancels it"]
pub struct Runnable(NonNull<Header>);

// SAFETY: a runnable owns a reference, which is `Send`, and the right to claim the task. What it reaches by
// the claim is the future: `spawn` asks for a `Send` one, and of a task of `spawn_local` the thread number is
// checked before the future is touched.
unsafe impl Send for Runnable {}
// SAFETY: by shared reference only header fields can be read.
unsafe impl Sync for Runnable {}

/// What became of a task that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ran {
    /// It has ended: with an output, by a panic, or cancelled.
    Completed,
    /// It waits to be woken.
    Pending,
    /// It was woken while it ran, and is scheduled already, with [`Cause::Yielded`](crate::Cause::Yielded).
    Yielded,
}

impl Runnable {
    /// # Safety
    /// The state of the task says that a runnable exists, and the caller owns a reference for it.
    pub(crate) unsafe fn from_owned(task: NonNull<Header>) -> Self {
        Self(task)
    }

    #[inline]
    pub(crate) fn into_ptr(self) -> NonNull<Header> {
        let task = self.0;
        mem::forget(self);
        task
    }

    /// Polls the task once, as its [current task](crate::current) and with a fresh [budget](crate::budget);
    /// or, if it was cancelled, drops its future.
    ///
    /// # Panics
    /// Panics in the task are caught and become its result. A panic in
    /// [`Schedule::schedule`](crate::Schedule::schedule) (called if the task was woken while it ran)
    /// propagates.
    ///
    /// Running a task of [`spawn_local`](crate::spawn_local) on another thread than its own panics. The task
    /// ends as cancelled, and its future is leaked: it may be touched on its own thread only.
    #[inline]
    pub fn run(self) -> Ran {
        // SAFETY: the runnable has a reference.
        let owner = unsafe { trailer(&self.0) }.owner;
        assert!(
            local::may_touch(owner),
            "task {} (spawned at {}) is local to the thread that spawned it, and was run on another: \
             its scheduler must send it home",
            self.id(),
            self.spawned_at(),
        );
        // SAFETY: the runnable is given up.
        unsafe { harness::run(self.into_ptr()) }
    }

    /// Which task it is.
    #[inline]
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.header().spawned_at
    }

    /// A reference for looking at the task or cancelling it.
    pub fn task(&self) -> TaskRef {
        // SAFETY: the runnable keeps the task alive.
        TaskRef::new(unsafe { Reference::additional(self.0) })
    }

    fn header(&self) -> &Header {
        // SAFETY: the runnable has a reference.
        unsafe { header(&self.0) }
    }
}

impl Drop for Runnable {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the runnable is given up.
        unsafe { harness::abandon(self.0) };
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runnable")
            .field("task", &self.id())
            .field("state", &self.header().state)
            .finish()
    }
}
