//! The idle census: when is nothing at all going to happen, so that virtual time may jump?
//!
//! The answer is yes when every seat is parked, every queue is empty and nobody holds the clock: a blocking or compute job
//! that is out, or a root future that is polled by a thread without a seat, *holds* it. A worker asks after it has
//! announced its own sleep, so of the workers that go to sleep together the last one sees all the others parked.
//! A hold that ends while everybody sleeps wakes one worker, which asks again when it goes back to sleep. So a jump is never
//! missed: the last of {parking, end of a hold, a spare that leaves} is followed by a look.
//!
//! # One moment
//!
//! What is looked at cannot be looked at in one step: while one part is, another may run for a moment and leave something that the first part would
//! show now (a job, say). So a [`Quiet`] is numbered by all that has run so far, polls and holds: two looks that find the same number have nothing between
//! them that ran, and whatever else was looked at between them was so at one moment.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// When nothing runs: how much has run until then. Equal numbers: nothing has run in between.
pub type Quiet = u64;

/// Moves time if nothing runs, which its argument tells. Returns whether anything came due.
pub type Jump = Box<dyn Fn(&dyn Fn() -> Option<Quiet>) -> bool + Send + Sync>;

pub(crate) struct Census {
    jump: Option<Jump>,
    holds: AtomicUsize,
    /// Holds that there ever were.
    taken: AtomicU64,
    /// Held while time is moved: of two workers that see everybody parked only one moves it.
    moving: Mutex<()>,
}

impl Census {
    pub(crate) fn new(jump: Option<Jump>) -> Census {
        Census {
            jump,
            holds: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            moving: Mutex::new(()),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.jump.is_some()
    }

    pub(crate) fn hold(&self) {
        if self.is_virtual() {
            self.holds.fetch_add(1, Ordering::SeqCst);
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends a hold. Returns whether a sleeping worker must be woken to look at the census again.
    pub(crate) fn release(&self) -> bool {
        self.is_virtual() && self.holds.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Moves virtual time while no one else moves it, and if nobody holds it and `nothing_runs`, which counts all polls. Returns whether anything came due.
    pub(crate) fn try_jump(&self, nothing_runs: impl Fn() -> Option<u64>) -> bool {
        let Some(jump) = &self.jump else { return false };
        // Waiting for the other worker is right: it may have looked before this one was parked.
        let _moving = self.moving.lock();
        jump(&|| {
            let polls = nothing_runs()?;
            let taken = self.taken.load(Ordering::SeqCst);
            (self.holds.load(Ordering::SeqCst) == 0).then(|| polls.wrapping_add(taken))
        })
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
