//! The sending end of a bounded channel.

use std::fmt;
use std::panic::Location;

use divisi_task::permits::{Acquire, Grant, Refused};

use super::chan::Chan;
use super::{SendError, SendPermit, TrySendError};
use crate::blocking::block_on;
use crate::facade::Arc;

/// The sending end of a [`bounded`](super::bounded) channel. Clones send into the same channel, which ends when the
/// last is dropped.
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> Sender<T> {
    /// For the one sender that `chan` counts from the beginning.
    pub(super) fn new(chan: Arc<Chan<T>>) -> Self {
        Self { chan }
    }

    /// Sends a value, and waits while the channel is full.
    ///
    /// # Errors
    ///
    /// The value comes back if the receiver is gone, or has closed the channel.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the value was not sent, and is dropped with it. To keep it,
    /// [`reserve`](Self::reserve) first.
    #[track_caller]
    pub fn send(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> {
        let slot = Acquire::new(&self.chan.slots, 1, Location::caller());
        async move {
            match slot.await {
                Ok(slot) => SendPermit::new(&self.chan, slot).send(value),
                Err(_) => Err(SendError(value)),
            }
        }
    }

    /// Sends a value if there is room and nobody waits.
    ///
    /// # Errors
    ///
    /// The value comes back if there is no room, or the receiver is gone or has closed the channel.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match Grant::try_acquire(&self.chan.slots, 1) {
            Ok(slot) => Ok(SendPermit::new(&self.chan, slot).send(value)?),
            Err(Refused::TooFew) => Err(TrySendError::Full(value)),
            Err(Refused::Closed) => Err(TrySendError::Closed(value)),
        }
    }

    /// As [`send`](Self::send), and blocks this thread while the channel is full. Not for async code, whose worker it
    /// would block.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(value)) => block_on(self.send(value)),
            Err(TrySendError::Closed(value)) => Err(SendError(value)),
        }
    }

    /// Reserves room for a value, and waits while the channel is full.
    ///
    /// # Errors
    ///
    /// The receiver is gone, or has closed the channel.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue and nothing else.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, mut receiver) = divisi_sync::mpsc::bounded(1);
    /// let room = sender.reserve().await.unwrap();
    /// assert!(sender.try_send(1).is_err(), "the only slot is taken");
    /// room.send(2).unwrap();
    /// assert_eq!(receiver.recv().await, Some(2));
    /// # });
    /// ```
    #[track_caller]
    pub fn reserve(&self) -> impl Future<Output = Result<SendPermit<'_, T>, SendError<()>>> {
        let slot = Acquire::new(&self.chan.slots, 1, Location::caller());
        async move {
            let slot = slot.await.map_err(|_| SendError(()))?;
            Ok(SendPermit::new(&self.chan, slot))
        }
    }

    /// Reserves room for a value if there is some and nobody waits.
    ///
    /// # Errors
    ///
    /// There is no room, or the receiver is gone or has closed the channel.
    pub fn try_reserve(&self) -> Result<SendPermit<'_, T>, TrySendError<()>> {
        match Grant::try_acquire(&self.chan.slots, 1) {
            Ok(slot) => Ok(SendPermit::new(&self.chan, slot)),
            Err(Refused::TooFew) => Err(TrySendError::Full(())),
            Err(Refused::Closed) => Err(TrySendError::Closed(())),
        }
    }

    /// Waits until nothing can be sent any more: the receiver is gone, or has closed the channel.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    #[track_caller]
    pub fn closed(&self) -> impl Future<Output = ()> {
        self.chan.closed.wait()
    }

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed()
    }

    /// How many values the channel can hold.
    pub fn capacity(&self) -> usize {
        self.chan
            .capacity
            .expect("this end is of a bounded channel")
    }

    /// How many slots are neither taken nor reserved.
    pub fn free(&self) -> usize {
        self.chan.slots.available()
    }

    /// How many values have not been received yet. While values are being sent and received, it may be off by those.
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// Whether all values have been received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both send into the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
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
