//! The sending end of an unbounded channel.

use std::fmt;

use super::SendError;
use super::chan::Chan;
use crate::facade::Arc;

/// The sending end of an [`unbounded`](super::unbounded) channel. Clones send into the same channel, which ends when
/// the last is dropped.
pub struct UnboundedSender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> UnboundedSender<T> {
    /// For the one sender that `chan` counts from the beginning.
    pub(super) fn new(chan: Arc<Chan<T>>) -> Self {
        Self { chan }
    }

    /// Sends a value. Never waits.
    ///
    /// # Errors
    ///
    /// The value comes back if the receiver is gone, or has closed the channel.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.chan.push(value)
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

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> Self {
        self.chan.add_sender();
        Self {
            chan: self.chan.clone(),
        }
    }
}

impl<T> Drop for UnboundedSender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

impl<T> fmt::Debug for UnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnboundedSender")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}
