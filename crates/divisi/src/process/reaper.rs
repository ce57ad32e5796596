//! Collects the children that nobody waits for any more.
//!
//! One thread polls the exit descriptors of all of them, and ends with the last. It belongs to no runtime: a child may outlive all of them.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::exit::Exit;

/// What a thread that only waits needs.
const STACK: usize = 64 * 1024;

#[derive(Default)]
struct Orphans {
    /// Children that the thread has not seen yet, or that must be tried again because there was no descriptor or no thread.
    new: Vec<Pid>,
    /// Writes to it make the thread look at `new`; there is one if and only if there is a thread.
    bell: Option<UnixStream>,
}

static ORPHANS: Mutex<Orphans> = Mutex::new(Orphans {
    new: Vec::new(),
    bell: None,
});

/// Collects `pid`, a child of this process that nobody else collects, when it has ended.
pub(super) fn adopt(pid: Pid) {
    if collect(pid) {
        return;
    }
    let mut orphans = ORPHANS.lock();
    orphans.new.push(pid);
    if let Some(mut bell) = orphans.bell.as_ref() {
        // A full socket rings already.
        let _ = bell.write(&[0]);
        return;
    }
    // Without a thread they stay in the list, and the next one that is adopted tries again.
    if let Ok(bell) = start() {
        orphans.bell = Some(bell);
    }
}

/// True if there is nothing to collect (any more).
fn collect(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        match waitid(WaitId::Pid(pid), options) {
            Err(Errno::INTR) => {}
            Ok(None) => return false,
            // Collected now, or by somebody else.
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

fn start() -> io::Result<UnixStream> {
    let (bell, ear) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    ear.set_nonblocking(true)?;
    thread::Builder::new()
        .name("divisi-reaper".into())
        .stack_size(STACK)
        .spawn(move || run(&ear))?;
    Ok(bell)
}

fn run(mut ear: &UnixStream) {
    let mut watched: Vec<(Pid, Exit)> = Vec::new();
    loop {
        while ear.read(&mut [0; 64]).is_ok() {}
        let mut orphans = ORPHANS.lock();
        for pid in std::mem::take(&mut orphans.new) {
            match Exit::of(pid) {
                Ok(exit) => watched.push((pid, exit)),
                Err(_) if collect(pid) => {}
                // No descriptors left: tried again when another one has ended or comes.
                Err(_) => orphans.new.push(pid),
            }
        }
        watched.retain(|(pid, _)| !collect(*pid));
        if watched.is_empty() {
            // What is left in `new` waits for the next adoption.
            orphans.bell = None;
            return;
        }
        drop(orphans);
        let mut polled: Vec<PollFd<'_>> = watched
            .iter()
            .map(|(_, exit)| PollFd::new(exit, PollFlags::IN))
            .chain([PollFd::new(ear, PollFlags::IN)])
            .collect();
        // An interrupted call looks around once too often.
        let _ = rustix::event::poll(&mut polled, None);
    }
}
