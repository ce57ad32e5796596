//! A channel for one value.
//!
//! Without a lock: see [`hand_over`], which the ends are made of.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_task::hand_over::{self, Giver, Taker};
use divisi_task::{budget, current};

use crate::blocking::block_on;

/// Makes a channel for one value.
///
/// # Examples
///
/// ```
/// let (sender, mut receiver) = divisi_sync::oneshot::channel();
/// assert!(receiver.try_recv().is_none());
/// sender.send("hello").unwrap();
/// assert_eq!(receiver.try_recv(), Some(Ok("hello")));
/// ```
#[track_caller]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (giver, taker) = hand_over::pair();
    let receiver = Receiver {
        taker,
        made_at: Location::caller(),
    };
    (Sender { giver }, receiver)
}

/// The sending end. Dropping it unused closes the channel.
pub struct Sender<T> {
    giver: Giver<T>,
}

impl<T> Sender<T> {
    /// Sends the value and wakes the receiver. Never waits.
    ///
    /// # Errors
    ///
    /// The value comes back if the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        self.giver.give(value)
    }

    /// Whether nobody will receive any more.
    pub fn is_closed(&self) -> bool {
        self.giver.is_unwanted()
    }
}

/// The receiving end: a future of the value.
///
/// # Cancel safety
///
/// Dropping it closes the channel; polling it through a reference (`&mut receiver`) can be given up and taken up
/// again at any time.
pub struct Receiver<T> {
    taker: Taker<T>,
    made_at: &'static Location<'static>,
}

/// The sender was dropped without sending, or the value was taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no value will come: the sender was dropped without sending, or the value was received already")
    }
}

impl std::error::Error for Closed {}

impl<T> Receiver<T> {
    /// The value if it was sent, [`Closed`] if none will be, `None` if it may still come.
    pub fn try_recv(&mut self) -> Option<Result<T, Closed>> {
        Some(self.taker.try_take()?.ok_or(Closed))
    }

    /// Blocks this thread until the value is there. Not for async code, whose worker it would block.
    ///
    /// # Errors
    ///
    /// None will come.
    pub fn recv_blocking(self) -> Result<T, Closed> {
        block_on(self)
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let charge = ready!(budget::poll_proceed(cx));
        let Poll::Ready(taken) = self.taker.poll_take(cx) else {
            current::note_wait(self.made_at);
            return Poll::Pending;
        };
        charge.made_progress();
        Poll::Ready(taken.ok_or(Closed))
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("closed", &self.is_closed())
            .finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("made_at", &self.made_at)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll<T>(receiver: &mut Receiver<T>, wakes: &Arc<Count>) -> Poll<Result<T, Closed>> {
        let waker = Waker::from(wakes.clone());
        Pin::new(receiver).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn a_value_wakes_the_receiver_once() {
        let wakes = Arc::new(Count::default());
        let (sender, mut receiver) = channel();
        assert!(poll(&mut receiver, &wakes).is_pending());
        assert!(poll(&mut receiver, &wakes).is_pending());
        sender.send(5).unwrap();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut receiver, &wakes), Poll::Ready(Ok(5)));
        assert_eq!(poll(&mut receiver, &wakes), Poll::Ready(Err(Closed)));
    }

    #[test]
    fn only_the_latest_waker_is_woken() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (sender, mut receiver) = channel();
        assert!(poll(&mut receiver, &first).is_pending());
        assert!(poll(&mut receiver, &second).is_pending());
        sender.send(()).unwrap();
        assert_eq!(
            (
                first.0.load(Ordering::SeqCst),
                second.0.load(Ordering::SeqCst)
            ),
            (0, 1)
        );
    }

    #[test]
    fn a_dropped_sender_closes_and_wakes() {
        let wakes = Arc::new(Count::default());
        let (sender, mut receiver) = channel::<()>();
        assert!(poll(&mut receiver, &wakes).is_pending());
        drop(sender);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut receiver, &wakes), Poll::Ready(Err(Closed)));
    }

    #[test]
    fn a_value_for_a_dropped_receiver_comes_back() {
        let (sender, receiver) = channel();
        assert!(!sender.is_closed());
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send(9), Err(9));
    }

    #[test]
    fn an_unreceived_value_is_dropped_once() {
        let value = Arc::new(());
        let (sender, receiver) = channel();
        sender.send(value.clone()).unwrap();
        assert_eq!(Arc::strong_count(&value), 2);
        drop(receiver);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
