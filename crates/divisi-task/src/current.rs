//! The task that runs on this thread.

use std::cell::Cell;
use std::panic::Location;
use std::ptr::NonNull;

use crate::budget::UNLIMITED;
use crate::context::Overlay;
use crate::freeze::Mode;
use crate::header::Header;
use crate::id::TaskId;
use crate::local::ANY_THREAD;
use crate::raw::{self, Reference};
use crate::sync::thread_local_const;
use crate::task_ref::TaskRef;

/// What a thread knows about what it does; one variable, so that it is looked up once.
pub(crate) struct ThreadState {
    /// The task that this thread runs or drops at the moment. The thread holds a reference to it meanwhile.
    task: Cell<Option<NonNull<Header>>>,
    /// See [`crate::budget`].
    pub(crate) budget: Cell<u8>,
    /// See [`crate::freeze`].
    pub(crate) mode: Cell<Mode>,
    /// See [`crate::local`].
    number: Cell<u32>,
    /// See [`crate::context`].
    pub(crate) overlay: Cell<Option<Overlay>>,
}

impl ThreadState {
    pub(crate) fn task(&self) -> Option<NonNull<Header>> {
        self.task.get()
    }
}

thread_local_const! {
    static THREAD: ThreadState = ThreadState {
        task: Cell::new(None),
        budget: Cell::new(UNLIMITED),
        mode: Cell::new(Mode::Live),
        number: Cell::new(ANY_THREAD),
        overlay: Cell::new(None),
    };
}

#[inline]
pub(crate) fn with_thread<R>(f: impl FnOnce(&ThreadState) -> R) -> R {
    THREAD.with(f)
}

/// The id of the task that runs on this thread, or `None` outside any task.
///
/// Destructors that the runtime runs for a cancelled task count as inside it.
#[inline]
pub fn id() -> Option<TaskId> {
    with_task(|task| task.id)
}

/// The task that runs on this thread, or `None` outside any task.
pub fn task() -> Option<TaskRef> {
    let task = with_thread(|thread| thread.task.get())?;
    // SAFETY: while it is entered here, the thread that runs it holds a reference.
    Some(TaskRef::new(unsafe { Reference::additional(task) }))
}

/// Notes where the running task waits, for lists of tasks. Leaf futures call it when they return `Pending`;
/// one relaxed store, nothing outside any task. The note lasts until the task runs again.
///
/// A leaf whose `poll` is `#[track_caller]` can pass on [`Location::caller()`]: that is where it is awaited.
#[inline]
pub fn note_wait(at: &'static Location<'static>) {
    with_task(|task| task.note_wait(Some(at)));
}

#[inline]
fn with_task<R>(f: impl FnOnce(&Header) -> R) -> Option<R> {
    let task = with_thread(|thread| thread.task.get())?;
    // SAFETY: while it is entered here, the thread that runs it holds a reference.
    Some(f(unsafe { raw::header(&task) }))
}

pub(crate) fn thread_number() -> u32 {
    with_thread(|thread| thread.number.get())
}

pub(crate) fn set_thread_number(number: u32) {
    with_thread(|thread| thread.number.set(number));
}

/// Makes `task` the current one and gives it `budget`, until the guard is dropped. Nests.
///
/// # Safety
/// The task stays alive while the guard does.
pub(crate) unsafe fn enter(task: NonNull<Header>, budget: u8) -> Entered {
    with_thread(|thread| Entered {
        outer_task: thread.task.replace(Some(task)),
        outer_budget: thread.budget.replace(budget),
        // A task is no part of what is polled around it.
        outer_mode: thread.mode.replace(Mode::Live),
    })
}

/// See [`enter`].
pub(crate) struct Entered {
    outer_task: Option<NonNull<Header>>,
    outer_budget: u8,
    outer_mode: Mode,
}

impl Drop for Entered {
    fn drop(&mut self) {
        with_thread(|thread| {
            thread.task.set(self.outer_task);
            thread.budget.set(self.outer_budget);
            thread.mode.set(self.outer_mode);
        });
    }
}
