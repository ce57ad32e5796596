//! How much may pass in how much time.

use std::time::Duration;

use super::meter::{Gcra, Meter, Window};

/// So much in so much time, and how strictly: what a [`RateLimiter`](super::RateLimiter) is made from.
///
/// | | at once | in any window of the period |
/// |---|---|---|
/// | [`per`](Self::per) | the burst: as much as in a period, unless [`burst`](Self::burst) says otherwise | at most that much more than the rate |
/// | [`paced`](Self::paced) | one, then the next when its share of the period is over | the rate |
/// | [`window`](Self::window) | as much as is left of the window | never more than the rate; it remembers every pass for a period |
///
/// ```
/// use std::time::Duration;
/// use divisi::limit::{Rate, RateLimiter};
///
/// let of_api = RateLimiter::all([
///     Rate::per(5, Duration::from_secs(1)).burst(2),
///     Rate::window(1000, Duration::from_secs(3600)),
/// ]);
/// assert_eq!(of_api.max_weight(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    amount: u64,
    period: u64,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum How {
    Burst(u64),
    Paced,
    Window,
}

/// The emission interval, in nanoseconds, from which on it is rounded up to a whole one: the error is below 1 in 2,000 there, and the
/// limiter's state fits an atomic word.
const COARSE: u64 = 1 << 11;

impl Rate {
    /// The largest amount, of a period or a burst: 2⁴⁸.
    pub const MAX: u64 = 1 << 48;

    /// `amount` in each `period`, and after a pause up to `amount` at once: the generic cell rate algorithm.
    ///
    /// # Panics
    ///
    /// If the amount or the period is zero, or the amount above [`MAX`](Self::MAX).
    #[track_caller]
    pub fn per(amount: u64, period: Duration) -> Rate {
        Rate::new(amount, period, How::Burst(amount))
    }

    /// `amount` in each `period`, evenly spaced: whoever has passed with a weight of `n` is followed after `n` shares of the period. A weight
    /// may be up to `amount`.
    ///
    /// # Panics
    ///
    /// As [`per`](Self::per).
    #[track_caller]
    pub fn paced(amount: u64, period: Duration) -> Rate {
        Rate::new(amount, period, How::Paced)
    }

    /// Never more than `amount` in any window of the length of `period`, wherever it begins. Every pass is remembered for a period: this
    /// takes 16 bytes for each of up to `amount` of them.
    ///
    /// # Panics
    ///
    /// As [`per`](Self::per).
    #[track_caller]
    pub fn window(amount: u64, period: Duration) -> Rate {
        Rate::new(amount, period, How::Window)
    }

    /// How much may pass at once after a pause. The largest weight, too.
    ///
    /// # Panics
    ///
    /// If this is not a rate made by [`per`](Self::per), or the burst is zero or above [`MAX`](Self::MAX).
    #[track_caller]
    #[must_use]
    pub fn burst(self, burst: u64) -> Rate {
        assert!(
            matches!(self.how, How::Burst(_)),
            "only `Rate::per` has a burst: a paced rate has none, and a window's is its amount"
        );
        check("the burst", burst);
        Rate {
            how: How::Burst(burst),
            ..self
        }
    }

    #[track_caller]
    fn new(amount: u64, period: Duration, how: How) -> Rate {
        check("the amount", amount);
        assert!(
            !period.is_zero(),
            "a rate needs a period of more than no time"
        );
        // Longer than a machine runs: the same as for ever.
        let period = u64::try_from(period.as_nanos())
            .unwrap_or(u64::MAX)
            .min(u64::MAX >> 1);
        Rate {
            amount,
            period,
            how,
        }
    }

    /// How much may pass in a period.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The period.
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period)
    }

    /// The largest weight.
    pub(super) fn max_weight(&self) -> u64 {
        match self.how {
            How::Burst(burst) => burst,
            How::Paced | How::Window => self.amount,
        }
    }

    pub(super) fn meter(&self) -> Meter {
        let burst = match self.how {
            How::Window => return Meter::Window(Window::new(self.amount, self.period)),
            How::Burst(burst) => Some(burst),
            How::Paced => None,
        };
        let interval = self.period.div_ceil(self.amount);
        Meter::Gcra(if interval >= COARSE || self.period % self.amount == 0 {
            Gcra::new(1, interval, burst)
        } else {
            Gcra::new(self.amount, self.period, burst)
        })
    }
}

#[track_caller]
fn check(what: &str, amount: u64) {
    assert!(
        (1..=Rate::MAX).contains(&amount),
        "{what} of a rate is from 1 to {}, and not {amount}",
        Rate::MAX
    );
}
