//! Waiting for the last task to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use divisi_task::Registry;
use parking_lot::{Condvar, Mutex};

/// How long a missed end of the last task can keep a shutdown waiting.
const RECHECK: Duration = Duration::from_millis(10);

/// Told by every task that ends; costs one load while nobody waits.
///
/// A task that ends looks at `waiting` without a fence, which every task would pay for; so in theory it may miss a waiter that
/// has just come. The waiter therefore also looks by itself, every [`RECHECK`].
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

    /// Blocks until at most `left` tasks live or the deadline has passed. Returns whether so few live.
    pub(crate) fn wait(&self, registry: &Registry, left: usize, deadline: Instant) -> bool {
        self.waiting.store(true, Ordering::SeqCst);
        let mut guard = self.lock.lock();
        while registry.len() > left {
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            self.changed
                .wait_until(&mut guard, deadline.min(now + RECHECK));
        }
        true
    }
}
