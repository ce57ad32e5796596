//! What a worker does with the compute pool never waits for a compute thread, even when other programs keep those off the cores.
//!
//! Waiting is counted by the kernel, not timed: a thread that waits for a lock gives its core up of its own accord ("voluntary" context
//! switches); one that is preempted does not.
#![cfg(target_os = "linux")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use divisi::compute::ComputePriority;
use divisi::{Runtime, Shutdown};

/// Jobs that run while the worker is watched.
const JOBS: usize = 3_000;
/// Timers that each of them drops.
const TIMERS: usize = 8;
/// Jobs that wait at most.
const AHEAD: usize = 100;
/// The allocator is shared by all threads and has locks of its own; nothing else may wait. That no lock of divisi's is among them is shown,
/// lock by lock, by tests beside the code; this one shows the whole.
const TOLERATED: u64 = JOBS as u64 / 100;
/// Far longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the calling thread has waited for something so far.
fn waits() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .unwrap();
    line.trim().parse().unwrap()
}

/// Keeps all cores busy at the ordinary priority while it lives.
struct BusyNeighbours {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl BusyNeighbours {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..thread::available_parallelism().unwrap().get())
            .map(|_| {
                let stop = stop.clone();
                thread::spawn(move || {
                    while !stop.load(SeqCst) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        BusyNeighbours { stop, threads }
    }
}

impl Drop for BusyNeighbours {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// A timer that waits in the reactor of this thread.
fn armed() -> Pin<Box<divisi::time::Sleep>> {
    let mut timer = Box::pin(divisi::time::sleep(Duration::from_secs(3600)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(timer.as_mut().poll(&mut cx).is_pending());
    timer
}

#[test]
fn a_worker_does_not_wait_for_compute_threads_that_are_kept_off_the_cores() {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .compute_threads(2)
        .compute_priority(ComputePriority::Low)
        .stall_threshold(None)
        .build()
        .unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    let neighbours = BusyNeighbours::start();
    let waited = runtime.block_on(async {
        // The threads are there, so that none is started below.
        divisi::offload(|| ()).await.unwrap();
        let before = waits();
        let mut rounds = 0;
        let begun = Instant::now();
        while done.load(SeqCst) < JOBS {
            assert!(begun.elapsed() < PATIENCE, "the compute threads do not run");
            rounds += 1;
            // Its own timer, from the wheel that the jobs' timers are in.
            drop(armed());
            if rounds > done.load(SeqCst) + AHEAD {
                rounds -= 1;
                continue;
            }
            let (counter, timers) = (counter.clone(), [(); TIMERS].map(|()| armed()));
            let mut job = divisi::offload(move || {
                // Timers of the worker's are dropped there, and where a job has an awaiter a waker of its woken.
                drop(timers);
                counter.fetch_add(1, SeqCst)
            });
            let mut cx = Context::from_waker(Waker::noop());
            // Either way: what matters is that asking does not wait.
            let _ = Pin::new(&mut job).poll(&mut cx);
        }
        waits() - before
    });
    drop(neighbours);
    assert!(
        waited <= TOLERATED,
        "the worker waited {waited} times while {JOBS} jobs ran"
    );
    let report = runtime.shutdown(Shutdown::graceful(Duration::from_secs(60)));
    assert!(report.is_clean(), "{report}");
}
