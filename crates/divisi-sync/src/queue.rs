//! Queues of work: from many senders to many receivers, in an order of choice, with a way to wait until all work is
//! done.
//!
//! ```
//! # futures_lite::future::block_on(async {
//! let (sender, receiver) = divisi_sync::queue::bounded(8);
//! for job in ["wash", "dry"] {
//!     sender.send(job).await?;
//! }
//! sender.close();
//! while let Some(job) = receiver.recv_tracked().await {
//!     println!("{}", *job);
//! } // Dropping the guard means that the job is done.
//! sender.join().await;
//! # Ok::<_, divisi_sync::queue::SendError<&str>>(()) }).unwrap();
//! ```
//!
//! | made by | order | room |
//! |---|---|---|
//! | [`bounded`] | first in, first out | as given |
//! | [`unbounded`] | first in, first out | no limit |
//! | [`priority`] | the least value first; equal ones first in, first out | as given |
//! | [`lifo`] | last in, first out | as given |
//!
//! # Guarantees
//!
//! * Senders and receivers that wait are served in the order in which they came, and nobody overtakes them.
//! * A value is in the queue or with somebody, at any time: a send that is given up has sent nothing, a receive that
//!   is given up has received nothing, and its turn goes to the next.
//! * [`close`](Sender::close): nothing can be sent any more, what is there can be received.
//!   [`close_now`](Sender::close_now): nothing is there any more, too. The first happens when the last sender is
//!   dropped, the second when the last receiver is.
//! * [`join`](Sender::join) waits until everything that was ever sent is done: received, and, if it was received by
//!   [`recv_tracked`](Receiver::recv_tracked), its guard dropped.
//!
//! # Inside
//!
//! One short lock for the values and for three lists: who waits to send, to receive, and for all to be done. Whoever
//! changes something *settles* before unlocking: as long as there is a free slot and one who waits to send, it is
//! promised a slot; and so on. A promise is a number: so many of the slots (or values) are not free to others. One
//! who was promised something takes it when it runs, and gives it back when it is dropped before.
//!
//! Model: `tests/loom_queue.rs`; compared with a sequential queue in `tests/histories.rs`.

mod chan;
mod permit;
mod receiver;
mod sender;
mod store;
mod tracked;

use chan::Chan;
use store::{ByPriority, Fifo, Lifo};

pub use crate::mpsc::{SendError, TryRecvError, TrySendError};
pub use permit::SendPermit;
pub use receiver::{Receiver, Recv, Values};
pub use sender::Sender;
pub use tracked::{Join, Tracked};

const NO_ROOM: &str = "a queue needs room for one value at least";

/// A queue with room for `capacity` values, first in, first out.
///
/// # Panics
///
/// If `capacity` is 0.
#[must_use]
pub fn bounded<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "{NO_ROOM}");
    ends(Chan::new(capacity, Box::new(Fifo::new())))
}

/// A queue with room for as many values as there is memory for, first in, first out.
///
/// Nothing keeps senders from being faster than receivers: prefer [`bounded`] unless something else does.
#[must_use]
pub fn unbounded<T: Send + 'static>() -> (Sender<T>, Receiver<T>) {
    ends(Chan::new(usize::MAX, Box::new(Fifo::new())))
}

/// A queue with room for `capacity` values, of which the least is received first.
///
/// Values are compared under the queue's lock: comparing must not use the queue.
///
/// # Panics
///
/// If `capacity` is 0.
///
/// ```
/// let (sender, receiver) = divisi_sync::queue::priority(8);
/// for (priority, name) in [(2, "later"), (1, "now"), (2, "last")] {
///     sender.try_send((priority, name)).unwrap();
/// }
/// assert_eq!(receiver.try_recv().unwrap().1, "now");
/// ```
#[must_use]
pub fn priority<T: Ord + Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "{NO_ROOM}");
    ends(Chan::new(capacity, Box::new(ByPriority::new())))
}

/// A queue with room for `capacity` values, of which the one sent last is received first.
///
/// # Panics
///
/// If `capacity` is 0.
#[must_use]
pub fn lifo<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "{NO_ROOM}");
    ends(Chan::new(capacity, Box::new(Lifo::new())))
}

fn ends<T>(chan: std::sync::Arc<Chan<T>>) -> (Sender<T>, Receiver<T>) {
    (Sender::new(chan.clone()), Receiver::new(chan))
}
