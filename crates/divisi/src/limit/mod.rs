//! Limits: so much in so much time, so many at once, not more often than that.
//!
//! | | |
//! |---|---|
//! | so much in so much time | [`RateLimiter`], made from one [`Rate`] or several |
//! | the same for each client | [`Keyed`] |
//! | bytes per second of a stream | [`Limited`] |
//! | so many at once, also of blocking and compute jobs | [`Concurrency`], fixed or [`adaptive`](Concurrency::adaptive) |
//! | only the newest value, not more often than that | [`Throttle`] |
//! | around a tower service | `divisi::tower`, with the feature `tower` |
//!
//! Everything waits on the clock of the runtime, is fair, and is cancel-safe: who gives up costs nobody a turn.
//!
//! ```text
//!   Keyed  Limited  divisi::tower          line: who waits, the one timer, the word of the fast path
//!       \     |     /                        schedule: the meters, and what is reserved ahead
//!        RateLimiter ------------------>       meter: one algorithm for one rate
//! ```

mod adaptive;
mod alarms;
mod bytes;
mod concurrency;
mod keyed;
mod line;
mod meter;
mod rate;
mod rate_limiter;
mod schedule;
mod throttle;

pub use self::adaptive::{Adaptation, Aimd, Gradient};
pub use self::bytes::Limited;
pub use self::concurrency::{AcquireSlot, Concurrency, Slot};
pub use self::keyed::Keyed;
pub use self::rate::Rate;
pub use self::rate_limiter::{Acquire, RateLimiter, Refused, Reservation, TooHeavy};
#[cfg(feature = "tower")]
pub(crate) use self::rate_limiter::{OwnedPass, OwnedWait};
pub use self::throttle::{Throttle, Throttled};
