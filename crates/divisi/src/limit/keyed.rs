//! A rate limiter for each key.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

use super::rate::Rate;
use super::rate_limiter::{RateLimiter, Refused};
use crate::time::Instant;

/// A [`RateLimiter`] for each key, made when the key comes and forgotten when it stays away: one limit for each client address, for instance.
///
/// # Memory
///
/// There are never more than [`max_keys`](Self::max_keys) limiters, whoever invents keys. A key is forgotten when it was not used for the
/// [idle time](Self::idle_ttl) (it may stay for twice that, and as long as no key at all is used), or when half of `max_keys` *other* keys have been used since it was; then it begins
/// anew, as one that nothing has passed for. A key that somebody waits for, or has the limiter of, is kept as long as others can go instead.
///
/// So make the idle time longer than the limit's period, and `max_keys` more than twice the keys that are in use at a time. The cost of a look-up is that of
/// a hash table, whatever the number of keys; from time to time one of them drops half of the table.
///
/// `Hash`, `Eq` and `Clone` of a key run under the lock of the table: they must be short, and must not use the same `Keyed`.
///
/// # Examples
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
/// use std::time::Duration;
/// use divisi::limit::{Keyed, Rate};
///
/// divisi::run(async {
///     let limits = Keyed::new(Rate::per(2, Duration::from_secs(60)))
///         .idle_ttl(Duration::from_secs(300))
///         .max_keys(100_000);
///     let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
///     limits.acquire(&client).await;
///     limits.acquire(&client).await;
///     assert!(limits.try_acquire(&client).is_err());
///     assert!(limits.try_acquire(&IpAddr::V4(Ipv4Addr::BROADCAST)).is_ok());
/// });
/// ```
pub struct Keyed<K> {
    rates: Box<[Rate]>,
    idle_ttl: Duration,
    /// The most keys of a generation.
    half: usize,
    generations: Mutex<Generations<K>>,
}

/// The keys used since the last turn, and those used in the turn before and not since.
struct Generations<K> {
    young: HashMap<K, RateLimiter>,
    old: HashMap<K, RateLimiter>,
    /// When the generations turned.
    turned: Option<Instant>,
}

/// How long a key is remembered that is not used, unless told otherwise.
const IDLE_TTL: Duration = Duration::from_secs(600);

/// How many keys there may be, unless told otherwise: some 30 MB.
const MAX_KEYS: usize = 100_000;

impl<K: Eq + Hash + Clone> Keyed<K> {
    /// The same rate for each key. A key is remembered for ten minutes after its last use, or twice the period if that is longer; and there
    /// are at most 100,000.
    #[must_use]
    pub fn new(rate: Rate) -> Keyed<K> {
        Keyed::all([rate])
    }

    /// The same rates for each key: see [`RateLimiter::all`].
    ///
    /// # Panics
    ///
    /// If there is no rate.
    #[track_caller]
    #[must_use]
    pub fn all(rates: impl IntoIterator<Item = Rate>) -> Keyed<K> {
        let rates: Box<[_]> = rates.into_iter().collect();
        let longest = rates.iter().map(Rate::period).max();
        let longest = longest.expect("a limiter needs a rate");
        Keyed {
            rates,
            idle_ttl: longest.saturating_mul(2).max(IDLE_TTL),
            half: MAX_KEYS / 2,
            generations: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
                turned: None,
            }),
        }
    }

    /// After how long without use a key may be forgotten.
    #[must_use]
    pub fn idle_ttl(self, idle_ttl: Duration) -> Keyed<K> {
        Keyed { idle_ttl, ..self }
    }

    /// How many keys there may be at most.
    ///
    /// # Panics
    ///
    /// If there are less than two.
    #[track_caller]
    #[must_use]
    pub fn max_keys(self, max_keys: usize) -> Keyed<K> {
        assert!(
            max_keys >= 2,
            "at least two keys are needed, and not {max_keys}"
        );
        Keyed {
            half: max_keys / 2,
            ..self
        }
    }

    /// The limiter of a key. Keep it no longer than you use it: a key that is forgotten meanwhile gets another.
    pub fn limiter(&self, key: &K) -> RateLimiter {
        let mut forgotten = Vec::new();
        let now = Instant::now();
        let mut generations = self.generations.lock();
        let over = generations.is_over(now, self.idle_ttl);
        if !over {
            if let Some(limiter) = generations.young.get(key) {
                return limiter.clone();
            }
        }
        let known = generations.old.remove_entry(key);
        if over || generations.young.len() >= self.half {
            generations.turn(now, self.half, &mut forgotten);
        }
        let (key, limiter) = known
            .or_else(|| generations.old.remove_entry(key))
            .unwrap_or_else(|| {
                let limiter = RateLimiter::all(self.rates.iter().copied());
                (key.clone(), limiter)
            });
        generations.young.insert(key, limiter.clone());
        drop(generations);
        // Outside the lock: there may be many.
        drop(forgotten);
        limiter
    }

    /// Waits until one of the key may pass, and passes: see [`RateLimiter::acquire`], also for fairness and cancel safety.
    #[track_caller]
    pub fn acquire(&self, key: &K) -> impl Future<Output = ()> + use<K> {
        let wait = self.limiter(key).wait(1, std::panic::Location::caller());
        async move { wait.await.make() }
    }

    /// Passes if one of the key may pass now and nobody waits.
    ///
    /// # Errors
    ///
    /// When to try again.
    pub fn try_acquire(&self, key: &K) -> Result<(), Refused> {
        self.limiter(key).try_acquire()
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        let generations = self.generations.lock();
        generations.young.len() + generations.old.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash> Generations<K> {
    fn is_over(&mut self, now: Instant, idle_ttl: Duration) -> bool {
        now - *self.turned.get_or_insert(now) >= idle_ttl
    }

    /// The young become old, and the old are forgotten but for those that somebody has, as far as there is room.
    fn turn(&mut self, now: Instant, half: usize, forgotten: &mut Vec<(K, RateLimiter)>) {
        self.turned = Some(now);
        let old = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        // One place is for the key that this is done for.
        let room = half - 1;
        for (key, limiter) in old {
            if self.young.len() < room && !limiter.is_unshared() {
                self.young.insert(key, limiter);
            } else {
                forgotten.push((key, limiter));
            }
        }
    }
}

impl<K> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = {
            let generations = self.generations.lock();
            generations.young.len() + generations.old.len()
        };
        f.debug_struct("Keyed")
            .field("rates", &self.rates)
            .field("idle_ttl", &self.idle_ttl)
            .field("max_keys", &(self.half * 2))
            .field("keys", &keys)
            .finish()
    }
}
