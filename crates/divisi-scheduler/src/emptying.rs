//! Waiting for the last task to end.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Instant;

use divisi_task::Registry;
use parking_lot::{Condvar, Mutex};

/// Told by every task that ends; costs one load while nobody waits.
///
/// A task leaves the registry, fences and looks at `waiting`; who waits sets `waiting`, fences and looks at the registry. One of the two comes
/// first, so either the waiter finds the registry without the task or the task finds the waiter, and then takes the lock, which it
/// gets only before the waiter's look or while it sleeps.
#[derive(Debug, Default)]
pub(crate) struct Emptying {
    waiting: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Emptying {
    pub(crate) fn task_ended(&self) {
        if self.waiting.load(Ordering::SeqCst) {
            drop(self.lock.lock());
            self.changed.notify_all();
        }
    }

    /// Blocks until no task lives or the deadline has passed. Returns whether none lives.
    pub(crate) fn wait(&self, registry: &Registry, deadline: Instant) -> bool {
        self.waiting.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let mut guard = self.lock.lock();
        while !registry.is_empty() {
            if self.changed.wait_until(&mut guard, deadline).timed_out() {
                return registry.is_empty();
            }
        }
        true
    }
}
