//! What a shutdown reports about a job that did not end in time.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use divisi_task::{Registry, TaskId};

/// A job that was still running when the shutdown's deadline came.
///
/// A closure cannot be stopped from outside. Its thread goes on and ends when the closure returns; the process may exit
/// before that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StuckJob {
    /// The job's id.
    pub id: TaskId,
    /// The job's name, if it was given one.
    pub name: Option<Box<str>>,
    /// Where the job was submitted.
    pub spawned_at: &'static Location<'static>,
    /// How long it has been running.
    pub running_for: Duration,
}

impl fmt::Display for StuckJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        write!(
            f,
            ", submitted at {}, has been running for {:?}",
            self.spawned_at, self.running_for
        )
    }
}

/// The job that a pool thread runs at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) id: TaskId,
    pub(crate) since: Instant,
}

/// Looks the running jobs up in the registry. One that has ended in between is not listed there any more.
pub(crate) fn report(running: &[Running], registry: &Registry) -> Vec<StuckJob> {
    let describe = |running: &Running| {
        let task = registry.get(running.id)?;
        Some(StuckJob {
            id: running.id,
            name: task.name().map(Box::from),
            spawned_at: task.spawned_at(),
            running_for: running.since.elapsed(),
        })
    };
    running.iter().filter_map(describe).collect()
}
