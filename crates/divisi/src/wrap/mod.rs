//! Wrappers of async closures: what Python writes as decorators of coroutine functions.
//!
//! | | |
//! |---|---|
//! | [`retry`] | calls again after an error, with growing and jittered pauses |
//! | [`cached`] | keeps what a call gave for a while; calls at most once at a time for each key |
//! | [`throttled`] | calls no more often than a [`RateLimiter`](crate::limit::RateLimiter) allows |
//!
//! A limit of time is a method of futures ([`timeout`](crate::future::FutureExt::timeout)), and so are a name and a shield.
//!
//! ```
//! use std::time::Duration;
//! use divisi::future::FutureExt;
//! use divisi::wrap::{Backoff, retry};
//!
//! # divisi::run(async {
//! let mut calls = 0;
//! let page = retry(Backoff::new().first(Duration::from_millis(1)), async || {
//!     calls += 1;
//!     if calls < 3 { Err("503") } else { Ok("page") }
//! })
//! .timeout(Duration::from_secs(5))
//! .await;
//! assert_eq!(page, Ok(Ok("page")));
//! # });
//! ```

mod cached;
mod retry;
mod throttled;

pub use cached::{Cached, cached};
pub use retry::{Backoff, Jitter, retry, retry_if};
pub use throttled::{Throttled, throttled};
