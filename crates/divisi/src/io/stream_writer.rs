//! Buffered writing with back-pressure.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::WriteLimits;
use super::backlog::Backlog;
use crate::context;
use crate::runtime::{Handle, Report};

/// A buffer in front of a stream, for many small writes: asyncio's `StreamWriter`.
///
/// [`write`](Self::write) never waits. [`drain`](Self::drain), called after it, hands over what the stream takes, and waits only while more than the high-water mark
/// is left; so the memory is bounded by what is written between two calls. [`flush`](Self::flush) hands over everything and [`close`](Self::close) ends the stream.
/// Unlike asyncio's there is nothing in the background: what `drain` leaves goes with the next call, so end with `flush` or `close`.
///
/// In builds with debug assertions a writer that is dropped with data that it never tried to hand over in full is reported to the
/// [exception handler](crate::runtime::Builder::exception_handler).
///
/// ```
/// use divisi::io::{AsyncReadExt, StreamWriter};
/// use divisi::net::UnixStream;
///
/// # divisi::run(async {
/// let (near, mut far) = UnixStream::pair()?;
/// let mut near = StreamWriter::new(near);
/// for n in 0..3 {
///     near.write(format!("{n}\n").as_bytes());
///     near.drain().await?;
/// }
/// near.close().await?;
///
/// let mut text = String::new();
/// far.read_to_string(&mut text).await?;
/// assert_eq!(text, "0\n1\n2\n");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct StreamWriter<W> {
    /// `None` only after `into_parts`.
    inner: Option<W>,
    backlog: Backlog,
    limits: WriteLimits,
    /// The stream has failed with this.
    failed: Option<(io::ErrorKind, String)>,
    made_at: &'static Location<'static>,
}

impl<W> StreamWriter<W> {
    /// Writes to `inner`, with marks of 64 KiB and 16 KiB.
    #[track_caller]
    pub fn new(inner: W) -> StreamWriter<W> {
        StreamWriter::with_limits(inner, WriteLimits::default())
    }

    /// Writes to `inner`.
    #[track_caller]
    pub fn with_limits(inner: W, limits: WriteLimits) -> StreamWriter<W> {
        StreamWriter {
            inner: Some(inner),
            backlog: Backlog::default(),
            limits,
            failed: None,
            made_at: Location::caller(),
        }
    }

    /// Takes `data` into the buffer. It never waits and never fails: call [`drain`](Self::drain) afterwards, which tells when the stream has failed.
    pub fn write(&mut self, data: &[u8]) {
        if self.failed.is_none() {
            self.backlog.push(data);
        }
    }

    /// Takes several pieces into the buffer, one after the other. See [`write`](Self::write).
    pub fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) {
        for piece in pieces {
            self.write(piece);
        }
    }

    /// The number of bytes that wait.
    pub fn buffered(&self) -> usize {
        self.backlog.len()
    }

    /// The marks.
    pub fn limits(&self) -> WriteLimits {
        self.limits
    }

    /// Sets the marks, from the next [`drain`](Self::drain) on.
    pub fn set_limits(&mut self, limits: WriteLimits) {
        self.limits = limits;
    }

    /// The stream below.
    pub fn get_ref(&self) -> &W {
        self.inner.as_ref().expect(TAKEN)
    }

    /// The stream below. What is written to it directly comes before what is buffered.
    pub fn get_mut(&mut self) -> &mut W {
        self.inner.as_mut().expect(TAKEN)
    }

    /// The stream below, and what was not handed over to it.
    pub fn into_parts(mut self) -> (W, Vec<u8>) {
        let left = std::mem::take(&mut self.backlog).into_vec();
        (self.inner.take().expect(TAKEN), left)
    }
}

const TAKEN: &str = "taken only by `into_parts`";

impl<W: AsyncWrite + Unpin> StreamWriter<W> {
    /// Hands over until no more than `mark` bytes are left.
    fn poll_down_to(&mut self, cx: &mut Context<'_>, mark: usize) -> Poll<io::Result<()>> {
        if let Some((kind, message)) = &self.failed {
            return Poll::Ready(Err(io::Error::new(*kind, message.clone())));
        }
        let inner = self.inner.as_mut().expect(TAKEN);
        while !self.backlog.is_empty() {
            match self.backlog.poll_write_to(Pin::new(&mut *inner), cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail(error))),
                Poll::Pending if self.backlog.len() <= mark => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        self.failed = Some((error.kind(), format!("the stream failed before: {error}")));
        self.backlog = Backlog::default();
        error
    }

    /// Hands over what the stream takes without waiting. If more than the high-water mark is left then, waits until no more than the low-water mark is.
    ///
    /// # Errors
    ///
    /// Those of the stream, such as [`BrokenPipe`](io::ErrorKind::BrokenPipe) or [`ConnectionReset`](io::ErrorKind::ConnectionReset). The buffer is
    /// emptied then, and each later call gives the same kind.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing: what was not handed over is still in the buffer.
    pub async fn drain(&mut self) -> io::Result<()> {
        let mut mark = self.limits.high();
        poll_fn(|cx| {
            let polled = self.poll_down_to(cx, mark);
            if polled.is_pending() {
                mark = self.limits.low();
            }
            polled
        })
        .await
    }

    /// Hands over everything.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// Hands over everything and ends the stream towards the peer. Reading goes on.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// Loses nothing; call it again.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_close(cx)).await
    }
}

/// As `write` and `drain` in one: it waits while more than the high-water mark is buffered.
impl<W: AsyncWrite + Unpin> AsyncWrite for StreamWriter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let high = self.limits.high();
        let buf = &buf[..buf.len().min(high.max(1))];
        if self.failed.is_some() || self.backlog.len() + buf.len() > high {
            ready!(self.poll_down_to(cx, high.saturating_sub(buf.len())))?;
        }
        self.write(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_down_to(cx, 0))?;
        Pin::new(self.get_mut().get_mut()).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_down_to(cx, 0))?;
        Pin::new(self.get_mut().get_mut()).poll_close(cx)
    }
}

/// Reads from the stream below, without a buffer.
impl<S: AsyncRead + Unpin> AsyncRead for StreamWriter<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().get_mut()).poll_read(cx, buf)
    }
}

impl<W> Drop for StreamWriter<W> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) && self.inner.is_some() && !self.backlog.is_empty() {
            report_unsent(self.backlog.len(), self.made_at);
        }
    }
}

/// Tells of data that is lost with its writer. While a thread unwinds, there is another story to tell.
fn report_unsent(bytes: usize, made_at: &'static Location<'static>) {
    if std::thread::panicking() {
        return;
    }
    let report = Report::new(format!(
        "a `StreamWriter` made at {made_at} was dropped with {bytes} bytes that were never sent: end with `flush` or `close`"
    ));
    if let Some(handle) = context::try_handle() {
        Handle::report(&handle, &report);
    }
}

impl<W: fmt::Debug> fmt::Debug for StreamWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("inner", &self.inner)
            .field("buffered", &self.backlog.len())
            .field("limits", &self.limits)
            .field("failed", &self.failed)
            .finish()
    }
}
