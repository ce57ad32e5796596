//! One value from one side to another, without a lock: what a oneshot channel is made of.
//!
//! # The protocol
//!
//! Two ends share a word, a place for the value and a place for the waker of each end. The word's flags are only ever
//! set, except the two that tell of wakers:
//!
//! | flag | set by | means |
//! |---|---|---|
//! | DONE | the giver, at its end | it touches the value no more |
//! | VALUE | the giver, together with DONE | there is a value |
//! | GONE | the taker, when it closes or is dropped without having taken | it takes what was given before, and nothing later |
//! | TAKER_WAKER | the taker | its waker is in place |
//! | GIVER_WAKER | the giver | its waker is in place |
//!
//! * **The value** is written by the giver before DONE, which releases it. After that it belongs to the taker, which
//!   acquires DONE; or to the giver, if the word had GONE already when DONE was set. DONE and GONE are set by
//!   read-modify-writes, so one of the two sees the other, and exactly one of the ends has the value: it is taken or
//!   dropped once. A taker that finds DONE when it sets GONE has the value, now or later; one that does not will never
//!   have one.
//! * **Each waker** is of one end, which waits for the last flag of the other: the taker for DONE, the giver for GONE.
//!   It is written and replaced by its end, while its own flag is clear. That end sets its flag afterwards, which releases
//!   the waker; the other end reads it if the flag was set when it set its last flag first, and only reads it. To
//!   replace it, its end clears the flag first: if the other's last flag was set by then, the other may be reading, and
//!   the end that waits, which has its answer, leaves the waker alone. Who sets its last flag second wakes nobody.
//! * **No wake-up is lost.** An end sets its waker's flag and the other end its last flag by read-modify-writes of one
//!   word: the later one sees the flag of the other. So either the other end wakes, or the end that waits finds that
//!   there is nothing to wait for.
//! * The places are freed with the last of the two ends, which are counted by an `Arc`.
//!
//! Models: `tests/loom_hand_over.rs`.

use std::fmt;
use std::task::{Context, Poll, Waker};

use crate::sync::{Arc, AtomicU8, Ordering, UnsafeCell};

const DONE: u8 = 0b0_0001;
const VALUE: u8 = 0b0_0010;
const GONE: u8 = 0b0_0100;
const TAKER_WAKER: u8 = 0b0_1000;
const GIVER_WAKER: u8 = 0b1_0000;

struct Shared<T> {
    word: AtomicU8,
    value: UnsafeCell<Option<T>>,
    taker_waker: UnsafeCell<Option<Waker>>,
    giver_waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the value and the wakers move from one end's thread to the other's; no two threads have access at once,
// except to read a waker, which is `Sync`.
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
        taker_waker: UnsafeCell::new(None),
        giver_waker: UnsafeCell::new(None),
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

/// What an end that waits looks at.
struct Wait {
    /// Its waker is in place.
    in_place: u8,
    /// The last flag of the other end.
    awaited: u8,
}

const TAKER: Wait = Wait {
    in_place: TAKER_WAKER,
    awaited: DONE,
};
const GIVER: Wait = Wait {
    in_place: GIVER_WAKER,
    awaited: GONE,
};

impl<T> Shared<T> {
    /// The word with the flag that is awaited. Until then, the context's waker is put into `place`, which is the one
    /// of the end that calls this.
    #[inline]
    fn poll_wait(
        &self,
        wait: Wait,
        place: &UnsafeCell<Option<Waker>>,
        cx: &mut Context<'_>,
    ) -> Poll<u8> {
        // Acquire: what the other end did before.
        let word = self.word.load(Ordering::Acquire);
        if word & wait.awaited != 0 {
            return Poll::Ready(word);
        }
        if word & wait.in_place != 0 {
            let known = place.with(|place| {
                // SAFETY: in place; the other end only reads it too.
                let waker = unsafe { &*place };
                matches!(waker, Some(waker) if waker.will_wake(cx.waker()))
            });
            if known {
                return Poll::Pending;
            }
            // Acquire: as above.
            let before = self.word.fetch_and(!wait.in_place, Ordering::Acquire);
            if before & wait.awaited != 0 {
                return Poll::Ready(before);
            }
        }
        // Foreign code: it must not find the place half changed.
        let waker = Some(cx.waker().clone());
        // SAFETY: its flag is clear, and was so when the awaited one was set, if it is by now: the other end does not
        // read.
        let replaced = place.with_mut(|place| unsafe { std::mem::replace(&mut *place, waker) });
        drop(replaced);
        // Release: the waker. Acquire: as above.
        let before = self.word.fetch_or(wait.in_place, Ordering::AcqRel);
        if before & wait.awaited != 0 {
            return Poll::Ready(before);
        }
        Poll::Pending
    }

    /// Wakes an end, in the name of the other one, whose last flag it has just set when the word was `before`, without
    /// this end's last flag.
    #[inline]
    fn wake(&self, wait: Wait, place: &UnsafeCell<Option<Waker>>, before: u8) {
        if before & wait.in_place != 0 {
            place.with(|place| {
                // SAFETY: its flag was set when the awaited one was not: it is in place, and from now on only read.
                if let Some(waker) = unsafe { &*place } {
                    waker.wake_by_ref();
                }
            });
        }
    }
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
    /// The value, if the taker is gone or was closed.
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

    /// Whether the taker is gone or was closed.
    pub fn is_unwanted(&self) -> bool {
        self.shared.word.load(Ordering::Relaxed) & GONE != 0
    }

    /// Ready when the taker is gone or was closed. Until then, the context's waker is the one to be woken.
    pub fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &*self.shared;
        shared
            .poll_wait(GIVER, &shared.giver_waker, cx)
            .map(|_word| ())
    }

    /// Sets the flags and wakes the taker. Whether it is still there.
    fn finish(&mut self, flags: u8) -> bool {
        self.done = true;
        let shared = &*self.shared;
        // Release: the value. Acquire: the waker.
        let before = shared.word.fetch_or(flags, Ordering::AcqRel);
        if before & GONE != 0 {
            return false;
        }
        shared.wake(TAKER, &shared.taker_waker, before);
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
    /// There is no more to take: DONE was seen, and the value taken, if there was one; or GONE was set before DONE.
    done: bool,
}

impl<T> Taker<T> {
    /// The value. `None` if there will be none, or it was taken already. If it may still come, the context's waker is
    /// the one to be woken.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.done {
            return Poll::Ready(None);
        }
        let shared = &*self.shared;
        let polled = shared.poll_wait(TAKER, &shared.taker_waker, cx);
        polled.map(|word| self.take_outcome(word))
    }

    /// Takes nothing that is not there yet, and tells the giver. A value that was given before can still be taken.
    ///
    /// ```
    /// let (giver, mut taker) = divisi_task::hand_over::pair();
    /// taker.close();
    /// assert_eq!(giver.give(5), Err(5));
    /// assert_eq!(taker.try_take(), Some(None));
    /// ```
    pub fn close(&mut self) {
        if self.done {
            return;
        }
        let shared = &*self.shared;
        // Release: what was done before, for the giver. Acquire: the value, or the waker.
        let before = shared.word.fetch_or(GONE, Ordering::AcqRel);
        if before & DONE == 0 {
            self.done = true;
            shared.wake(GIVER, &shared.giver_waker, before);
        }
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
        // SAFETY: GONE was not set before DONE, or this end would be done; so the place is its own, and DONE was acquired.
        self.shared
            .value
            .with_mut(|place| unsafe { (*place).take() })
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.close();
        // What was given before.
        drop(self.try_take());
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
