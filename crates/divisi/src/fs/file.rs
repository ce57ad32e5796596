//! One open file.

use std::fs::{Metadata, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use divisi_task::{JoinHandle, budget};
use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use super::OpenOptions;
use crate::io::AsyncWriteExt;
use crate::pool;

/// What the first read of a file takes; each further one takes twice as much, up to `LARGEST`. A trip to the pool costs as much as
/// copying some tens of KiB.
const FIRST: usize = 32 * 1024;
/// What a read takes at most, and how much is collected before it is written.
const LARGEST: usize = 1024 * 1024;
/// Smaller writes are collected up to this size.
const COLLECT: usize = 64 * 1024;

/// An open file, read and written through [`AsyncRead`], [`AsyncWrite`] and [`AsyncSeek`].
///
/// It reads ahead and collects what is written, as [`BufReader`](crate::io::BufReader) and [`BufWriter`](crate::io::BufWriter) would, so they are not needed
/// around it for speed. **[`flush`](crate::io::AsyncWriteExt::flush) or [`close`](crate::io::AsyncWriteExt::close) after the last write**, or errors of writing go unseen. Dropped without,
/// it still writes what it has collected, in the background.
///
/// # Cancel safety
///
/// `read` loses nothing; what a dropped `read` has read is given to the next. A dropped `write` has taken nothing; a dropped `flush` can be called again. A dropped
/// `seek` may have moved or not.
///
/// ```
/// use divisi::fs::File;
/// use divisi::io::{SeekFrom, prelude::*};
///
/// # divisi::run(async {
/// # let path = std::env::temp_dir().join(format!("divisi-doc-file-{}", std::process::id()));
/// let mut file = File::options().read(true).write(true).create(true).open(&path).await?;
/// file.write_all(b"hello, world").await?;
/// file.seek(SeekFrom::Start(7)).await?;
/// let mut text = String::new();
/// file.read_to_string(&mut text).await?;
/// assert_eq!(text, "world");
/// # divisi::fs::remove_file(&path).await?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct File {
    std: Arc<std::fs::File>,
    state: State,
    /// The size of the next read.
    ahead: usize,
    /// Of a write that was not waited for.
    write_error: Option<io::Error>,
    /// The read that is under way is the second after one that met the end.
    looks_again: bool,
}

#[derive(Debug)]
enum State {
    Idle(Buffer),
    Busy(JoinHandle<(Buffer, Outcome)>),
}

#[derive(Debug, Default)]
struct Buffer {
    /// Read ahead (from `start` on), or to be written if `dirty`.
    bytes: Vec<u8>,
    start: usize,
    dirty: bool,
}

#[derive(Debug)]
enum Outcome {
    Read(io::Result<usize>),
    Written(io::Result<()>),
    Sought(SeekFrom, io::Result<u64>),
}

/// What is to be written. It is written even if the job is dropped before it runs, because the runtime ends: the bytes were taken from somebody who may never
/// come back.
struct Unwritten {
    file: Arc<std::fs::File>,
    buffer: Buffer,
}

impl Unwritten {
    fn write(mut self) -> (Buffer, Outcome) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = (&*self.file).write_all(&buffer.bytes);
        buffer.clear();
        (buffer, Outcome::Written(result))
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        if self.buffer.dirty {
            // Nobody is left who could be told.
            let _ = (&*self.file).write_all(&self.buffer.bytes);
        }
    }
}

impl Buffer {
    fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.dirty = false;
    }

    fn unread(&self) -> &[u8] {
        if self.dirty {
            &[]
        } else {
            &self.bytes[self.start..]
        }
    }

    fn read_from(mut self, mut file: &std::fs::File, size: usize) -> (Buffer, Outcome) {
        self.clear();
        self.bytes.resize(size, 0);
        let result = loop {
            match file.read(&mut self.bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.bytes.truncate(*result.as_ref().unwrap_or(&0));
        (self, Outcome::Read(result))
    }
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// See the [module](super).
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens a file for writing; it is created or emptied.
    ///
    /// # Errors
    ///
    /// See the [module](super).
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .await
    }

    /// How to open a file otherwise.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes over a file of the standard library.
    pub fn from_std(file: std::fs::File) -> File {
        File {
            std: Arc::new(file),
            state: State::Idle(Buffer::default()),
            ahead: FIRST,
            write_error: None,
            looks_again: false,
        }
    }

    /// The file as the standard library's, once everything is written, at the position where this one stands.
    ///
    /// # Errors
    ///
    /// Those of writing and seeking. The file is closed then.
    pub async fn into_std(mut self) -> io::Result<std::fs::File> {
        self.settle().await?;
        let std = self.std.clone();
        drop(self);
        match Arc::try_unwrap(std) {
            Ok(file) => Ok(file),
            // A job's last reference is still being dropped.
            Err(shared) => shared.try_clone(),
        }
    }

    /// Writes what was collected, and makes sure that contents and metadata are on the disk.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub async fn sync_all(&mut self) -> io::Result<()> {
        self.after_flush(|file| file.sync_all()).await
    }

    /// Writes what was collected, and makes sure that the contents are on the disk.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub async fn sync_data(&mut self) -> io::Result<()> {
        self.after_flush(|file| file.sync_data()).await
    }

    /// Cuts or lengthens the file to `size` bytes, after what was collected is written.
    ///
    /// # Errors
    ///
    /// Those of writing; [`InvalidInput`](io::ErrorKind::InvalidInput) if the file was not opened for writing.
    pub async fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.settle().await?;
        self.after_flush(move |file| file.set_len(size)).await
    }

    /// What is known about the file, after what was collected is written.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub async fn metadata(&mut self) -> io::Result<Metadata> {
        self.after_flush(|file| file.metadata()).await
    }

    /// Sets the permissions.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub async fn set_permissions(&mut self, permissions: Permissions) -> io::Result<()> {
        self.after_flush(move |file| file.set_permissions(permissions))
            .await
    }

    /// A second handle of the same open file: both share the position.
    ///
    /// # Errors
    ///
    /// Those of writing; no more file descriptors.
    pub async fn try_clone(&mut self) -> io::Result<File> {
        self.settle().await?;
        self.after_flush(|file| file.try_clone())
            .await
            .map(File::from_std)
    }

    async fn after_flush<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.flush().await?;
        let file = self.std.clone();
        pool::io_outcome(pool::start_io(move || f(&file))?.await)?
    }

    /// Writes what was collected, and gives back what was read ahead: the file stands where this one stands.
    async fn settle(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_settle(cx)).await
    }

    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flushed(cx))?;
            let State::Idle(buffer) = &self.state else {
                continue;
            };
            if buffer.unread().is_empty() {
                return Poll::Ready(Ok(()));
            }
            // To where it is already, as the reader sees it.
            self.start_seek(SeekFrom::Current(0))?;
            if let Outcome::Sought(_, Err(error)) = ready!(self.poll_job(cx))? {
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Ends with an idle state and nothing to write.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let State::Busy(_) = self.state {
                if let Outcome::Sought(_, Err(error)) = ready!(self.poll_job(cx))? {
                    return Poll::Ready(Err(error));
                }
            }
            if let Some(error) = self.write_error.take() {
                return Poll::Ready(Err(error));
            }
            match &self.state {
                State::Idle(buffer) if !buffer.dirty => return Poll::Ready(Ok(())),
                _ => self.start_write()?,
            }
        }
    }

    /// Waits for the job, if one is under way, and takes its outcome over. An error of writing is kept for the next call that can tell it.
    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Outcome>> {
        let State::Busy(job) = &mut self.state else {
            return Poll::Ready(Ok(Outcome::Written(Ok(()))));
        };
        let joined = ready!(Pin::new(job).poll(cx));
        self.state = State::Idle(Buffer::default());
        let (buffer, mut outcome) = pool::io_outcome(joined)?;
        self.state = State::Idle(buffer);
        if let Outcome::Written(result) = &mut outcome {
            if let Err(error) = std::mem::replace(result, Ok(())) {
                self.write_error = Some(error);
            }
        }
        Poll::Ready(Ok(outcome))
    }

    /// For a job, which gives it back: so it is not taken where no job can be started.
    fn take_buffer(&mut self) -> io::Result<Buffer> {
        pool::check()?;
        Ok(match &mut self.state {
            State::Idle(buffer) => std::mem::take(buffer),
            State::Busy(_) => Buffer::default(),
        })
    }

    fn start_write(&mut self) -> io::Result<()> {
        let unwritten = Unwritten {
            buffer: self.take_buffer()?,
            file: self.std.clone(),
        };
        self.state = State::Busy(pool::start_io(move || unwritten.write())?);
        Ok(())
    }

    fn start_read(&mut self, at_least: usize) -> io::Result<()> {
        let (file, buffer) = (self.std.clone(), self.take_buffer()?);
        let size = self.ahead.max(at_least.min(LARGEST));
        self.ahead = (self.ahead * 2).min(LARGEST);
        self.state = State::Busy(pool::start_io(move || buffer.read_from(&file, size))?);
        Ok(())
    }

    fn start_seek(&mut self, to: SeekFrom) -> io::Result<()> {
        let (file, mut buffer) = (self.std.clone(), self.take_buffer()?);
        let unread = buffer.unread().len() as i64;
        // Relative to where the reader is, not to where the reading ahead has come.
        let system = match to {
            SeekFrom::Current(offset) if unread > 0 => {
                SeekFrom::Current(offset.saturating_sub(unread))
            }
            _ => to,
        };
        self.state = State::Busy(pool::start_io(move || {
            let result = (&*file).seek(system);
            // After a failure the position is what it was, and what was read ahead is still what comes next.
            if result.is_ok() {
                buffer.clear();
            }
            (buffer, Outcome::Sought(to, result))
        })?);
        Ok(())
    }
}

/// Whether there is something behind the position by now, as far as this machine knows: without asking a file server, which takes time.
fn goes_on(file: &std::fs::File) -> bool {
    let Ok(position) = rustix::fs::tell(file) else {
        return false;
    };
    size_here(file).is_ok_and(|size| position < size)
}

/// Whether `position` is that far from the end by now, as far as this machine knows.
fn is_from_end(file: &std::fs::File, offset: i64, position: u64) -> bool {
    size_here(file).is_ok_and(|size| size.checked_add_signed(offset) == Some(position))
}

#[cfg(target_os = "linux")]
fn size_here(file: &std::fs::File) -> rustix::io::Result<u64> {
    use rustix::fs::{AtFlags, StatxFlags};
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(rustix::fs::statx(file, c"", flags, StatxFlags::SIZE)?.stx_size)
}

#[cfg(not(target_os = "linux"))]
fn size_here(file: &std::fs::File) -> rustix::io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let charge = ready!(budget::poll_proceed(cx));
        let this = &mut *self;
        let read = loop {
            if let State::Busy(_) = this.state {
                let outcome = ready!(this.poll_job(cx))?;
                let looked_again = std::mem::replace(&mut this.looks_again, false);
                match outcome {
                    // Whoever began this read may have dropped it long ago. Once: the sizes of some files (sysfs) are no sizes.
                    Outcome::Read(Ok(0)) if !looked_again && goes_on(&this.std) => {
                        this.looks_again = true;
                    }
                    Outcome::Read(Ok(0)) => break Ok(0),
                    Outcome::Read(Err(error)) => break Err(error),
                    _ => {}
                }
            }
            if let Some(error) = this.write_error.take() {
                break Err(error);
            }
            let State::Idle(buffer) = &mut this.state else {
                continue;
            };
            if buffer.dirty {
                this.start_write()?;
                continue;
            }
            if buf.is_empty() {
                break Ok(0);
            }
            let unread = buffer.unread();
            if unread.is_empty() {
                this.start_read(buf.len())?;
                continue;
            }
            let length = unread.len().min(buf.len());
            buf[..length].copy_from_slice(&unread[..length]);
            buffer.start += length;
            break Ok(length);
        };
        charge.made_progress();
        Poll::Ready(read)
    }
}

impl AsyncWrite for File {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let charge = ready!(budget::poll_proceed(cx));
        let this = &mut *self;
        let taken = loop {
            if let State::Busy(_) = this.state {
                // Where nothing can be sought, nothing that was read ahead can be given back.
                if let Outcome::Sought(_, Err(error)) = ready!(this.poll_job(cx))? {
                    break Err(error);
                }
            }
            if let Some(error) = this.write_error.take() {
                break Err(error);
            }
            let State::Idle(buffer) = &mut this.state else {
                continue;
            };
            if !buffer.unread().is_empty() {
                ready!(this.poll_settle(cx))?;
                continue;
            }
            if !buffer.dirty {
                buffer.clear();
            }
            let room = COLLECT.max(buf.len().min(LARGEST)) - buffer.bytes.len().min(COLLECT);
            if room == 0 && !buf.is_empty() {
                this.start_write()?;
                continue;
            }
            let length = room.min(buf.len());
            let is_full = buffer.bytes.len() + length >= COLLECT;
            if is_full {
                // While nothing is taken yet: a write that fails has written nothing.
                pool::check()?;
            }
            buffer.bytes.extend_from_slice(&buf[..length]);
            buffer.dirty = !buffer.bytes.is_empty();
            if is_full {
                this.start_write()?;
            }
            break Ok(length);
        };
        charge.made_progress();
        Poll::Ready(taken)
    }

    /// Hands what was collected to the system. See [`File::sync_data`] for the disk.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flushed(cx)
    }

    /// Flushes. The descriptor closes when the file is dropped.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flushed(cx)
    }
}

impl AsyncSeek for File {
    fn poll_seek(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        let this = &mut *self;
        let mut again = false;
        loop {
            if let State::Busy(_) = this.state {
                let outcome = ready!(this.poll_job(cx))?;
                let looked_again = std::mem::replace(&mut this.looks_again, false);
                match outcome {
                    // Whoever began this seek may have dropped it long ago, and the file may have another end now. Once, as for reading.
                    Outcome::Sought(asked @ SeekFrom::End(offset), Ok(position))
                        if asked == to
                            && !looked_again
                            && !is_from_end(&this.std, offset, position) =>
                    {
                        again = true;
                    }
                    Outcome::Sought(asked, result) if asked == to => return Poll::Ready(result),
                    _ => {}
                }
            }
            ready!(this.poll_flushed(cx))?;
            this.start_seek(to)?;
            this.looks_again = again;
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let State::Idle(buffer) = &mut self.state else {
            return;
        };
        if !buffer.dirty {
            return;
        }
        let unwritten = Unwritten {
            file: self.std.clone(),
            buffer: std::mem::take(buffer),
        };
        // Where there is no pool, the closure is dropped, which writes here.
        let _ = pool::start_io(move || drop(unwritten));
    }
}

/// The descriptor. Its position is not where this file stands: that reads ahead and collects what is written.
impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> File {
        File::from_std(file)
    }
}
