//! The parent's ends of a child's standard streams.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::io::{PipeReader, PipeWriter};

/// Writes to a child's standard input. [`close`](crate::io::AsyncWriteExt::close) or drop it for the child to see the end.
#[derive(Debug)]
pub struct ChildStdin(pub(super) PipeWriter);

/// Reads a child's standard output. It can be read after the child has ended.
#[derive(Debug)]
pub struct ChildStdout(pub(super) PipeReader);

/// Reads a child's standard error. It can be read after the child has ended.
#[derive(Debug)]
pub struct ChildStderr(pub(super) PipeReader);

macro_rules! reader {
    ($name:ident) => {
        impl AsyncRead for $name {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_read(cx, buf)
            }

            fn poll_read_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_read_vectored(cx, bufs)
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }
    };
}

reader!(ChildStdout);
reader!(ChildStderr);

impl AsyncWrite for ChildStdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

macro_rules! hand_on {
    ($($name:ident),*) => {
        $(
            /// For another child, as its standard stream. The descriptor goes back into blocking mode. Fails if the mode cannot be set.
            impl TryFrom<$name> for Stdio {
                type Error = io::Error;

                fn try_from(stream: $name) -> io::Result<Stdio> {
                    Ok(Stdio::from(stream.0.into_fd()?))
                }
            }

            /// The descriptor, back in blocking mode. Fails if the mode cannot be set.
            impl TryFrom<$name> for OwnedFd {
                type Error = io::Error;

                fn try_from(stream: $name) -> io::Result<OwnedFd> {
                    stream.0.into_fd()
                }
            }
        )*
    };
}

hand_on!(ChildStdin, ChildStdout, ChildStderr);
