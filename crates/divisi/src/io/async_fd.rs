//! Anything with a file descriptor, made asynchronous.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use divisi_reactor::{Direction, Progress};
use futures_io::{AsyncRead, AsyncWrite};

use super::wait::Waits;

/// An object with a file descriptor, in non-blocking mode, whose operations can be awaited: a pipe, a terminal, an inotify or timer descriptor, the socket of
/// another crate.
///
/// Where `&T` reads and writes ([`File`](std::fs::File), [`PipeReader`](std::io::PipeReader), the sockets of the standard library), so does `Async<T>`
/// through [`AsyncRead`] and [`AsyncWrite`]. For everything else there are [`read_with`](Self::read_with) and [`write_with`](Self::write_with). What has a
/// descriptor but no `Read` on its reference, such as a child's standard output, becomes a `File` by way of [`OwnedFd`](std::os::fd::OwnedFd).
///
/// Regular files and directories are always ready, and the system refuses to watch them: reading them through this type blocks the
/// thread. Use [`spawn_blocking`](crate::spawn_blocking) for them.
///
/// Any number of tasks may wait through `&self` methods at a time. Of those that wait through the traits, only the last for each direction is woken.
///
/// ```
/// use divisi::io::{Async, AsyncReadExt, AsyncWriteExt};
///
/// # divisi::run(async {
/// let (near, far) = std::os::unix::net::UnixStream::pair()?;
/// let (mut near, mut far) = (Async::new(near)?, Async::new(far)?);
///
/// far.write_all(b"hello").await?;
/// drop(far);
/// let mut text = String::new();
/// near.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct Async<T: AsFd>(Waits<T>);

impl<T: AsFd> Async<T> {
    /// Takes `io` over and puts it into non-blocking mode.
    ///
    /// That mode belongs to the open file description, not to the descriptor: duplicates in this or other processes see it too. A terminal
    /// that is shared with a shell is such a case.
    ///
    /// # Errors
    ///
    /// If the mode cannot be set.
    #[track_caller]
    pub fn new(io: T) -> io::Result<Async<T>> {
        let made_at = Location::caller();
        rustix::io::ioctl_fionbio(io.as_fd(), true)?;
        Ok(Async(Waits::new(io, made_at)))
    }

    /// Takes `io` over as it is, for objects that are in non-blocking mode already. An operation on one that is not blocks its thread.
    #[track_caller]
    pub fn from_nonblocking(io: T) -> Async<T> {
        Async(Waits::new(io, Location::caller()))
    }

    /// The object.
    pub fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    /// The object, which stays in non-blocking mode.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }

    /// Waits until a read is worth trying.
    ///
    /// Readiness is what is known from earlier operations *through this object*: it stays until one of them finds nothing, so follow with
    /// [`try_read_with`](Self::try_read_with) and not with an operation on [`get_ref`](Self::get_ref).
    ///
    /// # Errors
    ///
    /// If it must wait where there is no runtime, or for something that cannot be watched.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    #[track_caller]
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> + '_ {
        self.ready(Direction::Read, Location::caller())
    }

    /// Waits until a write is worth trying. See [`readable`](Self::readable).
    #[track_caller]
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> + '_ {
        self.ready(Direction::Write, Location::caller())
    }

    fn ready(
        &self,
        direction: Direction,
        called_at: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<()>> + '_ {
        self.0
            .when_ready(direction, called_at, |_| Ok(Progress::full(())))
    }

    /// Calls `op` until it gives something else than [`WouldBlock`](io::ErrorKind::WouldBlock), and waits until the object is readable in between.
    ///
    /// # Errors
    ///
    /// Those of `op` and of [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Loses nothing that `op` does not lose: no `op` was done, or the future is ready.
    #[track_caller]
    pub fn read_with<R, F>(&self, op: F) -> impl Future<Output = io::Result<R>> + use<'_, T, R, F>
    where
        F: FnMut(&T) -> io::Result<R>,
    {
        self.with(Direction::Read, Location::caller(), op)
    }

    /// Calls `op` until it gives something else than [`WouldBlock`](io::ErrorKind::WouldBlock), and waits until the object is writable in between. See
    /// [`read_with`](Self::read_with).
    #[track_caller]
    pub fn write_with<R, F>(&self, op: F) -> impl Future<Output = io::Result<R>> + use<'_, T, R, F>
    where
        F: FnMut(&T) -> io::Result<R>,
    {
        self.with(Direction::Write, Location::caller(), op)
    }

    fn with<R, F>(
        &self,
        direction: Direction,
        called_at: &'static Location<'static>,
        mut op: F,
    ) -> impl Future<Output = io::Result<R>> + use<'_, T, R, F>
    where
        F: FnMut(&T) -> io::Result<R>,
    {
        // Nothing is known about `T`: a terminal gives one line at a time. So only `WouldBlock` says that there is no more.
        self.0
            .when_ready(direction, called_at, move |io| op(io).map(Progress::full))
    }

    /// Calls `op` if a read is worth trying, and never waits.
    ///
    /// # Errors
    ///
    /// Those of `op`; [`WouldBlock`](io::ErrorKind::WouldBlock), possibly without a call, if there is nothing to read.
    pub fn try_read_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.0.now(Direction::Read, |io| op(io).map(Progress::full))
    }

    /// Calls `op` if a write is worth trying, and never waits. See [`try_read_with`](Self::try_read_with).
    pub fn try_write_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.0
            .now(Direction::Write, |io| op(io).map(Progress::full))
    }

    /// As [`read_with`](Self::read_with), for the `poll_*` methods of traits: only the task that polled last is woken.
    pub(crate) fn poll_read_with<R>(
        &self,
        cx: &mut Context<'_>,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll(cx, Direction::Read, op)
    }

    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.0.poll(cx, direction, |io| op(io).map(Progress::full))
    }
}

impl<T: AsFd> AsyncRead for &Async<T>
where
    for<'io> &'io T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, Direction::Read, |mut io| io.read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, Direction::Read, |mut io| io.read_vectored(bufs))
    }
}

impl<T: AsFd> AsyncWrite for &Async<T>
where
    for<'io> &'io T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, Direction::Write, |mut io| io.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, Direction::Write, |mut io| io.write_vectored(bufs))
    }

    /// For most objects there is nothing to do, also where nothing can be written just now.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io: &T = Async::get_ref(&self);
        match io.flush() {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                self.poll(cx, Direction::Write, |mut io| io.flush())
            }
            flushed => Poll::Ready(flushed),
        }
    }

    /// Flushes. What `T` is closes when it is dropped.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl<T: AsFd> AsyncRead for Async<T>
where
    for<'io> &'io T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read_vectored(cx, bufs)
    }
}

impl<T: AsFd> AsyncWrite for Async<T>
where
    for<'io> &'io T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(cx)
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(self.get_ref()).finish()
    }
}
