//! A descriptor that becomes readable when a process ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// What a thread that only waits needs.
const STACK: usize = 64 * 1024;

/// Readable once the process has ended. The process is a child of this one that nobody collects as long as this exists.
#[derive(Debug)]
pub(super) enum Exit {
    /// The kernel's own descriptor of a process.
    #[cfg(target_os = "linux")]
    Pidfd(OwnedFd),
    /// Its other end belongs to a thread that waits for the process, and is closed by its end.
    Thread(UnixStream),
}

impl Exit {
    pub(super) fn of(pid: Pid) -> io::Result<Exit> {
        #[cfg(target_os = "linux")]
        match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK) {
            Ok(descriptor) => return Ok(Exit::Pidfd(descriptor)),
            // Too old a kernel; a sandbox.
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {}
            // Ended and collected by somebody else already: the thread finds out.
            Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        Exit::by_thread(pid)
    }

    pub(super) fn by_thread(pid: Pid) -> io::Result<Exit> {
        let (here, there) = UnixStream::pair()?;
        here.set_nonblocking(true)?;
        thread::Builder::new()
            .name("divisi-child".into())
            .stack_size(STACK)
            .spawn(move || {
                wait_without_collecting(pid);
                drop(there);
            })?;
        Ok(Exit::Thread(here))
    }

    pub(super) fn signal(&self, pid: Pid, signal: rustix::process::Signal) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Exit::Pidfd(descriptor) => rustix::process::pidfd_send_signal(descriptor, signal)?,
            Exit::Thread(_) => rustix::process::kill_process(pid, signal)?,
        }
        Ok(())
    }
}

impl AsFd for Exit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            #[cfg(target_os = "linux")]
            Exit::Pidfd(descriptor) => descriptor.as_fd(),
            Exit::Thread(socket) => socket.as_fd(),
        }
    }
}

fn wait_without_collecting(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
}
