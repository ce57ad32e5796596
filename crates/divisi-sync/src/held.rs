//! Who holds which lock: help against deadlocks and locks that are held for too long.
//!
//! As long as somebody has a [`Tracking`], every [`Mutex`](crate::Mutex) that is locked and every permit of a [`Semaphore`](crate::Semaphore) that is
//! taken is listed, with the task that took it and the place in the source. What was taken before is not. Without it, taking a lock costs one look at a number that is zero.
//!
//! ```
//! use divisi_sync::{Mutex, held};
//!
//! let _tracking = held::track();
//! let total = Mutex::new(5);
//! let guard = total.try_lock().unwrap();
//! let holder = total.holder().unwrap();
//! assert_eq!((holder.what(), holder.taken_at().file()), ("Mutex", file!()));
//! drop(guard);
//! assert!(total.holder().is_none());
//! ```

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use divisi_task::{TaskId, TaskRef, current};
use parking_lot::Mutex;

/// How many [`Tracking`]s there are.
static TRACKED: AtomicUsize = AtomicUsize::new(0);

static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

/// A lock or permit that somebody holds.
#[derive(Clone)]
pub struct Held {
    id: u64,
    what: &'static str,
    address: usize,
    taken_at: &'static Location<'static>,
    since: Instant,
    task: Option<TaskRef>,
}

/// Keeps the list of what is held as long as it lives: see the [module](self).
#[derive(Debug)]
#[must_use = "what is held is listed only as long as this lives"]
pub struct Tracking(());

/// Begins to list what is held.
pub fn track() -> Tracking {
    // Nothing is ordered by it: what is taken at the same time is listed, or not.
    TRACKED.fetch_add(1, Ordering::Relaxed);
    Tracking(())
}

impl Drop for Tracking {
    fn drop(&mut self) {
        TRACKED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All that is held and was taken while it was [tracked](track), oldest first.
pub fn all() -> Vec<Held> {
    HELD.lock().clone()
}

impl Held {
    /// A number of its own: no other gets the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it is: `Mutex` or `Semaphore`.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Where it was taken.
    pub fn taken_at(&self) -> &'static Location<'static> {
        self.taken_at
    }

    /// How long it has been held.
    pub fn held_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// Which task took it, if a task did.
    pub fn task_id(&self) -> Option<TaskId> {
        self.task.as_ref().map(TaskRef::id)
    }

    /// The task that took it, if a task did. It may have given it to another since.
    pub fn task(&self) -> Option<&TaskRef> {
        self.task.as_ref()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("what", &self.what)
            .field("taken_at", &format_args!("{}", self.taken_at))
            .field("held_for", &self.held_for())
            .field("task", &self.task_id())
            .finish()
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} taken at {}", self.what, self.taken_at)?;
        match self.task_id() {
            Some(task) => write!(f, " by task {task}"),
            None => f.write_str(" outside of any task"),
        }
    }
}

/// The first that is held of the lock at that address.
pub(crate) fn of(address: usize) -> Option<Held> {
    let held = HELD.lock();
    held.iter().find(|held| held.address == address).cloned()
}

/// All that is held of the lock at that address.
pub(crate) fn all_of(address: usize) -> Vec<Held> {
    let held = HELD.lock();
    let of_it = held.iter().filter(|held| held.address == address);
    of_it.cloned().collect()
}

/// The part of a guard that keeps it listed. Zero: it is not.
#[derive(Debug)]
pub(crate) struct Listed(u64);

impl Listed {
    #[inline]
    pub(crate) fn new(
        what: &'static str,
        address: impl FnOnce() -> usize,
        taken_at: &'static Location<'static>,
    ) -> Self {
        if TRACKED.load(Ordering::Relaxed) == 0 {
            return Self(0);
        }
        Self::list(what, address(), taken_at)
    }

    #[cold]
    fn list(what: &'static str, address: usize, taken_at: &'static Location<'static>) -> Self {
        let task = current::task();
        let since = Instant::now();
        Self::push(|id| Held {
            id,
            what,
            address,
            taken_at,
            since,
            task,
        })
    }

    fn push(make: impl FnOnce(u64) -> Held) -> Self {
        static NEXT: Mutex<u64> = Mutex::new(1);
        // Locked before the number is given, so that the list is in the order of numbers.
        let mut held = HELD.lock();
        let id = {
            let mut next = NEXT.lock();
            *next += 1;
            *next
        };
        held.push(make(id));
        Self(id)
    }

    /// Another for a part of the same, which has been held as long, and by the same task.
    pub(crate) fn split(&self) -> Self {
        if self.0 == 0 {
            return Self(0);
        }
        let before = {
            let held = HELD.lock();
            let index = held.binary_search_by_key(&self.0, |held| held.id);
            index.ok().map(|index| held[index].clone())
        };
        match before {
            Some(before) => Self::push(|id| Held { id, ..before }),
            None => Self(0),
        }
    }

    /// For both together: the listing of this one, or else of the other.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.0 == 0 {
            *self = other;
        }
    }
}

impl Drop for Listed {
    #[inline]
    fn drop(&mut self) {
        if self.0 != 0 {
            unlist(self.0);
        }
    }
}

#[cold]
fn unlist(id: u64) {
    let mut held = HELD.lock();
    let index = held.binary_search_by_key(&id, |held| held.id);
    let gone = index.ok().map(|index| held.remove(index));
    drop(held);
    // Its task may end with the last reference to it: outside the lock.
    drop(gone);
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use std::panic::Location;

    use super::{Listed, all_of};

    #[test]
    fn a_part_that_was_split_off_is_held_as_long_and_by_the_same_task() {
        const ADDRESS: usize = 1;
        let whole = Listed::list("Semaphore", ADDRESS, Location::caller());
        let before = all_of(ADDRESS)[0].clone();
        let part = whole.split();
        drop(whole);
        let held = all_of(ADDRESS);
        assert_eq!(held.len(), 1);
        assert_ne!(held[0].id, before.id);
        assert_eq!(held[0].since, before.since);
        assert_eq!(held[0].taken_at, before.taken_at);
        assert_eq!(held[0].task_id(), before.task_id());
        drop(part);
        assert!(all_of(ADDRESS).is_empty());
    }

    #[test]
    fn what_is_merged_stays_listed_once() {
        const ADDRESS: usize = 2;
        let list = || Listed::list("Semaphore", ADDRESS, Location::caller());
        let mut both = Listed(0);
        both.merge(list());
        assert_eq!(all_of(ADDRESS).len(), 1);
        both.merge(list());
        assert_eq!(all_of(ADDRESS).len(), 1);
        drop(both);
        assert!(all_of(ADDRESS).is_empty());
    }
}
