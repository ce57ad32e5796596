//! The compute threads: rayon's, started and set up by the pool.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Shared, context, nesting};

/// Starts all threads. If one cannot be started, those that were end again.
pub(super) fn start_all(shared: &Arc<Shared>) -> io::Result<ThreadPool> {
    let stray = Arc::clone(shared);
    ThreadPoolBuilder::new()
        .num_threads(shared.admission.limit())
        // Without a handler, rayon aborts the process.
        .panic_handler(move |payload| stray.stray_panic(payload))
        .spawn_handler(|thread| start(shared, thread))
        .build()
        .map_err(io::Error::other)
}

fn start(shared: &Arc<Shared>, thread: rayon::ThreadBuilder) -> io::Result<()> {
    let own = Arc::clone(shared);
    let number = thread.index();
    let body = Box::new(move || {
        run(&own, thread);
        own.living.leave();
    });
    shared.living.enter();
    shared
        .threads
        .start(number, body)
        .inspect_err(|_| shared.living.leave())
}

fn run(shared: &Arc<Shared>, thread: rayon::ThreadBuilder) {
    if !shared.priority.apply(shared.idle_class.as_ref()) {
        shared.counters.demotion_failed.fetch_add(1, Relaxed);
    }
    shared.compute_threads.note(thread.index());
    context::enter(Arc::clone(shared), nesting::here());
    shared.counters.threads.fetch_add(1, Relaxed);
    shared.threads.started();
    thread.run();
    shared.threads.stopping();
    shared.counters.threads.fetch_sub(1, Relaxed);
}

/// The system's numbers of the compute threads, for those who look at them from outside.
#[derive(Debug)]
pub(super) struct Threads(Box<[AtomicI32]>);

impl Threads {
    pub(super) fn new(limit: usize) -> Self {
        Self((0..limit).map(|_| AtomicI32::new(0)).collect())
    }

    /// The calling thread is the compute thread of that index.
    fn note(&self, index: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        self.0[index].store(rustix::thread::gettid().as_raw_nonzero().get(), Relaxed);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = index;
    }

    /// The numbers of those that have begun.
    pub(super) fn numbers(&self) -> impl Iterator<Item = i32> + '_ {
        let begun = |number: &AtomicI32| Some(number.load(Relaxed)).filter(|&number| number != 0);
        self.0.iter().filter_map(begun)
    }
}

/// How many threads the pool has, the dispatcher among them, so that a shutdown can wait for their end.
pub(super) struct Living {
    threads: Mutex<usize>,
    none: Condvar,
}

impl Living {
    pub(super) fn new() -> Self {
        Self {
            threads: Mutex::new(0),
            none: Condvar::new(),
        }
    }

    pub(super) fn enter(&self) {
        *self.threads.lock() += 1;
    }

    pub(super) fn leave(&self) {
        let mut threads = self.threads.lock();
        *threads -= 1;
        let none = *threads == 0;
        drop(threads);
        if none {
            self.none.notify_all();
        }
    }

    /// Waits until there is no thread, or for ever if no end is given.
    pub(super) fn wait_for_none(&self, until: Option<Instant>) {
        let mut threads = self.threads.lock();
        while *threads > 0 {
            match until {
                Some(until) => {
                    if self.none.wait_until(&mut threads, until).timed_out() {
                        return;
                    }
                }
                None => self.none.wait(&mut threads),
            }
        }
    }
}

impl fmt::Debug for Living {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Living")
            .field(&*self.threads.lock())
            .finish()
    }
}
