//! The monitor thread: sees that a worker is stuck in one poll while nobody looks after what waits behind it.
//!
//! The lookout covers that as long as there is one. There is none when all workers slept without limit and the first that woke
//! got stuck at once. The monitor looks every 10 ms while anything runs and then wakes a sleeping worker, which takes the role.
//! (A spare worker for the case that *every* worker is stuck belongs here too: the monitor is the one who sees it.)
//!
//! # It sleeps when all sleep
//!
//! The monitor stores `asleep`, fences, and looks whether all seats are parked; a worker clears its own parked bit,
//! fences, and loads `asleep`. One of the two comes first, so either the monitor sees the worker and stays awake,
//! or the worker sees the monitor asleep and wakes it. Model: `loom_tests` below.

use std::sync::OnceLock;
use std::thread::{self, Thread};

use crate::config::MONITOR_PERIOD;
use crate::metrics::Counter;
use crate::shared::{Phase, Shared};
use crate::sync::{AtomicUsize, Ordering, fence};

/// Looks without any activity after which the monitor sleeps until it is stirred.
const QUIET_LOOKS: u32 = 2;

#[derive(Debug)]
pub(crate) struct Monitor {
    thread: OnceLock<Thread>,
    asleep: AtomicUsize,
    pub(crate) wakeups: Counter,
}

impl Default for Monitor {
    fn default() -> Self {
        Monitor {
            thread: OnceLock::new(),
            asleep: AtomicUsize::new(0),
            wakeups: Counter::default(),
        }
    }
}

impl Monitor {
    /// A worker has left its sleep for something to do.
    pub(crate) fn stir(&self) {
        // Pairs with the fence in `fall_asleep`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) != 0 && self.rouse() {
            self.wake();
        }
    }

    fn rouse(&self) -> bool {
        self.asleep.swap(0, Ordering::SeqCst) != 0
    }

    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Announces the sleep. Returns false, with the announcement taken back, if somebody is not parked.
    fn fall_asleep(&self, all_parked: impl Fn() -> bool) -> bool {
        self.asleep.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if all_parked() {
            return true;
        }
        self.asleep.store(0, Ordering::SeqCst);
        false
    }

    fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst) != 0
    }
}

/// The body of the monitor thread.
pub(crate) fn run(shared: &Shared) {
    let monitor = &shared.monitor;
    let _ = monitor.thread.set(thread::current());
    // Polls of each seat at the last look, for those that were not parked then.
    let mut seen: Vec<Option<u64>> = vec![None; shared.seats.len()];
    let mut polls_before = None;
    let mut quiet = 0;
    while shared.phase() == Phase::Running {
        monitor.wakeups.add(1);
        let polls = shared.total_polls();
        if shared.idle.all_parked() && polls_before == Some(polls) {
            quiet += 1;
        } else {
            quiet = 0;
        }
        polls_before = Some(polls);
        if quiet >= QUIET_LOOKS && monitor.fall_asleep(|| shared.idle.all_parked()) {
            while monitor.is_asleep() && shared.phase() == Phase::Running {
                thread::park();
            }
            quiet = 0;
            seen.fill(None);
        }
        thread::park_timeout(MONITOR_PERIOD);
        let mut stuck = false;
        for (index, seat) in shared.seats.iter().enumerate() {
            let now = (!shared.idle.is_parked(index)).then(|| seat.counters.polls.get());
            stuck |= now.is_some() && now == seen[index];
            seen[index] = now;
        }
        if stuck && !shared.lookout.is_on_duty(shared) {
            shared.wake_any();
        }
    }
}

/// `RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-scheduler --release --lib loom`
#[cfg(all(test, divisi_loom))]
mod loom_tests {
    use super::*;
    use crate::idle::Idle;
    use loom::sync::Arc;

    #[test]
    fn loom_a_worker_that_wakes_is_seen_or_stirs_the_monitor() {
        loom::model(|| {
            let idle = Arc::new(Idle::new(1));
            let monitor = Arc::new(Monitor::default());
            idle.park(0);
            let worker = loom::thread::spawn({
                let (idle, monitor) = (idle.clone(), monitor.clone());
                move || {
                    idle.unpark(0);
                    monitor.stir();
                }
            });
            let slept = monitor.fall_asleep(|| idle.all_parked());
            worker.join().unwrap();
            assert!(
                !slept || !monitor.is_asleep(),
                "the monitor sleeps while a worker runs"
            );
        });
    }
}
