//! A channel for one value.
//!
//! The state is one of *empty*, *waited for*, *sent* and *closed*, behind one short lock; both ends change it at most twice. A waker is always
//! woken, and replaced or dropped, after the lock was released.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use divisi_task::{budget, current};

use crate::facade::{Arc, Mutex};

enum State<T> {
    Empty,
    Waiting(Waker),
    Sent(T),
    /// One end is gone, or the value was taken.
    Closed,
}

type Shared<T> = Arc<Mutex<State<T>>>;

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
    let shared = Arc::new(Mutex::new(State::Empty));
    (
        Sender {
            shared: Some(shared.clone()),
        },
        Receiver {
            shared,
            made_at: Location::caller(),
        },
    )
}

/// The sending end. Dropping it unused closes the channel.
pub struct Sender<T> {
    /// `None` once the value was sent.
    shared: Option<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends the value and wakes the receiver. Never waits.
    ///
    /// # Errors
    ///
    /// The value comes back if the receiver is gone.
    pub fn send(mut self, value: T) -> Result<(), T> {
        let Some(shared) = self.shared.take() else {
            return Err(value);
        };
        let mut state = shared.lock();
        if matches!(*state, State::Closed) {
            return Err(value);
        }
        let before = std::mem::replace(&mut *state, State::Sent(value));
        drop(state);
        if let State::Waiting(waker) = before {
            waker.wake();
        }
        Ok(())
    }

    /// Whether nobody will receive any more.
    pub fn is_closed(&self) -> bool {
        self.shared
            .as_ref()
            .is_none_or(|shared| matches!(*shared.lock(), State::Closed))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        let before = std::mem::replace(&mut *shared.lock(), State::Closed);
        if let State::Waiting(waker) = before {
            waker.wake();
        }
    }
}

/// The receiving end: a future of the value.
///
/// # Cancel safety
///
/// Dropping it closes the channel; polling it through a reference (`&mut receiver`) can be given up and taken up again at any time.
pub struct Receiver<T> {
    shared: Shared<T>,
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
        let mut state = self.shared.lock();
        match std::mem::replace(&mut *state, State::Closed) {
            State::Sent(value) => Some(Ok(value)),
            State::Closed => Some(Err(Closed)),
            still_open => {
                *state = still_open;
                None
            }
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let charge = std::task::ready!(budget::poll_proceed(cx));
        let mut state = self.shared.lock();
        let known = matches!(&*state, State::Waiting(waker) if waker.will_wake(cx.waker()));
        if known {
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Closed) {
            State::Sent(value) => {
                charge.made_progress();
                Poll::Ready(Ok(value))
            }
            State::Closed => Poll::Ready(Err(Closed)),
            waiting => {
                *state = State::Waiting(cx.waker().clone());
                drop(state);
                drop(waiting);
                current::note_wait(self.made_at);
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *self.shared.lock(), State::Closed);
        drop(before);
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
    use std::task::Wake;

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
