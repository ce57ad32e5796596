//! Reading and writing without blocking.
//!
//! The traits are those of [`futures_io`] and their extension methods those of [`futures_lite::io`], re-exported here, so every library that speaks
//! them works with divisi's sockets: [`AsyncRead`] and [`AsyncReadExt`], [`AsyncWrite`] and [`AsyncWriteExt`], [`BufReader`] with
//! [`AsyncBufReadExt::lines`], [`copy`], and so on. [`prelude`] has the extension traits for a glob import.
//!
//! With the feature `tokio-io`, the sockets, their halves and [`Async`] implement the traits of [tokio's `io`][tokio_io] besides, so libraries that are written
//! against those (tokio-rustls, tokio-tungstenite, h2) take them as they are. Only the traits are compiled: the program has no runtime of tokio's.
//!
//! [tokio_io]: https://docs.rs/tokio/1/tokio/io/index.html
//!
//! [`Async`] makes anything with a file descriptor asynchronous: pipes, terminals, sockets of other crates.
//!
//! ```
//! use divisi::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
//! use divisi::net::UnixStream;
//!
//! # divisi::run(async {
//! let (near, mut far) = UnixStream::pair()?;
//! far.write_all(b"one\ntwo\n").await?;
//! far.close().await?;
//!
//! let mut line = String::new();
//! let mut near = BufReader::new(near);
//! near.read_line(&mut line).await?;
//! assert_eq!(line, "one\n");
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

mod async_fd;
pub mod prelude;
#[cfg(feature = "tokio-io")]
mod tokio_io;
pub(crate) mod wait;

pub use async_fd::Async;
pub use futures_lite::io::{
    AssertAsync, AsyncAsSync, AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeek,
    AsyncSeekExt, AsyncWrite, AsyncWriteExt, BlockOn, BoxedReader, BoxedWriter, BufReader,
    BufWriter, Bytes, Chain, Cursor, Empty, Lines, ReadHalf, Repeat, SeekFrom, Sink, Split, Take,
    WriteHalf, copy, empty, repeat, sink, split,
};
#[doc(no_inline)]
pub use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Result};
