//! Who sleeps in the reactor and who has to ring the bell: one word, no lost wake-up.
//!
//! # Participants
//! - the *sleeper*: the one thread that blocks in the operating system's wait;
//! - *notifiers*: any thread that has something for the sleeper;
//! - *pollers*: threads that look at the same descriptors without blocking.
//!
//! The *bell* is what ends the wait from outside (on Linux an eventfd registered edge-triggered
//! and never read). Ringing it costs a system call, so it is rung only for a sleeper.
//!
//! # States
//! | word | meaning |
//! |---|---|
//! | `AWAKE` | nobody sleeps, nothing is pending |
//! | `SLEEPING` | one thread sleeps or is about to; it has not been notified |
//! | `NOTIFIED` | nobody sleeps; the next sleeper does not block |
//! | `SLEEPING + NOTIFIED` | the sleeper is leaving: its bell has been rung, or is about to be |
//!
//! # Transitions
//! | who | call | change |
//! |---|---|---|
//! | sleeper | [`SleepWord::begin`] | `AWAKE -> SLEEPING`, or `NOTIFIED -> AWAKE` and no sleep |
//! | sleeper | [`SleepWord::end`] | `* -> AWAKE`; says whether it was notified |
//! | notifier | [`SleepWord::notify`] | sets `NOTIFIED`; rings if the word was exactly `SLEEPING` |
//! | poller | [`SleepWord::bell_was_taken_from_sleeper`] | none; rings again if `SLEEPING + NOTIFIED` |
//!
//! # No lost wake-up
//! Both sides change the *same* word by read-modify-write operations, so these are totally ordered
//! and no fence pair is needed. Take a notification N and a later or concurrent `begin` B.
//! 1. N before B: B finds `NOTIFIED` and does not sleep. B acquires what N released.
//! 2. B before N, and N finds `SLEEPING`: N rings. The ring is an edge in the poller's ready list.
//!    It stays there until some wait takes it. If the sleeper takes it, it returns. If a
//!    non-blocking poller takes it, that poller looks at the word *after* its wait: as long as the
//!    sleeper has not called `end`, it reads `SLEEPING + NOTIFIED` and rings again. By induction
//!    over pollers the sleeper returns.
//! 3. B before N, and N finds `SLEEPING + NOTIFIED`: an earlier notifier N' rings for the same
//!    sleep by case 2, and the sleeper's `end` reads a value in the release sequence of N, so what
//!    N released is visible when the turn returns.
//! 4. N finds `NOTIFIED` alone: as case 1 with the next `begin`.
//!
//! A ring that arrives after its sleeper left on its own (an I/O event, a time-out) is stale: it
//! costs one later wait that returns empty-handed. It loses nothing, because a pending edge can
//! only end waits.
//!
//! At most one ring is written for a sleep by notifiers, since only the transition
//! `SLEEPING -> SLEEPING + NOTIFIED` rings and it happens once between `begin` and `end`.
//!
//! Model: `tests/loom_sleep.rs`.

use crate::loom::{AtomicU32, Ordering};
use std::fmt;

/// Nobody sleeps and no notification is pending.
const AWAKE: u32 = 0;
/// A thread sleeps, or has decided to and still may.
const SLEEPING: u32 = 1;
/// A notification that no sleep has consumed yet.
const NOTIFIED: u32 = 2;

/// The outcome of asking to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The caller is the sleeper now and must call [`SleepWord::end`].
    Asleep,
    /// A notification was pending and has been consumed: do not block.
    Notified,
    /// Another thread sleeps here: do not block.
    Occupied,
}

/// The word described in the module documentation.
pub(crate) struct SleepWord(AtomicU32);

impl SleepWord {
    pub(crate) fn new() -> SleepWord {
        SleepWord(AtomicU32::new(AWAKE))
    }

    /// The caller wants to block.
    pub(crate) fn begin(&self) -> Begin {
        // Acquire: what the notifier did before `notify` is visible to a sleep that its
        // notification prevents. Release is not needed: the sleeper announces nothing but itself.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (next, outcome) = match word {
                AWAKE => (SLEEPING, Begin::Asleep),
                NOTIFIED => (AWAKE, Begin::Notified),
                _ => return Begin::Occupied,
            };
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return outcome,
                Err(now) => word = now,
            }
        }
    }

    /// The sleeper has returned. True if it was notified since [`SleepWord::begin`].
    pub(crate) fn end(&self) -> bool {
        // Acquire pairs with the release in `notify` (cases 2 and 3 of the proof).
        let word = self.0.swap(AWAKE, Ordering::Acquire);
        debug_assert!(word & SLEEPING != 0, "end() without begin()");
        word & NOTIFIED != 0
    }

    /// Leaves a notification. True if the caller must ring the bell.
    #[must_use]
    pub(crate) fn notify(&self) -> bool {
        // Release publishes the notifier's work; the value read decides nothing but the ring.
        self.0.fetch_or(NOTIFIED, Ordering::Release) == SLEEPING
    }

    /// For a poller whose wait may have taken the bell's edge: true if a sleeper still needs it.
    #[must_use]
    pub(crate) fn bell_was_taken_from_sleeper(&self) -> bool {
        // Relaxed suffices: the notifier's `fetch_or` precedes its ring, and the poller saw the
        // ring through the kernel, so coherence forbids reading an older value than that one.
        self.0.load(Ordering::Relaxed) == SLEEPING | NOTIFIED
    }
}

impl fmt::Debug for SleepWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.load(Ordering::Relaxed) {
            AWAKE => "awake",
            SLEEPING => "sleeping",
            NOTIFIED => "notified",
            _ => "sleeping + notified",
        })
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_notification_before_the_sleep_prevents_it_once() {
        let word = SleepWord::new();
        assert!(!word.notify(), "nobody sleeps: no ring");
        assert!(!word.notify());
        assert_eq!(word.begin(), Begin::Notified);
        assert_eq!(word.begin(), Begin::Asleep);
    }

    #[test]
    fn a_sleeper_is_rung_once_however_often_it_is_notified() {
        let word = SleepWord::new();
        assert_eq!(word.begin(), Begin::Asleep);
        assert!(word.notify());
        assert!(!word.notify());
        assert!(word.end());
        assert!(!word.notify(), "the sleeper has left");
    }

    #[test]
    fn a_second_sleeper_is_told_that_the_place_is_taken() {
        let word = SleepWord::new();
        assert_eq!(word.begin(), Begin::Asleep);
        assert_eq!(word.begin(), Begin::Occupied);
        assert!(word.notify());
        assert_eq!(
            word.begin(),
            Begin::Occupied,
            "the notification is the sleeper's"
        );
        assert!(word.end());
    }

    #[test]
    fn a_taken_bell_is_rung_again_only_for_a_notified_sleeper() {
        let word = SleepWord::new();
        assert!(!word.bell_was_taken_from_sleeper());
        assert_eq!(word.begin(), Begin::Asleep);
        assert!(!word.bell_was_taken_from_sleeper());
        assert!(word.notify());
        assert!(word.bell_was_taken_from_sleeper());
        assert!(word.end());
        assert!(!word.bell_was_taken_from_sleeper());
        assert!(!word.notify());
        assert!(!word.bell_was_taken_from_sleeper());
    }
}
