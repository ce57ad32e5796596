//! How compute threads stand back, read back from the kernel.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use divisi_blocking::{ComputePool, ComputePoolBuilder, ComputePriority};
use divisi_task::JoinHandle;
use futures_lite::future::block_on;

/// Far longer than anything takes that works; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Without the starvation guard, whose helper is not lowered, and which a busy machine may call upon.
fn pool(threads: usize) -> ComputePoolBuilder {
    ComputePool::builder()
        .threads(threads)
        .starvation_guard(false)
}

fn join<T>(handle: JoinHandle<T>) -> T {
    block_on(handle).expect("the job returns")
}

fn wait_until(what: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < until, "waited in vain");
        thread::yield_now();
    }
}

/// A field of a thread's stat line, by its number in proc_pid_stat(5). Those before the third are not asked for.
fn stat(thread: &str, field: usize) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{thread}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields
        .split_whitespace()
        .nth(field - 3)
        .unwrap()
        .parse()
        .unwrap()
}

/// The letter for what a thread of this process does.
fn state(thread: &str) -> char {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.trim_start().chars().next().unwrap()
}

fn nice() -> i32 {
    stat("thread-self", 19)
}

#[test]
fn threads_are_as_nice_as_was_asked_for() {
    let own = nice();
    let asked = [
        (ComputePriority::Normal, 0),
        (ComputePriority::Low, 10),
        (ComputePriority::Background, 19),
    ];
    for (priority, steps) in asked {
        let pool = pool(1).priority(priority).build().unwrap();
        assert_eq!(join(pool.offload(nice).unwrap()), (own + steps).min(19));
        assert_eq!(pool.metrics().demotion_failed, 0);
    }
    assert_eq!(nice(), own, "a pool leaves its user's thread alone");
}

#[test]
fn the_way_into_the_idle_class_is_taken_on_each_thread() {
    let moved = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&moved);
    let pool = pool(2)
        .priority(ComputePriority::Idle)
        .idle_class(move || {
            assert!(
                thread::current()
                    .name()
                    .unwrap()
                    .starts_with("divisi-compute-")
            );
            counter.fetch_add(1, SeqCst);
            Ok(())
        })
        .build()
        .unwrap();
    join(pool.offload(|| ()).unwrap());
    wait_until(|| pool.metrics().threads == 2);
    assert_eq!((moved.load(SeqCst), pool.metrics().demotion_failed), (2, 0));
}

#[test]
fn where_the_idle_class_cannot_be_had_the_threads_are_nice_and_counted() {
    let without = pool(1).priority(ComputePriority::Idle).build().unwrap();
    let refused = pool(1)
        .priority(ComputePriority::Idle)
        .idle_class(|| Err(io::ErrorKind::PermissionDenied.into()))
        .build()
        .unwrap();
    for pool in [without, refused] {
        assert_eq!(join(pool.offload(nice).unwrap()), 19);
        assert_eq!(pool.metrics().demotion_failed, 1);
    }
}

#[test]
fn what_a_job_starts_inherits_its_priority() {
    let own = nice();
    let pool = pool(1).build().unwrap();
    let inherited = join(
        pool.offload(|| thread::spawn(nice).join().unwrap())
            .unwrap(),
    );
    assert_eq!(inherited, (own + 10).min(19));
}

/// Keeps all cores busy at this thread's own priority while it lives.
struct BusyNeighbours {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl BusyNeighbours {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        // More than cores, so that each core has some wherever the kernel moves them. Not `available_parallelism`, which is less
        // where a quota lets all cores be used for a part of the time.
        let cores = rustix::thread::sched_getaffinity(None).unwrap().count();
        let threads = (0..4 * cores)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    while !stop.load(SeqCst) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        Self { stop, threads }
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

#[test]
fn starved_compute_threads_get_a_helper_at_the_processs_own_priority() {
    let own = nice();
    let pool = pool(1)
        .priority(ComputePriority::Background)
        .starvation_guard(true)
        .build()
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // Keeps the only compute thread wanting to run, and never having enough.
    let stopped = Arc::clone(&stop);
    let hog = pool
        .offload(move || {
            while !stopped.load(SeqCst) {
                std::hint::spin_loop();
            }
            nice()
        })
        .unwrap();
    wait_until(|| pool.metrics().running == 1);
    let waiting = pool
        .offload(|| {
            let parts = rayon::join(rayon::current_num_threads, nice);
            (nice(), parts)
        })
        .unwrap();
    let neighbours = BusyNeighbours::start();
    // Only the helper can run it: the compute thread is at the first job until that is stopped, below.
    assert_eq!(join(waiting), (own, (1, own)));
    stop.store(true, SeqCst);
    drop(neighbours);
    assert_eq!(join(hog), (own + 19).min(19));
    wait_until(|| pool.metrics().helped == 1);
    assert!(pool.shutdown(PATIENCE).is_empty());
}

/// A queue that does not move is not starvation: here nobody wants a core.
#[test]
fn a_pool_whose_job_waits_gets_no_helper() {
    let pool = pool(1)
        .thread_name("waits")
        .starvation_guard(true)
        .build()
        .unwrap();
    let (open, opened) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let waits = pool
        .offload(move || {
            begun.send(()).unwrap();
            opened.recv_timeout(PATIENCE).unwrap();
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    // On a busy machine the way from there to the wait may itself be starved.
    wait_until(|| {
        let mut threads = threads_called("waits-").into_iter();
        threads.all(|(_, number)| state(&number) == 'S')
    });
    let second = pool.offload(|| ()).unwrap();
    // Ten windows of 50 ms. Too short a wait could hide a helper, but never invent one.
    thread::sleep(Duration::from_millis(500));
    assert_eq!(pool.metrics().helped, 0);
    assert!(!second.is_finished());
    // From here on the thread wants to run, and where it may not, a helper is right.
    open.send(()).unwrap();
    join(waits);
    join(second);
}

/// The names of this process's threads that begin so, with their numbers.
fn threads_called(name: &str) -> Vec<(String, String)> {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let comm = fs::read_to_string(path.join("comm")).ok()?;
            let number = path.file_name().unwrap().to_str().unwrap().to_owned();
            Some((comm.trim().to_owned(), number))
        })
        .filter(|(comm, _)| comm.starts_with(name))
        .collect()
}

#[test]
fn tickers_sit_on_one_core_each_and_tick_only_while_a_job_runs() {
    let own = nice();
    let pool = pool(1).thread_name("tk").ticker(true).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let job = pool
        .offload(move || {
            while !stopped.load(SeqCst) {
                thread::yield_now();
            }
        })
        .unwrap();
    wait_until(|| pool.metrics().ticks > 3);
    let tickers = threads_called("tk-tick-");
    assert!(!tickers.is_empty());
    for (name, number) in &tickers {
        let core = name.strip_prefix("tk-tick-").unwrap();
        let only_there = format!("Cpus_allowed_list:\t{core}\n");
        // It takes its name first.
        wait_until(|| {
            let status = fs::read_to_string(format!("/proc/self/task/{number}/status"));
            status.unwrap().contains(&only_there)
        });
        assert_eq!(stat(&format!("self/task/{number}"), 19), own);
    }
    stop.store(true, SeqCst);
    join(job);
    // Each counts the tick that it is in, and then rests: the number comes to a stand.
    wait_until(|| {
        let before = pool.metrics().ticks;
        thread::sleep(Duration::from_millis(20));
        pool.metrics().ticks == before
    });
    // And a new job wakes them.
    let before = pool.metrics().ticks;
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    let job = pool
        .offload(move || {
            while !stopped.load(SeqCst) {
                thread::yield_now();
            }
        })
        .unwrap();
    wait_until(|| pool.metrics().ticks > before);
    stop.store(true, SeqCst);
    join(job);
    assert!(pool.shutdown(PATIENCE).is_empty());
    // A thread is gone a moment after it has said that it goes.
    wait_until(|| threads_called("tk-tick-").is_empty());
}
