//! Looking at a task.

use std::fmt;
use std::panic::Location;

use crate::abort::AbortHandle;
use crate::cancel::CancelReason;
use crate::error::JoinError;
use crate::harness;
use crate::id::TaskId;
use crate::raw::Reference;
use crate::state::Snapshot;

/// A counted reference to a task: for lists, dumps and shutdown. It keeps the task's memory, not the task,
/// alive.
#[derive(Clone)]
pub struct TaskRef(Reference);

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// It can run and waits for its turn.
    Queued,
    /// It is being polled.
    Running,
    /// It waits to be woken.
    Waiting,
    /// It was asked to end and has not yet.
    Cancelling,
    /// It has ended.
    Finished,
}

impl TaskRef {
    pub(crate) fn new(task: Reference) -> Self {
        Self(task)
    }

    /// Which task it is.
    pub fn id(&self) -> TaskId {
        self.0.header().id
    }

    /// Whether both are the same task. Ids tell that within one registry only.
    pub fn is(&self, other: &TaskRef) -> bool {
        std::ptr::eq(self.0.header(), other.0.header())
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        self.0.header().name()
    }

    /// The task that spawned it, if a task did.
    pub fn parent(&self) -> Option<TaskId> {
        self.0.header().parent
    }

    /// What it is doing; true for a moment.
    pub fn state(&self) -> TaskState {
        TaskState::from(self.0.header().state.load())
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.header().state.load().is_complete()
    }

    /// How often it was polled, modulo 2^28.
    pub fn polls(&self) -> u64 {
        self.0.header().state.load().polls()
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.0.header().spawned_at
    }

    /// Where it waits: the last place [noted](crate::current::note_wait) since it began to run last.
    pub fn waits_at(&self) -> Option<&'static Location<'static>> {
        self.0.header().waits_at()
    }

    /// A handle for cancelling it.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(self.0.clone())
    }

    /// The error of this task for a cancellation that was not asked of the task itself, but of what it is part of.
    pub fn cancelled(&self, why: CancelReason) -> JoinError {
        JoinError::cancelled(self.0.header(), why)
    }

    /// Cancels the task, and if it does not run at this moment drops its future and completes it, here and
    /// now, whether or not it is queued. Returns whether it has ended.
    ///
    /// Otherwise it ends when its poll returns, on the thread that runs it; with its output, if that poll
    /// comes to one.
    ///
    /// A task of [`spawn_local`](crate::spawn_local) is ended by its own thread only: on any other this only
    /// asks, as [`AbortHandle::cancel`] does.
    pub fn shutdown(&self, why: CancelReason) -> bool {
        harness::shutdown(&self.0, why)
    }
}

impl From<Snapshot> for TaskState {
    fn from(state: Snapshot) -> Self {
        if state.is_complete() {
            Self::Finished
        } else if state.is_cancelled() {
            Self::Cancelling
        } else if state.is_running() {
            Self::Running
        } else if state.is_scheduled() {
            Self::Queued
        } else {
            Self::Waiting
        }
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRef")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("state", &self.state())
            .field("polls", &self.polls())
            .field("spawned_at", &format_args!("{}", self.spawned_at()))
            .field("waits_at", &self.waits_at().map(ToString::to_string))
            .finish_non_exhaustive()
    }
}
