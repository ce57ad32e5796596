//! The receiving end.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_task::{budget, current};
use futures_core::Stream;

use super::TryRecvError;
use super::chan::{Chan, Found};
use crate::blocking::block_on;
use crate::facade::Arc;

/// The receiving end of a channel. It is a [`Stream`] of the values too.
///
/// Dropping it drops what was not received, and makes sends fail.
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
    /// Values that were taken over in advance, oldest first. Each still has its slot.
    buffer: VecDeque<T>,
}

impl<T> Receiver<T> {
    pub(super) fn new(chan: Arc<Chan<T>>) -> Self {
        Self {
            chan,
            buffer: VecDeque::new(),
        }
    }

    /// Receives the next value, and waits until there is one. `None` if there will be none: the senders are gone, or
    /// the channel was closed, and all values have been received.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing was received.
    #[track_caller]
    pub fn recv(&mut self) -> Recv<'_, T> {
        Recv {
            receiver: self,
            awaited_at: Location::caller(),
        }
    }

    /// What [`recv`](Self::recv) polls.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let charge = ready!(budget::poll_proceed(cx));
        if self.buffer.is_empty() {
            match self.chan.take_all(&mut self.buffer, Some(cx)) {
                Found::Values => {}
                Found::Nothing => return Poll::Pending,
                Found::End => return Poll::Ready(None),
            }
        }
        charge.made_progress();
        Poll::Ready(self.pop())
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// There is none yet, or there will be none.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if self.buffer.is_empty() {
            match self.chan.take_all(&mut self.buffer, None) {
                Found::Values => {}
                Found::Nothing => return Err(TryRecvError::Empty),
                Found::End => return Err(TryRecvError::Closed),
            }
        }
        self.pop().ok_or(TryRecvError::Empty)
    }

    /// As [`recv`](Self::recv), and blocks this thread. Not for async code, whose worker it would block.
    #[track_caller]
    pub fn recv_blocking(&mut self) -> Option<T> {
        block_on(self.recv())
    }

    /// Waits for a value as [`recv`](Self::recv) does, appends it to `values`, and with it what else is there at that
    /// moment, up to `limit` in all. Returns how many these are: 0 if there will be none, or if `limit` is 0.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing was received.
    #[track_caller]
    pub fn recv_many(&mut self, values: &mut Vec<T>, limit: usize) -> impl Future<Output = usize> {
        let awaited_at = Location::caller();
        async move {
            if limit == 0 {
                return 0;
            }
            let first = Recv {
                receiver: self,
                awaited_at,
            };
            let Some(first) = first.await else {
                return 0;
            };
            values.push(first);
            let more = self.buffer.len().min(limit - 1);
            values.extend(self.buffer.drain(..more));
            self.chan.set_ahead(self.buffer.len());
            self.chan.free_slots(more);
            more + 1
        }
    }

    /// Makes all sends fail from now on. What was sent can still be received.
    pub fn close(&mut self) {
        self.chan.close();
    }

    /// Whether the channel was closed, or all senders are gone. There may be values left.
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed() || self.chan.has_no_senders()
    }

    /// How many values there are to receive.
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// Whether there is nothing to receive now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The oldest value of the buffer.
    fn pop(&mut self) -> Option<T> {
        let value = self.buffer.pop_front()?;
        self.chan.set_ahead(self.buffer.len());
        self.chan.free_slots(1);
        Some(value)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.chan.receiver_is_gone();
    }
}

impl<T> Unpin for Receiver<T> {}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.buffer.len(), None)
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Recv<'a, T> {
    receiver: &'a mut Receiver<T>,
    awaited_at: &'static Location<'static>,
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let polled = self.receiver.poll_recv(cx);
        if polled.is_pending() {
            current::note_wait(self.awaited_at);
        }
        polled
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
