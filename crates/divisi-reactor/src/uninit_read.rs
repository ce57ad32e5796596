//! Reading into buffers of other crates, whose memory is not initialized yet.
//!
//! hyper and tokio lend such buffers, and let only unsafe code write into them without a copy. Both functions here do the system call themselves, so that
//! what they say about the buffer is what the call returned.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

/// Reads once from `fd` into `buf`. Says how many bytes at its beginning are initialized.
fn read(fd: BorrowedFd<'_>, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let (initialized, _) = rustix::io::read(fd, buf)?;
    Ok(initialized.len())
}

/// Reads once from `fd` into the part of hyper's buffer that is free, and counts what was read to the filled part.
///
/// # Errors
///
/// Those of the system, [`WouldBlock`](io::ErrorKind::WouldBlock) among them; then the buffer is as it was.
#[cfg(feature = "hyper")]
pub fn read_to_hyper(
    fd: BorrowedFd<'_>,
    into: &mut hyper::rt::ReadBufCursor<'_>,
) -> io::Result<usize> {
    // SAFETY: nothing is written to the slice that is not initialized: `read` only lets the system write into it.
    let free = unsafe { into.as_mut() };
    let filled = read(fd, free)?;
    // SAFETY: `read` has initialized that many bytes at the beginning of the free part.
    unsafe { into.advance(filled) };
    Ok(filled)
}

/// Reads once from `fd` into the part of tokio's buffer that is free, and counts what was read to the filled part.
///
/// # Errors
///
/// Those of the system, [`WouldBlock`](io::ErrorKind::WouldBlock) among them; then the buffer is as it was.
#[cfg(feature = "tokio-io")]
pub fn read_to_tokio(fd: BorrowedFd<'_>, into: &mut tokio::io::ReadBuf<'_>) -> io::Result<usize> {
    // SAFETY: nothing is written to the slice that is not initialized: `read` only lets the system write into it.
    let free = unsafe { into.unfilled_mut() };
    let filled = read(fd, free)?;
    // SAFETY: `read` has initialized that many bytes at the beginning of the free part.
    unsafe { into.assume_init(filled) };
    into.advance(filled);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().expect("the system gives sockets");
        far.set_nonblocking(true).expect("sockets have the mode");
        (near, far)
    }

    #[cfg(feature = "hyper")]
    #[test]
    fn hypers_buffer_holds_what_was_read_behind_what_it_held() {
        let (mut near, far) = pair();
        let mut memory = [MaybeUninit::uninit(); 8];
        let mut buffer = hyper::rt::ReadBuf::uninit(&mut memory);
        buffer.unfilled().put_slice(b"12");
        let error = read_to_hyper(far.as_fd(), &mut buffer.unfilled()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(buffer.filled(), b"12");
        near.write_all(b"abcdefgh").expect("there is room");
        assert_eq!(
            read_to_hyper(far.as_fd(), &mut buffer.unfilled()).unwrap(),
            6
        );
        assert_eq!(buffer.filled(), b"12abcdef");
        assert_eq!(
            read_to_hyper(far.as_fd(), &mut buffer.unfilled()).unwrap(),
            0
        );
    }

    #[cfg(feature = "tokio-io")]
    #[test]
    fn tokios_buffer_holds_what_was_read_behind_what_it_held() {
        let (mut near, far) = pair();
        let mut memory = [MaybeUninit::uninit(); 8];
        let mut buffer = tokio::io::ReadBuf::uninit(&mut memory);
        buffer.put_slice(b"12");
        let error = read_to_tokio(far.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(buffer.filled(), b"12");
        near.write_all(b"abcdefgh").expect("there is room");
        assert_eq!(read_to_tokio(far.as_fd(), &mut buffer).unwrap(), 6);
        assert_eq!(buffer.filled(), b"12abcdef");
        assert_eq!(buffer.initialized().len(), 8);
        assert_eq!(read_to_tokio(far.as_fd(), &mut buffer).unwrap(), 0);
    }
}
