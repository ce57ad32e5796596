//! A process that was started.

use std::io;
use std::panic::Location;
use std::process::{ExitStatus, Output};

use rustix::process::{Pid, Signal as Raw, kill_process};

use super::exit::Exit;
use super::handle::ProcessHandle;
use super::reaper;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout};
use crate::io::{AsyncReadExt, AsyncWriteExt, PipeReader, PipeWriter};
use crate::signal::Signal;

/// What a pipe holds on Linux, so what one read may find.
const PIPE_HOLDS: usize = 64 * 1024;

/// A child process, made by [`Command::spawn`](super::Command::spawn). See the [module](super) for what is promised.
///
/// Dropping it leaves the process running, unless [`kill_on_drop`](super::Command::kill_on_drop) was asked for.
///
/// ```
/// use divisi::io::prelude::*;
/// use divisi::process::{Command, Stdio};
///
/// # divisi::run(async {
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// child.stdin.take().unwrap().write_all(b"hello").await?;
/// let mut text = String::new();
/// child.stdout.take().unwrap().read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// assert!(child.wait().await?.success());
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Child {
    /// What the child reads as its standard input, if [`stdin`](super::Command::stdin) is a pipe.
    pub stdin: Option<ChildStdin>,
    /// What the child writes to its standard output, if [`stdout`](super::Command::stdout) is a pipe.
    pub stdout: Option<ChildStdout>,
    /// What the child writes to its standard error, if [`stderr`](super::Command::stderr) is a pipe.
    pub stderr: Option<ChildStderr>,
    process: ProcessHandle,
    _killer: Killer,
}

/// Kills the process when the child is dropped, also in the middle of a method that takes the child apart.
#[derive(Debug)]
struct Killer(Option<ProcessHandle>);

impl Drop for Killer {
    fn drop(&mut self) {
        let Some(process) = &self.0 else { return };
        // There is nobody to tell: the process has changed its user.
        let _ = if process.leads_group() {
            process.kill_tree()
        } else {
            process.kill()
        };
    }
}

/// Kills and collects a child that was started but cannot be watched.
struct Started(Option<Pid>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            let _ = kill_process(pid, Raw::KILL);
            reaper::adopt(pid);
        }
    }
}

impl Child {
    #[track_caller]
    pub(super) fn new(
        mut child: std::process::Child,
        kill_on_drop: bool,
        leads_group: bool,
    ) -> io::Result<Child> {
        let made_at = Location::caller();
        let pid = Pid::from_child(&child);
        let mut started = Started(Some(pid));
        let stdin = child.stdin.take().map(PipeWriter::from_fd).transpose()?;
        let stdout = child.stdout.take().map(PipeReader::from_fd).transpose()?;
        let stderr = child.stderr.take().map(PipeReader::from_fd).transpose()?;
        let process = ProcessHandle::new(pid, leads_group, Exit::of(pid)?, made_at);
        started.0 = None;
        Ok(Child {
            stdin: stdin.map(ChildStdin),
            stdout: stdout.map(ChildStdout),
            stderr: stderr.map(ChildStderr),
            _killer: Killer(kill_on_drop.then(|| process.clone())),
            process,
        })
    }

    /// A handle that can wait and send signals from other tasks. It does not kill when it is dropped.
    pub fn handle(&self) -> ProcessHandle {
        self.process.clone()
    }

    /// The number of the process. Once it is collected, another process may get it: send signals through this type, not by number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Closes [`stdin`](Self::stdin) if it is still here, so that a child that reads to the end can end, and waits for the end. Output that
    /// nobody reads can keep the child from ending: see [`wait_with_output`](Self::wait_with_output).
    ///
    /// # Errors
    ///
    /// Those of [`ProcessHandle::wait`].
    ///
    /// # Cancel safety
    ///
    /// Loses nothing but the open `stdin`.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        self.process.wait().await
    }

    /// The status, if the process has ended.
    ///
    /// # Errors
    ///
    /// Those of [`ProcessHandle::try_wait`].
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Closes [`stdin`](Self::stdin), reads all output that is piped, and waits for the end.
    ///
    /// # Errors
    ///
    /// Those of reading and of [`ProcessHandle::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropped in the middle, the output so far is lost, and the child is dropped.
    pub async fn wait_with_output(self) -> io::Result<Output> {
        self.communicate(&[]).await
    }

    /// Writes `input` to [`stdin`](Self::stdin) while it reads all output that is piped, then waits for the end: no size of either makes both sides
    /// wait for each other. A child that does not read all of its input is no error.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if there is input and no piped `stdin`; those of reading, writing and [`ProcessHandle::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropped in the middle, the output so far is lost, and the child is dropped.
    pub async fn communicate(mut self, input: &[u8]) -> io::Result<Output> {
        let stdin = self.stdin.take();
        if stdin.is_none() && !input.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is input for the child, but its standard input is no pipe of this `Child`: use `Command::stdin(Stdio::piped())`",
            ));
        }
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let ((), stdout, stderr) =
            crate::try_join!(feed(stdin, input), drain(stdout), drain(stderr))?;
        Ok(Output {
            status: self.process.wait().await?,
            stdout,
            stderr,
        })
    }

    /// Sends a signal to the child. See [`ProcessHandle::signal`].
    ///
    /// # Errors
    ///
    /// Those of [`ProcessHandle::signal`].
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }

    /// Ends the child by SIGKILL; does nothing if it has ended. Follow with [`wait`](Self::wait) to see it gone.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn kill(&self) -> io::Result<()> {
        self.process.kill()
    }

    /// Ends the child and all that it started by SIGKILL. See [`ProcessHandle::kill_tree`].
    ///
    /// # Errors
    ///
    /// Those of [`ProcessHandle::kill_tree`].
    pub fn kill_tree(&self) -> io::Result<()> {
        self.process.kill_tree()
    }
}

async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> io::Result<()> {
    let Some(mut stdin) = stdin else {
        return Ok(());
    };
    match stdin.write_all(input).await {
        // The child has read what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

async fn drain(reader: Option<impl AsyncReadExt + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut reader) = reader else {
        return Ok(bytes);
    };
    // Not `read_to_end`: it clears all room that it has made at every wake-up.
    let mut chunk = vec![0; PIPE_HOLDS];
    loop {
        match reader.read(&mut chunk).await? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
}
