//! Which thread a task of [`spawn_local`](crate::spawn_local) belongs to.
//!
//! A thread gets a number when it spawns its first local task, and keeps it. Numbers are never used twice in
//! a process, so a thread that is gone can't be mistaken for one that came later (as an address in
//! thread-local memory could be).

use std::sync::atomic::{AtomicU32, Ordering};

use crate::current;

/// In place of a thread's number: the task may be touched by all.
pub(crate) const ANY_THREAD: u32 = 0;

/// The calling thread's number, given now if it has none.
///
/// # Panics
/// After 2^32 - 1 threads.
pub(crate) fn this_thread() -> u32 {
    /// Not loom's type: only that numbers differ matters, and nothing else is published through it.
    static LAST: AtomicU32 = AtomicU32::new(ANY_THREAD);

    let known = current::thread_number();
    if known != ANY_THREAD {
        return known;
    }
    let number = LAST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            last.checked_add(1)
        })
        .expect("more than 2^32 threads of this process have spawned local tasks")
        + 1;
    current::set_thread_number(number);
    number
}

/// Whether the calling thread may touch the future of a task that `owner` spawned.
#[inline]
pub(crate) fn may_touch(owner: u32) -> bool {
    owner == ANY_THREAD || owner == current::thread_number()
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;

    #[test]
    fn threads_have_different_numbers_that_stay() {
        let mine = this_thread();
        assert_eq!(mine, this_thread());
        assert_ne!(mine, ANY_THREAD);
        let other = std::thread::spawn(this_thread).join().unwrap();
        assert_ne!(mine, other);
    }

    #[test]
    fn a_thread_without_a_number_owns_nothing() {
        let mine = this_thread();
        std::thread::spawn(move || {
            assert!(!may_touch(mine));
            assert!(may_touch(ANY_THREAD));
        })
        .join()
        .unwrap();
        assert!(may_touch(mine));
    }
}
