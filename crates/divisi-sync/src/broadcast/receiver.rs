//! The receiving end.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use divisi_task::current;
use divisi_task::stable::Stable;
use divisi_task::wait_list::{Turn, Waiter};
use futures_core::Stream;

use super::chan::{Chan, Cursor, NEWS};
use super::{RecvError, TryRecvError};
use crate::audience::LANES;
use crate::blocking::block_on;

/// The receiving end. A clone receives what this one has not received yet.
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
    cursor: Cursor<T>,
}

impl<T> Receiver<T> {
    /// For one receiver that `chan` counts already.
    pub(super) fn new(chan: Arc<Chan<T>>, cursor: Cursor<T>) -> Self {
        Self { chan, cursor }
    }

    /// How many values it can receive.
    pub fn len(&self) -> usize {
        self.chan.waiters.lock().len_from(&self.cursor)
    }

    /// Whether it has received everything that was sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel was closed, or all senders are gone. There may be values left.
    pub fn is_closed(&self) -> bool {
        self.chan.waiters.lock().senders() == 0
    }
}

impl<T: Clone> Receiver<T> {
    /// Receives the next value, and waits until there is one.
    ///
    /// # Errors
    ///
    /// This receiver was too slow and has missed some; or there will be none.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing was received.
    #[track_caller]
    pub fn recv(&mut self) -> Recv<'_, T> {
        Recv {
            waiter: Waiter::new(&*self.chan, ()),
            cursor: &mut self.cursor,
            awaited_at: Location::caller(),
        }
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// There is nothing new; or this receiver was too slow and has missed some; or there will be none.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if let Some(value) = self.cursor.take() {
            return Ok(Arc::unwrap_or_clone(value));
        }
        let taken = self.chan.waiters.lock().take(&mut self.cursor);
        let value = taken.ok_or(TryRecvError::Empty)??;
        Ok(Arc::unwrap_or_clone(value))
    }

    /// As [`recv`](Self::recv), and blocks this thread. Not for async code, whose worker it would block.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_blocking(&mut self) -> Result<T, RecvError> {
        block_on(self.recv())
    }

    /// The values as a stream, which ends when the senders are gone. An error tells how many were missed.
    pub fn into_stream(self) -> Values<T> {
        Values {
            waiter: Box::pin(Waiter::new(self.chan.clone(), ())),
            receiver: self,
        }
    }
}

fn poll_recv<T: Clone, H: Stable<Target = Chan<T>>>(
    mut waiter: Pin<&mut Waiter<H, LANES>>,
    cursor: &mut Cursor<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, RecvError>> {
    let charge = ready!(waiter.as_mut().poll_proceed(cx));
    match waiter.as_mut().poll_turn(cx) {
        Turn::Free => {}
        Turn::Waiting => return Poll::Pending,
        Turn::Chosen => {
            waiter.as_mut().accept();
        }
    }
    let taken = match cursor.take() {
        Some(value) => Ok(value),
        None => match waiter.join(NEWS, cx, |locked, ()| locked.take(cursor)) {
            Some(taken) => taken,
            None => return Poll::Pending,
        },
    };
    charge.made_progress();
    Poll::Ready(taken.map(Arc::unwrap_or_clone))
}

pin_project_lite::pin_project! {
    /// The future of [`Receiver::recv`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Recv<'a, T> {
        #[pin]
        waiter: Waiter<&'a Chan<T>, LANES>,
        cursor: &'a mut Cursor<T>,
        awaited_at: &'static Location<'static>,
    }
}

impl<T: Clone> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = poll_recv(this.waiter, this.cursor, cx);
        if polled.is_pending() {
            current::note_wait(this.awaited_at);
        }
        polled
    }
}

/// The values of a channel, one after the other: see [`Receiver::into_stream`].
#[must_use = "streams do nothing unless they are polled"]
pub struct Values<T> {
    receiver: Receiver<T>,
    waiter: Pin<Box<Waiter<Arc<Chan<T>>, LANES>>>,
}

impl<T> Values<T> {
    /// The receiver.
    pub fn into_receiver(self) -> Receiver<T> {
        self.receiver
    }
}

impl<T: Clone> Stream for Values<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let cursor = &mut this.receiver.cursor;
        match ready!(poll_recv(this.waiter.as_mut(), cursor, cx)) {
            Err(RecvError::Closed) => Poll::Ready(None),
            item => Poll::Ready(Some(item)),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self {
            cursor: self.chan.add_receiver_at(&self.cursor),
            chan: self.chan.clone(),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.chan.remove_receiver(&self.cursor);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv")
            .field("awaited_at", &self.awaited_at)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Values").field(&self.receiver).finish()
    }
}
