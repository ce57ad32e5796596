//! Futures that wait for a source, each with a place of its own for its waker.

use crate::direction::{Direction, Progress};
use crate::reactor::Reactor;
use crate::source::Source;
use crate::waiters::Place;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A waiter's place with a source, given back when it is dropped.
struct Seat<'a, T: AsFd> {
    source: &'a Source<T>,
    direction: Direction,
    key: Option<usize>,
}

impl<T: AsFd> Seat<'_, T> {
    fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        home: impl FnOnce() -> io::Result<Reactor>,
        op: impl FnMut(&T) -> io::Result<Progress<R>>,
    ) -> Poll<io::Result<R>> {
        let place = &mut Place::Node(&mut self.key);
        let polled = self.source.poll_at(cx, self.direction, place, home, op);
        if polled.is_ready() {
            self.leave();
        }
        polled
    }

    fn leave(&mut self) {
        if let Some(key) = self.key.take() {
            self.source.state().leave(self.direction, key);
        }
    }
}

impl<T: AsFd> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        // Every waiter of the direction was or will be woken by the next event, so a waiter that
        // leaves has nothing to pass on.
        self.leave();
    }
}

/// The future of [`Source::async_io`].
#[must_use = "futures do nothing unless awaited"]
pub struct IoFuture<'a, T: AsFd, H, F> {
    seat: Seat<'a, T>,
    home: H,
    op: F,
}

impl<'a, T: AsFd, H, F> IoFuture<'a, T, H, F> {
    pub(crate) fn new(source: &'a Source<T>, direction: Direction, home: H, op: F) -> Self {
        IoFuture {
            seat: Seat {
                source,
                direction,
                key: None,
            },
            home,
            op,
        }
    }
}

/// Nothing inside is pinned.
impl<T: AsFd, H, F> Unpin for IoFuture<'_, T, H, F> {}

impl<T, H, F, R> Future for IoFuture<'_, T, H, F>
where
    T: AsFd,
    H: FnMut() -> io::Result<Reactor>,
    F: FnMut(&T) -> io::Result<Progress<R>>,
{
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = &mut *self;
        this.seat.poll(cx, &mut this.home, &mut this.op)
    }
}

impl<T: AsFd, H, F> fmt::Debug for IoFuture<'_, T, H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoFuture")
            .field("direction", &self.seat.direction)
            .finish_non_exhaustive()
    }
}

/// The future of [`Source::ready`].
#[must_use = "futures do nothing unless awaited"]
pub struct ReadyFuture<'a, T: AsFd, H> {
    seat: Seat<'a, T>,
    home: H,
}

impl<'a, T: AsFd, H> ReadyFuture<'a, T, H> {
    pub(crate) fn new(source: &'a Source<T>, direction: Direction, home: H) -> Self {
        ReadyFuture {
            seat: Seat {
                source,
                direction,
                key: None,
            },
            home,
        }
    }
}

/// Nothing inside is pinned.
impl<T: AsFd, H> Unpin for ReadyFuture<'_, T, H> {}

impl<T, H> Future for ReadyFuture<'_, T, H>
where
    T: AsFd,
    H: FnMut() -> io::Result<Reactor>,
{
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.seat
            .poll(cx, &mut this.home, |_| Ok(Progress::full(())))
    }
}

impl<T: AsFd, H> fmt::Debug for ReadyFuture<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyFuture")
            .field("direction", &self.seat.direction)
            .finish_non_exhaustive()
    }
}
