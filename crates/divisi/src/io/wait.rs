//! What every I/O leaf does around its system call: the budget, the wait, and the note where the task waits.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_reactor::{Direction, IoFuture, Progress, Reactor, Source};
use divisi_task::{budget, current};

use crate::context;

/// An I/O object in non-blocking mode that tasks can wait for.
///
/// Each operation takes one unit of the task's budget. An operation that must wait leaves a note in the task: the place that called the operation or, where
/// that is unknown (the `poll_*` methods of traits are called by other crates), the place that made the object.
pub(crate) struct Waits<T: AsFd> {
    source: Source<T>,
    made_at: &'static Location<'static>,
}

impl<T: AsFd> Waits<T> {
    /// `io` must be in non-blocking mode.
    pub(crate) fn new(io: T, made_at: &'static Location<'static>) -> Waits<T> {
        Waits {
            source: Source::new(io),
            made_at,
        }
    }

    pub(crate) fn get_ref(&self) -> &T {
        self.source.get_ref()
    }

    pub(crate) fn into_inner(self) -> T {
        self.source.into_inner()
    }

    /// Does `op` when it can, for the `poll_*` methods of traits: only the task that polled last is woken.
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        op: impl FnMut(&T) -> io::Result<Progress<R>>,
    ) -> Poll<io::Result<R>> {
        let charge = ready!(budget::poll_proceed(cx));
        let polled = self.source.poll_io(cx, direction, context::io_home, op);
        match polled {
            Poll::Ready(_) => charge.made_progress(),
            Poll::Pending => current::note_wait(self.made_at),
        }
        polled
    }

    /// Does `op` when it can, for any number of futures at a time.
    pub(crate) fn when_ready<R, F>(
        &self,
        direction: Direction,
        called_at: &'static Location<'static>,
        op: F,
    ) -> WhenReady<'_, T, impl FnMut() -> io::Result<Reactor> + use<T, R, F>, F>
    where
        F: FnMut(&T) -> io::Result<Progress<R>>,
    {
        WhenReady {
            future: self.source.async_io(direction, context::io_home, op),
            called_at,
        }
    }

    /// Waits until the object is ready as far as is known.
    pub(crate) fn ready(
        &self,
        direction: Direction,
        called_at: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<()>> + Send + Sync + '_
    where
        T: Send + Sync,
    {
        self.when_ready(direction, called_at, |_| Ok(Progress::full(())))
    }

    /// Does `op` now or not at all.
    pub(crate) fn now<R>(
        &self,
        direction: Direction,
        op: impl FnMut(&T) -> io::Result<Progress<R>>,
    ) -> io::Result<R> {
        self.source.try_io(direction, op)
    }
}

impl<T: AsFd> AsFd for Waits<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Waits<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}

/// The future of [`Waits::when_ready`].
#[must_use = "futures do nothing unless they are awaited"]
pub(crate) struct WhenReady<'a, T: AsFd, H, F> {
    future: IoFuture<'a, T, H, F>,
    called_at: &'static Location<'static>,
}

impl<T, H, F, R> Future for WhenReady<'_, T, H, F>
where
    T: AsFd,
    H: FnMut() -> io::Result<Reactor>,
    F: FnMut(&T) -> io::Result<Progress<R>>,
{
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let charge = ready!(budget::poll_proceed(cx));
        let polled = Pin::new(&mut self.future).poll(cx);
        match polled {
            Poll::Ready(_) => charge.made_progress(),
            Poll::Pending => current::note_wait(self.called_at),
        }
        polled
    }
}
