//! Writing all of several pieces.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;

use futures_io::AsyncWrite;

/// Writes several pieces, one after the other, with as few system calls as it takes. The slices are used up.
///
/// ```
/// use divisi::io::{AsyncReadExt, AsyncWriteExt, IoSlice, write_all_vectored};
/// use divisi::net::UnixStream;
///
/// # divisi::run(async {
/// let (mut near, mut far) = UnixStream::pair()?;
/// write_all_vectored(&mut near, &mut [IoSlice::new(b"head,"), IoSlice::new(b"body")]).await?;
/// near.close().await?;
/// let mut text = String::new();
/// far.read_to_string(&mut text).await?;
/// assert_eq!(text, "head,body");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// Those of the stream; [`WriteZero`](io::ErrorKind::WriteZero) if it takes nothing any more.
///
/// # Cancel safety
///
/// Dropped in the middle, it has written an unknown part.
pub async fn write_all_vectored<W>(writer: &mut W, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()>
where
    W: AsyncWrite + Unpin + ?Sized,
{
    // Empty pieces at the front would look like a stream that takes nothing.
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *writer).poll_write_vectored(cx, pieces)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut pieces, written);
    }
    Ok(())
}
