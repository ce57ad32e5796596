//! Which threads run at a lowered priority.

use std::cell::Cell;

thread_local! {
    static LOWERED: Cell<bool> = const { Cell::new(false) };
}

/// Declares for good that the current thread runs at a lower priority than the workers. What it wakes or spawns from here on goes to them by
/// a way on which no worker ever waits for it, even if it is preempted half-way: one allocation more a task than the usual way.
///
/// ```
/// std::thread::spawn(|| {
///     divisi_scheduler::mark_lowered();
///     // .. tasks that are woken here reach their workers all the same
/// })
/// .join()
/// .unwrap();
/// ```
pub fn mark_lowered() {
    LOWERED.with(|lowered| lowered.set(true));
}

pub(crate) fn is_marked() -> bool {
    // In the destructors of other thread-locals the usual way serves as well.
    LOWERED.try_with(Cell::get).unwrap_or(false)
}
