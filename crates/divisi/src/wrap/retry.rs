//! Calling again after an error.

use std::time::Duration;

use crate::time::{Instant, sleep};

/// Which part of a pause is left to chance, so that many who failed together do not all come back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Nothing: the pauses are exact.
    None,
    /// The second half: between half of the pause and all of it.
    Equal,
    /// All: between nothing and the pause. Spreads callers best.
    #[default]
    Full,
}

/// How often and after which pauses [`retry`] calls again.
///
/// The pauses grow by a factor from one to the next: 100 ms, 200 ms, 400 ms, up to 30 s, with full [`Jitter`], for 5 calls in all, unless told otherwise.
///
/// ```
/// use std::time::Duration;
/// use divisi::wrap::{Backoff, Jitter};
///
/// let policy = Backoff::new().first(Duration::from_secs(1)).factor(3.0).jitter(Jitter::None).calls(4);
/// let pauses: Vec<_> = policy.pauses().map(|pause| pause.as_secs()).collect();
/// assert_eq!(pauses, [1, 3, 9]);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a policy does nothing until it is given to `retry`"]
pub struct Backoff {
    first: Duration,
    factor: f64,
    longest: Duration,
    jitter: Jitter,
    calls: Option<u32>,
    within: Option<Duration>,
    seed: Option<u64>,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(100),
            factor: 2.0,
            longest: Duration::from_secs(30),
            jitter: Jitter::default(),
            calls: Some(5),
            within: None,
            seed: None,
        }
    }
}

impl Backoff {
    /// The policy described above.
    pub fn new() -> Backoff {
        Backoff::default()
    }

    /// The first pause, before jitter.
    pub fn first(mut self, pause: Duration) -> Backoff {
        self.first = pause;
        self
    }

    /// What each pause is multiplied by for the next; 1 for pauses that do not grow.
    ///
    /// # Panics
    ///
    /// If it is below 1 or no number.
    #[track_caller]
    pub fn factor(mut self, factor: f64) -> Backoff {
        assert!(
            factor >= 1.0 && factor.is_finite(),
            "pauses cannot grow by a factor of {factor}: give 1 or more"
        );
        self.factor = factor;
        self
    }

    /// No pause is longer than this.
    pub fn longest(mut self, pause: Duration) -> Backoff {
        self.longest = pause;
        self
    }

    /// Which part of a pause is left to chance.
    pub fn jitter(mut self, jitter: Jitter) -> Backoff {
        self.jitter = jitter;
        self
    }

    /// The most calls, the first one included; `None` for no bound.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn calls(mut self, calls: impl Into<Option<u32>>) -> Backoff {
        self.calls = calls.into();
        assert_ne!(
            self.calls,
            Some(0),
            "0 calls give no result: allow at least 1"
        );
        self
    }

    /// No pause is begun that would end later than this after the first call. A call that runs is not cut short: for that, put a
    /// [`timeout`](crate::time::timeout) around it, or around the whole.
    pub fn within(mut self, time: Duration) -> Backoff {
        self.within = Some(time);
        self
    }

    /// Makes the jitter the same each time, for tests.
    pub fn seed(mut self, seed: u64) -> Backoff {
        self.seed = Some(seed);
        self
    }

    /// The pauses between the calls. Without a bound on the calls it does not end.
    pub fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let policy = self.clone();
        let mut chance = self
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let mut next = self.first;
        let mut left = self.calls.map(|calls| calls - 1);
        std::iter::from_fn(move || {
            if let Some(left) = &mut left {
                *left = left.checked_sub(1)?;
            }
            let pause = next.min(policy.longest);
            // Past what a duration can hold it is beyond the longest pause anyhow.
            next = Duration::try_from_secs_f64(pause.as_secs_f64() * policy.factor)
                .unwrap_or(policy.longest);
            Some(match policy.jitter {
                Jitter::None => pause,
                Jitter::Equal => pause / 2 + (pause - pause / 2).mul_f64(chance.f64()),
                Jitter::Full => pause.mul_f64(chance.f64()),
            })
        })
    }
}

/// Calls `call` until it gives `Ok`, pausing after each `Err` as `policy` says.
///
/// # Errors
///
/// The last call's error, when the policy allows no further call.
///
/// # Panics
///
/// When it must pause outside a divisi runtime.
///
/// # Cancel safety
///
/// Dropping the future drops the call that runs.
///
/// ```
/// use divisi::wrap::{Backoff, retry};
///
/// # divisi::run(async {
/// let policy = Backoff::new().calls(2).first(std::time::Duration::from_millis(1));
/// let result: Result<(), _> = retry(policy, async || Err("down")).await;
/// assert_eq!(result, Err("down"));
/// # });
/// ```
pub async fn retry<T, E>(policy: Backoff, call: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    retry_if(policy, call, |_| true).await
}

/// As [`retry`], but an error for which `again` says `false` is final.
///
/// # Errors
///
/// As [`retry`].
pub async fn retry_if<T, E>(
    policy: Backoff,
    mut call: impl AsyncFnMut() -> Result<T, E>,
    mut again: impl FnMut(&E) -> bool,
) -> Result<T, E> {
    let begin = policy.within.map(|_| Instant::now());
    let mut pauses = policy.pauses();
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !again(&error) {
            return Err(error);
        }
        let Some(pause) = pauses.next() else {
            return Err(error);
        };
        if let (Some(begin), Some(within)) = (begin, policy.within) {
            if begin.elapsed().saturating_add(pause) > within {
                return Err(error);
            }
        }
        sleep(pause).await;
    }
}
