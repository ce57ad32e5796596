//! The scheduling class of a thread: the one that rustix has no function for.

use std::cell::Cell;
use std::io;

thread_local! {
    static LOWERED: Cell<bool> = const { Cell::new(false) };
}

/// Says that the calling thread stands back behind others, for life. From now on a [`Timer`](crate::Timer) that is dropped
/// on it takes no lock that a reactor's owner wants: the owner ends the timer in its next turn.
pub fn mark_lowered() {
    LOWERED.with(|lowered| lowered.set(true));
}

pub(crate) fn is_lowered() -> bool {
    LOWERED.try_with(Cell::get).unwrap_or(false)
}

/// Moves the calling thread to `SCHED_IDLE`: it runs when no thread of the ordinary classes wants the core, and hardly beside one.
///
/// There is no way back for an ordinary user, and threads that this one starts inherit it.
///
/// # Errors
/// Those of the kernel (a sandbox may refuse the call), and [`io::ErrorKind::Unsupported`] on systems without such a class.
///
/// ```no_run
/// std::thread::spawn(|| {
///     divisi_reactor::thread_priority::become_idle_class()?;
///     // ... work that nobody waits for ...
///     std::io::Result::Ok(())
/// });
/// ```
#[cfg(target_os = "linux")]
pub fn become_idle_class() -> io::Result<()> {
    /// The calling thread: Linux schedules threads, whatever POSIX calls them.
    const THIS_THREAD: libc::pid_t = 0;
    // The kernel's `struct sched_param`, which is this one field (C libraries append others). The class has no levels, and
    // the kernel insists on this one.
    let sched_priority: libc::c_int = 0;
    // Not libc's `sched_setscheduler`: musl's only answers ENOSYS.
    //
    // SAFETY: the kernel reads one `struct sched_param`, an int, from a pointer that is valid for the call, and writes
    // nothing.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            THIS_THREAD,
            libc::SCHED_IDLE,
            &raw const sched_priority,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// There is no such class here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
#[cfg(not(target_os = "linux"))]
pub fn become_idle_class() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux", not(divisi_loom)))]
mod tests {
    use super::*;

    /// The scheduling policy of the calling thread: field 41 of its stat line, counted after the name's closing parenthesis.
    fn policy() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(38).unwrap().parse().unwrap()
    }

    #[test]
    fn the_class_is_the_calling_threads_alone() {
        let before = policy();
        std::thread::spawn(|| {
            become_idle_class().unwrap();
            assert_eq!(policy(), libc::SCHED_IDLE);
        })
        .join()
        .unwrap();
        assert_eq!(policy(), before);
    }
}
