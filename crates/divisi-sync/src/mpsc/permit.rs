//! A slot that was reserved.

use std::fmt;

use divisi_task::permits::{Grant, Permits};

use super::SendError;
use super::chan::Chan;

/// A slot of a bounded channel: a value can be sent without waiting. Dropping it unused gives it to the next sender.
#[must_use = "dropping it gives the slot to the next sender"]
pub struct SendPermit<'a, T> {
    chan: &'a Chan<T>,
    slot: Grant<&'a Permits>,
}

impl<'a, T> SendPermit<'a, T> {
    pub(super) fn new(chan: &'a Chan<T>, slot: Grant<&'a Permits>) -> Self {
        Self { chan, slot }
    }

    /// Sends the value. Never waits.
    ///
    /// # Errors
    ///
    /// The value comes back if the receiver is gone, or has closed the channel.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        self.chan.push(value)?;
        // The value has the slot now.
        self.slot.forget();
        Ok(())
    }
}

impl<T> fmt::Debug for SendPermit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendPermit").finish_non_exhaustive()
    }
}
