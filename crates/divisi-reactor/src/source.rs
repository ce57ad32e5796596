//! An I/O object that can wait.

use crate::direction::{Direction, Progress};
use crate::error::ReactorError;
use crate::io_future::{IoFuture, ReadyFuture};
use crate::io_state::IoState;
use crate::reactor::{Reactor, ReactorId};
use crate::readiness::{Clear, Snapshot};
use crate::sys::Driver;
use crate::waiters::Place;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

/// An I/O object together with what is known about its readiness.
///
/// The object must be in non-blocking mode (the caller sees to that) and its `as_fd` must always
/// name the same descriptor. It is registered with a reactor only when it first has to wait: a
/// socket that answers at once costs no `epoll_ctl`. When it is waited for repeatedly from another
/// reactor, it moves there.
///
/// A new source counts as ready, so the first operation tries before it waits.
///
/// Two ways to wait, which may be mixed:
/// - [`poll_io`](Source::poll_io) for `poll_*` interfaces: one task for each direction, the one that
///   polled last is woken;
/// - [`async_io`](Source::async_io) and [`ready`](Source::ready): any number of futures; all
///   that wait for a direction are woken by an event of that direction.
///
/// ```
/// use divisi_reactor::{Clock, Direction, Progress, Reactor, Scratch, Source, Wait};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::task::{Context, Poll, Waker};
///
/// let reactor = Reactor::new(Clock::real())?;
/// let (near, mut far) = UnixStream::pair()?;
/// near.set_nonblocking(true)?;
/// let near = Source::new(near);
///
/// let mut buffer = [0; 16];
/// let mut read = || {
///     let mut cx = Context::from_waker(Waker::noop());
///     near.poll_io(&mut cx, Direction::Read, || Ok(reactor.clone()), |mut io| {
///         let asked = buffer.len();
///         io.read(&mut buffer).map(|n| Progress::of(n, asked))
///     })
/// };
/// assert!(read().is_pending());
///
/// far.write_all(b"hello")?;
/// let mut scratch = Scratch::new(64);
/// while !near.is_ready(Direction::Read) {
///     reactor.turn(&mut scratch, Wait::Until(None))?;
/// }
/// assert!(matches!(read(), Poll::Ready(Ok(5))));
/// # std::io::Result::Ok(())
/// ```
pub struct Source<T: AsFd> {
    /// `None` only after `into_inner`.
    io: Option<T>,
    state: Arc<IoState>,
}

/// What one attempt came to.
enum Attempt<R> {
    Done(io::Result<R>),
    NotReady,
}

impl<T: AsFd> Source<T> {
    /// Wraps an object that the caller has put into non-blocking mode. No system call.
    pub fn new(io: T) -> Source<T> {
        Source {
            io: Some(io),
            state: Arc::new(IoState::new()),
        }
    }

    /// The object.
    pub fn get_ref(&self) -> &T {
        self.io.as_ref().expect("taken only by into_inner")
    }

    /// The object, mutably. It is deregistered first, since the caller may put another in its
    /// place; the next wait registers again. Prefer [`get_ref`](Source::get_ref).
    pub fn get_mut(&mut self) -> &mut T {
        self.state.deregister(self.fd());
        self.io.as_mut().expect("taken only by into_inner")
    }

    /// Deregisters the object and returns it.
    pub fn into_inner(mut self) -> T {
        self.state.deregister(self.fd());
        self.io.take().expect("taken only here")
    }

    /// Tries `op` as long as the source is ready, or leaves the task's waker and returns pending.
    ///
    /// `op` is called with the object, possibly several times, and says how far it got, see
    /// [`Progress`]. `Interrupted` is tried again; `WouldBlock` means "wait". `home` is asked for
    /// the reactor of this thread only when the task must wait.
    ///
    /// One task for each direction: the last waker replaces the one before.
    ///
    /// # Errors
    /// Those of `op`, of `home`, and of the registration ([`ReactorError`]);
    /// [`ReactorError::ShutDown`] after the reactor that watches the source was closed.
    ///
    /// # Cancel safety
    /// Nothing is held between two polls: whatever `op` has not done is left in the object.
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        home: impl FnOnce() -> io::Result<Reactor>,
        op: impl FnMut(&T) -> io::Result<Progress<R>>,
    ) -> Poll<io::Result<R>> {
        self.poll_at(cx, direction, &mut Place::Slot, home, op)
    }

    /// As [`poll_io`](Source::poll_io) without an operation: waits until the source is ready in
    /// this direction as far as is known. Readiness stays until an operation finds otherwise, so
    /// use [`try_io`](Source::try_io) for that operation.
    ///
    /// # Errors
    /// Those of `home` and of the registration; [`ReactorError::ShutDown`].
    pub fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        home: impl FnOnce() -> io::Result<Reactor>,
    ) -> Poll<io::Result<()>> {
        self.poll_io(cx, direction, home, |_| Ok(Progress::full(())))
    }

    /// A future that does `op` when it can, for any number of concurrent waiters.
    ///
    /// As [`poll_io`](Source::poll_io), with a place of its own for the waker. All waiters of a
    /// direction are woken when it becomes ready; those that come too late wait again.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing away: neither data (`op` either completed the future or
    /// did nothing) nor another waiter's wake-up.
    pub fn async_io<R, H, F>(&self, direction: Direction, home: H, op: F) -> IoFuture<'_, T, H, F>
    where
        H: FnMut() -> io::Result<Reactor>,
        F: FnMut(&T) -> io::Result<Progress<R>>,
    {
        IoFuture::new(self, direction, home, op)
    }

    /// A future that waits until the source is ready in this direction, for any number of
    /// concurrent waiters. See [`poll_ready`](Source::poll_ready).
    ///
    /// # Cancel safety
    /// As [`async_io`](Source::async_io).
    pub fn ready<H>(&self, direction: Direction, home: H) -> ReadyFuture<'_, T, H>
    where
        H: FnMut() -> io::Result<Reactor>,
    {
        ReadyFuture::new(self, direction, home)
    }

    /// Tries `op` once and never waits.
    ///
    /// # Errors
    /// Those of `op`; `WouldBlock`, possibly without calling `op`, if the source is not ready;
    /// [`ReactorError::ShutDown`].
    pub fn try_io<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<Progress<R>>,
    ) -> io::Result<R> {
        if self.state.is_watched_by_edges() {
            return match self.attempt(direction, &mut op) {
                Attempt::Done(result) => result,
                Attempt::NotReady => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        // Nobody would tell when a cleared bit is to be set again, so leave it alone.
        if self.state.readiness().load().is_shut_down() {
            return Err(ReactorError::ShutDown.into());
        }
        loop {
            match op(self.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(Progress::into_inner),
            }
        }
    }

    /// True if an operation in this direction is worth trying, as far as is known.
    pub fn is_ready(&self, direction: Direction) -> bool {
        self.state.readiness().load().allows(direction)
    }

    /// The reactor that watches the source, or `None` as long as it has never had to wait.
    pub fn home(&self) -> Option<ReactorId> {
        self.state.home()
    }

    /// How often the source has moved from one reactor to another.
    pub fn migrations(&self) -> u64 {
        self.state.migrations()
    }

    pub(crate) fn state(&self) -> &IoState {
        &self.state
    }

    pub(crate) fn poll_at<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        place: &mut Place<'_>,
        home: impl FnOnce() -> io::Result<Reactor>,
        mut op: impl FnMut(&T) -> io::Result<Progress<R>>,
    ) -> Poll<io::Result<R>> {
        if let Attempt::Done(result) = self.attempt(direction, &mut op) {
            return Poll::Ready(result);
        }
        let reactor = match home() {
            Ok(reactor) => reactor,
            Err(error) => return Poll::Ready(self.without_wait(direction, &mut op, error)),
        };
        loop {
            let waited = self
                .state
                .wait(cx.waker(), direction, place, self.fd(), &reactor);
            let ready = match waited {
                Ok(ready) => ready,
                Err(error) => return Poll::Ready(self.without_wait(direction, &mut op, error)),
            };
            if !ready {
                return Poll::Pending;
            }
            if let Attempt::Done(result) = self.attempt(direction, &mut op) {
                return Poll::Ready(result);
            }
        }
    }

    /// A wait could not be set up, because of `error`. Where no reactor tells of events, a cleared
    /// bit says nothing: it is set again, now for a last try and afterwards for the next poll.
    fn without_wait<R>(
        &self,
        direction: Direction,
        op: &mut impl FnMut(&T) -> io::Result<Progress<R>>,
        error: io::Error,
    ) -> io::Result<R> {
        if !self.state.is_watched_by_edges() {
            self.state.readiness().assume_ready();
            if let Attempt::Done(result) = self.attempt(direction, op) {
                return result;
            }
            self.state.readiness().assume_ready();
        }
        Err(error)
    }

    fn attempt<R>(
        &self,
        direction: Direction,
        op: &mut impl FnMut(&T) -> io::Result<Progress<R>>,
    ) -> Attempt<R> {
        loop {
            let seen = self.state.readiness().load();
            if seen.is_shut_down() {
                return Attempt::Done(Err(ReactorError::ShutDown.into()));
            }
            if !seen.allows(direction) {
                return Attempt::NotReady;
            }
            match op(self.get_ref()) {
                Ok(progress) => {
                    if progress.short {
                        self.note_short(direction, seen);
                    }
                    return Attempt::Done(Ok(progress.value));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        if self.state.readiness().clear(direction, seen) == Clear::Done {
                            return Attempt::NotReady;
                        }
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Attempt::Done(Err(error)),
                },
            }
        }
    }

    fn note_short(&self, direction: Direction, seen: Snapshot) {
        if Driver::SHORT_MEANS_DRAINED && seen.short_means_drained(direction) {
            // If an event came in since, readiness stays and the next operation tries: as well.
            let _ = self.state.readiness().clear(direction, seen);
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> Drop for Source<T> {
    fn drop(&mut self) {
        // Explicit, before the object closes its descriptor: a duplicate elsewhere would keep the
        // registration alive.
        if let Some(io) = &self.io {
            self.state.deregister(io.as_fd());
        }
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("io", &self.io)
            .field("readiness", self.state.readiness())
            .field("home", &self.home())
            .finish()
    }
}

impl<T: AsFd> AsFd for Source<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl<T: AsFd> From<T> for Source<T> {
    fn from(io: T) -> Source<T> {
        Source::new(io)
    }
}
