//! Pipes: one end writes, the other reads.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};

use super::Async;
use super::pauses::Pauses;

/// A pipe of this process: what is written to one end is read from the other. See [`PipeReader`] and [`PipeWriter`].
///
/// ```
/// use divisi::io::prelude::*;
///
/// # divisi::run(async {
/// let (mut reader, mut writer) = divisi::io::pipe()?;
/// writer.write_all(b"hello").await?;
/// writer.close().await?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// Those of the operating system: no more file descriptors.
#[track_caller]
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((PipeReader::from_fd(reader)?, PipeWriter::from_fd(writer)?))
}

/// The reading end of a pipe or FIFO, or another descriptor to read from, such as a terminal.
///
/// The stream ends when all writing ends are closed. Reading is cancel-safe: a dropped read has taken nothing.
#[derive(Debug)]
pub struct PipeReader {
    io: Async<File>,
    /// Opened by its name: reads of nothing mean nothing until there was a writer.
    named: bool,
}

/// The writing end of a pipe or FIFO, or another descriptor to write to, such as a terminal.
///
/// [`close`](crate::io::AsyncWriteExt::close) and dropping close it, which the reader sees as the end. When all reading ends are closed, writes give
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[derive(Debug)]
pub struct PipeWriter {
    /// `None` after `close`.
    io: Option<Async<File>>,
}

/// What a regular file is answered with.
const USE_FS: &str = "regular files and directories cannot be waited for: use `divisi::fs`";

#[track_caller]
fn checked(fd: OwnedFd) -> io::Result<Async<File>> {
    match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
        FileType::RegularFile | FileType::Directory => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, USE_FS))
        }
        _ => Async::new(File::from(fd)),
    }
}

fn open_named(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

impl PipeReader {
    /// Takes over the reading end of a pipe, a terminal or the like, and puts it into non-blocking mode, as [`Async::new`] does.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a regular file or a directory; those of the operating system.
    #[track_caller]
    pub fn from_fd(fd: impl Into<OwnedFd>) -> io::Result<PipeReader> {
        Ok(PipeReader {
            io: checked(fd.into())?,
            named: false,
        })
    }

    /// Opens a FIFO (or a terminal) by its path. Does not wait for a writer; the first read does.
    ///
    /// # Errors
    ///
    /// As for [`from_fd`](Self::from_fd); [`NotFound`](io::ErrorKind::NotFound).
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> io::Result<PipeReader> {
        let io = checked(open_named(path.as_ref(), OFlags::RDONLY)?)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&io)?.st_mode);
        Ok(PipeReader {
            io,
            named: kind == FileType::Fifo,
        })
    }

    /// The descriptor, back in blocking mode: for another process, say.
    ///
    /// # Errors
    ///
    /// If the mode cannot be set.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        into_blocking(self.io)
    }

    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&File) -> io::Result<R>,
        is_nothing: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        self.io.poll_read_with(cx, |file| {
            let result = read(file)?;
            if self.named && is_nothing(&result) && !has_hung_up(file)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(result)
        })
    }
}

/// Whether the last writer has gone and has left nothing, in contrast to: there was none yet.
fn has_hung_up(file: &File) -> io::Result<bool> {
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&Timespec::default()))?;
    let found = polled[0].revents();
    // A writer may have come and gone since the read that found nothing.
    Ok(found.contains(PollFlags::HUP) && !found.contains(PollFlags::IN))
}

fn into_blocking(io: Async<File>) -> io::Result<OwnedFd> {
    let file = io.into_inner();
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file.into())
}

impl PipeWriter {
    /// Takes over the writing end of a pipe, a terminal or the like, and puts it into non-blocking mode, as [`Async::new`] does.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a regular file or a directory; those of the operating system.
    #[track_caller]
    pub fn from_fd(fd: impl Into<OwnedFd>) -> io::Result<PipeWriter> {
        Ok(PipeWriter {
            io: Some(checked(fd.into())?),
        })
    }

    /// Opens a FIFO by its path. While nobody reads it, it tries again every few milliseconds: the system does not tell when there is a reader.
    ///
    /// # Errors
    ///
    /// As for [`from_fd`](Self::from_fd); [`NotFound`](io::ErrorKind::NotFound).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<PipeWriter> {
        let mut pauses = Pauses::new();
        loop {
            match open_named(path.as_ref(), OFlags::WRONLY) {
                // What is no FIFO has other reasons for this error, and they stay.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
                        && std::fs::metadata(path.as_ref())?.file_type().is_fifo() => {}
                opened => return PipeWriter::from_fd(opened?),
            }
            pauses.pause().await;
        }
    }

    /// The descriptor, back in blocking mode: for another process, say.
    ///
    /// # Errors
    ///
    /// If the mode cannot be set, or [`close`](crate::io::AsyncWriteExt::close) was called.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        into_blocking(self.io.ok_or_else(closed)?)
    }

    fn io(&self) -> io::Result<&Async<File>> {
        self.io.as_ref().ok_or_else(closed)
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "this end of the pipe was closed by `close`",
    )
}

impl AsyncRead for PipeReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let room = buf.len();
        self.poll(
            cx,
            |mut file| file.read(buf),
            |&length| length == 0 && room > 0,
        )
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = bufs.iter().any(|buf| !buf.is_empty());
        self.poll(
            cx,
            |mut file| file.read_vectored(bufs),
            |&length| length == 0 && room,
        )
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io()?).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io()?).poll_write_vectored(cx, bufs)
    }

    /// Does nothing: there is no buffer but the system's.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes the descriptor.
    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io = None;
        Poll::Ready(Ok(()))
    }
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for PipeReader {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_writer_that_left_something_has_not_hung_up_until_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).unwrap();
        let reader = File::from(open_named(&path, OFlags::RDONLY).unwrap());
        assert!(!has_hung_up(&reader).unwrap(), "nobody was there");
        let mut writer = File::options().write(true).open(&path).unwrap();
        writer.write_all(b"hello").unwrap();
        assert!(!has_hung_up(&reader).unwrap());
        drop(writer);
        assert!(!has_hung_up(&reader).unwrap(), "there is more to read");
        (&reader).read_exact(&mut [0; 5]).unwrap();
        assert!(has_hung_up(&reader).unwrap());
    }
}
