//! Keeping a cancellation out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divisi_task::freeze::Mode;
use pin_project_lite::pin_project;

use super::node::{Hold, Node};
use super::stack::{self, Kind};

/// Runs `future` to its end even if the scopes around it are cancelled meanwhile: they report only after it.
///
/// The one who awaits it waits too, so there is nothing left behind; after it, the next thing that must wait stands still. Scopes and
/// deadlines *inside* work as ever: `shield(timeout(limit, f))` has a limit of its own.
///
/// As Trio's `CancelScope(shield=True)`. asyncio's `shield` lets go of what it shields; for that, [`spawn`](crate::spawn) it.
///
/// ```
/// use std::time::Duration;
/// use divisi::scope::shield;
/// use divisi::time::{sleep, timeout};
///
/// # divisi::run(async {
/// let value = timeout(Duration::from_millis(1), shield(async {
///     sleep(Duration::from_millis(5)).await;
///     42
/// }))
/// .await;
/// assert_eq!(value, Ok(42));
/// # });
/// ```
///
/// # Cancel safety
///
/// It keeps out cancellation by scopes. Somebody who drops the future drops what is inside; so does cancelling the whole task by its handle.
pub fn shield<F: IntoFuture>(future: F) -> Shield<F::IntoFuture> {
    Shield {
        future: future.into_future(),
        guard: Guard::default(),
    }
}

pin_project! {
    /// The future of [`shield`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Shield<F> {
        #[pin]
        future: F,
        guard: Guard,
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future;
        let polled = this.guard.poll(|| future.poll(cx));
        if polled.is_ready() {
            this.guard.open();
        }
        polled
    }
}

impl<F> fmt::Debug for Shield<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").finish_non_exhaustive()
    }
}

/// A shield without what it shields.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Taken at the first poll, if there is a scope to hold.
    hold: Option<Hold>,
    raised: bool,
    /// For what is inside; without a parent.
    node: Option<Arc<Node>>,
}

impl Guard {
    /// Polls behind the shield.
    pub(crate) fn poll<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        if !std::mem::replace(&mut self.raised, true) {
            self.hold = stack::current_node().map(Hold::new);
        }
        stack::enter(&mut self.node, Kind::Shield, Mode::Live, None, poll)
    }

    /// Wakes this one when a scope around is cancelled. Once it was polled behind the shield.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        if let Some(hold) = &self.hold {
            hold.set_waker(waker);
        }
    }

    /// Lets the scopes around go on.
    pub(crate) fn open(&mut self) {
        self.hold = None;
    }
}
