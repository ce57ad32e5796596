//! Stealing that does not give up half-way.

use crossbeam_deque::Steal;

/// Tries to steal until that works or there is nothing: another thread was in the way of an attempt that asks for a retry.
pub(crate) fn settled<T>(mut attempt: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match attempt() {
            Steal::Success(stolen) => return Some(stolen),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}
