//! What a runtime tells about its tasks.

use std::fmt;
use std::panic::Location;

use divisi_task::{TaskId, TaskRef, TaskState};

/// A snapshot of one task; see [`Handle::tasks`](crate::Handle::tasks).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Unique among the tasks of the runtime.
    pub id: TaskId,
    /// The name that [`task::Builder::name`](crate::task::Builder::name) gave it.
    pub name: Option<String>,
    /// The task that spawned it.
    pub parent: Option<TaskId>,
    /// What it does at the moment of the snapshot.
    pub state: TaskState,
    /// How often it was polled (modulo 2^28).
    pub polls: u64,
    /// The call that spawned it.
    pub spawned_at: &'static Location<'static>,
    /// The call of the operation that it waits for, if that operation tells.
    pub waits_at: Option<&'static Location<'static>>,
}

impl From<&TaskRef> for TaskInfo {
    fn from(task: &TaskRef) -> TaskInfo {
        TaskInfo {
            id: task.id(),
            name: task.name().map(|name| name.to_string()),
            parent: task.parent(),
            state: task.state(),
            polls: task.polls(),
            spawned_at: task.spawned_at(),
            waits_at: task.waits_at(),
        }
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " \"{name}\"")?;
        }
        write!(
            f,
            " ({:?}, {} polls), spawned at {}",
            self.state, self.polls, self.spawned_at
        )?;
        match self.waits_at {
            Some(at) => write!(f, ", waits at {at}"),
            None => Ok(()),
        }
    }
}
