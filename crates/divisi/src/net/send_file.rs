//! From a file to a socket.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::panic::Location;

use divisi_reactor::{Direction, Progress};
use rustix::event::{PollFd, PollFlags, Timespec};
#[cfg(target_os = "linux")]
use rustix::io::Errno;

use super::StreamSocket;
use crate::pool;

/// What one call of the system, or one trip to the blocking pool without it, takes at most.
const CHUNK: u64 = 1024 * 1024;
/// What is read at a time where the system cannot do it (as asyncio).
const COPY_CHUNK: u64 = 256 * 1024;

/// Sends a part of a file: `count` bytes from `offset` on, or all the rest. Returns how many were sent, which is less if the file ends before.
///
/// On Linux the bytes do not pass through the program: it is `sendfile(2)`, on the blocking pool, because it waits for the disk. Where that is not possible (other
/// systems, some kinds of file), they are read and written. The file's own position is neither used nor moved; for a [`File`](crate::fs::File), flush first.
///
/// Nobody else must write to the stream meanwhile: it would come in between.
///
/// ```
/// use divisi::net::{UnixStream, send_file};
///
/// # divisi::run(async {
/// let file = std::fs::File::open("/proc/self/exe")?;
/// let (near, far) = UnixStream::pair()?;
/// let sent = send_file(&near, &file, 1, Some(3)).await?;
/// assert_eq!(sent, 3);
/// let mut letters = [0; 3];
/// far.read_exact(&mut letters).await?;
/// assert_eq!(&letters, b"ELF");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// Those of reading the file and of writing to the stream; no more file descriptors: it duplicates both.
///
/// # Cancel safety
///
/// Dropped in the middle, it has sent an unknown number of bytes, and may send up to 1 MiB more.
#[track_caller]
pub fn send_file<'a, S, F>(
    stream: &'a S,
    file: F,
    offset: u64,
    count: Option<u64>,
) -> impl Future<Output = io::Result<u64>> + Send + use<'a, S, F>
where
    S: StreamSocket + AsFd + Sync,
    F: AsFd,
{
    let called_at = Location::caller();
    let socket = stream.as_fd().try_clone_to_owned();
    let file = file.as_fd().try_clone_to_owned();
    async move {
        let mut transfer = Transfer {
            socket: socket?,
            file: File::from(file?),
            offset,
            left: count.unwrap_or(u64::MAX),
        };
        loop {
            let (back, step) = pool::io_outcome(
                pool::start_io(move || {
                    let step = transfer.step();
                    (transfer, step)
                })?
                .await,
            )?;
            transfer = back;
            match step? {
                Step::More => {}
                Step::Done => return Ok(transfer.offset - offset),
                Step::Full => writable(stream, called_at).await?,
                Step::Copy(bytes) => {
                    stream.stream().write_all(&bytes, called_at).await?;
                    transfer.sent(bytes.len() as u64);
                }
            }
        }
    }
}

/// Waits until the socket takes more. What is known of its readiness is of no use, since the writes were done elsewhere.
async fn writable<S: StreamSocket>(
    stream: &S,
    called_at: &'static Location<'static>,
) -> io::Result<()> {
    let socket = stream.stream();
    socket
        .waits()
        .when_ready(Direction::Write, called_at, |socket| {
            let mut polled = [PollFd::new(socket, PollFlags::OUT)];
            match rustix::event::poll(&mut polled, Some(&Timespec::default()))? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(Progress::full(())),
            }
        })
        .await
}

struct Transfer {
    socket: OwnedFd,
    file: File,
    offset: u64,
    left: u64,
}

enum Step {
    More,
    Done,
    /// The socket takes no more now.
    Full,
    /// To be written to the socket, and counted then.
    Copy(Vec<u8>),
}

impl Transfer {
    fn sent(&mut self, count: u64) {
        self.offset += count;
        self.left -= count;
    }

    #[cfg(target_os = "linux")]
    fn step(&mut self) -> io::Result<Step> {
        if self.left == 0 {
            return Ok(Step::Done);
        }
        let mut offset = self.offset;
        let count = self.left.min(CHUNK) as usize;
        match rustix::fs::sendfile(&self.socket, &self.file, Some(&mut offset), count) {
            Ok(0) => Ok(Step::Done),
            Ok(sent) => {
                self.sent(sent as u64);
                Ok(Step::More)
            }
            Err(Errno::AGAIN) => Ok(Step::Full),
            Err(Errno::INTR) => Ok(Step::More),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.copy(),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn step(&mut self) -> io::Result<Step> {
        self.copy()
    }

    fn copy(&mut self) -> io::Result<Step> {
        let mut bytes = vec![0; self.left.min(COPY_CHUNK) as usize];
        let length = self.file.read_at(&mut bytes, self.offset)?;
        bytes.truncate(length);
        Ok(if length == 0 {
            Step::Done
        } else {
            Step::Copy(bytes)
        })
    }
}
