//! The blocking pool as a runtime uses it.
#![allow(missing_docs)]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use divisi_blocking::{BlockingMetrics, BlockingPool, BuildError, SpawnError};
use divisi_task::{JoinHandle, Registry, SpawnOptions};
use futures_lite::future::block_on;

/// Far longer than anything takes that works; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn join<T>(handle: JoinHandle<T>) -> T {
    block_on(handle).expect("the job returns")
}

/// Waits until the pool's metrics say so.
fn eventually(pool: &BlockingPool, what: impl Fn(&BlockingMetrics) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !what(&pool.metrics()) {
        assert!(Instant::now() < until, "{:?}", pool.metrics());
        thread::yield_now();
    }
}

/// Jobs that stay until they are let go.
struct Parked {
    gate: mpsc::Sender<()>,
    handle: JoinHandle<()>,
}

impl Parked {
    /// Returns once the job runs.
    fn start(pool: &BlockingPool) -> Self {
        let (begun, has_begun) = mpsc::channel();
        let parked = Self::submit(pool, move || begun.send(()).unwrap());
        has_begun.recv_timeout(PATIENCE).expect("the job starts");
        parked
    }

    fn submit(pool: &BlockingPool, first: impl FnOnce() + Send + 'static) -> Self {
        let (gate, opened) = mpsc::channel();
        let handle = pool
            .spawn(move || {
                first();
                opened.recv_timeout(PATIENCE).expect("let go of");
            })
            .unwrap();
        Self { gate, handle }
    }

    fn release(self) {
        self.gate.send(()).unwrap();
        join(self.handle);
    }
}

#[test]
fn a_job_gives_its_value() {
    let pool = BlockingPool::builder().build().unwrap();
    assert_eq!(join(pool.spawn(|| 6 * 7).unwrap()), 42);
}

#[test]
fn threads_carry_the_name_and_call_the_hooks() {
    let started = Arc::new(AtomicUsize::new(0));
    let stopped = Arc::new(AtomicUsize::new(0));
    let (on_start, on_stop) = (Arc::clone(&started), Arc::clone(&stopped));
    let pool = BlockingPool::builder()
        .thread_name("files")
        .stack_size(256 * 1024)
        .on_thread_start(move || {
            on_start.fetch_add(1, SeqCst);
        })
        .on_thread_stop(move || {
            on_stop.fetch_add(1, SeqCst);
        })
        .build()
        .unwrap();
    let started_before = Arc::clone(&started);
    let name = join(
        pool.spawn(move || {
            assert_eq!(started_before.load(SeqCst), 1);
            thread::current().name().unwrap().to_owned()
        })
        .unwrap(),
    );
    assert_eq!(name, "files-0");
    assert!(pool.shutdown(PATIENCE).is_empty());
    assert_eq!(stopped.load(SeqCst), 1);
}

#[test]
fn a_panicking_start_hook_costs_no_job() {
    let pool = BlockingPool::builder()
        .on_thread_start(|| panic!("from the hook"))
        .build()
        .unwrap();
    assert_eq!(join(pool.spawn(|| 1).unwrap()), 1);
}

#[test]
fn waiting_jobs_do_not_hold_each_other_up_below_the_cap() {
    const JOBS: usize = 40;
    let pool = BlockingPool::builder().max_threads(JOBS).build().unwrap();
    let all = Arc::new(Barrier::new(JOBS));
    let handles: Vec<_> = (0..JOBS)
        .map(|_| {
            let all = Arc::clone(&all);
            pool.spawn(move || all.wait().is_leader()).unwrap()
        })
        .collect();
    let leaders = handles.into_iter().map(join).filter(|leader| *leader);
    assert_eq!(leaders.count(), 1);
    assert_eq!(pool.metrics().peak, JOBS);
}

#[test]
fn past_the_cap_jobs_queue_and_start_in_order() {
    let pool = BlockingPool::builder().max_threads(1).build().unwrap();
    let first = Parked::start(&pool);
    let (order, started) = mpsc::channel();
    let handles: Vec<_> = (0..100)
        .map(|n| {
            let order = order.clone();
            pool.spawn(move || order.send(n).unwrap()).unwrap()
        })
        .collect();
    assert_eq!(pool.metrics().queued, 100);
    assert_eq!(pool.metrics().threads, 1);
    first.release();
    handles.into_iter().for_each(join);
    assert_eq!(
        started.try_iter().collect::<Vec<_>>(),
        Vec::from_iter(0..100)
    );
}

/// What tokio's sharded pool lost jobs in (its issue #8056).
#[test]
fn round_after_round_a_full_pool_loses_no_job() {
    const THREADS: usize = 4;
    let pool = BlockingPool::builder()
        .max_threads(THREADS)
        .keep_alive(Duration::from_micros(50))
        .build()
        .unwrap();
    for round in 0..512 {
        let parked: Vec<_> = (0..THREADS).map(|_| Parked::start(&pool)).collect();
        let queued: Vec<_> = (0..THREADS)
            .map(|n| pool.spawn(move || n + round).unwrap())
            .collect();
        parked.into_iter().for_each(Parked::release);
        for (n, handle) in queued.into_iter().enumerate() {
            assert_eq!(join(handle), n + round);
        }
    }
    eventually(&pool, |now| now.threads == 0);
    assert_eq!(pool.in_flight(), 0);
}

#[test]
fn submitters_that_race_with_time_outs_lose_no_job() {
    let pool = Arc::new(
        BlockingPool::builder()
            .max_threads(3)
            .keep_alive(Duration::from_nanos(1))
            .build()
            .unwrap(),
    );
    let submitters: Vec<_> = (0..4)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                (0..2_000_u32)
                    .map(|n| join(pool.spawn(move || n).unwrap()))
                    .fold(0_u32, u32::wrapping_add)
            })
        })
        .collect();
    for submitter in submitters {
        assert_eq!(submitter.join().unwrap(), (0..2_000).sum::<u32>());
    }
    assert!(pool.metrics().peak <= 3);
}

#[test]
fn idle_threads_end_after_the_keep_alive() {
    let pool = BlockingPool::builder()
        .keep_alive(Duration::from_millis(1))
        .build()
        .unwrap();
    let parked: Vec<_> = (0..10).map(|_| Parked::start(&pool)).collect();
    assert_eq!(pool.metrics().running, 10);
    parked.into_iter().for_each(Parked::release);
    eventually(&pool, |now| now.threads == 0);
    assert_eq!((pool.metrics().peak, pool.metrics().started), (10, 10));
}

#[test]
fn an_idle_thread_is_used_again() {
    let pool = BlockingPool::builder()
        .keep_alive(Duration::MAX)
        .build()
        .unwrap();
    for _ in 0..50 {
        join(pool.spawn(|| ()).unwrap());
        eventually(&pool, |now| now.idle == now.threads);
    }
    assert_eq!(pool.metrics().started, 1);
}

#[test]
fn a_job_may_submit_and_wait_for_another() {
    let pool = Arc::new(BlockingPool::builder().max_threads(2).build().unwrap());
    let inner = Arc::clone(&pool);
    let outer = pool
        .spawn(move || join(inner.spawn(|| 5).unwrap()) + 1)
        .unwrap();
    assert_eq!(join(outer), 6);
}

#[test]
fn a_job_cancelled_before_its_start_never_runs() {
    let pool = BlockingPool::builder().max_threads(1).build().unwrap();
    let parked = Parked::start(&pool);
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&ran);
    let job = pool
        .spawn(move || {
            counter.fetch_add(1, SeqCst);
        })
        .unwrap();
    job.cancel("not wanted");
    parked.release();
    let error = block_on(job).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.reason().unwrap().text(), "not wanted");
    assert_eq!(ran.load(SeqCst), 0);
    assert_eq!(Arc::strong_count(&ran), 1, "the closure was dropped");
}

#[test]
fn a_panic_comes_back_and_the_thread_lives_on() {
    let pool = BlockingPool::builder().max_threads(1).build().unwrap();
    let error = block_on(pool.spawn(|| panic!("of the job")).unwrap()).unwrap_err();
    assert_eq!(
        *error.into_panic().downcast::<&str>().unwrap(),
        "of the job"
    );
    assert_eq!(join(pool.spawn(|| 3).unwrap()), 3);
    assert_eq!(pool.metrics().started, 1);
}

#[test]
fn the_panic_of_a_detached_job_reaches_the_hook() {
    let (reports, reported) = mpsc::channel();
    let pool = BlockingPool::builder()
        .unhandled_panic(move |report| reports.send(report.message().to_owned()).unwrap())
        .build()
        .unwrap();
    drop(pool.spawn(|| panic!("unseen")).unwrap());
    assert_eq!(reported.recv_timeout(PATIENCE).unwrap(), "unseen");
}

#[test]
fn jobs_are_listed_by_name_while_they_live() {
    let registry = Arc::new(Registry::new(1));
    let pool = BlockingPool::builder()
        .registry(Arc::clone(&registry))
        .build()
        .unwrap();
    let (gate, opened) = mpsc::channel::<()>();
    let job = pool
        .spawn_with(SpawnOptions::new().name("resolver"), move || {
            opened.recv_timeout(PATIENCE).unwrap();
        })
        .unwrap();
    let names: Vec<_> = registry
        .list()
        .iter()
        .map(|task| task.name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["resolver"]);
    gate.send(()).unwrap();
    join(job);
}

/// A spawner that starts so many threads and refuses the rest.
fn only(
    threads: usize,
) -> impl Fn(thread::Builder, divisi_blocking::ThreadBody) -> io::Result<()> + Send + Sync + 'static
{
    let left = AtomicUsize::new(threads);
    move |builder, body| {
        left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
        builder.spawn(body).map(drop)
    }
}

#[test]
fn without_any_thread_a_job_is_refused_with_advice() {
    let pool = BlockingPool::builder()
        .thread_spawner(only(0))
        .build()
        .unwrap();
    let held = Arc::new(());
    let in_job = Arc::clone(&held);
    let error = pool.spawn(move || drop(in_job)).unwrap_err();
    assert!(matches!(error, SpawnError::NoThread(_)));
    assert!(error.to_string().contains("ulimit -u"), "{error}");
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!((pool.in_flight(), pool.metrics().start_failures), (0, 1));
    assert!(pool.shutdown(PATIENCE).is_empty());
}

#[test]
fn with_some_thread_alive_a_job_waits_for_it_instead() {
    let pool = BlockingPool::builder()
        .thread_spawner(only(1))
        .build()
        .unwrap();
    let parked = Parked::start(&pool);
    let handles: Vec<_> = (0..10).map(|n| pool.spawn(move || n).unwrap()).collect();
    assert_eq!(pool.metrics().queued, 10);
    parked.release();
    assert_eq!(handles.into_iter().map(join).sum::<i32>(), 45);
    assert!(pool.metrics().start_failures > 0);
}

#[test]
fn in_flight_falls_to_zero_and_says_so() {
    let (quiet, fell_quiet) = mpsc::channel();
    let pool = BlockingPool::builder()
        .on_quiet(move || quiet.send(()).unwrap())
        .build()
        .unwrap();
    let parked = Parked::start(&pool);
    let done = pool.spawn(|| ()).unwrap();
    join(done);
    assert!(fell_quiet.try_recv().is_err());
    assert!(pool.in_flight() >= 1);
    parked.release();
    fell_quiet.recv_timeout(PATIENCE).unwrap();
    assert_eq!(pool.in_flight(), 0);
}

#[test]
fn shutdown_cancels_what_waits_and_names_what_is_stuck() {
    let pool = BlockingPool::builder().max_threads(1).build().unwrap();
    let (gate, opened) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let stuck = pool
        .spawn_with(SpawnOptions::new().name("stuck"), move || {
            begun.send(()).unwrap();
            let _ = opened.recv_timeout(PATIENCE);
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    let waiting = pool.spawn(|| ()).unwrap();

    let report = pool.shutdown(Duration::from_millis(10));
    assert_eq!(report.len(), 1);
    assert_eq!(report[0].name.as_deref(), Some("stuck"));
    assert_eq!(report[0].id, stuck.id());
    assert!(report[0].to_string().contains("blocking_pool.rs"));
    assert!(block_on(waiting).unwrap_err().is_cancelled());
    assert!(matches!(pool.spawn(|| ()), Err(SpawnError::Closed)));

    gate.send(()).unwrap();
    join(stuck);
    assert!(pool.shutdown(PATIENCE).is_empty());
    assert_eq!(pool.metrics().threads, 0);
    assert_eq!(pool.in_flight(), 0);
}

#[test]
fn dropping_the_pool_does_not_wait_for_a_stuck_job() {
    let pool = BlockingPool::builder().build().unwrap();
    let parked = Parked::start(&pool);
    drop(pool);
    parked.release();
}

#[test]
fn submits_that_race_with_a_shutdown_are_refused_or_end() {
    for _ in 0..200 {
        let pool = Arc::new(BlockingPool::builder().max_threads(2).build().unwrap());
        let submitter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let mut handles = Vec::new();
                while let Ok(handle) = pool.spawn(|| ()) {
                    handles.push(handle);
                }
                for handle in handles {
                    if let Err(error) = block_on(handle) {
                        assert!(error.is_cancelled());
                    }
                }
            })
        };
        assert!(pool.shutdown(PATIENCE).is_empty());
        submitter.join().unwrap();
        assert_eq!(pool.in_flight(), 0);
    }
}

#[test]
fn what_cannot_work_is_refused_when_it_is_built() {
    let build = BlockingPool::builder;
    assert_eq!(
        build().max_threads(0).build().unwrap_err(),
        BuildError::NoThreads
    );
    assert_eq!(
        build().thread_name("a\0b").build().unwrap_err(),
        BuildError::ThreadName("a\0b".into())
    );
}

/// Computes for 12 ms. Returns whether the thread had a core nearly all that time.
#[cfg(target_os = "linux")]
fn compute() -> bool {
    use rustix::time::{ClockId, clock_gettime};
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let (began, before) = (Instant::now(), used());
    while began.elapsed() < Duration::from_millis(12) {
        std::hint::spin_loop();
    }
    (used() - before) * 20 >= began.elapsed() * 19
}

#[cfg(target_os = "linux")]
#[test]
fn a_job_that_computes_is_told_from_one_that_waits() {
    let (tell, told) = mpsc::channel();
    let pool = BlockingPool::builder()
        .on_cpu_bound(move |job| tell.send(job.clone()).unwrap())
        .build()
        .unwrap();
    let waits = pool
        .spawn(|| thread::sleep(Duration::from_millis(20)))
        .unwrap();
    block_on(waits).unwrap();
    // The share of the core that a job gets depends on the machine.
    let (end, mut had_a_core) = (Instant::now() + PATIENCE / 2, 0);
    let mut ids = Vec::new();
    let found = loop {
        let job = pool.spawn(compute).unwrap();
        ids.push(job.id());
        had_a_core += u32::from(block_on(job).unwrap());
        // Sent after the handle was told.
        if let Ok(report) = told.recv_timeout(Duration::from_millis(100)) {
            break Some(report);
        }
        // One that had a core may still look otherwise from outside, if its thread lost the core right after.
        assert!(had_a_core < 100, "none of them was found to compute");
        if Instant::now() > end {
            break None;
        }
    };
    let Some(report) = found else {
        eprintln!("this machine is too busy to tell: only {had_a_core} jobs had a core for 12 ms");
        return;
    };
    // Not of the last one if that thread was slow to tell.
    assert!(ids.contains(&report.id));
    assert!(
        report.to_string().contains("give it to `offload`"),
        "{report}"
    );
    assert!(report.spawned_at.file().ends_with("blocking_pool.rs"));
}
