//! A value that somebody will provide: asyncio's `Future`, in two halves.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_sync::oneshot::{Receiver, Sender, channel};

/// Makes a promise of a `T`, and the future of it.
///
/// Whoever has the [`Promise`] [sets](Promise::set) the value or [fails](Promise::fail) with an error, once: both use the promise up. If it is dropped
/// instead, the future ends with [`PromiseError::Abandoned`], so nobody waits in vain. Both halves may be used on any thread, in any runtime or none.
///
/// With [`shared`](crate::future::FutureExt::shared) many can await the future.
///
/// ```
/// use divisi::task::{PromiseError, promise};
///
/// # divisi::run(async {
/// let (kept, value) = promise::<_, String>();
/// std::thread::spawn(move || kept.set(42));
/// assert_eq!(value.await, Ok(42));
///
/// let (failed, value) = promise::<u8, _>();
/// failed.fail("no luck");
/// assert_eq!(value.await, Err(PromiseError::Failed("no luck")));
///
/// let (abandoned, value) = promise::<u8, String>();
/// drop(abandoned);
/// assert_eq!(value.await, Err(PromiseError::Abandoned));
/// # });
/// ```
#[track_caller]
pub fn promise<T, E>() -> (Promise<T, E>, Promised<T, E>) {
    let (sender, receiver) = channel();
    (Promise { sender }, Promised { receiver })
}

/// The half that keeps the promise; see [`promise`].
#[must_use = "dropping a promise abandons it"]
pub struct Promise<T, E = Infallible> {
    sender: Sender<Result<T, E>>,
}

impl<T, E> Promise<T, E> {
    /// Gives the value. If nobody waits for it any more it is dropped.
    pub fn set(self, value: T) {
        drop(self.sender.send(Ok(value)));
    }

    /// Gives an error instead of a value. If nobody waits for it any more it is dropped.
    pub fn fail(self, error: E) {
        drop(self.sender.send(Err(error)));
    }

    /// Whether the future is gone, so that nobody will see the value.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}

/// The half that waits: a future of the value; see [`promise`].
///
/// # Cancel safety
///
/// Polling it through a reference (`&mut promised`) can be given up and taken up again. Dropping it makes the promise
/// [abandoned](Promise::is_abandoned).
#[must_use = "futures do nothing unless they are awaited"]
pub struct Promised<T, E = Infallible> {
    receiver: Receiver<Result<T, E>>,
}

/// Why a promised value did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromiseError<E> {
    /// The promise [failed](Promise::fail) with this error.
    Failed(E),
    /// The promise was dropped and not kept.
    Abandoned,
}

impl<T, E> Future for Promised<T, E> {
    type Output = Result<T, PromiseError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.receiver).poll(cx)) {
            Ok(result) => result.map_err(PromiseError::Failed),
            Err(_closed) => Err(PromiseError::Abandoned),
        })
    }
}

impl<E: fmt::Display> fmt::Display for PromiseError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PromiseError::Failed(error) => error.fmt(f),
            PromiseError::Abandoned => f.write_str(
                "whoever was to provide this value dropped the promise without keeping it: look for an early return or a panic there",
            ),
        }
    }
}

impl<E: Error> Error for PromiseError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PromiseError::Failed(error) => error.source(),
            PromiseError::Abandoned => None,
        }
    }
}

impl<T, E> fmt::Debug for Promise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("abandoned", &self.is_abandoned())
            .finish()
    }
}

impl<T, E> fmt::Debug for Promised<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promised").finish_non_exhaustive()
    }
}
