//! Bytes in a time.

use std::fmt;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::rate_limiter::{OwnedWait, RateLimiter};

/// The most that one read or write takes where the limiter's burst is smaller: to do less at a time would cost more in calls than it smooths.
const LEAST_CHUNK: u64 = 1024;

/// A stream whose reads, writes, or both take their time: each byte counts as one in a [`RateLimiter`]. Give the same limiter to several streams, and they share
/// it fairly, turn by turn.
///
/// Before it reads or writes, it waits for its turn with a weight of one; what then goes through, a burst at most, is charged at once, and the next turn comes when
/// it is paid for. So the rate holds in the long run whatever the sizes and the number of streams, nothing is charged that did not go through,
/// and a stream that waits for data holds up nobody.
///
/// A burst is that of [`Rate::per`](super::Rate::per), or the amount of the other rates, but no less than 1024 bytes. As a turn needs room for one byte only, what goes
/// through in a [window](super::Rate::window) may exceed it by a burst, once; the debt is paid before the next turn.
///
/// # Cancel safety
///
/// As that of the stream inside.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use divisi::io::prelude::*;
/// use divisi::limit::{Limited, Rate, RateLimiter};
/// use divisi::net::UnixStream;
///
/// # divisi::run(async {
/// let megabyte = RateLimiter::new(Rate::per(1_000_000, Duration::from_secs(1)).burst(16_384));
/// let (near, mut far) = UnixStream::pair()?;
/// let mut upload = Limited::new(near).write(megabyte.clone());
/// upload.write_all(b"hello").await?;
/// upload.close().await?;
/// let mut text = String::new();
/// far.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct Limited<S> {
    stream: S,
    read: Side,
    write: Side,
}

/// One direction.
#[derive(Default)]
struct Side {
    limiter: Option<RateLimiter>,
    wait: Option<Pin<Box<OwnedWait>>>,
    /// Its turn has come, and nothing has gone through yet.
    may_pass: bool,
    limited_at: Option<&'static Location<'static>>,
}

impl Side {
    /// Waits for the turn, and returns how much may go through.
    fn poll_turn(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<usize> {
        let (Some(limiter), Some(at)) = (&self.limiter, self.limited_at) else {
            return Poll::Ready(length);
        };
        if length == 0 {
            return Poll::Ready(0);
        }
        if !self.may_pass {
            if self.wait.is_some() || limiter.try_acquire().is_err() {
                let wait = self
                    .wait
                    .get_or_insert_with(|| Box::pin(limiter.wait(1, at)));
                ready!(wait.as_mut().poll(cx)).make();
                self.wait = None;
            }
            self.may_pass = true;
        }
        let chunk = limiter.max_weight().max(LEAST_CHUNK);
        Poll::Ready(length.min(usize::try_from(chunk).unwrap_or(usize::MAX)))
    }

    /// So much has gone through.
    fn passed(&mut self, bytes: usize) {
        if let (Some(limiter), true) = (&self.limiter, bytes > 0) {
            self.may_pass = false;
            limiter.overdraw(bytes as u64 - 1);
        }
    }
}

impl<S> Limited<S> {
    /// A stream without limits yet.
    pub fn new(stream: S) -> Limited<S> {
        Limited {
            stream,
            read: Side::default(),
            write: Side::default(),
        }
    }

    /// Limits reads.
    #[track_caller]
    #[must_use]
    pub fn read(mut self, limiter: RateLimiter) -> Limited<S> {
        self.read = Side::new(limiter);
        self
    }

    /// Limits writes.
    #[track_caller]
    #[must_use]
    pub fn write(mut self, limiter: RateLimiter) -> Limited<S> {
        self.write = Side::new(limiter);
        self
    }

    /// The stream inside.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream inside. What goes through it directly is not counted.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream inside, without limits.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl Side {
    #[track_caller]
    fn new(limiter: RateLimiter) -> Side {
        Side {
            limiter: Some(limiter),
            limited_at: Some(Location::caller()),
            ..Side::default()
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = ready!(this.read.poll_turn(cx, buffer.len()));
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer[..length]))?;
        this.read.passed(read);
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = ready!(this.write.poll_turn(cx, data.len()));
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &data[..length]))?;
        this.write.passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}

impl<S: fmt::Debug> fmt::Debug for Limited<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited")
            .field("stream", &self.stream)
            .field("read", &self.read.limiter)
            .field("write", &self.write.limiter)
            .finish()
    }
}
