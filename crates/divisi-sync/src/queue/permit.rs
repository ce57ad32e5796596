//! A slot that was reserved.

use std::fmt;
use std::mem;

use super::SendError;
use super::chan::{Chan, Ticket};

/// A slot of a queue: a value can be sent without waiting. Dropping it unused gives it to the next sender.
#[must_use = "dropping it gives the slot to the next sender"]
pub struct SendPermit<'a, T> {
    chan: &'a Chan<T>,
}

impl<'a, T> SendPermit<'a, T> {
    /// For a slot that was promised.
    pub(super) fn new(chan: &'a Chan<T>) -> Self {
        Self { chan }
    }

    /// Sends the value. Never waits.
    ///
    /// # Errors
    ///
    /// The value comes back if the queue was closed.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        let chan = self.chan;
        mem::forget(self);
        chan.send_promised(value)
    }
}

impl<T> Drop for SendPermit<'_, T> {
    fn drop(&mut self) {
        self.chan.give_back(Ticket::Slot);
    }
}

impl<T> fmt::Debug for SendPermit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendPermit").finish_non_exhaustive()
    }
}
