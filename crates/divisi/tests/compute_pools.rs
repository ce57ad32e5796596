//! Jobs on the runtime's pools, on named ones, and on foreign executors.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use divisi::compute::{self, ComputePriority, Offload, Pool, Priority, Work, checkpoint};
use divisi::{BuildError, Runtime, Shutdown};

/// Far longer than anything takes that works; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    Runtime::builder()
        .worker_threads(2)
        .compute_threads(1)
        .compute_starvation_guard(false)
        .build()
        .unwrap()
}

/// Computes until it is ended at a checkpoint.
fn compute_for_ever() -> ! {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no checkpoint has ended this");
        checkpoint();
    }
}

fn wait_until(what: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < until, "waited in vain");
        thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn idle_priority_is_the_kernels_idle_class() {
    /// The scheduling policy of the calling thread: field 41 of its stat line, counted after the name's closing parenthesis.
    fn policy() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(38).unwrap().parse().unwrap()
    }
    /// `SCHED_IDLE` in linux/sched.h.
    const IDLE: i32 = 5;
    let runtime = Runtime::builder()
        .compute_threads(1)
        .compute_priority(ComputePriority::Idle)
        // Whose helper is not in that class, and may be called upon on a busy machine.
        .compute_starvation_guard(false)
        .build()
        .unwrap();
    let own = policy();
    runtime.block_on(async {
        assert_eq!(divisi::offload(policy).await.unwrap(), IDLE);
        assert_eq!(divisi::spawn(async { policy() }).await.unwrap(), own);
        assert_eq!(divisi::spawn_blocking(policy).await.unwrap(), own);
    });
    assert_eq!(runtime.metrics().compute.demotion_failed, 0);
}

#[test]
fn a_map_that_takes_too_long_ends_with_its_time_out() {
    let runtime = runtime();
    runtime.block_on(async {
        let map = compute::map(0..100, |_| -> u8 { compute_for_ever() });
        let late = divisi::time::timeout(Duration::from_millis(20), map).await;
        assert!(late.is_err());
        // The pool is free again.
        assert_eq!(divisi::offload(|| 1).await.unwrap(), 1);
    });
}

#[test]
fn an_offloaded_job_ends_when_its_task_is_cancelled_through_the_handle() {
    let runtime = runtime();
    runtime.block_on(async {
        let (begun, has_begun) = divisi::channel::oneshot();
        let job = divisi::offload(move || {
            let _ = begun.send(());
            compute_for_ever()
        });
        has_begun.await.unwrap();
        job.cancel("changed my mind");
        let error = job.await.map(|never: ()| never).unwrap_err();
        assert!(error.is_cancelled());
    });
}

#[test]
fn tasks_take_turns_at_the_pool() {
    let runtime = Runtime::builder()
        .worker_threads(2)
        .compute_threads(1)
        // Lowered, it would stand back for a minute where others keep the machine busy.
        .compute_priority(ComputePriority::Normal)
        .compute_starvation_guard(false)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (open, opened) = mpsc::channel::<()>();
        let (begun, has_begun) = divisi::channel::oneshot();
        let gate = divisi::offload(move || {
            let _ = begun.send(());
            opened.recv_timeout(PATIENCE).unwrap();
        });
        has_begun.await.unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let many = divisi::spawn(async move {
            let jobs: Vec<_> = (0..10_000)
                .map(|_| {
                    let counter = counter.clone();
                    divisi::offload(move || counter.fetch_add(1, SeqCst))
                })
                .collect();
            jobs
        });
        let backlog = many.await.unwrap();
        let (submitted, is_submitted) = divisi::channel::oneshot();
        let one = divisi::spawn(async move {
            let job = divisi::offload(move || taken.fetch_add(1, SeqCst));
            submitted.send(()).unwrap();
            job.await.unwrap()
        });
        is_submitted.await.unwrap();
        open.send(()).unwrap();
        gate.await.unwrap();
        assert!(one.await.unwrap() < 3, "behind one of the others at most");
        let mut last = 0;
        for job in backlog {
            last = job.await.unwrap();
        }
        assert_eq!(last, 10_000);
    });
}

#[test]
fn a_named_pool_has_its_own_threads_size_and_priority() {
    let runtime = runtime();
    runtime.block_on(async {
        let pool = Pool::builder("thumbs")
            .threads(2)
            .priority(ComputePriority::Background)
            .queue_bound(1)
            .build()
            .unwrap();
        let name = pool
            .offload(|| thread::current().name().unwrap().to_owned())
            .await
            .unwrap();
        assert!(name.starts_with("thumbs-"), "{name}");
        let doubled = pool.map(1..=3, |n| 2 * n).await.unwrap();
        assert_eq!(doubled, [2, 4, 6]);
        let job = pool.offload_when_room(|| 7).await;
        assert_eq!(job.await.unwrap(), 7);
        assert_eq!(divisi::offload_to(&pool, || 8).await.unwrap(), 8);
        // Counted after the handles are told.
        wait_until(|| pool.metrics().completed >= 4);
        assert_eq!(pool.metrics().demotion_failed, 0);
    });
    assert_eq!(
        runtime.metrics().compute.submitted,
        0,
        "the other pool had no part"
    );
}

#[test]
fn a_named_pool_that_cannot_be_is_refused() {
    let runtime = runtime();
    let _guard = runtime.enter();
    assert!(matches!(
        Pool::builder("x").threads(0).build(),
        Err(BuildError::ComputeThreads(0))
    ));
    assert!(matches!(
        Pool::builder("x").queue_bound(0).build(),
        Err(BuildError::ComputeQueue)
    ));
    assert!(matches!(
        Pool::builder("\0").build(),
        Err(BuildError::ThreadName)
    ));
}

#[test]
fn a_named_pool_ends_with_its_runtime() {
    let runtime = runtime();
    let pool = {
        let _guard = runtime.enter();
        Pool::builder("ends").build().unwrap()
    };
    let (open, opened) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let running = pool.offload(move || {
        begun.send(()).unwrap();
        let _ = opened.recv_timeout(PATIENCE);
    });
    has_begun.recv_timeout(PATIENCE).unwrap();
    let waiting = pool.offload(|| ());
    let report = runtime.shutdown(Shutdown::now().patience(Duration::from_millis(20)));
    assert!(!report.is_clean());
    let error = futures_lite::future::block_on(waiting).unwrap_err();
    assert!(error.is_cancelled());
    assert!(futures_lite::future::block_on(pool.offload(|| ())).is_err());
    drop(open);
    let _ = futures_lite::future::block_on(running);
}

/// Hands work over to a thread that runs it when it is told to.
#[derive(Clone)]
struct Later(mpsc::Sender<Work>);

impl Offload for Later {
    fn execute(&self, work: Work) {
        if let Err(mpsc::SendError(work)) = self.0.send(work) {
            work.refuse("the executor has gone: make a new one");
        }
    }
}

// A `Sender` may be shared since Rust 1.72.
const _: fn() = || {
    fn is_sync<T: Sync>() {}
    is_sync::<Later>();
};

#[test]
fn work_on_a_foreign_executor_is_a_job_of_the_runtime() {
    let runtime = runtime();
    let (queue, queued) = mpsc::channel();
    let executor = Later(queue);
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let job = divisi::offload_to(&executor, || "done");
        let work = queued.recv_timeout(PATIENCE).unwrap();
        assert_eq!(work.id(), job.id());
        assert!(handle.tasks().iter().any(|task| task.id == job.id()));
        thread::spawn(move || work.run());
        assert_eq!(job.await.unwrap(), "done");

        let panics = divisi::offload_to(&executor, || panic!("elsewhere"));
        let work = queued.recv_timeout(PATIENCE).unwrap();
        work.run();
        let error = panics.await.map(|never: ()| never).unwrap_err();
        assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "elsewhere");

        drop(queued);
        let refused = divisi::offload_to(&executor, || ());
        let error = refused.await.unwrap_err();
        assert!(error.to_string().contains("make a new one"), "{error}");
    });
}

#[test]
fn work_that_waits_elsewhere_when_the_runtime_ends_never_runs() {
    let runtime = runtime();
    let (queue, queued) = mpsc::channel();
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();
    let job = {
        let _guard = runtime.enter();
        divisi::offload_to(&Later(queue), move || flag.store(true, SeqCst))
    };
    let work = queued.recv_timeout(PATIENCE).unwrap();
    runtime.shutdown(Shutdown::now());
    work.run();
    assert!(
        futures_lite::future::block_on(job)
            .unwrap_err()
            .is_cancelled()
    );
    assert!(!ran.load(SeqCst));
}

#[test]
fn virtual_time_stands_still_while_work_is_elsewhere() {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .clock(divisi::runtime::Clock::Virtual)
        .build()
        .unwrap();
    let (queue, queued) = mpsc::channel::<Work>();
    let slow = thread::spawn(move || {
        let work = queued.recv_timeout(PATIENCE).unwrap();
        // Long against what a worker needs to jump an hour ahead.
        thread::sleep(Duration::from_millis(100));
        work.run();
    });
    runtime.block_on(async {
        let begin = divisi::time::Instant::now();
        let job = divisi::offload_to(&Later(queue), || ());
        let hour = Duration::from_secs(3600);
        let first = divisi::time::timeout(hour, job).await;
        assert!(first.is_ok(), "the hour did not pass meanwhile");
        assert!(begin.elapsed() < hour);
        divisi::time::sleep(hour).await;
        assert!(begin.elapsed() >= hour, "and now it does");
    });
    slow.join().unwrap();
}

#[test]
fn builders_pass_priority_and_name_on() {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let (open, opened) = mpsc::channel::<()>();
        let (begun, has_begun) = divisi::channel::oneshot();
        let gate = divisi::offload(move || {
            let _ = begun.send(());
            opened.recv_timeout(PATIENCE).unwrap();
        });
        has_begun.await.unwrap();
        let map = compute::Builder::new()
            .priority(Priority::High)
            .name("thumbnails")
            .map([1, 2], |n| n);
        assert_eq!(handle.metrics().compute.queued(Priority::High), 1);
        let names: Vec<_> = handle
            .tasks()
            .into_iter()
            .filter_map(|task| task.name)
            .collect();
        assert!(
            names.iter().any(|name| **name == *"thumbnails"),
            "{names:?}"
        );
        open.send(()).unwrap();
        gate.await.unwrap();
        assert_eq!(map.await.unwrap(), [1, 2]);
    });
}

#[test]
fn a_closure_that_rayon_was_given_directly_reports_its_panic() {
    let (reports, reported) = mpsc::channel();
    let runtime = Runtime::builder()
        .compute_threads(1)
        .exception_handler(move |report| reports.send(report.message.clone()).unwrap())
        .build()
        .unwrap();
    runtime.block_on(async {
        divisi::offload(|| rayon::spawn(|| panic!("stray")))
            .await
            .unwrap();
    });
    let message = reported.recv_timeout(PATIENCE).unwrap();
    assert!(
        message.contains("rayon::spawn") && message.contains("stray"),
        "{message}"
    );
}

#[cfg(all(target_os = "linux", debug_assertions))]
#[test]
fn computing_in_the_blocking_pool_is_reported_once_for_each_place() {
    let (reports, reported) = mpsc::channel();
    let runtime = Runtime::builder()
        .worker_threads(1)
        .exception_handler(move |report| {
            let place = report.spawned_at.unwrap().line();
            reports.send((place, report.message.clone())).unwrap();
        })
        .build()
        .unwrap();
    // Whether the thread had a core nearly all the time.
    let compute = || {
        use rustix::time::{ClockId, clock_gettime};
        let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let (began, before) = (Instant::now(), used());
        while began.elapsed() < Duration::from_millis(12) {
            std::hint::spin_loop();
        }
        (used() - before) * 20 >= began.elapsed() * 19
    };
    let mut found = Vec::new();
    let (mut jobs, mut had_a_core) = (0, 0);
    runtime.block_on(async {
        // The share of the core that a job gets depends on the machine: until it was found out, and some more.
        let end = Instant::now() + PATIENCE / 2;
        while (found.is_empty() || jobs < 10) && Instant::now() < end {
            // One that had a core may still look otherwise from outside, if its thread lost the core right after.
            assert!(had_a_core < 200, "none of them was found to compute");
            jobs += 1;
            had_a_core += usize::from(divisi::spawn_blocking(compute).await.unwrap());
            found.extend(reported.try_iter());
            if !found.is_empty() {
                had_a_core = 0;
            }
        }
    });
    runtime.shutdown(Shutdown::now());
    found.extend(reported.try_iter());
    if found.is_empty() {
        eprintln!("this machine is too busy to tell: only {had_a_core} jobs had a core for 12 ms");
        return;
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("give it to `offload`"));
}

#[test]
fn jobs_of_all_pools_end_before_a_graceful_shutdown() {
    let runtime = runtime();
    let done = Arc::new(AtomicUsize::new(0));
    {
        let _guard = runtime.enter();
        let pool = Pool::builder("grace").build().unwrap();
        for _ in 0..50 {
            let (first, second, third) = (done.clone(), done.clone(), done.clone());
            drop(pool.offload(move || first.fetch_add(1, SeqCst)));
            drop(divisi::offload(move || second.fetch_add(1, SeqCst)));
            drop(compute::map([()], move |()| third.fetch_add(1, SeqCst)).detach());
        }
        let report = runtime.shutdown(Shutdown::graceful(PATIENCE));
        assert!(report.is_clean(), "{report}");
    }
    wait_until(|| done.load(SeqCst) == 150);
}
