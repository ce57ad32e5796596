//! Two streams, each copied into the other.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

/// The buffer of each direction. Larger ones no longer lower the cost of a byte on loopback noticeably.
const BUFFER: usize = 16 * 1024;

/// How much [`copy_bidirectional`] has copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes from the first stream to the second.
    pub forward: u64,
    /// Bytes from the second stream to the first.
    pub backward: u64,
}

/// Why [`copy_bidirectional`] stopped early, and how far it had come.
#[derive(Debug)]
pub struct CopyError {
    /// The error of the stream that failed.
    pub error: io::Error,
    /// What had been copied by then.
    pub copied: Copied,
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "copying failed after {} bytes forward and {} backward: {}",
            self.copied.forward, self.copied.backward, self.error
        )
    }
}

impl Error for CopyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<CopyError> for io::Error {
    fn from(error: CopyError) -> io::Error {
        io::Error::new(error.error.kind(), error)
    }
}

/// Copies each stream into the other until both have ended: the middle of a proxy.
///
/// When one stream ends, what it sent is flushed and the other is closed for writing, and the other direction goes on: half-closed peers are served
/// to their end. The first error of either stream ends both directions.
///
/// ```
/// use divisi::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
/// use divisi::net::UnixStream;
///
/// # divisi::run(async {
/// let (mut client, mut left) = UnixStream::pair()?;
/// let (mut right, mut server) = UnixStream::pair()?;
/// let proxy = divisi::spawn(async move { copy_bidirectional(&mut left, &mut right).await });
///
/// client.write_all(b"question").await?;
/// client.close().await?;
/// let mut question = String::new();
/// server.read_to_string(&mut question).await?;
/// server.write_all(b"answer").await?;
/// drop(server);
/// let mut answer = String::new();
/// client.read_to_string(&mut answer).await?;
/// assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
/// let copied = proxy.await.unwrap()?;
/// assert_eq!((copied.forward, copied.backward), (8, 6));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// That of the stream that failed first, with what had been copied by then.
///
/// # Cancel safety
///
/// Dropped in the middle, it loses what was read from one stream and not yet written to the other.
pub async fn copy_bidirectional<A, B>(first: &mut A, second: &mut B) -> Result<Copied, CopyError>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mut forward = OneWay::new();
    let mut backward = OneWay::new();
    let mut backward_first = false;
    poll_fn(|cx| {
        // The directions take turns in going first: one that is always ready would use the task's budget up for both.
        backward_first = !backward_first;
        let ended = if backward_first {
            backward
                .poll(cx, second, first)
                .and_also(|| forward.poll(cx, first, second))
        } else {
            forward
                .poll(cx, first, second)
                .and_also(|| backward.poll(cx, second, first))
        };
        let copied = Copied {
            forward: forward.copied,
            backward: backward.copied,
        };
        match ended {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(copied)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(CopyError { error, copied })),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Both, unless the first failed.
trait AndAlso {
    fn and_also(self, other: impl FnOnce() -> Self) -> Self;
}

impl AndAlso for Poll<io::Result<()>> {
    fn and_also(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => other(),
            Poll::Pending => match other() {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            },
        }
    }
}

enum State {
    Copying,
    Closing,
    Closed,
}

struct OneWay {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    copied: u64,
    /// Something was written and not flushed since.
    dirty: bool,
    state: State,
}

impl OneWay {
    fn new() -> OneWay {
        OneWay {
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            copied: 0,
            dirty: false,
            state: State::Copying,
        }
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        loop {
            match self.state {
                State::Copying => ready!(self.poll_copy(cx, from, to))?,
                State::Closing => {
                    ready!(Pin::new(&mut *to).poll_close(cx))?;
                    self.state = State::Closed;
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Copies until the end of `from`.
    fn poll_copy<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        loop {
            if self.start == self.end {
                let read = match Pin::new(&mut *from).poll_read(cx, &mut self.buffer) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => {
                        // Nothing more comes for now, so the peer is to see what came.
                        if self.dirty {
                            ready!(Pin::new(&mut *to).poll_flush(cx))?;
                            self.dirty = false;
                        }
                        return Poll::Pending;
                    }
                };
                if read == 0 {
                    self.state = State::Closing;
                    return Poll::Ready(Ok(()));
                }
                (self.start, self.end) = (0, read);
            }
            let written =
                ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.end]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += written;
            self.copied += written as u64;
            self.dirty = true;
        }
    }
}
