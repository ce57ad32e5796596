//! How an adaptive concurrency limit finds its number.

use std::time::Duration;

/// How a [`Concurrency`](super::Concurrency) that adapts finds its limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Adaptation {
    /// By refusals.
    Aimd(Aimd),
    /// By the time that the work takes.
    Gradient(Gradient),
}

impl From<Aimd> for Adaptation {
    fn from(aimd: Aimd) -> Self {
        Self::Aimd(aimd)
    }
}

impl From<Gradient> for Adaptation {
    fn from(gradient: Gradient) -> Self {
        Self::Gradient(gradient)
    }
}

/// Additive increase, multiplicative decrease: one more after each success while at least half of the slots are in use, and fewer by a factor after each
/// [overload](super::Slot::overloaded). As TCP's congestion control; the numbers are those of Netflix's concurrency-limits, `AIMDLimit`.
///
/// A good choice where the other side says when it has too much to do.
#[derive(Clone, Debug)]
pub struct Aimd {
    /// The limit at the beginning: 20.
    pub initial: usize,
    /// Never fewer: 1.
    pub min: usize,
    /// Never more: 200.
    pub max: usize,
    /// What is left of the limit after an overload: 0.9.
    pub backoff: f64,
    /// Work that took longer counts as an overload: 5 s.
    pub timeout: Duration,
}

/// The limit follows the ratio of how long the work takes in the long run to how long it took now: when it takes longer, a queue has built up on the other side,
/// and fewer are let in. As Netflix's concurrency-limits, `Gradient2Limit`, with its numbers.
///
/// A good choice where overload shows as delay only.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// The limit at the beginning: 20.
    pub initial: usize,
    /// Never fewer: 20.
    pub min: usize,
    /// Never more: 200.
    pub max: usize,
    /// How much longer than in the long run the work may take before fewer are let in: 1.5.
    pub tolerance: f64,
    /// How many may wait on the other side: 4. This is what the limit grows by.
    pub queue: usize,
    /// How far the limit goes towards a new estimate each time: 0.2.
    pub smoothing: f64,
    /// How many samples the long run has: 600.
    pub long_window: u32,
}

impl Default for Aimd {
    fn default() -> Self {
        Self {
            initial: 20,
            min: 1,
            max: 200,
            backoff: 0.9,
            timeout: Duration::from_secs(5),
        }
    }
}

impl Default for Gradient {
    fn default() -> Self {
        Self {
            initial: 20,
            min: 20,
            max: 200,
            tolerance: 1.5,
            queue: 4,
            smoothing: 0.2,
            long_window: 600,
        }
    }
}

/// An [`Adaptation`] and what it has seen.
#[derive(Debug)]
pub(super) struct Adaptive {
    how: Adaptation,
    /// The limit before it is made a whole number.
    estimate: f64,
    /// How long the work takes in the long run, in seconds.
    long: f64,
    samples: u32,
}

/// The samples of the beginning whose plain average the long run is: as `Gradient2Limit` has it.
const WARM_UP: u32 = 10;

/// The most that the long run may be above what is measured now before it is brought down faster, and by how much: as `Gradient2Limit` has it.
const DRIFT: (f64, f64) = (2.0, 0.95);

impl Adaptive {
    /// # Panics
    ///
    /// If the numbers make no sense.
    #[track_caller]
    pub(super) fn new(how: Adaptation) -> Self {
        let (initial, min, max) = how.bounds();
        assert!(
            1 <= min && min <= initial && initial <= max,
            "an adaptive limit needs 1 <= min <= initial <= max, and not {min}, {initial}, {max}"
        );
        match &how {
            Adaptation::Aimd(aimd) => assert!(
                aimd.backoff > 0.0 && aimd.backoff < 1.0,
                "the backoff is between 0 and 1, and not {}",
                aimd.backoff
            ),
            Adaptation::Gradient(gradient) => {
                assert!(
                    gradient.tolerance >= 1.0 && gradient.tolerance.is_finite(),
                    "the tolerance is 1 or more, and not {}",
                    gradient.tolerance
                );
                assert!(
                    gradient.smoothing > 0.0 && gradient.smoothing <= 1.0,
                    "the smoothing is above 0 and at most 1, and not {}",
                    gradient.smoothing
                );
                assert!(
                    gradient.long_window > 0,
                    "the long run has at least one sample"
                );
            }
        }
        Self {
            how,
            estimate: initial as f64,
            long: 0.0,
            samples: 0,
        }
    }

    pub(super) fn first_limit(&self) -> usize {
        self.how.bounds().0
    }

    /// The limit after a piece of work has ended that took so long.
    pub(super) fn next_limit(
        &mut self,
        limit: usize,
        in_use: usize,
        took: Duration,
        overloaded: bool,
    ) -> usize {
        let (_, min, max) = self.how.bounds();
        // Somebody may have set it by hand.
        if self.estimate as usize != limit {
            self.estimate = limit as f64;
        }
        let estimate = match self.how.clone() {
            Adaptation::Aimd(aimd) => self.aimd(&aimd, in_use, took, overloaded),
            Adaptation::Gradient(gradient) => self.gradient(&gradient, in_use, took, overloaded),
        };
        self.estimate = estimate.clamp(min as f64, max as f64);
        self.estimate as usize
    }

    fn aimd(&self, aimd: &Aimd, in_use: usize, took: Duration, overloaded: bool) -> f64 {
        if overloaded || took > aimd.timeout {
            // A whole one at least.
            return (self.estimate * aimd.backoff).floor();
        }
        if in_use * 2 >= self.estimate as usize {
            return self.estimate + 1.0;
        }
        self.estimate
    }

    fn gradient(
        &mut self,
        gradient: &Gradient,
        in_use: usize,
        took: Duration,
        overloaded: bool,
    ) -> f64 {
        // A clock of finite resolution may show nothing.
        let short = took.as_secs_f64().max(1e-9);
        if overloaded {
            // No time of work; `Gradient2Limit` has no answer to it. Half is the least that the gradient can be.
            return self.estimate * (1.0 - gradient.smoothing / 2.0);
        }
        self.samples = self.samples.saturating_add(1);
        self.long = if self.samples <= WARM_UP {
            self.long + (short - self.long) / f64::from(self.samples)
        } else {
            self.long + (short - self.long) * 2.0 / (f64::from(gradient.long_window) + 1.0)
        };
        if self.long / short > DRIFT.0 {
            self.long *= DRIFT.1;
        }
        if (in_use as f64) < self.estimate / 2.0 {
            // What limits is something else.
            return self.estimate;
        }
        let ratio = (gradient.tolerance * self.long / short).clamp(0.5, 1.0);
        let target = self.estimate * ratio + gradient.queue as f64;
        self.estimate * (1.0 - gradient.smoothing) + target * gradient.smoothing
    }
}

impl Adaptation {
    /// The first, least and largest limit.
    fn bounds(&self) -> (usize, usize, usize) {
        match self {
            Self::Aimd(aimd) => (aimd.initial, aimd.min, aimd.max),
            Self::Gradient(gradient) => (gradient.initial, gradient.min, gradient.max),
        }
    }
}
