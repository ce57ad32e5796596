//! What a task asks of the scheduler that runs it.

use std::any::Any;
use std::backtrace::Backtrace;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::id::TaskId;
use crate::runnable::Runnable;

/// How a task came to be runnable. Schedulers treat the three differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It is new: it belongs into a run queue. Only the caller of [`spawn`](fn@crate::spawn) says this, a
    /// task never does.
    Spawned,
    /// Somebody woke or cancelled it while it waited: it may go ahead of others (a LIFO slot), for what it
    /// needs is hot.
    Woken,
    /// It was woken while it ran, as a task does to itself that wants others to run first: it belongs to the
    /// back of the queue.
    Yielded,
}

/// Where a task goes when it can run, and where its panics go when nobody else will see them.
///
/// A task holds one `Arc` of its scheduler until the last reference to the task is gone, so whatever a
/// scheduler holds of tasks (queues of [`Runnable`]s) it must empty at its shutdown, or the two keep each
/// other alive.
///
/// Panics of the methods never corrupt a task. One of `schedule` propagates to whoever woke, cancelled or ran
/// the task; those of the other two are caught and discarded, for they happen in the middle of a completion
/// (the panic hook has seen them).
pub trait Schedule: Send + Sync + 'static {
    /// Takes a task that can run. It should [`run`](Runnable::run) soon, on any thread (a task of
    /// [`spawn_local`](crate::spawn_local): on the thread that spawned it). Dropping the `Runnable` instead
    /// cancels the task here and now.
    ///
    /// Called on whatever thread wakes the task, often inside another task's poll.
    fn schedule(&self, task: Runnable, cause: Cause);

    /// Takes note of a panic that nobody will see through a handle: the task was detached, or its handle was
    /// dropped with the panic unread, or the panic came from a destructor or from a foreign waker while the
    /// task has another result.
    ///
    /// Every panic that a task catches comes either here or to the handle, once.
    fn unhandled_panic(&self, report: UnhandledPanic);

    /// Called once when a task has completed: its output is stored and the waker of its handle woken.
    fn completed(&self, task: TaskId) {
        let _ = task;
    }
}

/// A panic in a task that no handle will tell of.
pub struct UnhandledPanic {
    /// The task.
    pub task: TaskId,
    /// The name it was given.
    pub name: Option<Box<str>>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// Where it waited last, if it did and the operation told.
    pub awaited_at: Option<&'static Location<'static>>,
    /// Where it panicked, if traces are [captured](crate::capture_panic_traces).
    pub backtrace: Option<Arc<Backtrace>>,
    /// What was thrown: for [`std::panic::resume_unwind`] or downcasting.
    pub payload: Box<dyn Any + Send>,
}

impl UnhandledPanic {
    /// The text of the panic, or a remark that it has none.
    pub fn message(&self) -> &str {
        message_of(&*self.payload)
    }
}

impl fmt::Debug for UnhandledPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnhandledPanic")
            .field("task", &self.task)
            .field("name", &self.name)
            .field("spawned_at", &self.spawned_at)
            .field("message", &self.message())
            .finish_non_exhaustive()
    }
}

/// "task 17.2 `name` (spawned at src/main.rs:3:5) panicked: message".
impl fmt::Display for UnhandledPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, self.task, self.name.as_deref(), self.spawned_at)?;
        write!(f, " panicked: {}", self.message())
    }
}

/// Which task: the words that every report of this crate begins with.
pub(crate) fn describe(
    f: &mut fmt::Formatter<'_>,
    task: TaskId,
    name: Option<&str>,
    spawned_at: &Location<'_>,
) -> fmt::Result {
    write!(f, "task {task}")?;
    if let Some(name) = name {
        write!(f, " `{name}`")?;
    }
    write!(f, " (spawned at {spawned_at})")
}

pub(crate) fn message_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(the payload is no string)"
    }
}
