//! Starting background threads, and knowing which of them have not ended.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::context;
use crate::shared::Shared;

/// The name of a thread by its number.
pub(crate) type ThreadName = Arc<dyn Fn(usize) -> String + Send + Sync>;

pub(crate) struct Threads {
    name: ThreadName,
    stack_size: Option<usize>,
    /// Numbers of the threads that have not ended.
    alive: Mutex<Vec<usize>>,
    ended: Condvar,
}

impl Threads {
    pub(crate) fn new(name: ThreadName, stack_size: Option<usize>) -> Threads {
        Threads {
            name,
            stack_size,
            alive: Mutex::new(Vec::new()),
            ended: Condvar::new(),
        }
    }

    /// Starts a thread. `number` names it and is what [`wait`](Threads::wait) knows it by: its seat, or the number after the last for the
    /// monitor.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        number: usize,
        body: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> io::Result<()> {
        let threads = &shared.threads;
        let mut builder = thread::Builder::new().name((threads.name)(number));
        if let Some(bytes) = threads.stack_size {
            builder = builder.stack_size(bytes);
        }
        threads.alive.lock().push(number);
        let started = builder.spawn({
            let shared = shared.clone();
            move || {
                let ended = Ended { shared, number };
                body(&ended.shared);
            }
        });
        if started.is_err() {
            threads.has_ended(number);
        }
        started.map(drop)
    }

    fn has_ended(&self, number: usize) {
        let mut alive = self.alive.lock();
        if let Some(place) = alive.iter().position(|&other| other == number) {
            alive.swap_remove(place);
        }
        // Whoever waits does not wait for itself, and not for one after the other.
        let perhaps_the_last = alive.len() <= 1;
        drop(alive);
        if perhaps_the_last {
            self.ended.notify_all();
        }
    }

    /// Waits until all threads but the calling one have ended. Returns the numbers of those that have not by `deadline`.
    pub(crate) fn wait(shared: &Shared, deadline: Instant) -> Vec<usize> {
        let own = context::seat_in(shared);
        let mut alive = shared.threads.alive.lock();
        while alive.iter().any(|&number| Some(number) != own) {
            if shared
                .threads
                .ended
                .wait_until(&mut alive, deadline)
                .timed_out()
            {
                break;
            }
        }
        alive
            .iter()
            .copied()
            .filter(|&number| Some(number) != own)
            .collect()
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("alive", &self.alive.lock())
            .finish_non_exhaustive()
    }
}

/// Says that a thread has ended, however it did.
struct Ended {
    shared: Arc<Shared>,
    number: usize,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.shared.threads.has_ended(self.number);
    }
}
