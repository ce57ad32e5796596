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
//! For protocols over connections, of which the other side may be slow, hostile or gone, there are buffers that keep asyncio's promises: [`StreamReader`] reads lines,
//! records and blocks with a limit, and a read that is dropped loses nothing (which [`BufReader`] and its `read_line` cannot promise); [`StreamWriter`] never lets more
//! wait than its high-water mark. [`copy_bidirectional`] is the middle of a proxy. Frames and codecs are in the module `codec` (feature `codec`).
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
pub(crate) mod backlog;
mod bidirectional;
pub(crate) mod pauses;
mod pipe;
pub mod prelude;
mod read_error;
mod separator;
mod stdio;
mod stream_reader;
mod stream_writer;
#[cfg(feature = "tokio-io")]
mod tokio_io;
pub(crate) mod wait;
mod write_all;
mod write_limits;

pub use async_fd::Async;
pub use bidirectional::{Copied, CopyError, copy_bidirectional};
pub use futures_lite::io::{
    AssertAsync, AsyncAsSync, AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeek,
    AsyncSeekExt, AsyncWrite, AsyncWriteExt, BlockOn, BoxedReader, BoxedWriter, BufReader,
    BufWriter, Bytes, Chain, Cursor, Empty, Lines, ReadHalf, Repeat, SeekFrom, Sink, Split, Take,
    WriteHalf, copy, empty, repeat, sink, split,
};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use read_error::ReadError;
#[doc(no_inline)]
pub use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Result};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
pub use stream_reader::{StreamLines, StreamReader};
pub use stream_writer::StreamWriter;
pub use write_all::write_all_vectored;
pub use write_limits::{InvalidLimits, WriteLimits};
