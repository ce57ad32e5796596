//! A queue from many senders to one receiver.
//!
//! ```
//! # futures_lite::future::block_on(async {
//! let (sender, mut receiver) = divisi_sync::mpsc::bounded(16);
//! std::thread::spawn(move || {
//!     for number in 1..=3 {
//!         sender.send_blocking(number).unwrap();
//!     }
//! });
//! let mut sum = 0;
//! while let Some(number) = receiver.recv().await {
//!     sum += number;
//! }
//! assert_eq!(sum, 6);
//! # });
//! ```
//!
//! # Guarantees
//!
//! * What one sender sends arrives in that order.
//! * A [`bounded`] channel has so many slots; senders wait for one in the order in which they came, and nobody
//!   overtakes them.
//! * A value is in the channel or with somebody, at any time: a send that is given up has sent nothing, a receive
//!   that is given up has received nothing.
//! * When all senders are gone, the receiver gets what is left, and then `None`. When the receiver is gone, or has
//!   closed the channel, sends give the value back.
//!
//! # Inside
//!
//! Values go into a buffer under a short lock. The receiver has a buffer of its own, which it exchanges for the
//! shared one when it is empty: most receives take no lock. Whether to wait is decided under the lock: a sender comes
//! before, and its value is found; or after, and it finds the waker. Slots are [`Permits`](divisi_task::permits): a
//! value holds one from before it is sent until it is received.
//!
//! Model: `tests/loom_channels.rs`.

mod chan;
mod error;
mod permit;
mod receiver;
mod sender;
mod unbounded;

use chan::Chan;
pub use error::{SendError, TryRecvError, TrySendError};
pub use permit::SendPermit;
pub use receiver::{Receiver, Recv};
pub use sender::Sender;
pub use unbounded::UnboundedSender;

/// A channel that holds up to `capacity` values; senders wait while it is full.
///
/// # Panics
///
/// If `capacity` is 0 or more than [`Semaphore::MAX_PERMITS`](crate::Semaphore::MAX_PERMITS).
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs room for one value at least");
    let chan = Chan::new(Some(capacity));
    (Sender::new(chan.clone()), Receiver::new(chan))
}

/// A channel that holds as many values as there is memory for; sending never waits.
///
/// Nothing keeps senders from being faster than the receiver: prefer [`bounded`] unless something else does.
#[must_use]
pub fn unbounded<T>() -> (UnboundedSender<T>, Receiver<T>) {
    let chan = Chan::new(None);
    (UnboundedSender::new(chan.clone()), Receiver::new(chan))
}
