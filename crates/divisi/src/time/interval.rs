//! Ticking with a period.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use divisi_reactor::Timer;
use divisi_task::budget;
use futures_core::Stream;

use super::Instant;
use super::sleep::poll_timer;

/// A tick that is served later than this has been missed, and [`MissedTickBehavior`] decides about the next one. Longer than a timer is late on a machine
/// that is merely busy; otherwise [`MissedTickBehavior::Delay`] would drift with every tick.
const LATE: Duration = Duration::from_millis(1);

/// Ticks every `period`, for the first time at once.
///
/// ```
/// use std::time::Duration;
/// use divisi::time::interval;
///
/// # divisi::run(async {
/// let mut ticks = interval(Duration::from_millis(1));
/// let first = ticks.tick().await;
/// let second = ticks.tick().await;
/// assert_eq!(second - first, Duration::from_millis(1));
/// # });
/// ```
///
/// # Panics
///
/// If `period` is zero.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    Interval::new(Instant::now(), period)
}

/// Ticks every `period`, for the first time at `start`. See [`interval`].
///
/// # Panics
///
/// If `period` is zero.
#[track_caller]
pub fn interval_at(start: impl Into<Instant>, period: Duration) -> Interval {
    Interval::new(start.into(), period)
}

/// What an [`Interval`] does after a tick that was served late because nobody asked for it, or because the runtime was held up.
///
/// With a period of 10 ms, when the tick of 10 ms is served at 34 ms:
///
/// | behaviour | next ticks |
/// |---|---|
/// | `Burst` | 20 and 30 at once, then 40, 50 |
/// | `Delay` | 44, 54 |
/// | `Skip` | 40, 50 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissedTickBehavior {
    /// Every tick is served; those that were missed follow without a pause.
    #[default]
    Burst,
    /// The next tick comes one period after the late one, and the later ones follow from there. Lateness of up to a millisecond does not count, so
    /// that the ticks do not drift.
    Delay,
    /// The ticks that were missed are left out; the next one comes at the next multiple of the period.
    Skip,
}

/// Periodic ticks, see [`interval`]. Also a [`Stream`] that never ends.
///
/// # Cancel safety
///
/// [`tick`](Self::tick) loses nothing when it is dropped: the tick is served to the next call.
pub struct Interval {
    timer: Timer,
    next: Instant,
    period: Duration,
    missed: MissedTickBehavior,
    created_at: &'static Location<'static>,
}

impl Interval {
    #[track_caller]
    fn new(start: Instant, period: Duration) -> Interval {
        assert!(
            !period.is_zero(),
            "the period of an interval must not be zero: use `divisi::yield_now` to let other tasks run"
        );
        Interval {
            timer: Timer::at(start.into_std()),
            next: start,
            period,
            missed: MissedTickBehavior::default(),
            created_at: Location::caller(),
        }
    }

    /// Waits for the next tick. Gives the time for which it was planned, which is earlier than now if it is served late.
    ///
    /// # Panics
    ///
    /// The future panics when it must wait outside a divisi runtime.
    #[track_caller]
    pub fn tick(&mut self) -> Tick<'_> {
        Tick {
            interval: self,
            called_at: Location::caller(),
        }
    }

    /// Polls for the next tick, see [`tick`](Self::tick).
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        self.poll_at(cx, self.created_at)
    }

    fn poll_at(&mut self, cx: &mut Context<'_>, at: &'static Location<'static>) -> Poll<Instant> {
        let charge = ready!(budget::poll_proceed(cx));
        ready!(poll_timer(&mut self.timer, cx, at));
        charge.made_progress();
        let tick = self.next;
        self.plan(self.missed.following(tick, Instant::now(), self.period));
        Poll::Ready(tick)
    }

    fn plan(&mut self, next: Instant) {
        self.next = next;
        self.timer.reset(next.into_std());
    }

    /// The time between ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What happens after a late tick; [`Burst`](MissedTickBehavior::Burst) unless set otherwise.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what happens after a late tick.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// Starts over: the next tick comes one period from now.
    pub fn reset(&mut self) {
        self.plan(Instant::now() + self.period);
    }

    /// Starts over with a tick at once.
    pub fn reset_immediately(&mut self) {
        self.plan(Instant::now());
    }

    /// Starts over with a tick after `delay`.
    pub fn reset_after(&mut self, delay: Duration) {
        self.plan(Instant::now() + delay);
    }

    /// Starts over with a tick at `start`.
    pub fn reset_at(&mut self, start: impl Into<Instant>) {
        self.plan(start.into());
    }
}

impl MissedTickBehavior {
    /// The tick after that of `tick`, which is served `now`.
    fn following(self, tick: Instant, now: Instant, period: Duration) -> Instant {
        let late = now - tick;
        let in_time = late <= LATE.min(period);
        match self {
            MissedTickBehavior::Delay if !in_time => now + period,
            MissedTickBehavior::Skip if late >= period => now + (period - remainder(late, period)),
            _ => tick + period,
        }
    }
}

/// `duration % period`, for a period that is not zero.
fn remainder(duration: Duration, period: Duration) -> Duration {
    let nanos = duration.as_nanos() % period.as_nanos();
    // Below a billion, and below the seconds of a `Duration`.
    const NANOS_PER_SEC: u128 = 1_000_000_000;
    Duration::new(
        (nanos / NANOS_PER_SEC) as u64,
        (nanos % NANOS_PER_SEC) as u32,
    )
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("next", &self.next)
            .field("period", &self.period)
            .field("missed_tick_behavior", &self.missed)
            .field("created_at", &format_args!("{}", self.created_at))
            .finish()
    }
}

/// The future of [`Interval::tick`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Tick<'a> {
    interval: &'a mut Interval,
    called_at: &'static Location<'static>,
}

impl Future for Tick<'_> {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let called_at = self.called_at;
        self.interval.poll_at(cx, called_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// When the tick after that of `tick` comes, if that one is served at `now`; all counted from one instant.
    fn following(behavior: MissedTickBehavior, tick: Duration, now: Duration) -> Duration {
        let start = Instant::now();
        behavior.following(start + tick, start + now, PERIOD) - start
    }

    #[test]
    fn a_tick_in_time_is_followed_after_one_period_whatever_the_behavior() {
        for behavior in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            assert_eq!(following(behavior, ms(10), ms(10)), ms(20));
            assert_eq!(following(behavior, ms(10), ms(10) + LATE), ms(20));
        }
    }

    #[test]
    fn a_late_tick_is_followed_as_the_table_says() {
        assert_eq!(following(MissedTickBehavior::Burst, ms(10), ms(34)), ms(20));
        assert_eq!(following(MissedTickBehavior::Delay, ms(10), ms(34)), ms(44));
        assert_eq!(following(MissedTickBehavior::Skip, ms(10), ms(34)), ms(40));
    }

    #[test]
    fn skip_leaves_out_a_tick_that_is_due_right_now() {
        assert_eq!(following(MissedTickBehavior::Skip, ms(10), ms(30)), ms(40));
    }

    #[test]
    fn the_longest_period_does_not_overflow() {
        let now = Instant::now();
        for behavior in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            assert_eq!(
                behavior.following(now, now + ms(5), Duration::MAX),
                Instant::far_future()
            );
        }
        assert_eq!(remainder(Duration::MAX, Duration::MAX), Duration::ZERO);
        assert_eq!(
            remainder(Duration::MAX - ms(1), Duration::MAX),
            Duration::MAX - ms(1)
        );
    }
}
