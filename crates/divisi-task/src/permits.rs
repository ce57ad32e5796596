//! Permits that are handed out in the order in which they were asked for: what mutexes, read-write locks and
//! semaphores are made of.
//!
//! # The protocol
//!
//! A word counts the permits that nobody has, and has two flags, CLOSED and WAITERS; a [`WaitList`] has those who
//! wait.
//!
//! * Without WAITERS, permits are taken and given back by one compare-and-exchange of the word each.
//! * WAITERS is set under the list's lock, by one who finds too few permits and goes into the list before it lets go
//!   of the lock; it is cleared under the lock when the list has become empty. As long as it is set the word changes
//!   under the lock only: who asks goes to the end of the list, even if there are permits (nobody overtakes), and who
//!   gives back serves the list.
//! * Serving: while the one who came first wants no more than there is, it gets that and leaves the list. So a large
//!   request is not starved by small ones.
//!
//! **No permit is lost.** A permit is in the word, in a [`Grant`], or in the ticket of a waiter that was chosen and
//! has not looked yet. Such a waiter gives it back when it is dropped. Nor does a permit lie idle: permits are added
//! to the word without the lock only if WAITERS is clear, by a compare-and-exchange that fails when it gets set. One
//! who waits set it, or found it set, under the lock, having found too few permits in that same value; everybody who
//! gives back later serves the list. When a waiter gives up, the next may fit: giving up
//! serves the list too.
//!
//! **Who gets a permit sees what was done under it.** The changes of the word acquire and release; so whoever set
//! WAITERS has acquired what the permits count that were there, and hands that on by the lock. In the list, the
//! ticket is granted under the lock, and the store that says so is acquired by the waiter. The store that clears
//! WAITERS releases all that for the next one who changes the word.
//!
//! Models: `tests/loom_permits.rs`.

mod acquire;
mod grant;
mod word;

use std::fmt;

pub use self::acquire::Acquire;
pub use self::grant::Grant;
use self::word::{AtomicWord, Word};
use crate::sync::const_fn;
use crate::wait_list::{Queue, WaitList, Wakers};

/// The largest number of permits that can be counted.
pub const MAX_PERMITS: usize = word::MAX;

/// The lane of those who wait.
const LANE: usize = 0;

/// Permits, and who waits for them. See the [module](self).
pub struct Permits(Core);

/// The permits proper. Private, so that [`Queue`], and with it the list and its tickets, is nobody's but this
/// module's.
struct Core {
    word: AtomicWord,
    waiters: WaitList<(), Ticket>,
}

/// What a waiter wants and is told.
#[derive(Debug)]
struct Ticket {
    wanted: usize,
    /// Once chosen: whether it got what it wanted. Otherwise there will be no permits any more.
    granted: bool,
}

/// Why no permits were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are too few, or others wait for them already.
    TooFew,
    /// There will be none any more.
    Closed,
}

/// There will be no permits any more: whoever gives them out was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Something that permits can be asked from.
///
/// Only its owner can make permits, so a bound on this trait gives nobody a way to them:
///
/// ```compile_fail,E0061
/// use divisi_task::permits::{Permits, Source};
///
/// fn permits_of<S: Source + ?Sized>(source: &S) -> &Permits {
///     source.permits()
/// }
/// ```
///
/// Nor can the tickets of those who wait be reached:
///
/// ```compile_fail,E0277
/// use divisi_task::{permits::Permits, wait_list::Queue};
///
/// fn waiters(permits: &Permits) {
///     let _ = permits.waiters();
/// }
/// ```
pub trait Source: sealed::Sealed {}

impl<S: sealed::Sealed + ?Sized> Source for S {}

pub(crate) mod sealed {
    /// See [`Source`](super::Source).
    pub trait Sealed {
        /// A bound on `Source` brings this method into everybody's scope. Nobody else can make the token.
        fn permits(&self, token: Token) -> &super::Permits;
    }

    /// Made in this crate only.
    #[derive(Clone, Copy, Debug)]
    pub struct Token(pub(crate) ());
}

impl sealed::Sealed for Permits {
    #[inline]
    fn permits(&self, _: sealed::Token) -> &Permits {
        self
    }
}

impl Permits {
    const_fn! {
        /// As many permits.
        ///
        /// # Panics
        ///
        /// If there are more than [`MAX_PERMITS`].
        #[must_use]
        pub fn new(permits: usize) -> Self {
            Self(Core {
                word: AtomicWord::new(permits),
                waiters: WaitList::new(()),
            })
        }
    }

    /// How many permits nobody has. More than none does not mean that one can be had: somebody who wants more may
    /// wait.
    pub fn available(&self) -> usize {
        self.0.word.load().permits()
    }

    /// Whether somebody waits.
    pub fn has_waiters(&self) -> bool {
        self.0.word.load().has_waiters()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.waiters.lock().waiting(LANE)
    }

    /// Whether there will be no permits any more.
    pub fn is_closed(&self) -> bool {
        self.0.word.load().is_closed()
    }

    /// Makes that many new permits.
    ///
    /// # Panics
    ///
    /// If there are more than [`MAX_PERMITS`] then.
    pub fn add(&self, permits: usize) {
        self.0.release(permits, add_checked);
    }

    /// Does away with up to that many of the permits that nobody has, and returns how many that were.
    pub fn remove(&self, permits: usize) -> usize {
        let _lock = self.0.waiters.lock();
        let mut word = self.0.word.load();
        loop {
            let removed = permits.min(word.permits());
            match self
                .0
                .word
                .change(word, word.with_permits(word.permits() - removed))
            {
                Ok(()) => return removed,
                Err(actual) => word = actual,
            }
        }
    }

    /// Refuses everybody who waits, and whoever comes. Permits can be given back still.
    pub fn close(&self) {
        let mut wakers = Wakers::new();
        let mut waiters = self.0.waiters.lock();
        let mut word = self.0.word.load();
        while let Err(actual) = self.0.word.change(word, word.closed().with_waiters(false)) {
            word = actual;
        }
        while waiters.choose(LANE, &mut wakers) {}
        drop(waiters);
        wakers.wake_all();
    }
}

impl Core {
    /// Takes permits if they are there and nobody waits.
    #[inline]
    fn take(&self, wanted: usize) -> Result<(), Refused> {
        let mut word = self.word.load();
        loop {
            if word.is_closed() {
                return Err(Refused::Closed);
            }
            if word.has_waiters() || word.permits() < wanted {
                return Err(Refused::TooFew);
            }
            match self
                .word
                .change(word, word.with_permits(word.permits() - wanted))
            {
                Ok(()) => return Ok(()),
                Err(actual) => word = actual,
            }
        }
    }

    /// As [`take`](Self::take), under the list's lock. If there are too few, the word says from now on that somebody
    /// waits, and the caller must.
    fn take_or_wait(&self, wanted: usize) -> Result<(), Refused> {
        let mut word = self.word.load();
        loop {
            if word.is_closed() {
                return Err(Refused::Closed);
            }
            if word.has_waiters() {
                return Err(Refused::TooFew);
            }
            let (next, outcome) = if word.permits() >= wanted {
                (word.with_permits(word.permits() - wanted), Ok(()))
            } else {
                (word.with_waiters(true), Err(Refused::TooFew))
            };
            match self.word.change(word, next) {
                Ok(()) => return outcome,
                Err(actual) => word = actual,
            }
        }
    }

    /// Gives permits back, or new ones out, as `add` adds them.
    #[inline]
    fn release(&self, permits: usize, add: fn(Word, usize) -> Word) {
        let mut word = self.word.load();
        while !word.has_waiters() {
            match self.word.change(word, add(word, permits)) {
                Ok(()) => return,
                Err(actual) => word = actual,
            }
        }
        self.serve(permits, add);
    }

    /// Gives permits to those who wait. Out of the way of those who need not.
    #[inline(never)]
    fn serve(&self, permits: usize, add: fn(Word, usize) -> Word) {
        let mut wakers = Wakers::new();
        let mut waiters = self.waiters.lock();
        let mut word = self.word.load();
        while !word.has_waiters() {
            match self.word.change(word, add(word, permits)) {
                Ok(()) => return,
                Err(actual) => word = actual,
            }
        }
        // From here on the word is ours.
        let mut left = add(word, permits).permits();
        while let Some((_, ticket)) = waiters.oldest(LANE) {
            if ticket.wanted > left {
                break;
            }
            left -= ticket.wanted;
            ticket.granted = true;
            waiters.choose(LANE, &mut wakers);
        }
        let someone_waits = waiters.waiting(LANE) != 0;
        self.word
            .set(word.with_permits(left).with_waiters(someone_waits));
        drop(waiters);
        wakers.wake_all();
    }
}

/// # Panics
///
/// If there are too many then.
fn add_checked(word: Word, permits: usize) -> Word {
    word.with_permits(word.permits().saturating_add(permits))
}

/// For permits that are given back, where nobody expects a panic. There are too many only if new ones were made while all
/// that can be counted were out or there: those beyond are done away with.
#[inline]
fn add_saturating(word: Word, permits: usize) -> Word {
    word.with_permits(word.permits().saturating_add(permits).min(MAX_PERMITS))
}

impl Queue for Core {
    type State = ();
    type Ticket = Ticket;

    fn waiters(&self) -> &WaitList<(), Ticket> {
        &self.waiters
    }

    fn give_up(&self, ticket: &mut Ticket, chosen: bool) {
        match (chosen, ticket.granted) {
            (true, true) => self.release(ticket.wanted, add_saturating),
            // Closed: nobody waits.
            (true, false) => {}
            // Who was behind it may be satisfied with what there is.
            (false, _) => self.serve(0, add_saturating),
        }
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.word.load().fmt(f)
    }
}
