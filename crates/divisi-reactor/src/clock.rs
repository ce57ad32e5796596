//! The clock as a value: the machine's, or one that moves only when told to.

use parking_lot::Mutex;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Where timers get the time from. Clones share the same time.
///
/// A *real* clock is [`Instant::now`]. A *manual* (virtual) clock stands still until it is
/// advanced, so a test that sleeps for a day takes no time.
///
/// ```
/// use divisi_reactor::Clock;
/// use std::time::Duration;
///
/// let clock = Clock::manual();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(86_400))?;
/// assert_eq!(clock.now() - before, Duration::from_secs(86_400));
/// assert!(Clock::real().advance(Duration::from_secs(1)).is_err());
/// # Ok::<(), divisi_reactor::NotVirtual>(())
/// ```
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    Real,
    Virtual(Arc<Virtual>),
}

struct Virtual {
    base: Instant,
    /// Nanoseconds since `base`.
    elapsed: AtomicU64,
    watchers: Mutex<Vec<Weak<dyn Watcher>>>,
}

/// Told after every change of a virtual clock.
pub(crate) trait Watcher: Send + Sync {
    fn time_moved(&self);
}

/// Somebody tried to move a real clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotVirtual;

impl fmt::Display for NotVirtual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the real clock cannot be moved; build the runtime with a manual clock")
    }
}

impl Error for NotVirtual {}

impl Clock {
    /// The machine's monotonic clock.
    pub fn real() -> Clock {
        Clock(Kind::Real)
    }

    /// A clock that starts now and stands still until [`Clock::advance`] or [`Clock::advance_to`].
    pub fn manual() -> Clock {
        Clock(Kind::Virtual(Arc::new(Virtual {
            base: Instant::now(),
            elapsed: AtomicU64::new(0),
            watchers: Mutex::new(Vec::new()),
        })))
    }

    /// The present.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Kind::Real => Instant::now(),
            Kind::Virtual(clock) => clock.at(clock.elapsed.load(Ordering::Acquire)),
        }
    }

    /// True for a clock made by [`Clock::manual`].
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Kind::Virtual(_))
    }

    /// The moment `after` from now, or `None` if no [`Instant`] can tell it: never.
    pub fn deadline(&self, after: Duration) -> Option<Instant> {
        self.now().checked_add(after)
    }

    /// Moves a virtual clock forward and wakes every thread that sleeps in a reactor of this clock
    /// in which a timer has become due. Returns the new present. Saturates after some 584 years.
    ///
    /// The timers fire in the next turn of their reactor, not in this call.
    ///
    /// # Errors
    /// [`NotVirtual`] if this is the real clock.
    pub fn advance(&self, by: Duration) -> Result<Instant, NotVirtual> {
        let clock = self.as_virtual()?;
        let by = saturating_nanos(by);
        let mut old = clock.elapsed.load(Ordering::Relaxed);
        let new = loop {
            let new = old.saturating_add(by);
            match clock
                .elapsed
                .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break new,
                Err(now) => old = now,
            }
        };
        clock.tell();
        Ok(clock.at(new))
    }

    /// Moves a virtual clock forward to `to`; does nothing if it is already there or later.
    /// Otherwise as [`Clock::advance`].
    ///
    /// # Errors
    /// [`NotVirtual`] if this is the real clock.
    pub fn advance_to(&self, to: Instant) -> Result<Instant, NotVirtual> {
        let clock = self.as_virtual()?;
        let to = saturating_nanos(to.saturating_duration_since(clock.base));
        let old = clock.elapsed.fetch_max(to, Ordering::AcqRel);
        clock.tell();
        Ok(clock.at(old.max(to)))
    }

    /// Calls `watcher` after every change. A real clock has none to tell.
    pub(crate) fn watch(&self, watcher: Weak<dyn Watcher>) {
        if let Kind::Virtual(clock) = &self.0 {
            let mut watchers = clock.watchers.lock();
            watchers.retain(|old| old.strong_count() > 0);
            watchers.push(watcher);
        }
    }

    fn as_virtual(&self) -> Result<&Virtual, NotVirtual> {
        match &self.0 {
            Kind::Real => Err(NotVirtual),
            Kind::Virtual(clock) => Ok(clock),
        }
    }
}

impl Virtual {
    fn at(&self, elapsed: u64) -> Instant {
        // A clock so late that `Instant` cannot tell the time stands still at its base.
        self.base
            .checked_add(Duration::from_nanos(elapsed))
            .unwrap_or(self.base)
    }

    fn tell(&self) {
        // Collected first: a watcher may drop the last handle of a reactor, and no lock is held
        // while others' code runs.
        let watchers: Vec<_> = self
            .watchers
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for watcher in watchers {
            watcher.time_moved();
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Real => f.write_str("Clock(real)"),
            Kind::Virtual(clock) => write!(
                f,
                "Clock(virtual, {:?} since it began)",
                Duration::from_nanos(clock.elapsed.load(Ordering::Relaxed))
            ),
        }
    }
}

/// The nanoseconds of a duration; `u64::MAX` (584 years) for everything longer.
pub(crate) fn saturating_nanos(duration: Duration) -> u64 {
    // On the path of every timer: no 128-bit arithmetic.
    duration
        .as_secs()
        .checked_mul(1_000_000_000)
        .and_then(|nanos| nanos.checked_add(duration.subsec_nanos().into()))
        .unwrap_or(u64::MAX)
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_advanced() {
        let clock = Clock::manual();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        let later = clock.advance(Duration::from_nanos(5)).unwrap();
        assert_eq!(later - start, Duration::from_nanos(5));
        assert_eq!(clock.clone().now(), later, "clones share the time");
    }

    #[test]
    fn advance_to_never_moves_backwards() {
        let clock = Clock::manual();
        let start = clock.now();
        let later = start + Duration::from_secs(3);
        assert_eq!(clock.advance_to(later).unwrap(), later);
        assert_eq!(clock.advance_to(start).unwrap(), later);
        assert_eq!(clock.now(), later);
    }

    #[test]
    fn advancing_past_the_end_of_time_saturates() {
        let clock = Clock::manual();
        clock.advance(Duration::MAX).unwrap();
        let end = clock.now();
        assert_eq!(clock.advance(Duration::MAX).unwrap(), end);
    }

    #[test]
    fn the_real_clock_refuses_to_be_moved() {
        let clock = Clock::real();
        assert!(!clock.is_virtual());
        assert_eq!(clock.advance(Duration::ZERO), Err(NotVirtual));
        assert_eq!(clock.advance_to(Instant::now()), Err(NotVirtual));
        assert!(NotVirtual.to_string().contains("manual clock"));
    }

    #[test]
    fn nanoseconds_saturate() {
        for (duration, nanos) in [
            (Duration::ZERO, 0),
            (Duration::new(3, 7), 3_000_000_007),
            (Duration::from_nanos(u64::MAX), u64::MAX),
            (Duration::from_nanos(u64::MAX - 1), u64::MAX - 1),
            (Duration::from_secs(u64::MAX / 1_000_000_000 + 1), u64::MAX),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(saturating_nanos(duration), nanos);
        }
    }

    #[test]
    fn a_deadline_that_no_instant_can_tell_is_never() {
        assert_eq!(Clock::real().deadline(Duration::MAX), None);
        assert!(Clock::real().deadline(Duration::from_secs(1)).is_some());
    }
}
