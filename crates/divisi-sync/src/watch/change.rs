//! Waiting for a change: once, or as a stream.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use divisi_task::current;
use divisi_task::stable::Stable;
use divisi_task::wait_list::{Queue, Turn, Waiter};
use futures_core::Stream;

use super::{CHANGED, Chan, Closed, Receiver, State};
use crate::audience::LANES;

/// Waits until the version is not `seen`.
fn poll_changed<T, H: Stable<Target: Queue<LANES, State = State<T>, Ticket = ()>>>(
    mut waiter: Pin<&mut Waiter<H, LANES>>,
    chan: &Chan<T>,
    seen: &mut u64,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    let charge = ready!(waiter.as_mut().poll_proceed(cx));
    match waiter.as_mut().poll_turn(cx) {
        Turn::Free => {}
        Turn::Waiting => return Poll::Pending,
        Turn::Chosen => {
            waiter.as_mut().accept();
        }
    }
    let known = *seen;
    let news = |locked: &State<T>| match chan.version() {
        version if version != known => Some(Ok(version)),
        _ if locked.senders == 0 => Some(Err(Closed(()))),
        _ => None,
    };
    let current = match chan.version() {
        version if version != known => Some(Ok(version)),
        _ => waiter.join(CHANGED, cx, |locked, ()| news(locked)),
    };
    let Some(version) = current else {
        return Poll::Pending;
    };
    *seen = version?;
    charge.made_progress();
    Poll::Ready(Ok(()))
}

pin_project_lite::pin_project! {
    /// The future of [`Receiver::changed`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Changed<'a, T> {
        #[pin]
        pub(super) waiter: Waiter<&'a Chan<T>, LANES>,
        pub(super) seen: &'a mut u64,
        pub(super) awaited_at: &'static Location<'static>,
    }
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let chan: &Chan<T> = this.waiter.handle();
        let polled = poll_changed(this.waiter, chan, this.seen, cx);
        if polled.is_pending() {
            current::note_wait(this.awaited_at);
        }
        polled
    }
}

/// The values of a watched channel, one after the other: see [`Receiver::into_stream`].
#[must_use = "streams do nothing unless they are polled"]
pub struct Values<T> {
    pub(super) receiver: Receiver<T>,
    pub(super) waiter: Pin<Box<Waiter<Arc<Chan<T>>, LANES>>>,
}

impl<T> Values<T> {
    /// The receiver.
    pub fn into_receiver(self) -> Receiver<T> {
        self.receiver
    }
}

impl<T> Stream for Values<T> {
    type Item = Arc<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<T>>> {
        let this = &mut *self;
        let chan = &*this.receiver.chan;
        match ready!(poll_changed(
            this.waiter.as_mut(),
            chan,
            &mut this.receiver.seen,
            cx
        )) {
            Ok(()) => Poll::Ready(Some(this.receiver.get_and_update())),
            Err(Closed(())) => Poll::Ready(None),
        }
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed")
            .field("awaited_at", &self.awaited_at)
            .finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Values").field(&self.receiver).finish()
    }
}
