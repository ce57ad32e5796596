//! What a pool answers when it cannot take a job, or cannot be built.

use std::error::Error;
use std::fmt;
use std::io;

use divisi_task::Closed;

/// Why a pool did not take a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The pool, or the runtime that it belongs to, is shutting down.
    Closed,
    /// The pool has no thread, and the system refused to start one.
    NoThread(io::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(
                "the pool takes no more jobs because its runtime is shutting down; submit before the shutdown starts",
            ),
            Self::NoThread(error) => write!(f, "{}", no_thread(error)),
        }
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::NoThread(error) => Some(error),
        }
    }
}

impl From<Closed> for SpawnError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// The words for a pool that has no thread and gets none; also the reason that its queued jobs are cancelled with.
pub(crate) fn no_thread(error: &io::Error) -> String {
    format!(
        "the system refused to start a thread for the pool, which has none ({error}); raise the limit on threads \
         (`ulimit -u`, the cgroup's pids.max), lower the pool's number of threads or their stack size, or try again later"
    )
}

/// Why [`ComputePool::try_offload`](crate::ComputePool::try_offload) did not take a job.
pub enum TryOffloadError<F> {
    /// As many jobs wait as the queue's bound allows; here is the closure again.
    Full(F),
    /// The pool cannot take any job.
    Refused(SpawnError),
}

impl<F> fmt::Debug for TryOffloadError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Refused(error) => f.debug_tuple("Refused").field(error).finish(),
        }
    }
}

impl<F> fmt::Display for TryOffloadError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str(
                "the compute pool's queue is full; await `reserve()` for room, shed the job, or raise the queue bound",
            ),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl<F> Error for TryOffloadError<F> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Full(_) => None,
            Self::Refused(error) => error.source(),
        }
    }
}

/// Why a pool could not be built from what its builder was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A pool needs at least one thread.
    NoThreads,
    /// A bounded queue needs room for at least one job.
    NoRoom,
    /// A thread's name cannot hold a zero byte.
    ThreadName(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads => f.write_str("a pool needs at least one thread; ask for 1 or more"),
            Self::NoRoom => f.write_str(
                "a queue bound of 0 would refuse every job; ask for 1 or more, or for no bound",
            ),
            Self::ThreadName(name) => {
                write!(f, "the thread name {name:?} holds a zero byte; remove it")
            }
        }
    }
}

impl Error for BuildError {}

pub(crate) fn check_name(name: &str) -> Result<(), BuildError> {
    if name.contains('\0') {
        return Err(BuildError::ThreadName(name.to_owned()));
    }
    Ok(())
}
