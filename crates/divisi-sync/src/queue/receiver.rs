//! The receiving end.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use divisi_task::current;
use divisi_task::stable::Stable;
use divisi_task::wait_list::{Turn, Waiter, Wakers};
use futures_core::Stream;

use super::chan::{Chan, Done, RECEIVERS, Ticket};
use super::{Join, Tracked, TryRecvError};
use crate::blocking::block_on;

/// The receiving end. Clones receive from the same queue: each value goes to one of them. When the last is dropped,
/// the queue is closed and emptied.
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
}

impl<T> Receiver<T> {
    /// For the one receiver that `chan` counts from the beginning.
    pub(super) fn new(chan: Arc<Chan<T>>) -> Self {
        Self { chan }
    }

    /// Receives a value, which counts as done, and waits until there is one. `None` if there will be none.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing was received, and a value that was promised to it goes to
    /// the next.
    #[track_caller]
    pub fn recv(&self) -> Recv<'_, T> {
        self.receive(Done::Now)
    }

    /// Receives a value which counts as done when the guard is dropped, and waits until there is one. `None` if there
    /// will be none.
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_tracked(&self) -> impl Future<Output = Option<Tracked<T>>> {
        let recv = self.receive(Done::Later);
        async move {
            let value = recv.await?;
            Some(Tracked::new(value, self.chan.clone()))
        }
    }

    #[track_caller]
    fn receive(&self, done: Done) -> Recv<'_, T> {
        Recv {
            waiter: Waiter::new(&self.chan, Ticket::Look),
            done,
            awaited_at: Location::caller(),
        }
    }

    /// Receives a value, which counts as done, if there is one and nobody waits.
    ///
    /// # Errors
    ///
    /// There is none yet, or there will be none.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.chan.try_recv(Done::Now)
    }

    /// Receives a value which counts as done when the guard is dropped, if there is one and nobody waits.
    ///
    /// # Errors
    ///
    /// There is none yet, or there will be none.
    pub fn try_recv_tracked(&self) -> Result<Tracked<T>, TryRecvError> {
        let value = self.chan.try_recv(Done::Later)?;
        Ok(Tracked::new(value, self.chan.clone()))
    }

    /// As [`recv`](Self::recv), and blocks this thread. Not for async code, whose worker it would block.
    #[track_caller]
    pub fn recv_blocking(&self) -> Option<T> {
        block_on(self.recv())
    }

    /// As [`recv_tracked`](Self::recv_tracked), and blocks this thread. Not for async code, whose worker it would block.
    /// [`Sender::join_blocking`](super::Sender::join_blocking) has an example.
    #[track_caller]
    pub fn recv_tracked_blocking(&self) -> Option<Tracked<T>> {
        block_on(self.recv_tracked())
    }

    /// The values as a stream, which ends when there will be none. Each counts as done when it comes out.
    pub fn into_stream(self) -> Values<T> {
        Values {
            waiter: Box::pin(Waiter::new(self.chan.clone(), Ticket::Look)),
            receiver: self,
        }
    }

    /// Lets nothing be sent any more. What was sent can be received; then receivers get `None`.
    pub fn close(&self) {
        self.chan.close();
    }

    /// Lets nothing be sent any more, and takes out what was not received, in the order in which it would have been.
    /// It counts as done.
    pub fn close_now(&self) -> Vec<T> {
        self.chan.close_now()
    }

    /// Whether nothing can be sent any more. There may be values left.
    pub fn is_closed(&self) -> bool {
        self.chan.waiters.lock().is_closed()
    }

    /// As [`Sender::join`](super::Sender::join).
    #[track_caller]
    pub fn join(&self) -> Join<'_, T> {
        Join::new(&self.chan)
    }

    /// How many values there are to receive.
    pub fn len(&self) -> usize {
        self.chan.waiters.lock().len()
    }

    /// Whether there is nothing to receive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn poll_recv<T, H: Stable<Target = Chan<T>>>(
    mut waiter: Pin<&mut Waiter<H, 3>>,
    chan: &Chan<T>,
    done: Done,
    cx: &mut Context<'_>,
) -> Poll<Option<T>> {
    let charge = ready!(waiter.as_mut().poll_proceed(cx));
    let received = match waiter.as_mut().poll_turn(cx) {
        Turn::Waiting => return Poll::Pending,
        Turn::Chosen if *waiter.as_mut().accept() == Ticket::Value => {
            charge.made_progress();
            return Poll::Ready(chan.recv_promised(done));
        }
        // Without the waker at first, which costs a clone.
        Turn::Free | Turn::Chosen => chan.try_recv(done),
    };
    let received = match received {
        Err(TryRecvError::Empty) => {
            // Woken at the end, after the lock.
            let mut wakers = Wakers::new();
            let received = waiter.join(RECEIVERS, cx, |locked, _| match locked.take(done) {
                Err(TryRecvError::Empty) => None,
                received => {
                    chan.settle(locked, &mut wakers);
                    Some(received)
                }
            });
            match received {
                None => return Poll::Pending,
                Some(received) => received,
            }
        }
        received => received,
    };
    charge.made_progress();
    Poll::Ready(received.ok())
}

pin_project_lite::pin_project! {
    /// The future of [`Receiver::recv`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Recv<'a, T> {
        #[pin]
        waiter: Waiter<&'a Chan<T>, 3>,
        done: Done,
        awaited_at: &'static Location<'static>,
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.project();
        let chan: &Chan<T> = this.waiter.handle();
        let polled = poll_recv(this.waiter, chan, *this.done, cx);
        if polled.is_pending() {
            current::note_wait(this.awaited_at);
        }
        polled
    }
}

/// The values of a queue, one after the other: see [`Receiver::into_stream`].
#[must_use = "streams do nothing unless they are polled"]
pub struct Values<T> {
    // Before the receiver: what was promised to it is passed on.
    waiter: Pin<Box<Waiter<Arc<Chan<T>>, 3>>>,
    receiver: Receiver<T>,
}

impl<T> Values<T> {
    /// The receiver.
    pub fn into_receiver(self) -> Receiver<T> {
        self.receiver
    }
}

impl<T> Stream for Values<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        poll_recv(this.waiter.as_mut(), &this.receiver.chan, Done::Now, cx)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.chan.add_receiver();
        Self {
            chan: self.chan.clone(),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.chan.remove_receiver();
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
