//! Signals of the process, as a descriptor that becomes readable.
//!
//! # Participants
//! A [`Caught`] has a *slot* and a pair of sockets. The *handler*, which the system runs on any thread at any moment, walks the list of slots; in each that
//! wants the signal it sets the signal's bit and writes a byte to the socket. A task that waits for the other socket takes the bit.
//!
//! # No allocation, no lock in the handler
//! The list only grows: a slot is leaked, and used again by a later `Caught`, so there are as many as there ever were receivers at a time. The handler reads
//! atomics and calls `write`, which POSIX allows in a handler, and leaves `errno` as it was.
//!
//! # The handler writes to no stranger's descriptor
//! Before a `Caught` closes its sockets it withdraws its wish (`wanted = 0`) and then waits until `users` is zero. The handler counts itself in *before* it
//! reads the wish. All four are sequentially consistent: a handler that saw the wish was counted before the wish was withdrawn, so the wait sees it. A handler
//! that interrupts the waiting thread itself has left again before that thread goes on.
//!
//! # No lost signal
//! The bit is set before the byte is written, and the receiver reads the socket empty *before* it looks for bits and finds none. So a bit that it
//! did not see has a byte that it did not read. If the socket is full, the byte is not needed: others wait there. Several tasks may take: one that reads the socket
//! empty, takes one bit and leaves others has taken the bytes from those who wait for them, and writes one again.
//!
//! # Dispositions
//! The first `Caught` of a signal installs the handler and keeps what was there; the last puts that back, unless somebody else has
//! installed another handler meanwhile, which is left alone.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::{fmt, mem, ptr, thread};

use parking_lot::Mutex;

/// Signal numbers are 1 to 64 on every system (on most of them fewer).
const HIGHEST: i32 = 64;

/// What one receiver shows the handler. Lives for ever once it is in the list.
struct Slot {
    next: AtomicPtr<Slot>,
    /// A `Caught` has it.
    taken: AtomicBool,
    /// The signals that it wants, as bits.
    wanted: AtomicU64,
    /// The signals that have come and were not taken.
    pending: AtomicU64,
    /// Where the handler writes. Valid while `wanted` is not zero or `users` is not.
    descriptor: AtomicI32,
    /// Handlers that may be using the descriptor.
    users: AtomicUsize,
}

/// The newest slot.
static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

fn slots() -> impl Iterator<Item = &'static Slot> {
    let follow = |link: &AtomicPtr<Slot>| {
        // SAFETY: every pointer in the list comes from `Box::leak` in `new_slot`, which published the finished slot with release order, and slots are only
        // ever used through shared references.
        unsafe { link.load(Ordering::Acquire).as_ref::<'static>() }
    };
    std::iter::successors(follow(&SLOTS), move |slot| follow(&slot.next))
}

fn free_slot() -> &'static Slot {
    let free = |slot: &&'static Slot| !slot.taken.swap(true, Ordering::Acquire);
    slots().find(free).unwrap_or_else(new_slot)
}

fn new_slot() -> &'static Slot {
    let slot: &'static Slot = Box::leak(Box::new(Slot {
        next: AtomicPtr::new(ptr::null_mut()),
        taken: AtomicBool::new(true),
        wanted: AtomicU64::new(0),
        pending: AtomicU64::new(0),
        descriptor: AtomicI32::new(-1),
        users: AtomicUsize::new(0),
    }));
    let mut newest = SLOTS.load(Ordering::Relaxed);
    loop {
        slot.next.store(newest, Ordering::Relaxed);
        let link = ptr::from_ref(slot).cast_mut();
        match SLOTS.compare_exchange_weak(newest, link, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return slot,
            Err(now) => newest = now,
        }
    }
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// What the system calls when a signal arrives.
extern "C" fn handle(signal: libc::c_int) {
    for slot in slots() {
        slot.users.fetch_add(1, Ordering::SeqCst);
        if slot.wanted.load(Ordering::SeqCst) & bit(signal) != 0 {
            slot.pending.fetch_or(bit(signal), Ordering::SeqCst);
            write_byte(slot.descriptor.load(Ordering::SeqCst));
        }
        slot.users.fetch_sub(1, Ordering::SeqCst);
    }
}

fn write_byte(descriptor: libc::c_int) {
    let byte = 0_u8;
    // SAFETY: `__errno_location` and its like give a valid pointer to the calling thread's `errno`, which nobody else writes. `write` reads one byte from a
    // live variable; the descriptor is open, as the module's second proof shows, and even if it were not nothing in memory could break.
    unsafe {
        let errno = errno_location();
        let before = *errno;
        // The socket does not block, and a full one has what it needs. There is nobody to tell of other errors.
        let _ = libc::write(descriptor, (&raw const byte).cast(), 1);
        *errno = before;
    }
}

#[cfg(any(target_os = "linux", target_os = "emscripten", target_os = "redox"))]
use libc::__errno_location as errno_location;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
use libc::__error as errno_location;

#[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
use libc::__errno as errno_location;

/// How many receivers a signal has, and what was there before the first.
struct Taken {
    receivers: usize,
    before: libc::sigaction,
}

/// By signal number; the lock orders all changes of dispositions.
static TAKEN: Mutex<[Option<Taken>; HIGHEST as usize + 1]> =
    Mutex::new([const { None }; HIGHEST as usize + 1]);

fn our_action() -> &'static libc::sigaction {
    static OURS: OnceLock<libc::sigaction> = OnceLock::new();
    OURS.get_or_init(|| {
        // SAFETY: `sigaction` is a C structure of numbers, sets and optional pointers, for which all zeros is a valid value.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = handle as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // Calls that the signal interrupts go on; threads with an alternate stack use it, since theirs may be small.
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        action
    })
}

/// Sets a disposition, if one is given, and returns what was there.
fn exchange(signal: i32, action: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: as in `our_action`.
    let mut before: libc::sigaction = unsafe { mem::zeroed() };
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both pointers are null or valid for the call. The handler in `action` is `handle`, which calls what is allowed in handlers only, or what the
    // system gave as the former disposition.
    if unsafe { libc::sigaction(signal, action, &raw mut before) } == 0 {
        Ok(before)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn take_over(signal: i32) -> io::Result<()> {
    let mut taken = TAKEN.lock();
    let place = &mut taken[signal as usize];
    match place {
        Some(taken) => taken.receivers += 1,
        None => {
            *place = Some(Taken {
                receivers: 1,
                before: exchange(signal, Some(our_action()))?,
            })
        }
    }
    Ok(())
}

fn give_back(signal: i32) {
    let mut taken = TAKEN.lock();
    let place = &mut taken[signal as usize];
    let Some(now) = place else { return };
    now.receivers -= 1;
    if now.receivers > 0 {
        return;
    }
    let ours = our_action().sa_sigaction;
    if exchange(signal, None).is_ok_and(|current| current.sa_sigaction == ours) {
        // The system accepted this signal and this disposition before.
        let _ = exchange(signal, Some(&now.before));
    }
    *place = None;
}

/// A set of signals that come here instead of doing what they did. The descriptor is readable when one has come; see the
/// module `signal` of the crate `divisi` for what is promised.
///
/// ```
/// use divisi_reactor::signals::Caught;
///
/// let window_changes = Caught::new(&[28]).unwrap();
/// let nothing_yet = window_changes.take().unwrap_err();
/// assert_eq!(nothing_yet.kind(), std::io::ErrorKind::WouldBlock);
/// ```
pub struct Caught {
    slot: &'static Slot,
    receiver: UnixStream,
    /// What the handler writes to.
    sender: UnixStream,
    signals: Vec<i32>,
}

impl Caught {
    /// Takes `signals` over.
    ///
    /// # Errors
    /// The signal that was refused, with the system's reason; if there are no descriptors left, the first.
    ///
    /// # Panics
    /// If a number is not in 1 to 64.
    pub fn new(signals: &[i32]) -> Result<Caught, (i32, io::Error)> {
        let in_range = |signal: &i32| (1..=HIGHEST).contains(signal);
        assert!(signals.iter().all(in_range), "not signals: {signals:?}");
        let first = signals.first().copied().unwrap_or(0);
        let (receiver, sender) = sockets().map_err(|error| (first, error))?;
        let slot = free_slot();
        slot.pending.store(0, Ordering::SeqCst);
        slot.descriptor.store(sender.as_raw_fd(), Ordering::SeqCst);
        let mut caught = Caught {
            slot,
            receiver,
            sender,
            signals: Vec::with_capacity(signals.len()),
        };
        for &signal in signals {
            if caught.signals.contains(&signal) {
                continue;
            }
            // The wish comes first: once the handler is there, no signal goes nowhere.
            slot.wanted.fetch_or(bit(signal), Ordering::SeqCst);
            take_over(signal).map_err(|error| (signal, error))?;
            caught.signals.push(signal);
        }
        Ok(caught)
    }

    /// Takes a signal that has come, lower numbers first.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none.
    pub fn take(&self) -> io::Result<i32> {
        if let Some(signal) = self.pop() {
            return Ok(signal);
        }
        let nothing = self.drain();
        let taken = self.pop();
        if taken.is_some() && self.slot.pending.load(Ordering::SeqCst) != 0 {
            // Their bytes may be gone with those of this one, and who waits for them has not been woken yet. A full socket says the same as a byte more.
            let _ = (&self.sender).write(&[0]);
        }
        taken.ok_or(nothing)
    }

    fn pop(&self) -> Option<i32> {
        let mut pending = self.slot.pending.load(Ordering::SeqCst);
        while pending != 0 {
            let lowest = pending & pending.wrapping_neg();
            // Two tasks may take from one receiver.
            pending = self.slot.pending.fetch_and(!lowest, Ordering::SeqCst);
            if pending & lowest != 0 {
                return Some(lowest.trailing_zeros() as i32 + 1);
            }
        }
        None
    }

    /// Reads the socket empty; returns the error that says so.
    fn drain(&self) -> io::Error {
        let mut bytes = [0; 64];
        loop {
            match (&self.receiver).read(&mut bytes) {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error,
            }
        }
    }
}

fn sockets() -> io::Result<(UnixStream, UnixStream)> {
    let (receiver, sender) = UnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    sender.set_nonblocking(true)?;
    Ok((receiver, sender))
}

impl Drop for Caught {
    fn drop(&mut self) {
        // Dispositions first: until they are back, the handler finds the slot.
        for &signal in &self.signals {
            give_back(signal);
        }
        self.slot.wanted.store(0, Ordering::SeqCst);
        while self.slot.users.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        self.slot.descriptor.store(-1, Ordering::SeqCst);
        self.slot.taken.store(false, Ordering::Release);
    }
}

impl AsFd for Caught {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl fmt::Debug for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caught").field(&self.signals).finish()
    }
}
