//! Linux: epoll, edge-triggered, without `polling`'s detour.
//!
//! `polling::Poller` owns the epoll descriptor; registering and waiting go to it directly, because
//! `Poller::wait` makes five system calls and cannot ask for `EPOLLRDHUP` (see `crate::readiness`
//! for why the end of a stream must be seen).
//!
//! Every source is registered once, for `IN | OUT | RDHUP | PRI`, edge-triggered. Neither a wait
//! nor an event changes a registration. `PRI` is asked for because a read stops at urgent data, so
//! that a short read on such a stream does not mean "drained".
//!
//! Time-outs go through `epoll_pwait2`, which takes nanoseconds. It is called directly: rustix
//! uses it only with its feature `linux_5_11`, which would make *every* user of rustix in the
//! program fail on older kernels. Where the kernel (or a sandbox) does not know the call, the
//! driver falls back to milliseconds, rounded up: late, never early.

use super::{Token, explain_registration};
use crate::readiness::Ready;
use polling::Poller;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// No source has this token: its slab key would be 2^32 - 2. (`polling` keeps 2^64 - 1 to itself.)
const BELL: u64 = u64::MAX - 1;

/// A longer wait is cut to this; the caller sees an early, empty turn. Far below what overflows
/// any of the kernel's types.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub(crate) struct Driver {
    poller: Poller,
    /// An eventfd, registered edge-triggered and never read: each write is one edge.
    bell: OwnedFd,
    /// Set once `epoll_pwait2` has been refused.
    coarse: AtomicBool,
}

impl Driver {
    /// A short read or write proves that the source is drained.
    pub(crate) const SHORT_MEANS_DRAINED: bool = true;

    pub(crate) fn new() -> io::Result<Driver> {
        let poller = Poller::new()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &poller,
            &bell,
            EventData::new_u64(BELL),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Driver {
            poller,
            bell,
            coarse: AtomicBool::new(false),
        })
    }

    /// Starts to watch `fd`. What is ready already is reported as an event.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let interest =
            EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET;
        epoll::add(&self.poller, fd, EventData::new_u64(token.0), interest)
            .map_err(|errno| explain_registration(errno.into()))
    }

    /// True if a waiter must call [`Driver::rearm`]: never, edges keep coming.
    pub(crate) fn needs_rearm(&self) -> bool {
        false
    }

    pub(crate) fn rearm(
        &self,
        _fd: BorrowedFd<'_>,
        _token: Token,
        _read: bool,
        _write: bool,
    ) -> io::Result<()> {
        Ok(())
    }

    /// Stops watching `fd`. Explicit, because closing a descriptor that was duplicated does not.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        epoll::delete(&self.poller, fd).map_err(io::Error::from)
    }

    /// Waits for events: not at all, for a time, or for ever. One system call. A signal ends the
    /// wait without events.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.len = 0;
        events.bell = false;
        let buffer = &mut events.buffer[..events.limit];
        let waited = match timeout {
            None => epoll::wait(&self.poller, buffer, None),
            Some(Duration::ZERO) => epoll::wait(&self.poller, buffer, Some(&NO_TIME)),
            Some(timeout) => self.wait_for(buffer, timeout.min(LONGEST_WAIT)),
        };
        match waited {
            Ok(len) => events.len = len,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        events.bell = events.ready().iter().any(|event| event.data.u64() == BELL);
        Ok(())
    }

    fn wait_for(&self, buffer: &mut [epoll::Event], timeout: Duration) -> Result<usize, Errno> {
        if !self.coarse.load(Ordering::Relaxed) {
            match epoll_pwait2(self.poller.as_fd(), buffer, timeout) {
                // Sandboxes (seccomp) answer EPERM for calls they do not know; the call itself
                // never does.
                Err(Errno::NOSYS | Errno::PERM) => self.coarse.store(true, Ordering::Relaxed),
                waited => return waited,
            }
        }
        epoll::wait(&self.poller, buffer, Some(&whole_millis(timeout)))
    }

    /// Ends the wait of one thread, or makes the next wait return at once.
    pub(crate) fn ring(&self) {
        // Only an overflow of the counter can fail, after 2^64 - 2 rings.
        let written = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        debug_assert_eq!(written, Ok(8));
    }

    /// The descriptor that another event loop can wait for.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.poller.as_fd())
    }
}

/// The time-out of a wait that only looks.
const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// The time-out in whole milliseconds, rounded up: a wait must not end early.
fn whole_millis(timeout: Duration) -> Timespec {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    // At most `LONGEST_WAIT`, which fits every integer used here.
    Timespec {
        tv_sec: (millis / 1000) as _,
        tv_nsec: (millis % 1000 * 1_000_000) as _,
    }
}

/// `struct __kernel_timespec`: 64 bits each on every architecture.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

fn epoll_pwait2(
    epoll: BorrowedFd<'_>,
    buffer: &mut [epoll::Event],
    timeout: Duration,
) -> Result<usize, Errno> {
    let timeout = KernelTimespec {
        // At most `LONGEST_WAIT`.
        seconds: timeout.as_secs() as i64,
        nanoseconds: timeout.subsec_nanos().into(),
    };
    let capacity = i32::try_from(buffer.len()).unwrap_or(i32::MAX);
    // SAFETY: `epoll` is open for the length of the borrow. The kernel writes at most `capacity`
    // records to `buffer`, which holds at least as many and is exclusively borrowed; its element
    // type has the layout of `struct epoll_event`, for any bit pattern (rustix passes it to
    // `epoll_pwait` itself). `timeout` is a live `__kernel_timespec`, which the kernel reads. The
    // signal mask is null: none, so its size is ignored.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            buffer.as_mut_ptr(),
            capacity,
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            0usize,
        )
    };
    if count < 0 {
        let error = io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(count as usize)
}

/// The buffer of a wait.
pub(crate) struct Events {
    buffer: Vec<epoll::Event>,
    limit: usize,
    len: usize,
    bell: bool,
}

// SAFETY: the only part that is not `Send` by itself is the pointer view of an event's data, a union
// with a `u64`; this module writes and reads the data as `u64` tokens only and never follows it.
unsafe impl Send for Events {}

impl Events {
    /// A buffer for at most `limit` events (at least one) a wait.
    pub(crate) fn with_limit(limit: usize) -> Events {
        let mut events = Events {
            buffer: Vec::new(),
            limit: 0,
            len: 0,
            bell: false,
        };
        events.set_limit(limit);
        events
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
        if self.buffer.len() < self.limit {
            let nothing = epoll::Event {
                flags: EventFlags::empty(),
                data: EventData::new_u64(0),
            };
            self.buffer.resize(self.limit, nothing);
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// True if the last wait took the bell's edge.
    pub(crate) fn bell(&self) -> bool {
        self.bell
    }

    /// True if the last wait reported a source.
    pub(crate) fn any(&self) -> bool {
        self.len > usize::from(self.bell)
    }

    /// What the last wait reported about sources.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, Ready)> + '_ {
        self.ready()
            .iter()
            .map(|event| (event.data.u64(), event.flags))
            .filter(|&(token, _)| token != BELL)
            .map(|(token, flags)| (Token(token), ready(flags)))
    }

    fn ready(&self) -> &[epoll::Event] {
        &self.buffer[..self.len]
    }
}

fn ready(flags: EventFlags) -> Ready {
    const MEANING: [(EventFlags, Ready); 6] = [
        (EventFlags::IN, Ready::READABLE),
        (EventFlags::OUT, Ready::WRITABLE),
        (EventFlags::RDHUP, Ready::READ_CLOSED),
        (EventFlags::PRI, Ready::URGENT),
        (EventFlags::HUP, Ready::CLOSED),
        (EventFlags::ERR, Ready::ERROR),
    ];
    let mut ready = MEANING
        .into_iter()
        .filter(|&(flag, _)| flags.contains(flag))
        .fold(Ready::NONE, |ready, (_, bit)| ready | bit);
    // Whoever waits must try, to learn of the end or the error.
    if ready.intersects(Ready::READ_CLOSED | Ready::URGENT) {
        ready = ready | Ready::READABLE;
    }
    if ready.intersects(Ready::CLOSED | Ready::ERROR) {
        ready = ready | Ready::READABLE | Ready::WRITABLE;
    }
    ready
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn coarse_time_outs_are_rounded_up() {
        for (nanos, millis) in [
            (1, 1),
            (999_999, 1),
            (1_000_000, 1),
            (1_000_001, 2),
            (2_500_000_000, 2500),
        ] {
            let spec = whole_millis(Duration::from_nanos(nanos));
            let total = spec.tv_sec as u128 * 1000 + spec.tv_nsec as u128 / 1_000_000;
            assert_eq!(total, millis);
            assert_eq!(spec.tv_nsec % 1_000_000, 0);
        }
    }

    #[test]
    fn a_kernel_without_nanosecond_waits_is_late_and_never_early() {
        let driver = Driver::new().unwrap();
        driver.coarse.store(true, Ordering::Relaxed);
        let mut events = Events::with_limit(4);
        let timeout = Duration::from_micros(1_100);
        let start = Instant::now();
        driver.wait(&mut events, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout);
        assert!(!events.any() && !events.bell());
    }

    #[test]
    fn nanosecond_waits_are_never_early() {
        let driver = Driver::new().unwrap();
        let mut events = Events::with_limit(4);
        for micros in [1, 50, 333, 1_001] {
            let timeout = Duration::from_micros(micros);
            let start = Instant::now();
            driver.wait(&mut events, Some(timeout)).unwrap();
            assert!(start.elapsed() >= timeout);
        }
    }

    #[test]
    fn the_bell_ends_a_wait_and_is_not_reported_as_a_source() {
        let driver = Driver::new().unwrap();
        let mut events = Events::with_limit(4);
        driver.ring();
        driver.wait(&mut events, None).unwrap();
        assert!(events.bell());
        assert!(!events.any());
        assert_eq!(events.iter().count(), 0);
        driver.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(!events.bell(), "one edge a ring");
    }

    #[test]
    fn the_longest_wait_does_not_overflow() {
        let driver = Driver::new().unwrap();
        let mut events = Events::with_limit(4);
        driver.ring();
        driver.wait(&mut events, Some(Duration::MAX)).unwrap();
        assert!(events.bell());
    }
}
