//! So much in so much time.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::line::{Line, Pass, Wait};
use super::rate::Rate;
use crate::time::{Instant, sleep_until};

/// A wait that owns its limiter.
pub(crate) type OwnedWait = Wait<Arc<Line>>;

/// A pass that owns its limiter, and is given back unless it is made.
#[cfg(feature = "tower")]
pub(crate) type OwnedPass = Pass<Arc<Line>>;

/// Lets so much pass in so much time, by one [`Rate`] or several at once.
///
/// Clones share the limit. Time is that of the runtime it is used in: all who use one limiter must have the same clock, so a virtual
/// clock must be its only one. It may be shared by several runtimes, which need not all be running: those who wait in one are not held up by another. It may be made outside of
/// any runtime, and [`try_acquire`](Self::try_acquire) works there too.
///
/// # Fairness
///
/// First come, first served, whatever the weights: nobody overtakes, and a large weight is not starved by small ones. All who wait in a runtime share one
/// timer, and none of them looks at the clock.
///
/// # Accuracy
///
/// Nobody passes early. In the long run the rate is exact to 0.05 %: if a timer is late by up to a millisecond, the next one's time counts from when
/// the late one was due. (In a [window](Rate::window) it counts from when it passed.)
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use divisi::limit::{Rate, RateLimiter};
///
/// divisi::run(async {
///     let limiter = RateLimiter::new(Rate::per(1000, Duration::from_secs(1)).burst(2));
///     limiter.acquire().await;
///     limiter.try_acquire().unwrap();
///     let refused = limiter.try_acquire().unwrap_err();
///     assert!(refused.retry_after().unwrap() <= Duration::from_millis(1));
///     limiter.acquire().await; // A millisecond later.
///     assert!(limiter.acquire_many(3).await.is_err(), "never more than two at once");
/// });
/// ```
#[derive(Clone)]
pub struct RateLimiter {
    line: Arc<Line>,
}

/// The weight is more than the limiter ever lets pass at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooHeavy {
    /// What was asked for.
    pub weight: u64,
    /// The most that can pass at once: see [`RateLimiter::max_weight`].
    pub most: u64,
}

/// Not now: why [`RateLimiter::try_acquire`] does not let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much has passed, or others wait.
    NotYet {
        /// It is of no use to try again sooner. Later it may be, if nobody else has passed.
        retry_after: Duration,
    },
    /// It is of no use to try again.
    TooHeavy(TooHeavy),
}

impl Refused {
    /// After what time it is of use to try again; `None` if it never is.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotYet { retry_after } => Some(*retry_after),
            Self::TooHeavy(_) => None,
        }
    }
}

impl RateLimiter {
    /// A limiter of one rate.
    #[must_use]
    pub fn new(rate: Rate) -> RateLimiter {
        RateLimiter {
            line: Line::new(&[rate]),
        }
    }

    /// A limiter of several rates: what passes conforms to all of them, and counts in all of them.
    ///
    /// # Panics
    ///
    /// If there is no rate.
    #[track_caller]
    #[must_use]
    pub fn all(rates: impl IntoIterator<Item = Rate>) -> RateLimiter {
        let rates: Vec<_> = rates.into_iter().collect();
        assert!(!rates.is_empty(), "a limiter needs a rate");
        RateLimiter {
            line: Line::new(&rates),
        }
    }

    /// Waits until one may pass, and passes.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a divisi runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the line and nothing else: those behind move up, and if it was told to pass already, its pass is
    /// given back. (In a rate with a burst, as far as the bucket would not have been full since, and in a window for whoever comes next; in a
    /// [paced](Rate::paced) one, if others have passed since, only within a millisecond: after that its place in time is gone.)
    #[track_caller]
    pub fn acquire(&self) -> Acquire<'_> {
        Acquire {
            // No limit is below one.
            wait: Wait::new(&self.line, 1, Location::caller()),
        }
    }

    /// Waits until that much may pass at once, and passes. Nothing passes at once.
    ///
    /// # Errors
    ///
    /// More than [`max_weight`](Self::max_weight) is refused at once.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a divisi runtime.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_many(
        &self,
        weight: u64,
    ) -> impl Future<Output = Result<(), TooHeavy>> + use<'_> {
        let at = Location::caller();
        async move {
            self.check(weight)?;
            if weight != 0 {
                Wait::new(&*self.line, weight, at).await.make();
            }
            Ok(())
        }
    }

    /// Passes if one may pass now and nobody waits.
    ///
    /// # Errors
    ///
    /// When to try again.
    #[inline]
    pub fn try_acquire(&self) -> Result<(), Refused> {
        self.try_pass(1)
    }

    /// Passes if that much may pass now and nobody waits.
    ///
    /// # Errors
    ///
    /// When to try again; never, if it is more than [`max_weight`](Self::max_weight).
    pub fn try_acquire_many(&self, weight: u64) -> Result<(), Refused> {
        self.check(weight).map_err(Refused::TooHeavy)?;
        if weight == 0 {
            return Ok(());
        }
        self.try_pass(weight)
    }

    fn try_pass(&self, weight: u64) -> Result<(), Refused> {
        match self.line.try_pass(weight) {
            Ok(_) => Ok(()),
            Err(retry_after) => Err(Refused::NotYet { retry_after }),
        }
    }

    /// Reserves the first pass after all who wait, and tells when it may be made. Whoever comes later passes later, or earlier only where somebody
    /// else has left a gap. In a [window](Rate::window) those who wait are taken to pass a millisecond late each: so the reservation stays good if
    /// their timers are late.
    ///
    /// If others wait, this takes as long as there are many, and as there are reservations: all of them are gone through under the limiter's lock.
    ///
    /// # Errors
    ///
    /// More than [`max_weight`](Self::max_weight).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use divisi::limit::{Rate, RateLimiter};
    ///
    /// divisi::run(async {
    ///     let limiter = RateLimiter::new(Rate::paced(1000, Duration::from_secs(1)));
    ///     let now = limiter.reserve(1).unwrap();
    ///     let next = limiter.reserve(1).unwrap();
    ///     assert_eq!(next.at() - now.at(), Duration::from_millis(1));
    ///     next.wait().await;
    /// });
    /// ```
    pub fn reserve(&self, weight: u64) -> Result<Reservation, TooHeavy> {
        self.check(weight)?;
        let (at, id) = self.line.reserve(weight);
        Ok(Reservation {
            line: self.line.clone(),
            at,
            id,
        })
    }

    /// The largest weight: the burst of [`Rate::per`], the amount of the others, the least of several rates.
    pub fn max_weight(&self) -> u64 {
        self.line.max_weight()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.line.waiting()
    }

    /// As [`acquire_many`](Self::acquire_many), for as long as it likes, and with a pass that is given back unless it is made.
    pub(crate) fn wait(&self, weight: u64, at: &'static Location<'static>) -> OwnedWait {
        Wait::new(self.line.clone(), weight, at)
    }

    /// Lets pass what has passed already: whoever comes waits until it is paid for.
    pub(super) fn overdraw(&self, weight: u64) {
        if weight != 0 {
            self.line.overdraw(weight);
        }
    }

    /// Whether nobody else has this limiter.
    pub(super) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.line) == 1
    }

    fn check(&self, weight: u64) -> Result<(), TooHeavy> {
        let most = self.max_weight();
        if weight > most {
            return Err(TooHeavy { weight, most });
        }
        Ok(())
    }
}

pin_project_lite::pin_project! {
    /// The future of [`RateLimiter::acquire`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Acquire<'a> {
        #[pin]
        wait: Wait<&'a Line>,
    }
}

impl Future for Acquire<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().wait.poll(cx).map(Pass::make)
    }
}

/// A pass at a certain time: see [`RateLimiter::reserve`]. Dropping it before that time gives the pass back.
#[must_use = "dropping it gives the pass back: `wait` for it, or `keep` it"]
pub struct Reservation {
    line: Arc<Line>,
    at: u64,
    /// `None`: it is over, or nobody's any more.
    id: Option<u64>,
}

impl Reservation {
    /// When it may be made.
    pub fn at(&self) -> Instant {
        self.line.instant(self.at)
    }

    /// Waits until it may be made, and makes it.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a divisi runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the pass back.
    #[track_caller]
    pub fn wait(self) -> impl Future<Output = ()> {
        let sleep = self.id.is_some().then(|| sleep_until(self.at()));
        async move {
            // All of it, not a copy of the field: whoever drops the future drops the reservation.
            let mut reservation = self;
            if let Some(sleep) = sleep {
                sleep.await;
            }
            reservation.id = None;
        }
    }

    /// Keeps the pass, which the caller makes at the time that is returned, or later.
    pub fn keep(mut self) -> Instant {
        self.id = None;
        self.at()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.line.take_back(self.at, id);
        }
    }
}

impl From<TooHeavy> for Refused {
    fn from(error: TooHeavy) -> Refused {
        Refused::TooHeavy(error)
    }
}

impl fmt::Display for TooHeavy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a weight of {} never passes this limiter: ask for at most {} at a time, or allow a larger burst",
            self.weight, self.most
        )
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { retry_after } => {
                write!(
                    f,
                    "the rate limit is reached: try again after {retry_after:?}"
                )
            }
            Self::TooHeavy(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TooHeavy {}
impl std::error::Error for Refused {}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("max_weight", &self.max_weight())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").finish_non_exhaustive()
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("at", &self.at())
            .field("open", &self.id.is_some())
            .finish()
    }
}
