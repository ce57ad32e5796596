//! Buffered reading with a limit, of which a dropped read loses nothing.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::ReadError;
use super::separator::find_first;

/// The limit unless told otherwise: that of asyncio's streams.
const DEFAULT_LIMIT: usize = 64 * 1024;

/// The room that a read from below finds at least: it holds most messages, and one allocation of it is cheap for an idle connection.
const LEAST_ROOM: usize = 8 * 1024;

/// The end of a line.
const NEWLINE: &[&[u8]] = &[b"\n"];

/// A buffer in front of a stream, for protocols made of lines, separated records and blocks: asyncio's `StreamReader`.
///
/// A record that a peer never ends does not fill the memory: no read but [`read_exact`](Self::read_exact), whose caller names the size, keeps more than the
/// limit (64 KiB unless told otherwise) plus one read from below.
///
/// # Cancel safety
///
/// All reads: what has arrived stays in the buffer until a read is complete. So they may be put into [`select!`](crate::select) and
/// [`timeout`](crate::time::timeout), and called again.
///
/// It writes too, if the stream below does, and unbuffered: so one object can serve both directions, and be handed to what goes on with the
/// connection (TLS, a codec) with the bytes that have been read already.
///
/// ```
/// use divisi::io::{AsyncWriteExt, ReadError, StreamReader};
/// use divisi::net::UnixStream;
///
/// # divisi::run(async {
/// let (near, mut far) = UnixStream::pair()?;
/// let mut near = StreamReader::new(near);
/// far.write_all(b"SIZE 3\r\nabc;de").await?;
/// far.close().await?;
///
/// assert_eq!(near.read_line().await?, Some("SIZE 3\r\n"));
/// let mut block = [0; 3];
/// near.read_exact(&mut block).await?;
/// assert_eq!(&block, b"abc");
/// assert_eq!(near.read_until(&[b",", b";"]).await?, Some(&b";"[..]));
/// assert!(matches!(near.read_until(&[b";"]).await, Err(ReadError::Incomplete { partial, .. }) if partial == b"de"));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct StreamReader<R> {
    inner: R,
    /// Valid from `start` to `end`; room behind.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
}

impl<R> StreamReader<R> {
    /// Reads from `inner`, with a limit of 64 KiB.
    pub fn new(inner: R) -> StreamReader<R> {
        StreamReader::with_limit(inner, DEFAULT_LIMIT)
    }

    /// Reads from `inner`. A line or record has at most `limit` bytes, its separator included.
    pub fn with_limit(inner: R, limit: usize) -> StreamReader<R> {
        StreamReader {
            inner,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            limit,
        }
    }

    /// The most bytes that a line or record may have.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What has been read from below and not been taken.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The stream below.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The stream below. What is read from it directly comes after what is buffered.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The stream below, and what had been read from it and not been taken.
    pub fn into_parts(mut self) -> (R, Vec<u8>) {
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.start);
        (self.inner, self.buffer)
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let from = self.start;
        self.start += length;
        debug_assert!(self.start <= self.end);
        &self.buffer[from..self.start]
    }

    fn take_all(&mut self) -> Vec<u8> {
        let length = self.end - self.start;
        self.take(length).to_vec()
    }

    /// Makes room behind what is buffered, without growing beyond what is needed for it.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end >= LEAST_ROOM {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() - self.end < LEAST_ROOM {
            // Doubling, so that the cost of a long record stays proportional to it.
            let size = (self.end * 2).max(self.end + LEAST_ROOM);
            self.buffer.resize(size, 0);
        }
    }
}

impl<R: AsyncRead + Unpin> StreamReader<R> {
    /// Reads more from below; zero is the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let room = &mut self.buffer[self.end..];
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, room))?;
        self.end += read;
        Poll::Ready(Ok(read))
    }

    /// The length of the record that is next, its separator included; `None` if the stream ends before a separator.
    ///
    /// `searched` is how much of the buffer is known to hold no separator; it is only valid within one read.
    fn poll_record(
        &mut self,
        cx: &mut Context<'_>,
        separators: &[&[u8]],
        searched: &mut usize,
    ) -> Poll<Result<Option<usize>, ReadError>> {
        let longest = match longest(separators) {
            Ok(longest) => longest,
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        loop {
            let data = self.buffered();
            // A separator may have begun in what was searched before.
            let from = searched.saturating_sub(longest - 1);
            match find_first(&data[from..], separators) {
                Some(end) if from + end <= self.limit => {
                    return Poll::Ready(Ok(Some(from + end)));
                }
                None if data.len() < self.limit => {}
                _ => return Poll::Ready(Err(ReadError::TooLong { limit: self.limit })),
            }
            *searched = data.len();
            if ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    async fn record(&mut self, separators: &[&[u8]]) -> Result<Option<usize>, ReadError> {
        let mut searched = 0;
        poll_fn(|cx| self.poll_record(cx, separators, &mut searched)).await
    }

    /// Reads a record up to one of several separators, which it includes. `None` is the end of the stream.
    ///
    /// Where several separators are found, the record is the shortest that ends with one.
    ///
    /// # Errors
    ///
    /// [`Incomplete`](ReadError::Incomplete) if the stream ends in the middle of a record, [`TooLong`](ReadError::TooLong) if there is no
    /// separator within the limit, and those of the stream. [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no separator, or an empty one.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub async fn read_until(&mut self, separators: &[&[u8]]) -> Result<Option<&[u8]>, ReadError> {
        match self.record(separators).await? {
            Some(length) => Ok(Some(self.take(length))),
            None if self.start == self.end => Ok(None),
            None => Err(ReadError::Incomplete {
                partial: self.take_all(),
                expected: None,
            }),
        }
    }

    /// Reads a line, with the `\n` that ends it; the last one may have none. `None` is the end of the stream.
    ///
    /// # Errors
    ///
    /// [`TooLong`](ReadError::TooLong) if there is no line end within the limit, [`NotUtf8`](ReadError::NotUtf8), and those of the stream.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub async fn read_line(&mut self) -> Result<Option<&str>, ReadError> {
        let length = match self.record(NEWLINE).await? {
            Some(length) => length,
            None if self.start == self.end => return Ok(None),
            None => self.end - self.start,
        };
        as_text(self.take(length)).map(Some)
    }

    /// The lines, without their ends (`\n` or `\r\n`), as a stream.
    ///
    /// A line that is too long or not UTF-8 comes as an error, once, and is skipped. Any other error comes as often as it is asked for.
    ///
    /// # Cancel safety
    ///
    /// A call of `next` that is dropped loses nothing, and neither does dropping the stream of lines between two lines.
    pub fn lines(&mut self) -> StreamLines<'_, R> {
        StreamLines {
            reader: self,
            searched: 0,
            skipping: false,
        }
    }

    /// Takes everything up to and including the next separator, whatever its length, or up to the end of the stream. Gives the number of bytes.
    ///
    /// # Errors
    ///
    /// Those of the stream, and of [`read_until`](Self::read_until) about separators.
    ///
    /// # Cancel safety
    ///
    /// Dropped in the middle, it has taken an unknown part of the record. Call it again to take the rest.
    pub async fn skip_until(&mut self, separators: &[&[u8]]) -> Result<u64, ReadError> {
        let mut skipped = 0;
        poll_fn(|cx| self.poll_skip(cx, separators, &mut skipped)).await?;
        Ok(skipped)
    }

    fn poll_skip(
        &mut self,
        cx: &mut Context<'_>,
        separators: &[&[u8]],
        skipped: &mut u64,
    ) -> Poll<Result<(), ReadError>> {
        let longest = match longest(separators) {
            Ok(longest) => longest,
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        loop {
            let data = self.buffered();
            let (length, found) = match find_first(data, separators) {
                Some(end) => (end, true),
                // What may be the beginning of a separator stays.
                None => (data.len().saturating_sub(longest - 1), false),
            };
            self.take(length);
            *skipped += length as u64;
            if found {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_more(cx))? == 0 {
                *skipped += (self.end - self.start) as u64;
                self.start = self.end;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Fills `buf`. The limit does not count: the buffer grows to the size of `buf`, as the data comes.
    ///
    /// # Errors
    ///
    /// [`Incomplete`](ReadError::Incomplete), with the data that there is, if the stream ends before; and those of the stream.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ReadError> {
        while self.end - self.start < buf.len() {
            if poll_fn(|cx| self.poll_more(cx)).await? == 0 {
                return Err(ReadError::Incomplete {
                    partial: self.take_all(),
                    expected: Some(buf.len()),
                });
            }
        }
        buf.copy_from_slice(self.take(buf.len()));
        Ok(())
    }

    /// Reads what is there into the start of `buf`, and waits if there is nothing. Zero is the end of the stream (or of `buf`).
    ///
    /// # Errors
    ///
    /// Those of the stream.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self).poll_read(cx, buf)).await
    }
}

/// The length of the longest separator.
fn longest(separators: &[&[u8]]) -> io::Result<usize> {
    match separators.iter().map(|separator| separator.len()).max() {
        Some(longest) if separators.iter().all(|separator| !separator.is_empty()) => Ok(longest),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no separator to look for: give at least one, and no empty one",
        )),
    }
}

fn as_text(line: &[u8]) -> Result<&str, ReadError> {
    std::str::from_utf8(line).map_err(|_| ReadError::NotUtf8 {
        line: line.to_vec(),
    })
}

/// The lines of a [`StreamReader`], see [`StreamReader::lines`].
#[must_use = "streams do nothing unless they are polled"]
pub struct StreamLines<'a, R> {
    reader: &'a mut StreamReader<R>,
    searched: usize,
    /// In the middle of a line that was too long.
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Stream for StreamLines<'_, R> {
    type Item = Result<String, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.skipping {
            ready!(this.reader.poll_skip(cx, NEWLINE, &mut 0))?;
            this.skipping = false;
        }
        let found = ready!(this.reader.poll_record(cx, NEWLINE, &mut this.searched));
        this.searched = 0;
        let length = match found {
            Ok(Some(length)) => length,
            Ok(None) => this.reader.buffered().len(),
            Err(error) => {
                this.skipping = matches!(error, ReadError::TooLong { .. });
                return Poll::Ready(Some(Err(error)));
            }
        };
        if length == 0 {
            return Poll::Ready(None);
        }
        let line = this.reader.take(length);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Poll::Ready(Some(as_text(line).map(str::to_owned)))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for StreamReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            if buf.len() >= LEAST_ROOM {
                // Another buffer would only cost a copy.
                return Pin::new(&mut self.inner).poll_read(cx, buf);
            }
            if buf.is_empty() || ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
        let length = buf.len().min(self.end - self.start);
        buf[..length].copy_from_slice(self.take(length));
        Poll::Ready(Ok(length))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            return Pin::new(&mut self.inner).poll_read_vectored(cx, bufs);
        }
        let mut copied = 0;
        for buf in bufs {
            let length = buf.len().min(self.end - self.start);
            buf[..length].copy_from_slice(self.take(length));
            copied += length;
        }
        Poll::Ready(Ok(copied))
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for StreamReader<R> {
    fn poll_fill_buf(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.start == self.end {
            ready!(self.poll_more(cx))?;
        }
        Poll::Ready(Ok(self.get_mut().buffered()))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }
}

/// Writes to the stream below, without a buffer.
impl<S: AsyncWrite + Unpin> AsyncWrite for StreamReader<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<R: fmt::Debug> fmt::Debug for StreamReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("inner", &self.inner)
            .field("buffered", &(self.end - self.start))
            .field("limit", &self.limit)
            .finish()
    }
}

impl<R: fmt::Debug> fmt::Debug for StreamLines<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamLines")
            .field("reader", &self.reader)
            .field("skipping", &self.skipping)
            .finish()
    }
}
