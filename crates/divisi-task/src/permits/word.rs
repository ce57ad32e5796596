//! The state of [`Permits`](super::Permits) in one word.

use std::fmt;

use crate::sync::{AtomicUsize, Ordering};

/// No permit will be given any more.
const CLOSED: usize = 0b01;
/// Somebody waits, or is about to: the word changes under the list's lock only.
const WAITERS: usize = 0b10;
const SHIFT: u32 = 2;

/// The largest number of permits.
pub(crate) const MAX: usize = usize::MAX >> SHIFT;

/// A value of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(usize);

impl Word {
    #[inline]
    pub(super) const fn new(permits: usize) -> Self {
        assert!(permits <= MAX, "more permits than can be counted");
        Self(permits << SHIFT)
    }

    #[inline]
    pub(super) fn permits(self) -> usize {
        self.0 >> SHIFT
    }

    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    #[inline]
    pub(super) fn has_waiters(self) -> bool {
        self.0 & WAITERS != 0
    }

    #[inline]
    pub(super) fn with_permits(self, permits: usize) -> Self {
        Self(Self::new(permits).0 | self.0 & (CLOSED | WAITERS))
    }

    #[inline]
    pub(super) fn with_waiters(self, waiters: bool) -> Self {
        Self(if waiters {
            self.0 | WAITERS
        } else {
            self.0 & !WAITERS
        })
    }

    #[inline]
    pub(super) fn closed(self) -> Self {
        Self(self.0 | CLOSED)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("permits", &self.permits())
            .field("closed", &self.is_closed())
            .field("waiters", &self.has_waiters())
            .finish()
    }
}

pub(super) struct AtomicWord(AtomicUsize);

impl AtomicWord {
    crate::sync::const_fn! {
        pub(super) fn new(permits: usize) -> Self {
            Self(AtomicUsize::new(Word::new(permits).0))
        }
    }

    /// Synchronises nothing: what is concluded from it is checked by [`change`](Self::change), or the word belongs to
    /// the caller, who has acquired what it counts by the list's lock.
    #[inline]
    pub(super) fn load(&self) -> Word {
        Word(self.0.load(Ordering::Relaxed))
    }

    /// Acquires what those did who gave the permits back that the value counts, and releases what this thread did
    /// before. Fails with the current value.
    #[inline]
    pub(super) fn change(&self, from: Word, to: Word) -> Result<(), Word> {
        self.0
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .map(drop)
            .map_err(Word)
    }

    /// Changes the word while nobody else may: under the list's lock, with [`WAITERS`] set. Releases what this thread
    /// did or acquired before.
    #[inline]
    pub(super) fn set(&self, to: Word) {
        self.0.store(to.0, Ordering::Release);
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;

    #[test]
    fn flags_and_permits_change_independently() {
        let word = Word::new(5);
        assert_eq!(
            (word.permits(), word.is_closed(), word.has_waiters()),
            (5, false, false)
        );
        let word = word.with_waiters(true).with_permits(MAX);
        assert_eq!(
            (word.permits(), word.is_closed(), word.has_waiters()),
            (MAX, false, true)
        );
        let word = word.closed().with_permits(0).with_waiters(false);
        assert_eq!(
            (word.permits(), word.is_closed(), word.has_waiters()),
            (0, true, false)
        );
    }

    #[test]
    #[should_panic(expected = "more permits than can be counted")]
    fn too_many_permits_are_refused() {
        let _ = Word::new(MAX + 1);
    }
}
