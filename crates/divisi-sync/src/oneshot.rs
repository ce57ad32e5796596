//! A channel for one value.
//!
//! Without a lock: see [`hand_over`], which the ends are made of.

use std::fmt;
use std::future::{Future, poll_fn};
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
    /// The value comes back if the receiver is gone or was closed.
    pub fn send(self, value: T) -> Result<(), T> {
        self.giver.give(value)
    }

    /// Whether nobody will receive any more: the receiver is gone or was closed.
    pub fn is_closed(&self) -> bool {
        self.giver.is_unwanted()
    }

    /// Waits until nobody will receive any more: to give up work whose result nobody wants. As `Sender::closed` of
    /// tokio's oneshot channel.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// use futures_lite::future::{or, pending, zip};
    ///
    /// let (mut sender, receiver) = divisi_sync::oneshot::channel::<u32>();
    /// let works = async {
    ///     let result = or(async { Some(pending::<u32>().await) }, async {
    ///         sender.closed().await;
    ///         None
    ///     });
    ///     match result.await {
    ///         Some(result) => sender.send(result).is_ok(),
    ///         None => false,
    ///     }
    /// };
    /// let gives_up = async { drop(receiver) };
    /// assert_eq!(zip(works, gives_up).await, (false, ()));
    /// # });
    /// ```
    #[track_caller]
    pub fn closed(&mut self) -> impl Future<Output = ()> {
        let awaited_at = Location::caller();
        poll_fn(move |cx| {
            let charge = ready!(budget::poll_proceed(cx));
            if self.giver.poll_unwanted(cx).is_pending() {
                current::note_wait(awaited_at);
                return Poll::Pending;
            }
            charge.made_progress();
            Poll::Ready(())
        })
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

/// The sender was dropped without sending, the receiver was closed before, or the value was taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no value will come: the sender was dropped without sending, the receiver was closed before it sent, \
             or the value was received already",
        )
    }
}

impl std::error::Error for Closed {}

impl<T> Receiver<T> {
    /// Lets nothing be sent any more; a sender that waits in [`closed`](Sender::closed) is told. A value that was sent
    /// before can still be received: after this, [`try_recv`](Self::try_recv) knows whether there is one. As
    /// `Receiver::close` of tokio's oneshot channel.
    ///
    /// # Examples
    ///
    /// ```
    /// use divisi_sync::oneshot::{self, Closed};
    ///
    /// let (sender, mut receiver) = oneshot::channel();
    /// receiver.close();
    /// assert_eq!(sender.send("too late"), Err("too late"));
    /// assert_eq!(receiver.try_recv(), Some(Err(Closed)));
    ///
    /// let (sender, mut receiver) = oneshot::channel();
    /// sender.send("just in time").unwrap();
    /// receiver.close();
    /// assert_eq!(receiver.try_recv(), Some(Ok("just in time")));
    /// ```
    pub fn close(&mut self) {
        self.taker.close();
    }

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
        for close in [false, true] {
            let value = Arc::new(());
            let (sender, mut receiver) = channel();
            sender.send(value.clone()).unwrap();
            if close {
                receiver.close();
            }
            assert_eq!(Arc::strong_count(&value), 2);
            drop(receiver);
            assert_eq!(Arc::strong_count(&value), 1);
        }
    }

    #[test]
    fn a_value_sent_before_the_close_is_received_and_one_sent_after_comes_back() {
        let wakes = Arc::new(Count::default());
        let (sender, mut receiver) = channel();
        assert!(poll(&mut receiver, &wakes).is_pending());
        sender.send(5).unwrap();
        receiver.close();
        receiver.close();
        assert_eq!(poll(&mut receiver, &wakes), Poll::Ready(Ok(5)));
        assert_eq!(receiver.try_recv(), Some(Err(Closed)));

        let (sender, mut receiver) = channel();
        assert!(poll(&mut receiver, &wakes).is_pending());
        receiver.close();
        assert_eq!(receiver.try_recv(), Some(Err(Closed)));
        assert!(sender.is_closed());
        assert_eq!(sender.send(6), Err(6));
        assert_eq!(poll(&mut receiver, &wakes), Poll::Ready(Err(Closed)));
    }

    #[test]
    fn a_sender_that_waits_for_the_end_is_woken_once_by_close_and_by_drop() {
        let leave: [fn(Receiver<()>); 2] = [drop, |mut receiver| receiver.close()];
        for leave in leave {
            let (earlier, wakes) = (Arc::new(Count::default()), Arc::new(Count::default()));
            let (mut sender, receiver) = channel::<()>();
            let mut closed = |wakes: &Arc<Count>| {
                let waker = Waker::from(wakes.clone());
                std::pin::pin!(sender.closed()).poll(&mut Context::from_waker(&waker))
            };
            assert!(closed(&earlier).is_pending());
            assert!(closed(&wakes).is_pending());
            assert!(closed(&wakes).is_pending());
            leave(receiver);
            let counts = [&earlier, &wakes].map(|wakes| wakes.0.load(Ordering::SeqCst));
            assert_eq!(counts, [0, 1]);
            assert!(closed(&wakes).is_ready());
        }
    }

    #[test]
    fn a_sender_that_has_waited_for_the_end_can_still_send() {
        let wakes = Arc::new(Count::default());
        let waker = Waker::from(wakes.clone());
        let (mut sender, mut receiver) = channel();
        let waits = std::pin::pin!(sender.closed()).poll(&mut Context::from_waker(&waker));
        assert!(waits.is_pending());
        sender.send(7).unwrap();
        assert_eq!(receiver.try_recv(), Some(Ok(7)));
        drop((receiver, waker));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&wakes), 1, "its waker was dropped");
    }
}
