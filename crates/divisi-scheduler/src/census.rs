//! The idle census: when is nothing at all going to happen, so that virtual time may jump?
//!
//! The answer is yes when every seat is parked, every queue is empty and nobody holds the clock: a blocking or compute job
//! that is out, or a root future that is polled by a thread without a seat, *holds* it. A worker asks after it has
//! announced its own sleep, so of the workers that go to sleep together the last one sees all the others parked.
//! A hold that ends while everybody sleeps wakes one worker, which asks again when it goes back to sleep. So a jump is never
//! missed: the last of {parking, end of a hold, a spare that leaves} is followed by a look.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

pub(crate) type Jump = Box<dyn Fn(&dyn Fn() -> bool) -> bool + Send + Sync>;

pub(crate) struct Census {
    jump: Option<Jump>,
    holds: AtomicUsize,
    /// Held while time is moved: of two workers that see everybody parked only one moves it.
    moving: Mutex<()>,
}

impl Census {
    pub(crate) fn new(jump: Option<Jump>) -> Census {
        Census {
            jump,
            holds: AtomicUsize::new(0),
            moving: Mutex::new(()),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.jump.is_some()
    }

    pub(crate) fn hold(&self) {
        if self.is_virtual() {
            self.holds.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends a hold. Returns whether a sleeping worker must be woken to look at the census again.
    pub(crate) fn release(&self) -> bool {
        self.is_virtual() && self.holds.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Moves virtual time if `nothing_runs` says so while no one else moves it. Returns whether anything came due.
    pub(crate) fn try_jump(&self, nothing_runs: impl Fn() -> bool) -> bool {
        let Some(jump) = &self.jump else { return false };
        // Waiting for the other worker is right: it may have looked before this one was parked.
        let _moving = self.moving.lock();
        jump(&|| self.holds.load(Ordering::SeqCst) == 0 && nothing_runs())
    }
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census")
            .field("virtual", &self.is_virtual())
            .field("holds", &self.holds)
            .finish_non_exhaustive()
    }
}
