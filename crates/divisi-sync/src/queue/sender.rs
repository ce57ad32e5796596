//! The sending end.

use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use divisi_task::budget::{self, Charge};
use divisi_task::current;
use divisi_task::wait_list::{Turn, Waiter};

use super::chan::{Chan, SENDERS, Ticket};
use super::{Join, SendError, SendPermit, TrySendError};
use crate::blocking::block_on;

/// The sending end. Clones send into the same queue, which is closed when the last is dropped.
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> Sender<T> {
    /// For the one sender that `chan` counts from the beginning.
    pub(super) fn new(chan: Arc<Chan<T>>) -> Self {
        Self { chan }
    }

    /// Sends a value, and waits while the queue is full.
    ///
    /// # Errors
    ///
    /// The value comes back if the queue was closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the value was not sent, and is dropped with it. To keep it,
    /// [`reserve`](Self::reserve) first.
    #[track_caller]
    pub fn send(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> {
        let slot = Reserve::new(&self.chan);
        async move {
            poll_fn(|cx| budget::poll_proceed(cx).map(Charge::made_progress)).await;
            match self.try_send(value) {
                Ok(()) => Ok(()),
                Err(TrySendError::Closed(value)) => Err(SendError(value)),
                Err(TrySendError::Full(value)) => match slot.await {
                    Ok(slot) => slot.send(value),
                    Err(SendError(())) => Err(SendError(value)),
                },
            }
        }
    }

    /// Sends a value if there is room and nobody waits.
    ///
    /// # Errors
    ///
    /// The value comes back if there is no room, or the queue was closed.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.chan.try_send(value)
    }

    /// As [`send`](Self::send), and blocks this thread while the queue is full. Not for async code, whose worker it
    /// would block.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        block_on(self.send(value))
    }

    /// Reserves room for a value, and waits while the queue is full.
    ///
    /// # Errors
    ///
    /// The queue was closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the row and nothing else.
    #[track_caller]
    pub fn reserve(&self) -> impl Future<Output = Result<SendPermit<'_, T>, SendError<()>>> {
        Reserve::new(&self.chan)
    }

    /// Reserves room for a value if there is some and nobody waits.
    ///
    /// # Errors
    ///
    /// There is no room, or the queue was closed.
    pub fn try_reserve(&self) -> Result<SendPermit<'_, T>, TrySendError<()>> {
        self.chan.try_reserve()?;
        Ok(SendPermit::new(&self.chan))
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

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.chan.waiters.lock().is_closed()
    }

    /// Waits until everything is done that was sent: received, and, by
    /// [`recv_tracked`](super::Receiver::recv_tracked), its guard dropped.
    ///
    /// At once if nothing was ever sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    #[track_caller]
    pub fn join(&self) -> Join<'_, T> {
        Join::new(&self.chan)
    }

    /// As [`join`](Self::join), and blocks this thread. Not for async code, whose worker it would block.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let sum = AtomicU32::new(0);
    /// let (sender, receiver) = divisi_sync::queue::bounded(2);
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         while let Some(number) = receiver.recv_tracked_blocking() {
    ///             sum.fetch_add(*number, Ordering::Relaxed);
    ///         }
    ///     });
    ///     for number in 1..=3 {
    ///         sender.send_blocking(number).unwrap();
    ///     }
    ///     sender.join_blocking();
    ///     assert_eq!(sum.load(Ordering::Relaxed), 6);
    ///     sender.close();
    /// });
    /// ```
    #[track_caller]
    pub fn join_blocking(&self) {
        block_on(self.join());
    }

    /// How many values there are to receive.
    pub fn len(&self) -> usize {
        self.chan.waiters.lock().len()
    }

    /// Whether there is nothing to receive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values were sent that are not done.
    pub fn undone(&self) -> usize {
        self.chan.waiters.lock().undone()
    }

    /// For how many values there is room in all; `usize::MAX` if it is unbounded.
    pub fn capacity(&self) -> usize {
        self.chan.capacity
    }
}

pin_project_lite::pin_project! {
    /// Waits for a free slot.
    struct Reserve<'a, T> {
        #[pin]
        waiter: Waiter<&'a Chan<T>, 3>,
        awaited_at: &'static Location<'static>,
    }
}

impl<'a, T> Reserve<'a, T> {
    #[track_caller]
    fn new(chan: &'a Chan<T>) -> Self {
        Self {
            waiter: Waiter::new(chan, Ticket::Look),
            awaited_at: Location::caller(),
        }
    }
}

impl<'a, T> Future for Reserve<'a, T> {
    type Output = Result<SendPermit<'a, T>, SendError<()>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut waiter = this.waiter;
        let charge = ready!(waiter.as_mut().poll_proceed(cx));
        let chan: &'a Chan<T> = waiter.handle();
        let reserved = match waiter.as_mut().poll_turn(cx) {
            Turn::Waiting => None,
            Turn::Chosen if *waiter.as_mut().accept() == Ticket::Slot => Some(Ok(())),
            Turn::Free | Turn::Chosen => waiter.join(SENDERS, cx, |locked, _| {
                match locked.reserve(chan.capacity) {
                    Ok(()) => Some(Ok(())),
                    Err(TrySendError::Full(())) => None,
                    Err(TrySendError::Closed(())) => Some(Err(SendError(()))),
                }
            }),
        };
        let Some(reserved) = reserved else {
            current::note_wait(this.awaited_at);
            return Poll::Pending;
        };
        charge.made_progress();
        Poll::Ready(reserved.map(|()| SendPermit::new(chan)))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.chan.add_sender();
        Self {
            chan: self.chan.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}
