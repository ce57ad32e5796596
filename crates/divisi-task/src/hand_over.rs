//! One value from one side to another, without a lock: what a oneshot channel is made of.
//!
//! # The protocol
//!
//! Two ends share a word, a place for the value and a place for the taker's waker. The word's flags are only ever
//! set, except WAKER:
//!
//! | flag | set by | means |
//! |---|---|---|
//! | DONE | the giver, at its end | it touches the value no more |
//! | VALUE | the giver, together with DONE | there is a value |
//! | GONE | the taker, when it is dropped without having taken | it touches nothing any more |
//! | WAKER | the taker | the waker is in place |
//!
//! * **The value** is written by the giver before DONE, which releases it. After that it belongs to the taker, which
//!   acquires DONE; or to the giver, if the word had GONE already when DONE was set. DONE and GONE are set by
//!   read-modify-writes, so one of the two sees the other, and exactly one of the ends has the value: it is taken or
//!   dropped once.
//! * **The waker** is written and replaced by the taker, while WAKER is clear. It sets WAKER afterwards, which
//!   releases it; the giver reads it if WAKER was set when it set DONE, and only reads it. To replace it, the taker
//!   clears WAKER first: if DONE was set by then, the giver may be reading, and the taker, which has its answer,
//!   leaves the waker alone.
//! * **No wake-up is lost.** The taker sets WAKER and the giver DONE by read-modify-writes of one word: the later one
//!   sees the flag of the other. So either the giver wakes, or the taker finds that it is done.
//! * The places are freed with the last of the two ends, which are counted by an `Arc`.
//!
//! Models: `tests/loom_hand_over.rs`.

use std::fmt;
use std::task::{Context, Poll, Waker};

use crate::sync::{Arc, AtomicU8, Ordering, UnsafeCell};

const DONE: u8 = 0b0001;
const VALUE: u8 = 0b0010;
const GONE: u8 = 0b0100;
const WAKER: u8 = 0b1000;

struct Shared<T> {
    word: AtomicU8,
    value: UnsafeCell<Option<T>>,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the value and the waker move from one end's thread to the other's; no two threads have access at once,
// except to read the waker, which is `Sync`.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

/// Two ends for one value.
///
/// ```
/// use std::task::{Context, Poll, Waker};
///
/// let (giver, mut taker) = divisi_task::hand_over::pair();
/// assert!(giver.give(5).is_ok());
/// let mut cx = Context::from_waker(Waker::noop());
/// assert_eq!(taker.poll_take(&mut cx), Poll::Ready(Some(5)));
/// ```
pub fn pair<T>() -> (Giver<T>, Taker<T>) {
    let shared = Arc::new(Shared {
        word: AtomicU8::new(0),
        value: UnsafeCell::new(None),
        waker: UnsafeCell::new(None),
    });
    let giver = Giver {
        shared: shared.clone(),
        done: false,
    };
    let taker = Taker {
        shared,
        done: false,
    };
    (giver, taker)
}

/// The end that gives. Dropping it means that nothing will come.
pub struct Giver<T> {
    shared: Arc<Shared<T>>,
    /// DONE was set.
    done: bool,
}

impl<T> Giver<T> {
    /// Gives the value, and wakes the taker. It comes back if the taker is gone.
    ///
    /// # Errors
    ///
    /// The value, if the taker is gone.
    pub fn give(mut self, value: T) -> Result<(), T> {
        // SAFETY: before DONE, the value's place is the giver's.
        self.shared
            .value
            .with_mut(|place| unsafe { *place = Some(value) });
        if self.finish(DONE | VALUE) {
            return Ok(());
        }
        // SAFETY: with GONE set before DONE, it stays the giver's.
        let value = self
            .shared
            .value
            .with_mut(|place| unsafe { (*place).take() });
        value.map_or(Ok(()), Err)
    }

    /// Whether the taker is gone.
    pub fn is_unwanted(&self) -> bool {
        self.shared.word.load(Ordering::Relaxed) & GONE != 0
    }

    /// Sets the flags and wakes the taker. Whether it is still there.
    fn finish(&mut self, flags: u8) -> bool {
        self.done = true;
        // Release: the value. Acquire: the waker.
        let before = self.shared.word.fetch_or(flags, Ordering::AcqRel);
        if before & GONE != 0 {
            return false;
        }
        if before & WAKER != 0 {
            self.shared.waker.with(|place| {
                // SAFETY: WAKER was set when DONE was not: it is in place, and from now on only read.
                if let Some(waker) = unsafe { &*place } {
                    waker.wake_by_ref();
                }
            });
        }
        true
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        if !self.done {
            self.finish(DONE);
        }
    }
}

/// The end that takes.
pub struct Taker<T> {
    shared: Arc<Shared<T>>,
    /// DONE was seen, and the value taken, if there was one.
    done: bool,
}

impl<T> Taker<T> {
    /// The value. `None` if there will be none, or it was taken already. If it may still come, the context's waker is
    /// the one to be woken.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(outcome) = self.try_take() {
            return Poll::Ready(outcome);
        }
        let shared = &*self.shared;
        // Relaxed: this flag is the taker's own.
        if shared.word.load(Ordering::Relaxed) & WAKER != 0 {
            let known = shared.waker.with(|place| {
                // SAFETY: in place; the giver only reads it too.
                let waker = unsafe { &*place };
                matches!(waker, Some(waker) if waker.will_wake(cx.waker()))
            });
            if known {
                return Poll::Pending;
            }
            // Acquire: the value, should DONE be set.
            let before = shared.word.fetch_and(!WAKER, Ordering::Acquire);
            if before & DONE != 0 {
                return Poll::Ready(self.take_outcome(before));
            }
        }
        // Foreign code: it must not find the place half changed.
        let waker = Some(cx.waker().clone());
        // SAFETY: WAKER is clear, and was so when DONE was, if it is by now: the giver does not read.
        let replaced = shared
            .waker
            .with_mut(|place| unsafe { std::mem::replace(&mut *place, waker) });
        drop(replaced);
        // Release: the waker. Acquire: the value, should DONE be set.
        let before = shared.word.fetch_or(WAKER, Ordering::AcqRel);
        if before & DONE != 0 {
            return Poll::Ready(self.take_outcome(before));
        }
        Poll::Pending
    }

    /// As [`poll_take`](Self::poll_take), without waiting: nothing if the value may still come.
    pub fn try_take(&mut self) -> Option<Option<T>> {
        if self.done {
            return Some(None);
        }
        // Acquire: the value.
        let word = self.shared.word.load(Ordering::Acquire);
        (word & DONE != 0).then(|| self.take_outcome(word))
    }

    /// Takes what the giver left.
    fn take_outcome(&mut self, word: u8) -> Option<T> {
        debug_assert!(word & DONE != 0 && !self.done);
        self.done = true;
        if word & VALUE == 0 {
            return None;
        }
        // SAFETY: DONE was set without GONE, so the place is the taker's, and DONE was acquired.
        self.shared
            .value
            .with_mut(|place| unsafe { (*place).take() })
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Acquire: the value, should DONE be set.
        let before = self.shared.word.fetch_or(GONE, Ordering::Acquire);
        if before & DONE != 0 {
            drop(self.take_outcome(before));
        }
    }
}

impl<T> fmt::Debug for Giver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Giver")
            .field("is_unwanted", &self.is_unwanted())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Taker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taker")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
