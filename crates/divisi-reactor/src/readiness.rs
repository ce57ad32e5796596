//! What is known about one source: a word of readiness bits and a tick.
//!
//! # Meaning
//! Edge-triggered polling tells each change once, so somebody must remember it until an operation
//! finds out that it is no longer true. That memory is [`Readiness`].
//!
//! | bit | set by | cleared by |
//! |---|---|---|
//! | `READABLE`, `WRITABLE` | an event of that direction; a new word; an evacuation | the operation that hit its end |
//! | `READ_CLOSED` | the peer shut its writing side (`EPOLLRDHUP`) | never |
//! | `CLOSED`, `ERROR` | `EPOLLHUP`, `EPOLLERR`; both also set both directions | never |
//! | `URGENT` | out-of-band data (`EPOLLPRI`) | never |
//! | `SHUT_DOWN` | the reactor was closed | never |
//!
//! Every delivered event adds one to the tick. A word starts readable and writable: before the
//! first operation nothing is known, and trying costs less than waiting.
//!
//! # Clearing loses no edge
//! An operation takes a [`Snapshot`] *before* its system call and clears with it *after*. If an
//! event was delivered between, the tick differs and nothing is cleared: the operation is tried
//! again. If the event is delivered after the clear, it sets the bit again. An event that the
//! kernel queued before the system call but that is delivered later only causes one attempt too
//! many. So after a clear either the source is really drained, or an event is still to come.
//!
//! # When a short read means "drained"
//! A stream that returned fewer bytes than asked for has no more *data*; a later arrival makes a
//! new edge. Three things can still be waiting behind the data without a new edge, and each has a
//! bit that forbids the shortcut: the end of the stream (`READ_CLOSED`, `CLOSED`), an error
//! (`ERROR`), and what follows an urgent byte, since a TCP read stops at the urgent mark
//! (`URGENT`). Such a condition that arrives after the snapshot comes with an event of its own.

use crate::direction::Direction;
use crate::loom::{AtomicU64, Ordering};
use std::fmt;
use std::ops::BitOr;

/// The bits of an event, and the lower part of a [`Readiness`] word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready(u64);

impl Ready {
    pub(crate) const NONE: Ready = Ready(0);
    /// A read would not block.
    pub(crate) const READABLE: Ready = Ready(1);
    /// A write would not block.
    pub(crate) const WRITABLE: Ready = Ready(1 << 1);
    /// The peer will send no more; data may still be queued before the end.
    pub(crate) const READ_CLOSED: Ready = Ready(1 << 2);
    /// Both directions are closed.
    pub(crate) const CLOSED: Ready = Ready(1 << 3);
    /// An error is pending.
    pub(crate) const ERROR: Ready = Ready(1 << 4);
    /// Urgent data splits the stream.
    pub(crate) const URGENT: Ready = Ready(1 << 5);
    /// The reactor that watched the source is closed.
    const SHUT_DOWN: Ready = Ready(1 << 6);
    /// Everything after which a short read may leave something behind.
    const NOT_DRAINED_BY_SHORT: Ready =
        Ready(Self::READ_CLOSED.0 | Self::CLOSED.0 | Self::ERROR.0 | Self::URGENT.0);

    fn of(direction: Direction) -> Ready {
        match direction {
            Direction::Read => Ready::READABLE,
            Direction::Write => Ready::WRITABLE,
        }
    }

    pub(crate) fn contains(self, other: Ready) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn intersects(self, other: Ready) -> bool {
        self.0 & other.0 != 0
    }

    /// True if a waiter of this direction has something to try.
    pub(crate) fn allows(self, direction: Direction) -> bool {
        self.contains(Ready::of(direction))
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Ready, &str); 7] = [
            (Ready::READABLE, "readable"),
            (Ready::WRITABLE, "writable"),
            (Ready::READ_CLOSED, "read-closed"),
            (Ready::CLOSED, "closed"),
            (Ready::ERROR, "error"),
            (Ready::URGENT, "urgent"),
            (Ready::SHUT_DOWN, "shut-down"),
        ];
        let mut separator = "";
        for (bit, name) in NAMES {
            if self.contains(bit) {
                write!(f, "{separator}{name}")?;
                separator = " + ";
            }
        }
        if separator.is_empty() {
            f.write_str("nothing")?;
        }
        Ok(())
    }
}

/// Bits below the tick: the flags above, with room to grow.
const TICK_SHIFT: u32 = 16;
const FLAGS: u64 = (1 << TICK_SHIFT) - 1;
const ONE_TICK: u64 = 1 << TICK_SHIFT;

/// A [`Readiness`] word as it was at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    fn ready(self) -> Ready {
        Ready(self.0 & FLAGS)
    }

    fn tick(self) -> u64 {
        self.0 >> TICK_SHIFT
    }

    /// True if an operation in this direction is worth trying.
    pub(crate) fn allows(self, direction: Direction) -> bool {
        self.ready().allows(direction)
    }

    /// True once the watching reactor is closed.
    pub(crate) fn is_shut_down(self) -> bool {
        self.ready().contains(Ready::SHUT_DOWN)
    }

    /// True if a short read or write seen with this snapshot proves that nothing is left.
    pub(crate) fn short_means_drained(self, direction: Direction) -> bool {
        match direction {
            Direction::Read => !self.ready().intersects(Ready::NOT_DRAINED_BY_SHORT),
            Direction::Write => !self.ready().intersects(Ready::CLOSED | Ready::ERROR),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at tick {}", self.ready(), self.tick())
    }
}

/// What [`Readiness::clear`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clear {
    /// The direction is not ready any more: the next event will say so.
    Done,
    /// An event came in since the snapshot; the direction may be ready.
    Changed,
}

/// The word described in the module documentation.
pub(crate) struct Readiness(AtomicU64);

impl Readiness {
    const FRESH: u64 = Ready::READABLE.0 | Ready::WRITABLE.0;

    /// A source about which nothing is known: worth trying in both directions.
    pub(crate) fn new() -> Readiness {
        Readiness(AtomicU64::new(Readiness::FRESH))
    }

    pub(crate) fn load(&self) -> Snapshot {
        // Acquire orders the operation after the event that allowed it.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// An event arrived: adds its bits and counts it.
    pub(crate) fn deliver(&self, ready: Ready) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let next = (word | ready.0).wrapping_add(ONE_TICK);
            // Release orders the event before the attempts it causes.
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// An operation hit its end: clears the direction unless an event came in since `seen`.
    pub(crate) fn clear(&self, direction: Direction, seen: Snapshot) -> Clear {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if Snapshot(word).tick() != seen.tick() {
                return Clear::Changed;
            }
            let next = word & !Ready::of(direction).0;
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Clear::Done,
                Err(now) => word = now,
            }
        }
    }

    /// The watching reactor was closed: from now on every operation fails.
    pub(crate) fn shut_down(&self) {
        self.deliver(Ready::SHUT_DOWN | Ready::READABLE | Ready::WRITABLE);
    }

    /// An event may have been lost: both directions are worth trying.
    pub(crate) fn assume_ready(&self) {
        self.deliver(Ready::READABLE | Ready::WRITABLE);
    }

    /// Forgets everything. The caller has exclusive use of the unregistered source.
    pub(crate) fn reset(&self) {
        self.0.store(Readiness::FRESH, Ordering::Release);
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Snapshot(self.0.load(Ordering::Relaxed)).fmt(f)
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;
    use Direction::{Read, Write};

    #[test]
    fn a_new_word_is_worth_trying_in_both_directions() {
        let word = Readiness::new();
        assert!(word.load().allows(Read) && word.load().allows(Write));
        assert!(!word.load().is_shut_down());
    }

    #[test]
    fn clearing_one_direction_keeps_the_other() {
        let word = Readiness::new();
        assert_eq!(word.clear(Read, word.load()), Clear::Done);
        assert!(!word.load().allows(Read));
        assert!(word.load().allows(Write));
        assert_eq!(word.clear(Write, word.load()), Clear::Done);
        assert!(!word.load().allows(Write));
    }

    #[test]
    fn an_event_since_the_snapshot_forbids_the_clear() {
        let word = Readiness::new();
        let seen = word.load();
        word.deliver(Ready::WRITABLE);
        assert_eq!(word.clear(Read, seen), Clear::Changed);
        assert!(word.load().allows(Read));
        assert_eq!(word.clear(Read, word.load()), Clear::Done);
    }

    #[test]
    fn an_event_after_the_clear_sets_the_bit_again() {
        let word = Readiness::new();
        word.clear(Read, word.load());
        word.deliver(Ready::READABLE);
        assert!(word.load().allows(Read));
    }

    #[test]
    fn a_short_read_drains_unless_an_end_an_error_or_urgent_data_was_seen() {
        for bit in [
            Ready::READ_CLOSED,
            Ready::CLOSED,
            Ready::ERROR,
            Ready::URGENT,
        ] {
            let word = Readiness::new();
            assert!(word.load().short_means_drained(Read));
            word.deliver(bit | Ready::READABLE);
            assert!(!word.load().short_means_drained(Read), "{bit:?}");
        }
    }

    #[test]
    fn a_short_write_drains_although_the_peer_stopped_sending() {
        let word = Readiness::new();
        word.deliver(Ready::READABLE | Ready::READ_CLOSED);
        assert!(word.load().short_means_drained(Write));
        word.deliver(Ready::WRITABLE | Ready::ERROR);
        assert!(!word.load().short_means_drained(Write));
    }

    #[test]
    fn the_end_of_the_stream_stays_known_after_a_clear_without_counting_as_ready() {
        let word = Readiness::new();
        word.deliver(Ready::READABLE | Ready::READ_CLOSED);
        assert_eq!(word.clear(Read, word.load()), Clear::Done);
        assert!(!word.load().allows(Read));
        assert!(!word.load().short_means_drained(Read));
    }

    #[test]
    fn a_shut_down_word_is_ready_so_that_everybody_tries_and_learns() {
        let word = Readiness::new();
        word.clear(Read, word.load());
        word.clear(Write, word.load());
        word.shut_down();
        assert!(word.load().is_shut_down());
        assert!(word.load().allows(Read) && word.load().allows(Write));
    }

    #[test]
    fn assuming_readiness_forbids_a_clear_that_is_under_way() {
        let word = Readiness::new();
        let seen = word.load();
        word.clear(Write, seen);
        word.assume_ready();
        assert_eq!(word.clear(Read, seen), Clear::Changed);
        assert!(word.load().allows(Write));
    }

    #[test]
    fn reset_forgets() {
        let word = Readiness::new();
        word.deliver(Ready::READ_CLOSED);
        word.clear(Read, word.load());
        word.reset();
        assert!(word.load().allows(Read) && word.load().short_means_drained(Read));
    }

    #[test]
    fn debug_spells_the_bits() {
        let word = Readiness::new();
        word.deliver(Ready::READ_CLOSED);
        assert_eq!(
            format!("{word:?}"),
            "readable + writable + read-closed at tick 1"
        );
        word.clear(Read, word.load());
        word.clear(Write, word.load());
        assert_eq!(format!("{word:?}"), "read-closed at tick 1");
        assert_eq!(format!("{:?}", Ready::NONE), "nothing");
    }
}
