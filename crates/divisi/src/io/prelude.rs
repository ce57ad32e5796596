//! The extension traits of I/O, streams and futures, for a glob import.
//!
//! ```
//! use divisi::io::prelude::*;
//! use divisi::net::UnixStream;
//!
//! # divisi::run(async {
//! let (mut near, mut far) = UnixStream::pair()?;
//! far.write_all(b"hello").await?;
//! far.close().await?;
//! let mut text = String::new();
//! near.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

#[doc(no_inline)]
pub use crate::future::FutureExt as _;
#[doc(no_inline)]
pub use crate::stream::ConcurrentExt as _;
#[doc(no_inline)]
pub use futures_lite::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _,
    AsyncWrite, AsyncWriteExt as _,
};
#[doc(no_inline)]
pub use futures_lite::stream::{Stream, StreamExt as _};
