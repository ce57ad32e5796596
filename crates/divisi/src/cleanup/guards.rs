//! Noticing that a clean-up's future is dropped before the clean-up has ended.

use std::fmt;
use std::future::Future;
use std::panic::Location;

use super::orphan::{self, Owned};
use super::sealed::Outcome as _;
use super::{Success, report};

/// For a clean-up that borrows: nobody can run it any more.
pub(super) struct Lost {
    at: &'static Location<'static>,
    armed: bool,
}

impl Lost {
    pub(super) fn new(at: &'static Location<'static>) -> Lost {
        Lost { at, armed: true }
    }

    pub(super) fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        if self.armed {
            let message = "a clean-up did not run to its end: its future was dropped, by `select!`, by the end of its task, or by another \
                           crate. Cancel by a scope, or use `finally_owned`, which goes on by itself";
            report(message.to_owned(), self.at, None);
        }
    }
}

/// For a clean-up that owns all it needs: the runtime takes it over.
pub(super) struct Kept {
    cleanup: Option<Owned>,
    at: &'static Location<'static>,
}

impl Kept {
    pub(super) fn new(cleanup: Owned, at: &'static Location<'static>) -> Kept {
        Kept {
            cleanup: Some(cleanup),
            at,
        }
    }

    pub(super) fn cleanup(&mut self) -> &mut Owned {
        self.cleanup.as_mut().expect("kept until it is done")
    }

    pub(super) fn disarm(mut self) {
        self.cleanup = None;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(cleanup) = self.cleanup.take() {
            orphan::adopt(cleanup, self.at);
        }
    }
}

/// Runs `cleanup` at the root of the runtime when the guard is dropped, for resources whose owner is a plain value.
///
/// Nobody waits for it then but the shutdown of the runtime, which waits up to the limit of clean-ups and counts it. Prefer
/// [`finally_owned`](super::finally_owned) or an [exit stack](super::exit_stack), which are part of their scopes.
///
/// ```
/// use divisi::cleanup::defer;
///
/// # divisi::run(async {
/// let (sender, receiver) = divisi::channel::oneshot::channel();
/// let guard = defer(async move || sender.send(1).unwrap());
/// drop(guard);
/// assert_eq!(receiver.await, Ok(1));
/// # });
/// ```
#[track_caller]
pub fn defer<C, F>(cleanup: C) -> Deferred
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Success> + Send + 'static,
{
    let cleanup = Box::pin(async move { cleanup().await.failure() });
    Deferred(Kept::new(cleanup, Location::caller()))
}

/// The guard of [`defer`].
#[must_use = "the clean-up runs when the guard is dropped"]
pub struct Deferred(Kept);

impl Deferred {
    /// Gives the clean-up up: it will not run.
    pub fn forget(self) {
        self.0.disarm();
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("at", &format_args!("{}", self.0.at))
            .finish()
    }
}
