//! The task cell of the divisi async runtime.
//!
//! A task is one allocation with a future in it, and this crate is all that ever touches that allocation. It knows no
//! queue and no thread: a [`Schedule`] is told when a task can run, and gets a [`Runnable`] to run.

mod abort;
pub mod budget;
mod cancel;
mod cell;
pub mod current;
mod error;
mod harness;
mod header;
mod id;
mod inbox;
mod join;
mod local;
mod raw;
mod registry;
mod runnable;
mod schedule;
mod slot;
mod spawn;
mod state;
mod sync;
mod task_ref;
mod waker;

pub use abort::AbortHandle;
pub use cancel::CancelReason;
pub use error::{Closed, JoinError};
pub use id::TaskId;
pub use inbox::{Inbox, TakeAll};
pub use join::JoinHandle;
pub use registry::Registry;
pub use runnable::{Ran, Runnable};
pub use schedule::{Cause, Schedule, UnhandledPanic};
pub use slot::RunSlot;
pub use spawn::{SpawnOptions, spawn, spawn_local};
pub use task_ref::{TaskRef, TaskState};
