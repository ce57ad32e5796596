//! The two directions of a stream as two objects.

use std::error::Error;
use std::fmt;
use std::net::Shutdown;
use std::sync::Arc;

use super::faces::{async_read, async_write};

pub(crate) use sealed::Sealed;

mod sealed {
    use crate::net::stream::{Std, Stream};

    pub trait Sealed {
        type Std: Std;

        fn stream(&self) -> &Stream<Self::Std>;
    }
}

/// A stream that can be split: [`TcpStream`](super::TcpStream) or [`UnixStream`](super::UnixStream). It cannot be implemented outside this crate.
pub trait StreamSocket: Sealed {}

pub(super) fn split<S: StreamSocket>(stream: &mut S) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf { stream }, WriteHalf { stream })
}

pub(super) fn into_split<S: StreamSocket>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Arc::new(stream);
    let write = OwnedWriteHalf {
        stream: Some(stream.clone()),
    };
    (OwnedReadHalf { stream }, write)
}

/// The reading direction of a stream, borrowed from it by [`TcpStream::split`](super::TcpStream::split).
#[derive(Debug)]
pub struct ReadHalf<'a, S> {
    stream: &'a S,
}

/// The writing direction of a stream, borrowed from it by [`TcpStream::split`](super::TcpStream::split).
///
/// Dropping it does not end the stream; [`close`](crate::io::AsyncWriteExt::close) does.
#[derive(Debug)]
pub struct WriteHalf<'a, S> {
    stream: &'a S,
}

/// The reading direction of a stream, from [`TcpStream::into_split`](super::TcpStream::into_split).
///
/// The socket is closed when both halves are gone. `as_ref` gives the stream, for its `&self` methods.
#[derive(Debug)]
pub struct OwnedReadHalf<S> {
    stream: Arc<S>,
}

/// The writing direction of a stream, from [`TcpStream::into_split`](super::TcpStream::into_split).
///
/// Dropping it ends the stream towards the peer; [`forget`](Self::forget) does not. `as_ref` gives the stream, for its `&self` methods.
pub struct OwnedWriteHalf<S: StreamSocket> {
    /// `None` only while it is taken apart.
    stream: Option<Arc<S>>,
}

impl<S: StreamSocket> OwnedReadHalf<S> {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// The halves of different streams come back unchanged in the error.
    pub fn reunite(self, write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !self.is_pair_of(&write) {
            return Err(ReuniteError { read: self, write });
        }
        write.forget();
        match Arc::try_unwrap(self.stream) {
            Ok(stream) => Ok(stream),
            Err(_) => unreachable!("a stream has two halves, and both are here"),
        }
    }

    /// Whether `write` is the other half of the same stream.
    pub fn is_pair_of(&self, write: &OwnedWriteHalf<S>) -> bool {
        Arc::ptr_eq(&self.stream, write.shared())
    }
}

impl<S: StreamSocket> OwnedWriteHalf<S> {
    fn shared(&self) -> &Arc<S> {
        self.stream
            .as_ref()
            .expect("taken only by methods that consume the half")
    }

    /// Drops the half without ending the stream towards the peer: that happens when the reading half is dropped.
    pub fn forget(mut self) {
        self.stream = None;
    }

    /// Puts the two halves of one stream together again. See [`OwnedReadHalf::reunite`].
    ///
    /// # Errors
    ///
    /// The halves of different streams come back unchanged in the error.
    pub fn reunite(self, read: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        read.reunite(self)
    }
}

impl<S: StreamSocket> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            // Whatever is wrong with the connection, the other half will tell.
            let _ = stream.stream().shutdown(Shutdown::Write);
        }
    }
}

impl<S: StreamSocket + fmt::Debug> fmt::Debug for OwnedWriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedWriteHalf")
            .field("stream", self.shared())
            .finish()
    }
}

impl<S> AsRef<S> for ReadHalf<'_, S> {
    fn as_ref(&self) -> &S {
        self.stream
    }
}

impl<S> AsRef<S> for WriteHalf<'_, S> {
    fn as_ref(&self) -> &S {
        self.stream
    }
}

impl<S> AsRef<S> for OwnedReadHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: StreamSocket> AsRef<S> for OwnedWriteHalf<S> {
    fn as_ref(&self) -> &S {
        self.shared()
    }
}

async_read!(impl [S: StreamSocket] for ReadHalf<'_, S>, |this| this.stream.stream());
async_read!(impl [S: StreamSocket] for OwnedReadHalf<S>, |this| this.stream.stream());
async_write!(impl [S: StreamSocket] for WriteHalf<'_, S>, |this| this.stream.stream());
async_write!(impl [S: StreamSocket] for OwnedWriteHalf<S>, |this| this.shared().stream());

/// The halves of two different streams, which cannot be put together.
#[derive(Debug)]
pub struct ReuniteError<S: StreamSocket> {
    /// The reading half, unchanged.
    pub read: OwnedReadHalf<S>,
    /// The writing half, unchanged.
    pub write: OwnedWriteHalf<S>,
}

impl<S: StreamSocket> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these are halves of two different streams: reunite those that came from one `into_split`")
    }
}

impl<S: StreamSocket + fmt::Debug> Error for ReuniteError<S> {}
