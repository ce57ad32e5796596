//! Points in time on a runtime's clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::OnceLock;
use std::time::Duration;

use crate::context;

/// A point in time on the clock of the runtime.
///
/// It is [`std::time::Instant`] with two differences: [`now`](Self::now) reads the clock of the runtime it is called in, which is virtual in
/// tests that ask for that, and arithmetic saturates. Adding more than the system can represent gives [`far_future`](Self::far_future), so
/// `Instant::now() + Duration::MAX` is a deadline that never comes and not a panic.
///
/// ```
/// use std::time::Duration;
/// use divisi::time::Instant;
///
/// let start = Instant::now();
/// let deadline = start + Duration::from_secs(5);
/// assert_eq!(deadline - start, Duration::from_secs(5));
/// assert_eq!(start - deadline, Duration::ZERO);
/// assert_eq!(start + Duration::MAX, Instant::far_future());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(std::time::Instant);

impl Instant {
    /// The time now, on the clock of the runtime that this thread belongs to, or on the system's monotonic clock outside of any runtime.
    pub fn now() -> Instant {
        Instant(context::now())
    }

    /// The latest point in time that the system can represent, centuries away: a deadline that never comes.
    pub fn far_future() -> Instant {
        static LATEST: OnceLock<std::time::Instant> = OnceLock::new();
        Instant(*LATEST.get_or_init(|| walk(std::time::Instant::checked_add)))
    }

    /// The earliest point in time that the system can represent.
    fn far_past() -> Instant {
        static EARLIEST: OnceLock<std::time::Instant> = OnceLock::new();
        Instant(*EARLIEST.get_or_init(|| walk(std::time::Instant::checked_sub)))
    }

    /// The same point as the standard library's type.
    pub const fn from_std(instant: std::time::Instant) -> Instant {
        Instant(instant)
    }

    /// The same point as the standard library's type.
    pub const fn into_std(self) -> std::time::Instant {
        self.0
    }

    /// The time since this instant; zero if it lies in the future.
    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The time from `earlier` to this instant; `None` if `earlier` is later.
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.0.checked_duration_since(earlier.0)
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// `self + duration`, or `None` if the system cannot represent that.
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_add(duration).map(Instant)
    }

    /// `self - duration`, or `None` if the system cannot represent that.
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_sub(duration).map(Instant)
    }

    /// `self + duration`, or [`far_future`](Self::far_future) if the system cannot represent that. The operator `+` does the same.
    pub fn saturating_add(&self, duration: Duration) -> Instant {
        self.checked_add(duration)
            .unwrap_or_else(Instant::far_future)
    }

    /// `self - duration`, or the earliest point that the system can represent. The operator `-` does the same.
    pub fn saturating_sub(&self, duration: Duration) -> Instant {
        self.checked_sub(duration).unwrap_or_else(Instant::far_past)
    }
}

/// The last point that `step` reaches from now, in strides that halve whenever one is too long.
fn walk(
    step: fn(&std::time::Instant, Duration) -> Option<std::time::Instant>,
) -> std::time::Instant {
    let mut reached = std::time::Instant::now();
    let mut stride = Duration::MAX;
    while !stride.is_zero() {
        match step(&reached, stride) {
            Some(further) => reached = further,
            None => stride /= 2,
        }
    }
    reached
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        self.saturating_add(duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        self.saturating_sub(duration)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

impl From<std::time::Instant> for Instant {
    fn from(instant: std::time::Instant) -> Instant {
        Instant(instant)
    }
}

impl From<Instant> for std::time::Instant {
    fn from(instant: Instant) -> std::time::Instant {
        instant.0
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_nanos(1);

    #[test]
    fn the_far_future_is_the_last_instant() {
        assert_eq!(Instant::far_future().checked_add(STEP), None);
        assert!(Instant::far_future() > Instant::now());
    }

    #[test]
    fn the_far_past_is_the_first_instant() {
        assert_eq!(Instant::far_past().checked_sub(STEP), None);
        assert!(Instant::far_past() < Instant::now());
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let now = Instant::now();
        assert_eq!(now + Duration::MAX, Instant::far_future());
        assert_eq!(Instant::far_future() + Duration::MAX, Instant::far_future());
        assert_eq!(now - Duration::MAX, Instant::far_past());
        assert_eq!(now - Instant::far_future(), Duration::ZERO);
        assert_eq!((now + STEP) - now, STEP);
    }
}
