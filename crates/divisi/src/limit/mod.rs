//! Limits: so much in so much time, so many at once, not more often than that.
//!
//! | | |
//! |---|---|
//! | so much in so much time | [`RateLimiter`], made from one [`Rate`] or several |
//! | the same for each client | [`Keyed`] |
//!
//! Everything waits on the clock of the runtime, is fair, and is cancel-safe: who gives up costs nobody a turn.

mod keyed;
mod line;
mod meter;
mod rate;
mod rate_limiter;
mod schedule;

pub use self::keyed::Keyed;
pub use self::rate::Rate;
pub use self::rate_limiter::{Acquire, RateLimiter, Refused, Reservation, TooHeavy};
