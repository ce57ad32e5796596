//! What follows a panic that nobody awaits.

use std::sync::Weak;
use std::thread;

use super::{Handle, Inner, Shutdown};

/// What happens when a task panics and nobody awaits it; see [`Builder::unhandled_panics`](super::Builder::unhandled_panics).
///
/// Panics that a [`JoinHandle`](crate::JoinHandle), a task group or a caller gets are not meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnhandledPanics {
    /// Nothing more than the report.
    #[default]
    Report,
    /// The runtime is shut down at once: its tasks are cancelled, and whoever is inside [`block_on`](crate::Runtime::block_on) panics.
    Shutdown,
    /// The process is aborted.
    Abort,
}

impl UnhandledPanics {
    pub(super) fn follow(self, runtime: &Weak<Inner>) {
        match self {
            UnhandledPanics::Report => {}
            UnhandledPanics::Abort => std::process::abort(),
            UnhandledPanics::Shutdown => {
                let Some(inner) = runtime.upgrade() else {
                    return;
                };
                // Not on the worker, which the shutdown waits for.
                let shut_down = move || drop(Handle::new(inner).shutdown(Shutdown::now()));
                if thread::Builder::new()
                    .name("divisi-shutdown".to_owned())
                    .spawn(shut_down)
                    .is_err()
                {
                    // What was asked for cannot be done gently.
                    std::process::abort();
                }
            }
        }
    }
}
