//! Keeping results for a while.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::sync::Mutex as AsyncMutex;
use crate::time::Instant;

/// The least number of entries at which those that are out of date are looked for.
const FIRST_SWEEP: usize = 64;

/// Keeps what `call` gives for `ttl`, by key.
///
/// While a value is fresh, [`get`](Cached::get) clones it. When there is none, the first who asks calls, and **all others who ask for the same key wait for that one
/// call** (single flight); different keys do not wait for each other. If the one who calls is dropped or panics, the next one calls.
///
/// The time to live counts from the end of the call. Entries out of date are dropped as others come in, so the cache is never more than twice as large as what
/// is fresh and asked for; [`max_entries`](Cached::max_entries) bounds that too.
///
/// ```
/// use std::time::Duration;
/// use divisi::wrap::cached;
///
/// # divisi::run(async {
/// let squares = cached(Duration::from_secs(60), async |n: u64| {
///     println!("computed once for each number");
///     n * n
/// });
/// assert_eq!(squares.get(12).await, 144);
/// assert_eq!(squares.get(12).await, 144);
/// # });
/// ```
///
/// For a call without arguments the key is `()`: `cached(ttl, async |()| load().await)`.
pub fn cached<K, V, F>(ttl: Duration, call: F) -> Cached<K, V, F> {
    Cached {
        ttl,
        call,
        max_entries: None,
        entries: Mutex::new(Entries {
            by_key: HashMap::new(),
            next_sweep: FIRST_SWEEP,
        }),
    }
}

/// A cache of results; see [`cached`]. Share it in an [`Arc`].
pub struct Cached<K, V, F> {
    ttl: Duration,
    call: F,
    max_entries: Option<usize>,
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V> {
    by_key: HashMap<K, Arc<Entry<V>>>,
    next_sweep: usize,
}

struct Entry<V> {
    /// Held by whoever calls, so that the others wait.
    flight: AsyncMutex<()>,
    value: Mutex<Option<(V, Instant)>>,
}

impl<V> Entry<V> {
    fn is_fresh(&self, now: Instant) -> bool {
        matches!(&*self.value.lock(), Some((_, until)) if *until > now)
    }
}

impl<V: Clone> Entry<V> {
    fn fresh(&self) -> Option<V> {
        let now = Instant::now();
        match &*self.value.lock() {
            Some((value, until)) if *until > now => Some(value.clone()),
            _ => None,
        }
    }
}

impl<K, V, F> Cached<K, V, F> {
    /// Keeps no more than this many entries: one that is nearest to its end makes room for a new one. Keys that are being asked for at the moment may exceed it.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn max_entries(mut self, entries: usize) -> Cached<K, V, F> {
        assert!(
            entries > 0,
            "a cache of 0 entries keeps nothing: allow at least 1"
        );
        self.max_entries = Some(entries);
        self
    }

    /// How many keys have an entry, fresh or not.
    pub fn len(&self) -> usize {
        self.entries.lock().by_key.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all values. Calls under way go on, and are remembered by nobody but those who wait for them.
    pub fn clear(&self) {
        let old = std::mem::take(&mut self.entries.lock().by_key);
        drop(old);
    }
}

impl<K, V, F> Cached<K, V, F>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    /// The value for `key`, from the cache or a call.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the call if it is this one that makes it; another one that waits then calls.
    pub async fn get<C>(&self, key: K) -> V
    where
        F: Fn(K) -> C,
        C: Future<Output = V>,
    {
        let call = |key| {
            let called = (self.call)(key);
            async { Ok::<V, Infallible>(called.await) }
        };
        match self.fetch(key, call).await {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// As [`get`](Self::get), for a call that can fail. Errors are not kept: those who waited for the call that failed call in turn, one at a time.
    ///
    /// # Errors
    ///
    /// That of this one's own call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use divisi::wrap::cached;
    ///
    /// # divisi::run(async {
    /// let parsed = cached(Duration::from_secs(60), async |text: &'static str| text.parse::<u8>());
    /// assert_eq!(parsed.try_get("17").await, Ok(17));
    /// assert!(parsed.try_get("x").await.is_err());
    /// # });
    /// ```
    pub async fn try_get<E, C>(&self, key: K) -> Result<V, E>
    where
        F: Fn(K) -> C,
        C: Future<Output = Result<V, E>>,
    {
        self.fetch(key, &self.call).await
    }

    async fn fetch<E, C>(&self, key: K, call: impl FnOnce(K) -> C) -> Result<V, E>
    where
        C: Future<Output = Result<V, E>>,
    {
        let entry = self.entry(&key);
        if let Some(value) = entry.fresh() {
            return Ok(value);
        }
        let _flight = entry.flight.lock().await;
        // Somebody else's call may have landed meanwhile.
        if let Some(value) = entry.fresh() {
            return Ok(value);
        }
        let value = call(key).await?;
        let until = Instant::now() + self.ttl;
        let stale = entry.value.lock().replace((value.clone(), until));
        drop(stale);
        Ok(value)
    }

    fn entry(&self, key: &K) -> Arc<Entry<V>> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.by_key.get(key) {
            return entry.clone();
        }
        let gone = entries.make_room(self.max_entries);
        let entry = Arc::new(Entry {
            flight: AsyncMutex::new(()),
            value: Mutex::new(None),
        });
        entries.by_key.insert(key.clone(), entry.clone());
        drop(entries);
        // Outside the lock: foreign destructors.
        drop(gone);
        entry
    }
}

impl<K: Hash + Eq + Clone, V> Entries<K, V> {
    /// Takes out what is out of date, now and then, and what must make room. Entries that somebody uses stay.
    fn make_room(&mut self, most: Option<usize>) -> Vec<(K, Arc<Entry<V>>)> {
        let full = most.is_some_and(|most| self.by_key.len() >= most);
        if self.by_key.len() < self.next_sweep && !full {
            return Vec::new();
        }
        let now = Instant::now();
        let mut gone: Vec<_> = self
            .by_key
            .extract(|entry| Arc::strong_count(entry) == 1 && !entry.is_fresh(now));
        // More than one, if the keys asked for at a time were more than there may be.
        while most.is_some_and(|most| self.by_key.len() >= most) {
            let unused = self
                .by_key
                .iter()
                .filter(|(_, entry)| Arc::strong_count(entry) == 1);
            let oldest = unused
                .min_by_key(|(_, entry)| entry.value.lock().as_ref().map(|(_, until)| *until));
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            gone.extend(self.by_key.remove_entry(&key));
        }
        self.next_sweep = (2 * self.by_key.len()).max(FIRST_SWEEP);
        gone
    }
}

trait Extract<K, V> {
    fn extract(&mut self, which: impl Fn(&V) -> bool) -> Vec<(K, V)>;
}

impl<K: Hash + Eq + Clone, V> Extract<K, V> for HashMap<K, V> {
    /// `HashMap::extract_if`, which is younger than the minimum supported Rust.
    fn extract(&mut self, which: impl Fn(&V) -> bool) -> Vec<(K, V)> {
        let keys: Vec<K> = self
            .iter()
            .filter(|(_, value)| which(value))
            .map(|(key, _)| key.clone())
            .collect();
        keys.iter()
            .filter_map(|key| self.remove_entry(key))
            .collect()
    }
}

impl<K, V, F> fmt::Debug for Cached<K, V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("ttl", &self.ttl)
            .field("max_entries", &self.max_entries)
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}
