//! The tickers: one thread per core, of the process's own priority, that wakes up often while jobs run.
//!
//! The kernel chooses who runs when somebody wakes up or at its own tick, 1 to 10 ms apart. An I/O thread that has just used
//! its share is passed over at its wake-up and then waits for that tick, however low the priority of who runs instead. A
//! wake-up of a third thread on that core makes the kernel choose again. So a ticker does nothing but sleep.
//!
//! # They sleep for good while no job runs
//!
//! A ticker **T1** says that it rests, **T2** `fence(SeqCst)`, **T3** looks whether a job runs. Who begins a job has **J1**
//! counted it as running, **J2** `fence(SeqCst)`, **J3** looks who rests, and wakes them. One of the fences comes first; so either T3 sees the job, or
//! J3 sees the rest (and an unpark before the park is kept). An idle pool makes no wake-ups.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use std::thread::{self, Thread};
use std::time::Duration;

use super::Shared;

/// How long a ticker sleeps. Measured beside closures that never yield, I/O at 30 % of two cores: p99 0.24 ms instead of
/// 0.66 with the idle class, at 0.5 % of the cores.
const TICK: Duration = Duration::from_micros(500);

pub(super) struct Ticker {
    threads: OnceLock<Box<[Arc<Ticking>]>>,
    ended: AtomicBool,
}

/// One thread.
struct Ticking {
    core: usize,
    resting: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticking {
    fn wake(&self) {
        if self.resting.swap(false, SeqCst) {
            // It has said who it is before it said that it rests.
            self.thread.get().map(Thread::unpark);
        }
    }
}

impl Ticker {
    pub(super) fn new() -> Self {
        Self {
            threads: OnceLock::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// A job was counted as running.
    pub(super) fn job_began(&self) {
        fence(SeqCst);
        for ticking in self.threads.get().into_iter().flatten() {
            if ticking.resting.load(Relaxed) {
                ticking.wake();
            }
        }
    }

    /// Starts the threads: as many of them as the system gives.
    pub(super) fn start(&self, shared: &Arc<Shared>) {
        let threads = cores::usable().into_iter().map(|core| {
            let ticking = Arc::new(Ticking {
                core,
                resting: AtomicBool::new(false),
                thread: OnceLock::new(),
            });
            let (own, of) = (Arc::clone(&ticking), Arc::clone(shared));
            let body = Box::new(move || {
                run(&own, &of);
                of.living.leave();
            });
            shared.living.enter();
            if shared
                .threads
                .start(format_args!("tick-{core}"), body)
                .is_err()
            {
                shared.living.leave();
            }
            ticking
        });
        let fresh = self.threads.set(threads.collect()).is_ok();
        debug_assert!(fresh, "the dispatcher starts the tickers once");
    }

    /// Ends the threads.
    pub(super) fn end(&self) {
        self.ended.store(true, SeqCst);
        for ticking in self.threads.get().into_iter().flatten() {
            ticking.wake();
        }
    }
}

fn run(own: &Ticking, shared: &Arc<Shared>) {
    let (Some(ticker), true) = (&shared.ticker, cores::stay_on(own.core)) else {
        return;
    };
    own.thread.get_or_init(thread::current);
    let ended = || ticker.ended.load(SeqCst);
    let busy = || shared.counters.running.load(Relaxed) > 0;
    while !ended() {
        if busy() {
            thread::sleep(TICK);
            shared.counters.ticks.fetch_add(1, Relaxed);
            continue;
        }
        own.resting.store(true, SeqCst);
        fence(SeqCst);
        if busy() || ended() {
            own.resting.store(false, SeqCst);
            continue;
        }
        while own.resting.load(SeqCst) {
            thread::park();
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod cores {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The cores that this process may use.
    pub(super) fn usable() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(None) else {
            return Vec::new();
        };
        (0..CpuSet::MAX_CPU)
            .filter(|&core| set.is_set(core))
            .collect()
    }

    /// Keeps the calling thread on one core. Returns whether that could be done.
    pub(super) fn stay_on(core: usize) -> bool {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set).is_ok()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod cores {
    pub(super) fn usable() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn stay_on(_core: usize) -> bool {
        false
    }
}
