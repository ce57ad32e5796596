//! Descriptors that whoever started this process opened for it.
//!
//! # Nobody else owns what is taken
//! A descriptor is taken only while `FD_CLOEXEC` is not set on it. The flag is never set on one that has just come through an `exec`, and always on one that std,
//! rustix or this crate has opened; taking sets it, so nothing is taken twice. What is left is a descriptor that came through the `exec`, or that foreign code
//! opened without the flag: the caller asks only for numbers which the one who started the process has promised to it, and a number that came through the `exec`
//! is free for nobody else to be given until its owner closes it.

use std::io;
use std::ops::Range;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use parking_lot::Mutex;

/// Orders the takings, so that no two find the flag unset.
static TAKING: Mutex<()> = Mutex::new(());

/// Why a descriptor cannot be taken.
#[derive(Debug)]
pub enum Refused {
    /// There is no such descriptor.
    NotOpen(RawFd),
    /// This process opened it itself, or has taken it already.
    Owned(RawFd),
    /// The system refused.
    System(RawFd, io::Error),
}

/// Takes over the descriptors of `range`: they are closed on `exec` from now on. If one is refused as [`NotOpen`](Refused::NotOpen) or
/// [`Owned`](Refused::Owned), none is taken.
///
/// # Errors
///
/// The first descriptor that cannot be taken.
pub fn take(range: Range<RawFd>) -> Result<Vec<OwnedFd>, Refused> {
    let _taking = TAKING.lock();
    for descriptor in range.clone() {
        // SAFETY: `F_GETFD` reads a flag of the descriptor, if there is one, and touches no memory of this process.
        match unsafe { libc::fcntl(descriptor, libc::F_GETFD) } {
            -1 => return Err(Refused::NotOpen(descriptor)),
            flags if flags & libc::FD_CLOEXEC != 0 => return Err(Refused::Owned(descriptor)),
            _ => {}
        }
    }
    let mut taken = Vec::new();
    for descriptor in range {
        // SAFETY: `F_SETFD` sets a flag of the descriptor and touches no memory of this process.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(Refused::System(descriptor, io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is open, since its flag could be read and set, and nobody else owns it: the module's argument. No other call takes it,
        // because the flag was read and set under one lock.
        taken.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
    Ok(taken)
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_this_process_opened_is_refused() {
        let (own, _other) = UnixStream::pair().unwrap();
        let number = own.as_raw_fd();
        let error = take(number..number + 1).unwrap_err();
        assert!(
            matches!(error, Refused::Owned(fd) if fd == number),
            "{error:?}"
        );
    }

    #[test]
    fn what_is_not_open_is_refused() {
        let error = take(RawFd::MAX - 1..RawFd::MAX).unwrap_err();
        assert!(
            matches!(error, Refused::NotOpen(fd) if fd == RawFd::MAX - 1),
            "{error:?}"
        );
    }
}
