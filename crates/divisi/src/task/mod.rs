//! Tasks: spawning, naming, yielding, and what the current one is.

mod builder;
mod join_set;
mod promise;
mod shared;
pub(crate) mod spawn;
mod yield_now;

use std::panic::Location;

pub use builder::Builder;
pub use divisi_task::{
    AbortHandle, CancelReason, JoinError, JoinHandle, TaskId, TaskRef, TaskState,
    budget::unconstrained,
};
pub use join_set::{Ended, JoinSet, TryJoinError, Until};
pub use promise::{Promise, PromiseError, Promised, promise};
pub use shared::Shared;
pub use spawn::{spawn, spawn_local, spawn_reporting};
pub use yield_now::{YieldNow, yield_now};

/// The task that runs on this thread now; `None` outside of tasks, the root future included.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     assert!(divisi::task::current().is_none());
///     let inside = divisi::spawn(async { divisi::task::current().map(|task| task.id()) });
///     let id = inside.id();
///     assert_eq!(inside.await.unwrap(), Some(id));
/// });
/// ```
pub fn current() -> Option<TaskRef> {
    divisi_task::current::task()
}

/// Tells the current task's entry in [`Handle::tasks`](crate::Handle::tasks) that it waits at `at`. For authors of leaf futures: call it when
/// they return `Pending`, with the location that a `#[track_caller]` constructor caught.
pub fn note_wait(at: &'static Location<'static>) {
    divisi_task::current::note_wait(at);
}
