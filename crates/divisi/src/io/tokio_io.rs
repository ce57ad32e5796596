//! The traits of [`tokio::io`] on every stream, for libraries that are written against them.
//!
//! With the feature `tokio-io`, [`TcpStream`], [`UnixStream`], their halves and [`Async`] are [`tokio::io::AsyncRead`] and [`tokio::io::AsyncWrite`]
//! besides the traits of futures-io, so tokio-rustls, tokio-tungstenite, h2, tokio-util's codecs and the like take them as they are. Of tokio only the traits are
//! compiled: there is no runtime of tokio's in the program. Sockets read right into tokio's buffer, initialized or not; for the other types the part of it
//! that a read may fill is initialized first. Vectored writes reach the system as one call.
//!
//! Both families of traits have methods of the same names. Where both extension traits are imported, say which is meant:
//!
//! ```
//! use divisi::net::UnixStream;
//!
//! # divisi::run(async {
//! let (mut near, mut far) = UnixStream::pair()?;
//! tokio::io::AsyncWriteExt::write_all(&mut near, b"hello").await?;
//! tokio::io::AsyncWriteExt::shutdown(&mut near).await?;
//! let mut text = String::new();
//! tokio::io::AsyncReadExt::read_to_string(&mut far, &mut text).await?;
//! assert_eq!(text, "hello");
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_reactor::read_to_tokio;
use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::ReadBuf;

use super::{Async, PipeReader, PipeWriter, Stdin, StreamReader, StreamWriter};
use crate::fs::File;
use crate::net::{
    OwnedReadHalf, OwnedWriteHalf, ReadHalf, StreamInside, StreamSocket, TcpStream, UnixStream,
    WriteHalf,
};
use crate::process::{ChildStderr, ChildStdin, ChildStdout};

/// The most that one read takes where the buffer must be initialized first: a pipe holds as much, and it bounds what is zeroed in vain.
const CHUNK: usize = 64 * 1024;

/// Reads into the unfilled part of `into`, initialized or not.
fn poll_read_uninit(
    socket: &impl StreamInside,
    cx: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let room = into.remaining();
    let stream = socket.stream();
    ready!(stream.poll_read_by(cx, room, |fd| read_to_tokio(fd, into)))?;
    Poll::Ready(Ok(()))
}

/// Reads into the unfilled part of `into`, which is initialized first.
fn poll_read_into(
    stream: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let room = into.remaining().min(CHUNK);
    let read = ready!(stream.poll_read(cx, into.initialize_unfilled_to(room)))?;
    into.advance(read);
    Poll::Ready(Ok(()))
}

macro_rules! tokio_read_uninit {
    (impl [$($generics:tt)*] for $type:ty, |$this:ident| $socket:expr) => {
        impl<$($generics)*> tokio::io::AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                into: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let $this = &*self;
                poll_read_uninit($socket, cx, into)
            }
        }
    };
}

macro_rules! tokio_read {
    (impl [$($generics:tt)*] for $type:ty $(where $($bounds:tt)*)?) => {
        impl<$($generics)*> tokio::io::AsyncRead for $type $(where $($bounds)*)? {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                into: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                poll_read_into(self, cx, into)
            }
        }
    };
}

macro_rules! tokio_write {
    (impl [$($generics:tt)*] for $type:ty $(where $($bounds:tt)*)?) => {
        impl<$($generics)*> tokio::io::AsyncWrite for $type $(where $($bounds)*)? {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                AsyncWrite::poll_write(self, cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncWrite::poll_flush(self, cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncWrite::poll_close(self, cx)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                AsyncWrite::poll_write_vectored(self, cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }
        }
    };
}

macro_rules! tokio_io {
    ($stream:ty) => {
        tokio_read_uninit!(impl [] for $stream, |this| this);
        tokio_read_uninit!(impl [] for &$stream, |this| *this);
        tokio_write!(impl [] for $stream);
        tokio_write!(impl [] for &$stream);
    };
}

tokio_io!(TcpStream);
tokio_io!(UnixStream);
tokio_read_uninit!(impl [S: StreamSocket] for ReadHalf<'_, S>, |this| this.as_ref());
tokio_read_uninit!(impl [S: StreamSocket] for OwnedReadHalf<S>, |this| this.as_ref());
tokio_write!(impl [S: StreamSocket] for WriteHalf<'_, S>);
tokio_write!(impl [S: StreamSocket] for OwnedWriteHalf<S>);
tokio_read!(impl [] for PipeReader);
tokio_read!(impl [] for File);
tokio_read!(impl [] for Stdin);
tokio_read!(impl [] for ChildStdout);
tokio_read!(impl [] for ChildStderr);
tokio_write!(impl [] for PipeWriter);
tokio_write!(impl [] for ChildStdin);
tokio_read!(impl [T: AsFd] for Async<T> where for<'io> &'io T: Read);
tokio_read!(impl [T: AsFd] for &Async<T> where for<'io> &'io T: Read);
tokio_write!(impl [T: AsFd] for Async<T> where for<'io> &'io T: Write);
tokio_write!(impl [T: AsFd] for &Async<T> where for<'io> &'io T: Write);
tokio_read!(impl [R: AsyncRead + Unpin] for StreamReader<R>);
tokio_write!(impl [S: AsyncWrite + Unpin] for StreamReader<S>);
tokio_read!(impl [S: AsyncRead + Unpin] for StreamWriter<S>);
tokio_write!(impl [W: AsyncWrite + Unpin] for StreamWriter<W>);
#[cfg(feature = "tls")]
tokio_read!(impl [S: AsyncRead + AsyncWrite + Unpin] for crate::tls::TlsStream<S>);
#[cfg(feature = "tls")]
tokio_write!(impl [S: AsyncRead + AsyncWrite + Unpin] for crate::tls::TlsStream<S>);
