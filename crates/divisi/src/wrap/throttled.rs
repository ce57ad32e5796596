//! Calling no more often than allowed.

use std::fmt;
use std::future::Future;

use crate::limit::RateLimiter;

/// Lets `call` be called only as often as `limiter` allows: each [`call`](Throttled::call) waits for its turn, first come, first served.
///
/// The limiter may be shared (it is a counted handle): what passes elsewhere counts here too.
///
/// ```
/// use std::time::Duration;
/// use divisi::limit::{Rate, RateLimiter};
/// use divisi::wrap::throttled;
///
/// # divisi::run(async {
/// let limiter = RateLimiter::new(Rate::per(1000, Duration::from_secs(1)));
/// let double = throttled(limiter, async |n: u32| 2 * n);
/// assert_eq!(double.call(21).await, 42);
/// # });
/// ```
pub fn throttled<F>(limiter: RateLimiter, call: F) -> Throttled<F> {
    Throttled { limiter, call }
}

/// An async closure with a limit; see [`throttled`].
#[derive(Clone)]
pub struct Throttled<F> {
    limiter: RateLimiter,
    call: F,
}

impl<F> Throttled<F> {
    /// Waits until the limiter lets one pass, then calls.
    ///
    /// # Panics
    ///
    /// When it must wait outside a divisi runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for its turn it costs nobody a turn, and nothing was called.
    pub async fn call<A, C>(&self, argument: A) -> C::Output
    where
        F: Fn(A) -> C,
        C: Future,
    {
        self.limiter.acquire().await;
        (self.call)(argument).await
    }

    /// The limiter, to ask or to share.
    pub fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }
}

impl<F> fmt::Debug for Throttled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttled").finish_non_exhaustive()
    }
}
