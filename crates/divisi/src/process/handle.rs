//! A process that is known, waited for and signalled from several places.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::panic::Location;
use std::process::ExitStatus;
use std::sync::Arc;

use divisi_reactor::{Direction, Progress};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::error::StatusLost;
use super::exit::Exit;
use super::reaper;
use crate::io::wait::Waits;
use crate::signal::Signal;

/// A handle of a child process, see [`Child::handle`](super::Child::handle). Its clones may wait and send signals from anywhere.
#[derive(Clone)]
pub struct ProcessHandle(Arc<Process>);

struct Process {
    pid: Pid,
    /// The process leads a group of its own. It is collected only with the last handle, so that nobody else gets the group's number.
    leads_group: bool,
    exit: Waits<Exit>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    /// Ended and, unless it leads a group, collected.
    Ended(ExitStatus),
    /// Ended and collected by somebody else.
    Lost,
}

impl Process {
    /// The status, if the process has ended. Holding the lock means that nobody collects the process.
    fn look(&self, state: &mut State) -> io::Result<Option<ExitStatus>> {
        match *state {
            State::Ended(status) => return Ok(Some(status)),
            State::Lost => return Err(self.lost()),
            State::Running => {}
        }
        let mut options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if self.leads_group {
            options |= WaitIdOptions::NOWAIT;
        }
        loop {
            match waitid(WaitId::Pid(self.pid), options) {
                Ok(None) => return Ok(None),
                Ok(Some(status)) => {
                    let status = exit_status(&status);
                    *state = State::Ended(status);
                    return Ok(Some(status));
                }
                Err(Errno::INTR) => {}
                Err(Errno::CHILD) => {
                    *state = State::Lost;
                    return Err(self.lost());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn lost(&self) -> io::Error {
        let id = self.pid.as_raw_nonzero().get().unsigned_abs();
        StatusLost { id }.into()
    }
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    /// The bit that `wait` sets if the memory was written to a file.
    const DUMPED: i32 = 0x80;
    let raw = match status.exit_status() {
        Some(code) => (code & 0xff) << 8,
        None => {
            let signal = status.terminating_signal().unwrap_or(0);
            signal | if status.dumped() { DUMPED } else { 0 }
        }
    };
    ExitStatus::from_raw(raw)
}

impl ProcessHandle {
    pub(super) fn new(
        pid: Pid,
        leads_group: bool,
        exit: Exit,
        made_at: &'static Location<'static>,
    ) -> ProcessHandle {
        ProcessHandle(Arc::new(Process {
            pid,
            leads_group,
            exit: Waits::new(exit, made_at),
            state: Mutex::new(State::Running),
        }))
    }

    /// The number of the process. Once it is collected, another process may get it: send signals through this handle, not by number.
    pub fn id(&self) -> u32 {
        self.0.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the process has ended. Any number of tasks may wait; all get the same status, also those that come later.
    ///
    /// # Errors
    ///
    /// If it must wait and there is no runtime; [`StatusLost`](super::StatusLost) if somebody else collected the status.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    #[track_caller]
    pub fn wait(&self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<'_> {
        let process = &*self.0;
        process.exit.when_ready(
            Direction::Read,
            Location::caller(),
            |_: &Exit| match process.look(&mut process.state.lock())? {
                Some(status) => Ok(Progress::full(status)),
                None => Err(io::ErrorKind::WouldBlock.into()),
            },
        )
    }

    /// The status, if the process has ended.
    ///
    /// # Errors
    ///
    /// [`StatusLost`](super::StatusLost) if somebody else collected the status.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.0.look(&mut self.0.state.lock())
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the process has ended, [`InvalidInput`](io::ErrorKind::InvalidInput) for a signal without a
    /// [name](Signal::name), [`PermissionDenied`](io::ErrorKind::PermissionDenied) if the process has become another user's.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let signal = named(signal)?;
        let mut state = self.0.state.lock();
        if self.0.look(&mut state)?.is_some() {
            return Err(ended());
        }
        self.0.exit.get_ref().signal(self.0.pid, signal)
    }

    /// Ends the process by SIGKILL. Does nothing if it has ended. Follow with [`wait`](Self::wait) to see it gone.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn kill(&self) -> io::Result<()> {
        match self.signal(Signal::KILL) {
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_lost(&error) => Ok(()),
            other => other,
        }
    }

    /// Sends a signal to the process and to all that it started, as far as they have not left its process group. For commands with
    /// [`kill_tree`](super::Command::kill_tree); works after the process itself has ended.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) without `kill_tree`, [`NotFound`](io::ErrorKind::NotFound) if nobody is left, and those of
    /// [`signal`](Self::signal).
    pub fn signal_tree(&self, signal: Signal) -> io::Result<()> {
        let signal = named(signal)?;
        if !self.0.leads_group {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the process shares its group with its parent: start it with `Command::kill_tree(true)`",
            ));
        }
        let mut state = self.0.state.lock();
        let status = self.0.look(&mut state)?;
        match rustix::process::kill_process_group(self.0.pid, signal) {
            Ok(()) => Ok(()),
            Err(Errno::SRCH) => Err(ended()),
            // Some systems say so when nobody but the ended leader is left.
            Err(Errno::PERM) if status.is_some() => Err(ended()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the process and all that it started by SIGKILL. See [`signal_tree`](Self::signal_tree); does nothing if nobody is left.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) without [`kill_tree`](super::Command::kill_tree); those of the operating system.
    pub fn kill_tree(&self) -> io::Result<()> {
        match self.signal_tree(Signal::KILL) {
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_lost(&error) => Ok(()),
            other => other,
        }
    }

    pub(super) fn leads_group(&self) -> bool {
        self.0.leads_group
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the process has ended already")
}

fn is_lost(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<StatusLost>())
}

fn named(signal: Signal) -> io::Result<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(signal.as_raw()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{signal} cannot be sent: it has no name on this system"),
        )
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        let collected = match self.state.get_mut() {
            State::Running => false,
            State::Ended(_) => !self.leads_group,
            State::Lost => true,
        };
        if !collected {
            reaper::adopt(self.pid);
        }
    }
}

impl fmt::Debug for ProcessHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessHandle")
            .field("id", &self.id())
            .field("state", &*self.0.state.lock())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::zombie_processes,
        reason = "the handle waits for it by its number"
    )]
    fn start(line: &str) -> ProcessHandle {
        let mut command = std::process::Command::new("sh");
        let child = command.args(["-c", line]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        ProcessHandle::new(
            pid,
            false,
            Exit::by_thread(pid).unwrap(),
            Location::caller(),
        )
    }

    #[test]
    fn without_process_descriptors_a_thread_tells_of_the_end() {
        crate::run(async {
            let ended = start("exit 7");
            assert_eq!(ended.wait().await.unwrap().code(), Some(7));
            assert_eq!(ended.wait().await.unwrap().code(), Some(7));

            let endless = start("exec sleep 1000");
            assert_eq!(endless.try_wait().unwrap(), None);
            endless.signal(Signal::TERM).unwrap();
            let status = endless.wait().await.unwrap();
            assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
            let error = endless.signal(Signal::TERM).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        });
    }
}
