//! Models of the compute pool's claim/leave protocol, on the shipped module with loom's atomics.
//!
//! `RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-blocking --release --test loom_admission`
//!
//! The inbox and the ordered queue are counters here, read and written with `Relaxed`, so that all the order there is
//! comes from the module's fences. A claim begins its runner on the thread that made it, but only after that thread
//! has done everything else: as late as a dispatcher could.
#![cfg(divisi_loom)]
#![allow(missing_docs)]

mod sync {
    pub(crate) use loom::sync::atomic;
}

#[path = "../src/compute/admission.rs"]
#[allow(dead_code, unreachable_pub)]
mod admission;

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Mutex};
use loom::thread;

use admission::Admission;

struct Pool {
    admission: Admission,
    inbox: AtomicUsize,
    ordered: AtomicUsize,
    queue: Mutex<usize>,
    served: AtomicUsize,
    running: AtomicUsize,
}

impl Pool {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            admission: Admission::new(limit),
            inbox: AtomicUsize::new(0),
            ordered: AtomicUsize::new(0),
            queue: Mutex::new(0),
            served: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        })
    }

    /// Returns the number of claims made.
    fn submit(&self) -> usize {
        self.inbox.fetch_add(1, Relaxed);
        usize::from(self.admission.claim())
    }

    fn has_work(&self) -> bool {
        self.inbox.load(Relaxed) > 0 || self.ordered.load(Relaxed) > 0
    }

    fn begin(&self, mut claims: usize) {
        while claims > 0 {
            claims -= 1;
            claims += self.run();
        }
    }

    /// As `runner::take`. Returns whether there was a job, and the number of claims made.
    fn take(&self) -> (bool, usize) {
        let mut queue = self.queue.lock().unwrap();
        *queue += self.inbox.swap(0, Relaxed);
        let taken = *queue > 0;
        *queue -= usize::from(taken);
        let left = *queue;
        self.ordered.store(left, Relaxed);
        drop(queue);
        (taken, usize::from(left > 0 && self.admission.claim()))
    }

    /// As `runner::run`. Returns the number of claims made.
    fn run(&self) -> usize {
        let mut claims = 0;
        loop {
            let (taken, more) = self.take();
            claims += more;
            if taken {
                let running = self.running.fetch_add(1, Relaxed);
                assert!(running < self.admission.limit());
                self.served.fetch_add(1, Relaxed);
                self.running.fetch_sub(1, Relaxed);
            } else if !self.admission.leave(|| self.has_work()) {
                return claims;
            }
        }
    }

    fn all_is_done(&self, jobs: usize) {
        assert_eq!(self.served.load(Relaxed), jobs, "a job was stranded");
        assert_eq!(self.admission.runners(), 0, "a claim was lost");
    }
}

/// At most three preemptions a history: every mutant of the protocol fails within them (a fence or a look removed).
fn bounded() -> loom::model::Builder {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model
}

fn check(limit: usize, jobs: &'static [usize]) {
    bounded().check(move || {
        let pool = Pool::new(limit);
        let threads: Vec<_> = jobs[1..]
            .iter()
            .map(|&jobs| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.begin((0..jobs).map(|_| pool.submit()).sum()))
            })
            .collect();
        pool.begin((0..jobs[0]).map(|_| pool.submit()).sum());
        for thread in threads {
            thread.join().unwrap();
        }
        pool.all_is_done(jobs.iter().sum());
    });
}

#[test]
fn no_job_is_stranded_with_one_runner() {
    check(1, &[1, 1]);
}

#[test]
fn no_job_is_stranded_with_one_runner_and_three_submitters() {
    check(1, &[1, 1, 1]);
}

#[test]
fn no_job_is_stranded_with_two_runners() {
    check(2, &[2, 1]);
}

#[test]
fn no_job_is_stranded_when_runners_make_runners() {
    check(2, &[2, 2]);
}

/// The first runner takes one job and is busy with it for ever; the second one is about to leave. What the first has
/// left in the ordered queue is served all the same.
#[test]
fn a_job_left_behind_by_a_busy_runner_is_served() {
    bounded().check(|| {
        let pool = Pool::new(2);
        let claimed = pool.admission.claim();
        assert!(claimed);
        let leaver = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.begin(1))
        };
        let mut claims = pool.submit() + pool.submit();
        if claims > 0 {
            let (taken, more) = pool.take();
            claims = claims - 1 + more;
            if taken {
                // Busy from here on: the runner neither takes nor leaves.
                pool.begin(claims);
                leaver.join().unwrap();
                assert_eq!(pool.served.load(Relaxed), 1, "a job was stranded");
                return;
            }
            claims += usize::from(pool.admission.leave(|| pool.has_work()));
        }
        pool.begin(claims);
        leaver.join().unwrap();
        pool.all_is_done(2);
    });
}
