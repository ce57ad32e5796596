//! Wakers that were taken under a lock and are to be woken after it.

use std::fmt;
use std::task::Waker;

/// Wakers that were collected under a lock. They are woken when this is dropped: after the lock, if it was
/// made before the lock was taken, or if it is returned from where the lock was.
///
/// One waker needs no allocation.
#[derive(Default)]
#[must_use = "the wakers are woken when this is dropped, which must be after the lock"]
pub struct Wakers {
    first: Option<Waker>,
    /// Woken after `first`, in this order.
    rest: Vec<Waker>,
}

impl Wakers {
    /// Nobody to wake.
    pub const fn new() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }

    /// One more to wake.
    pub fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.rest.push(waker);
        }
    }

    /// How many are to be woken.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether there is nobody to wake.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Wakes them now, in the order in which they were added. Returns how many.
    pub fn wake_all(self) -> usize {
        self.len()
    }
}

impl Drop for Wakers {
    fn drop(&mut self) {
        /// Wakes the others even if one panics.
        struct Rest(std::vec::IntoIter<Waker>);
        impl Drop for Rest {
            fn drop(&mut self) {
                self.0.by_ref().for_each(Waker::wake);
            }
        }
        let Some(first) = self.first.take() else {
            return;
        };
        let mut rest = Rest(std::mem::take(&mut self.rest).into_iter());
        first.wake();
        rest.0.by_ref().for_each(Waker::wake);
    }
}

impl fmt::Debug for Wakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wakers").field(&self.len()).finish()
    }
}
