//! Every value to every receiver.
//!
//! ```
//! # futures_lite::future::block_on(async {
//! use divisi_sync::broadcast::{self, RecvError};
//!
//! let (sender, mut one) = broadcast::channel(2);
//! let mut other = sender.subscribe();
//! sender.send("a").unwrap();
//! assert_eq!(one.recv().await, Ok("a"));
//! sender.send("b").unwrap();
//! sender.send("c").unwrap();
//! // `other` is three behind, and two are kept.
//! assert_eq!(other.recv().await, Err(RecvError::Lagged(1)));
//! assert_eq!(other.recv().await, Ok("b"));
//! # });
//! ```
//!
//! # Guarantees
//!
//! * Sending never waits. The channel keeps so many values; a receiver that has fallen further behind is told how
//!   many it has missed, and goes on with the oldest one that is kept.
//! * All receivers see values in the same order. A receiver sees what was sent after it was made.
//! * A value is dropped as soon as all receivers have seen it. The last one to see it gets the value itself, the
//!   others a clone that is made without a lock.
//!
//! # Inside
//!
//! Each value is in a ring, under a short lock of its own, with its number and the number of receivers that have it to
//! come. A receiver remembers the number of the value that it wants next. If that is in the ring, it takes it, so that
//! receivers that are not at the same value do not meet.
//!
//! Whatever else there is, is under one lock, with those who wait: how many values were sent, and which ring it is. A sender holds
//! it while it puts a value in, takes out the one that is overtaken by that, and moves all to a larger ring if need be; then it wakes all.
//! A receiver that does not find its value looks again under that lock: it has missed the value, or had an outgrown ring, which is empty, or waits.
//!
//! Model: `tests/loom_channels.rs`.

mod chan;
mod receiver;
mod ring;
mod sender;

use std::fmt;

use chan::Chan;
pub use receiver::{Receiver, Recv, Values};
pub use sender::Sender;

/// A channel that keeps up to `capacity` values for receivers that are behind.
///
/// # Panics
///
/// If `capacity` is 0.
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs room for one value at least");
    let (chan, cursor) = Chan::new(capacity);
    (Sender::new(chan.clone()), Receiver::new(chan, cursor))
}

/// Nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// This receiver has missed so many values. The next receive gets the oldest one that is kept.
    Lagged(u64),
    /// The channel was closed or all senders are gone, and all values have been received.
    Closed,
}

/// Nothing was received, without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is nothing new: `recv` waits.
    Empty,
    /// This receiver has missed so many values. The next receive gets the oldest one that is kept.
    Lagged(u64),
    /// The channel was closed or all senders are gone, and all values have been received.
    Closed,
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Lagged(missed) => Self::Lagged(missed),
            RecvError::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(missed) => write!(
                f,
                "this receiver was too slow and has missed {missed} values: receive more often, or make the channel larger"
            ),
            Self::Closed => f.write_str(
                "the channel is closed, or all senders are gone: there is nothing more to receive",
            ),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is nothing new to receive yet: `recv` waits"),
            Self::Lagged(missed) => RecvError::Lagged(*missed).fmt(f),
            Self::Closed => RecvError::Closed.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {}
impl std::error::Error for TryRecvError {}
