//! What TCP and Unix streams have in common.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{self, Shutdown};
use std::os::fd::AsFd;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
use std::os::fd::BorrowedFd;
use std::os::unix::net as unix;
use std::panic::Location;
use std::task::{Context, Poll};

use divisi_reactor::{Direction, Progress};

use super::sys;
use crate::io::wait::Waits;

/// The most buffers of which one system call takes all, and the standard library passes all on. What is behind them says nothing about the source.
///
/// `IOV_MAX` of the systems that are named; POSIX lets the others have only 16 (`_XOPEN_IOV_MAX`).
const MOST_BUFFERS: usize = if cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
)) {
    1024
} else {
    16
};

/// The number of bytes that one call can move, if it is known.
fn total(mut lengths: impl ExactSizeIterator<Item = usize>) -> Option<usize> {
    if lengths.len() > MOST_BUFFERS {
        return None;
    }
    lengths.try_fold(0, usize::checked_add)
}

/// A byte stream of the standard library: what it can do by a shared reference.
pub trait Std: AsFd + fmt::Debug + Send + Sync + 'static {
    /// Whether a read that leaves room in the buffer has taken all there was.
    ///
    /// It has for TCP. A read from a Unix stream also ends after a message that carries descriptors or other credentials, whatever follows.
    const SHORT_READ_MEANS_DRAINED: bool;

    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    fn peek(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn write(&self, buf: &[u8]) -> io::Result<usize>;
    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

macro_rules! std_stream {
    ($stream:ty, short_read_means_drained: $drained:literal, peek: $peek:expr) => {
        impl Std for $stream {
            const SHORT_READ_MEANS_DRAINED: bool = $drained;

            fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
                io::Read::read(&mut { self }, buf)
            }

            fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                io::Read::read_vectored(&mut { self }, bufs)
            }

            fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                $peek(self, buf)
            }

            fn write(&self, buf: &[u8]) -> io::Result<usize> {
                io::Write::write(&mut { self }, buf)
            }

            fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                io::Write::write_vectored(&mut { self }, bufs)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                <$stream>::shutdown(self, how)
            }
        }
    };
}

std_stream!(net::TcpStream, short_read_means_drained: true, peek: net::TcpStream::peek);
// The standard library's own is not stable yet.
std_stream!(unix::UnixStream, short_read_means_drained: false, peek: sys::peek);

/// A connected byte stream: the inside of `TcpStream` and `UnixStream`.
pub struct Stream<S: Std>(Waits<S>);

impl<S: Std> Stream<S> {
    /// `socket` must be in non-blocking mode.
    pub(super) fn new(socket: S, made_at: &'static Location<'static>) -> Stream<S> {
        Stream(Waits::new(socket, made_at))
    }

    pub(super) fn get_ref(&self) -> &S {
        self.0.get_ref()
    }

    pub(super) fn waits(&self) -> &Waits<S> {
        &self.0
    }

    pub(super) fn into_inner(self) -> S {
        self.0.into_inner()
    }

    fn read_some(socket: &S, buf: &mut [u8]) -> io::Result<Progress<usize>> {
        let asked = buf.len();
        socket
            .read(buf)
            .map(|read| Self::read_progress(read, asked))
    }

    fn read_some_vectored(socket: &S, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Progress<usize>> {
        let asked = total(bufs.iter().map(|buf| buf.len()));
        let read = socket.read_vectored(bufs)?;
        Ok(asked.map_or(Progress::full(read), |asked| {
            Self::read_progress(read, asked)
        }))
    }

    fn read_progress(read: usize, asked: usize) -> Progress<usize> {
        if S::SHORT_READ_MEANS_DRAINED {
            Progress::of(read, asked)
        } else {
            Progress::full(read)
        }
    }

    fn write_some(socket: &S, buf: &[u8]) -> io::Result<Progress<usize>> {
        socket
            .write(buf)
            .map(|written| Progress::of(written, buf.len()))
    }

    fn write_some_vectored(socket: &S, bufs: &[IoSlice<'_>]) -> io::Result<Progress<usize>> {
        let asked = total(bufs.iter().map(|buf| buf.len()));
        let written = socket.write_vectored(bufs)?;
        Ok(asked.map_or(Progress::full(written), |asked| {
            Progress::of(written, asked)
        }))
    }

    pub(super) fn read<'a>(
        &'a self,
        buf: &'a mut [u8],
        called_at: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<usize>> + use<'a, S> {
        self.0
            .when_ready(Direction::Read, called_at, move |socket| {
                Self::read_some(socket, buf)
            })
    }

    pub(super) fn read_vectored<'a>(
        &'a self,
        bufs: &'a mut [IoSliceMut<'_>],
        called_at: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<usize>> {
        self.0
            .when_ready(Direction::Read, called_at, move |socket| {
                Self::read_some_vectored(socket, bufs)
            })
    }

    pub(super) async fn read_exact(
        &self,
        buf: &mut [u8],
        called_at: &'static Location<'static>,
    ) -> io::Result<()> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..], called_at).await? {
                0 => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the peer ended the stream in the middle of the data",
                    ));
                }
                read => filled += read,
            }
        }
        Ok(())
    }

    pub(super) fn peek<'a>(
        &'a self,
        buf: &'a mut [u8],
        called_at: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<usize>> + use<'a, S> {
        // What was peeked at is still there.
        self.0
            .when_ready(Direction::Read, called_at, move |socket| {
                socket.peek(buf).map(Progress::full)
            })
    }

    pub(super) fn write<'a>(
        &'a self,
        buf: &'a [u8],
        called_at: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<usize>> + use<'a, S> {
        self.0
            .when_ready(Direction::Write, called_at, move |socket| {
                Self::write_some(socket, buf)
            })
    }

    pub(super) fn write_vectored<'a>(
        &'a self,
        bufs: &'a [IoSlice<'_>],
        called_at: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<usize>> {
        self.0
            .when_ready(Direction::Write, called_at, move |socket| {
                Self::write_some_vectored(socket, bufs)
            })
    }

    pub(super) async fn write_all(
        &self,
        mut buf: &[u8],
        called_at: &'static Location<'static>,
    ) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write(buf, called_at).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => buf = &buf[written..],
            }
        }
        Ok(())
    }

    pub(super) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0
            .now(Direction::Read, |socket| Self::read_some(socket, buf))
    }

    pub(super) fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.now(Direction::Read, |socket| {
            Self::read_some_vectored(socket, bufs)
        })
    }

    pub(super) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.0
            .now(Direction::Write, |socket| Self::write_some(socket, buf))
    }

    pub(super) fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.now(Direction::Write, |socket| {
            Self::write_some_vectored(socket, bufs)
        })
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.get_ref().shutdown(how)
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0
            .poll(cx, Direction::Read, |socket| Self::read_some(socket, buf))
    }

    /// Reads by `read`, for buffers that are not slices of bytes: it reads once from the descriptor and tells how much of the `asked` it got.
    #[cfg(any(feature = "hyper", feature = "tokio-io"))]
    pub(crate) fn poll_read_by(
        &self,
        cx: &mut Context<'_>,
        asked: usize,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.0.poll(cx, Direction::Read, |socket| {
            read(socket.as_fd()).map(|read| Self::read_progress(read, asked))
        })
    }

    pub(super) fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll(cx, Direction::Read, |socket| {
            Self::read_some_vectored(socket, bufs)
        })
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(cx, Direction::Write, |socket| Self::write_some(socket, buf))
    }

    pub(super) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll(cx, Direction::Write, |socket| {
            Self::write_some_vectored(socket, bufs)
        })
    }

    /// Ends the stream towards the peer. That a connection is gone already is no error: there is nothing left to end.
    pub(super) fn poll_close(&self) -> Poll<io::Result<()>> {
        Poll::Ready(match self.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}

impl<S: Std> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}
