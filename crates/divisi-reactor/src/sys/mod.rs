//! The operating system's poller, behind one small interface with two implementations.
//!
//! | driver | where | how |
//! |---|---|---|
//! | `epoll` | Linux | edge-triggered, registered once, one system call a wait |
//! | `portable` | elsewhere, and on Linux with the `portable` feature | `polling`'s own API |
//!
//! Both offer `Driver::{new, add, rearm, remove, wait, ring, descriptor}`, the constant
//! `SHORT_MEANS_DRAINED`, and `Events::{with_limit, set_limit, bell, iter}`.

use crate::error::ReactorError;
use std::io;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[path = "epoll.rs"]
mod driver;

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
#[path = "portable.rs"]
mod driver;

pub mod inherited;
pub mod priority;
pub mod signals;
mod slack;

pub(crate) use driver::{Driver, Events};
pub use slack::TimerSlack;

/// What an event carries to tell its source: never a pointer, so a stale event is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

/// Says what the error of a registration means to the user.
fn explain_registration(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ReactorError::NotPollable.into(),
        io::ErrorKind::AlreadyExists => ReactorError::AlreadyRegistered.into(),
        _ => error,
    }
}
