//! The sending end.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::Receiver;
use super::chan::Chan;
use crate::audience;
use crate::mpsc::SendError;

/// The sending end. Clones send into the same channel, which ends when the last is dropped.
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> Sender<T> {
    /// For the one sender that `chan` counts from the beginning.
    pub(super) fn new(chan: Arc<Chan<T>>) -> Self {
        Self { chan }
    }

    /// Sends a value to all receivers and returns how many these are. Never waits.
    ///
    /// # Errors
    ///
    /// The value comes back if there is no receiver, or the channel was closed.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        self.chan.send(value)
    }

    /// Lets nothing be sent any more, by no clone either. Receivers get what was sent before, then they are told that the
    /// channel is closed, as they are when the last sender is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use divisi_sync::broadcast::{self, TryRecvError};
    ///
    /// let (sender, mut receiver) = broadcast::channel(4);
    /// let other = sender.clone();
    /// sender.send("last").unwrap();
    /// sender.close();
    /// assert!(other.send("too late").is_err());
    /// assert_eq!(receiver.try_recv(), Ok("last"));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    /// ```
    pub fn close(&self) {
        self.chan.close();
    }

    /// Whether the channel was closed.
    pub fn is_closed(&self) -> bool {
        self.chan.waiters.lock().senders() == 0
    }

    /// Waits until what is sent reaches nobody: all receivers are gone, or the channel was closed. For who makes values only while somebody listens.
    ///
    /// A receiver that [`subscribe`](Self::subscribe) makes before the future is polled again keeps it waiting.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = divisi_sync::broadcast::channel::<u8>(1);
    /// let listener = std::thread::spawn(move || drop(receiver));
    /// sender.closed().await;
    /// assert!(sender.send(1).is_err());
    /// # listener.join().unwrap();
    /// # });
    /// ```
    #[track_caller]
    pub fn closed(&self) -> impl Future<Output = ()> {
        audience::gone(&*self.chan, Location::caller())
    }

    /// One more receiver, for what is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        let cursor = self.chan.add_receiver();
        Receiver::new(self.chan.clone(), cursor)
    }

    /// How many receivers there are.
    pub fn receivers(&self) -> usize {
        self.chan.waiters.lock().receivers()
    }

    /// How many values are kept because some receiver has not seen them.
    pub fn len(&self) -> usize {
        self.chan.waiters.lock().len()
    }

    /// Whether all receivers have seen everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
            .field("receivers", &self.receivers())
            .finish()
    }
}
