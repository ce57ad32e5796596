//! The standard streams of this process.
//!
//! They are shared with the parent and other processes, so they stay in blocking mode: one thread of divisi's reads standard input, and jobs on the blocking
//! pool write. The thread belongs to no runtime: a read that waits for a key keeps nothing from ending.

use std::io::{self, Read, Write};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::thread;

use divisi_task::{JoinHandle, budget, current};
use futures_io::{AsyncRead, AsyncWrite};
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags};

use crate::pool;

/// What one read or write of the system takes: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// What the thread that reads standard input and the tasks share.
struct Input {
    started: bool,
    /// Somebody waits for more. Nothing is read otherwise: it may be meant for a child process.
    wanted: bool,
    bytes: Vec<u8>,
    start: usize,
    /// The end (`None`) or an error, for one reader to be told after `bytes`.
    ended: Option<Option<io::Error>>,
    /// Of each reader that waits, by its number.
    waiting: Vec<(u64, Waker)>,
}

static INPUT: Mutex<Input> = Mutex::new(Input {
    started: false,
    wanted: false,
    bytes: Vec::new(),
    start: 0,
    ended: None,
    waiting: Vec::new(),
});
static WANTED: Condvar = Condvar::new();

/// The number of the next [`Stdin`].
static NEXT_READER: AtomicU64 = AtomicU64::new(0);

impl Input {
    /// What is there for a reader.
    fn take(&mut self, buf: &mut [u8]) -> Option<io::Result<usize>> {
        let unread = &self.bytes[self.start..];
        if unread.is_empty() && !buf.is_empty() {
            return self.ended.take().map(|end| end.map_or(Ok(0), Err));
        }
        let length = unread.len().min(buf.len());
        buf[..length].copy_from_slice(&unread[..length]);
        self.start += length;
        Some(Ok(length))
    }

    fn start_thread(&mut self) -> io::Result<()> {
        if !self.started {
            thread::Builder::new()
                .name("divisi-stdin".into())
                .spawn(read_for_ever)?;
            self.started = true;
        }
        Ok(())
    }

    /// Makes the thread read, and wake `waker` afterwards. Gives the one that it replaces, to be dropped outside of the lock.
    fn want(&mut self, reader: u64, waker: Waker) -> Option<Waker> {
        self.wanted = true;
        WANTED.notify_one();
        match self.waiting.iter_mut().find(|(other, _)| *other == reader) {
            Some((_, former)) => Some(std::mem::replace(former, waker)),
            None => {
                self.waiting.push((reader, waker));
                None
            }
        }
    }

    fn forget(&mut self, reader: u64) -> Option<Waker> {
        let place = self
            .waiting
            .iter()
            .position(|(other, _)| *other == reader)?;
        Some(self.waiting.swap_remove(place).1)
    }
}

/// Reads, also if whoever shares the terminal has put it into non-blocking mode.
fn read_blocking(bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match io::stdin().read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                rustix::event::poll(&mut [PollFd::new(&io::stdin(), PollFlags::IN)], None)?;
            }
            result => return result,
        }
    }
}

fn read_for_ever() {
    loop {
        let mut input = INPUT.lock();
        WANTED.wait_while(&mut input, |input| !input.wanted);
        let mut bytes = std::mem::take(&mut input.bytes);
        // Who looks meanwhile finds nothing.
        input.start = 0;
        drop(input);
        bytes.resize(CHUNK, 0);
        let result = read_blocking(&mut bytes);
        bytes.truncate(*result.as_ref().unwrap_or(&0));
        let mut input = INPUT.lock();
        input.bytes = bytes;
        match result {
            Ok(0) => input.ended = Some(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => input.ended = Some(Some(error)),
        }
        input.wanted = false;
        let waiting = std::mem::take(&mut input.waiting);
        drop(input);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// The standard input of this process.
///
/// Bytes that were read and not taken stay for the next reader: all values of this type and all runtimes share them, so reading is cancel-safe. What is
/// read through [`std::io::stdin`] as well goes to whoever comes first.
///
/// A task that waits for input does not keep its runtime from shutting down, nor the process from ending.
///
/// ```no_run
/// use divisi::io::{AsyncBufReadExt, BufReader, stdin};
/// # use divisi::io::prelude::*;
///
/// # divisi::run(async {
/// let mut lines = BufReader::new(stdin()).lines();
/// while let Some(line) = lines.try_next().await? {
///     println!("{line}");
/// }
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[track_caller]
pub fn stdin() -> Stdin {
    Stdin {
        made_at: Location::caller(),
        number: NEXT_READER.fetch_add(1, Ordering::Relaxed),
        has_waited: false,
    }
}

/// Reads from the standard input, see [`stdin`].
#[derive(Debug)]
pub struct Stdin {
    made_at: &'static Location<'static>,
    /// By which its waker is found.
    number: u64,
    /// There may be a waker of it.
    has_waited: bool,
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let charge = ready!(budget::poll_proceed(cx));
        let taken = INPUT.lock().take(buf);
        let result = if let Some(result) = taken {
            result
        } else {
            // Wakers run foreign code: they are cloned and dropped outside of the lock.
            let waker = cx.waker().clone();
            let mut input = INPUT.lock();
            if let Some(result) = input.take(buf) {
                result
            } else {
                input.start_thread()?;
                self.has_waited = true;
                let replaced = input.want(self.number, waker);
                drop(input);
                drop(replaced);
                current::note_wait(self.made_at);
                return Poll::Pending;
            }
        };
        charge.made_progress();
        Poll::Ready(result)
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        if self.has_waited {
            let waker = INPUT.lock().forget(self.number);
            drop(waker);
        }
    }
}

macro_rules! output {
    ($(#[$doc:meta])* $function:ident, $name:ident) => {
        $(#[$doc])*
        pub fn $function() -> $name {
            $name(Output {
                state: State::Idle(Vec::new()),
            })
        }

        #[doc = concat!("Writes to a standard stream, see [`", stringify!($function), "`].")]
        #[derive(Debug)]
        pub struct $name(Output);

        impl AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_write(cx, buf, io::$function)
            }

            /// Waits until what was written is with the system.
            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_flush(cx)
            }

            /// Flushes. The stream of the process stays open.
            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_flush(cx)
            }
        }
    };
}

output! {
    /// The standard output of this process.
    ///
    /// Each write goes to the system as one piece in the background, in order with what `println!` writes in between. **Flush after the last one**:
    /// errors show only then, and a runtime that ends may drop what has not begun.
    ///
    /// ```
    /// use divisi::io::{AsyncWriteExt, stdout};
    ///
    /// # divisi::run(async {
    /// let mut out = stdout();
    /// out.write_all(b"hello\n").await?;
    /// out.flush().await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) when nobody reads it any more; an error where there is no runtime.
    stdout, Stdout
}

output! {
    /// The standard error stream of this process. As [`stdout`].
    stderr, Stderr
}

#[derive(Debug)]
struct Output {
    state: State,
}

#[derive(Debug)]
enum State {
    Idle(Vec<u8>),
    Busy(JoinHandle<(Vec<u8>, io::Result<()>)>),
}

impl Output {
    fn poll_write<W: Write + 'static>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
        stream: fn() -> W,
    ) -> Poll<io::Result<usize>> {
        let charge = ready!(budget::poll_proceed(cx));
        ready!(self.poll_flush(cx))?;
        let mut bytes = match &mut self.state {
            State::Idle(bytes) => std::mem::take(bytes),
            State::Busy(_) => Vec::new(),
        };
        let length = buf.len().min(CHUNK);
        bytes.clear();
        bytes.extend_from_slice(&buf[..length]);
        self.state = State::Busy(pool::start_io(move || {
            let mut stream = stream();
            let result = stream.write_all(&bytes).and_then(|()| stream.flush());
            (bytes, result)
        })?);
        charge.made_progress();
        Poll::Ready(Ok(length))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Busy(job) = &mut self.state {
            let joined = ready!(Pin::new(job).poll(cx));
            self.state = State::Idle(Vec::new());
            let (bytes, result) = pool::io_outcome(joined)?;
            self.state = State::Idle(bytes);
            return Poll::Ready(result);
        }
        Poll::Ready(Ok(()))
    }
}
