//! Cancelling jobs that run, fairness between callers, and the parallel helpers.
#![allow(missing_docs)]

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use divisi_blocking::compute::{checkpoint, on_compute_thread};
use divisi_blocking::{
    ComputePool, ComputePoolBuilder, ComputePriority, ComputeYield, Offload, OffloadOptions,
    Priority, SpawnError, Work, offload_scope,
};
use divisi_task::{
    Cause, JoinHandle, Registry, Runnable, Schedule, SpawnOptions, TaskId, UnhandledPanic,
};
use futures_lite::future::block_on;

/// Far longer than anything takes that works; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Not lowered: such a thread stands back for a long time where others keep the machine busy.
fn pool(threads: usize) -> ComputePoolBuilder {
    ComputePool::builder()
        .threads(threads)
        .priority(ComputePriority::Normal)
        .starvation_guard(false)
}

fn join<T>(handle: JoinHandle<T>) -> T {
    block_on(handle).expect("the job returns")
}

fn options() -> OffloadOptions {
    OffloadOptions::new()
}

/// Computes until it is unwound at a checkpoint.
fn compute_for_ever() -> ! {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no checkpoint has ended this");
        checkpoint();
    }
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn wait_until(what: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < until, "waited in vain");
        thread::yield_now();
    }
}

#[test]
fn a_running_job_that_is_cancelled_ends_at_its_next_checkpoint() {
    let pool = pool(1).build().unwrap();
    let dropped = Arc::new(AtomicBool::new(false));
    let local = SetOnDrop(Arc::clone(&dropped));
    let (begun, has_begun) = mpsc::channel();
    let job: JoinHandle<()> = pool
        .offload(move || {
            let _local = local;
            begun.send(()).unwrap();
            compute_for_ever();
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    job.cancel("not wanted any more");
    let error = block_on(job).unwrap_err();
    assert_eq!(error.reason().unwrap().text(), "not wanted any more");
    assert!(dropped.load(SeqCst), "its stack was unwound");
    assert_eq!(join(pool.offload(|| 1).unwrap()), 1, "the thread lives on");
    wait_until(|| pool.metrics().cancelled == 1);
    assert_eq!(pool.metrics().panicked, 0);
}

#[test]
fn a_cancelled_job_does_not_reach_the_panic_hook() {
    thread_local!(static MINE: AtomicBool = const { AtomicBool::new(false) });
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Other tests of this process panic meanwhile.
        if MINE.with(|mine| mine.load(SeqCst)) {
            counter.fetch_add(1, SeqCst);
        } else {
            before(info);
        }
    }));
    let pool = pool(1).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let job: JoinHandle<()> = pool
        .offload(move || {
            MINE.with(|mine| mine.store(true, SeqCst));
            begun.send(()).unwrap();
            compute_for_ever();
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    job.cancel("quietly");
    assert!(block_on(job).unwrap_err().is_cancelled());
    assert_eq!(seen.load(SeqCst), 0);
}

#[test]
fn a_job_that_finishes_after_the_request_keeps_its_value() {
    let pool = pool(1).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let job = pool
        .offload(move || {
            begun.send(()).unwrap();
            opened.recv_timeout(PATIENCE).unwrap();
            7
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    job.cancel("too late");
    open.send(()).unwrap();
    assert_eq!(join(job), 7);
}

#[test]
fn code_that_catches_the_unwinding_meets_it_again() {
    let pool = pool(1).build().unwrap();
    let caught = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&caught);
    let (begun, has_begun) = mpsc::channel();
    let job: JoinHandle<()> = pool
        .offload(move || {
            begun.send(()).unwrap();
            for _ in 0..3 {
                let unwound = catch_unwind(AssertUnwindSafe(|| compute_for_ever()));
                assert!(unwound.is_err());
                counter.fetch_add(1, SeqCst);
            }
            compute_for_ever();
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    job.cancel("stubborn");
    assert!(block_on(job).unwrap_err().is_cancelled());
    assert_eq!(caught.load(SeqCst), 3);
}

#[test]
fn a_checkpoint_in_a_destructor_of_a_panicking_job_lets_the_panic_through() {
    struct CheckpointOnDrop;
    impl Drop for CheckpointOnDrop {
        fn drop(&mut self) {
            let until = Instant::now() + Duration::from_millis(2);
            while Instant::now() < until {
                checkpoint();
            }
        }
    }
    let pool = pool(1).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let job: JoinHandle<()> = pool
        .offload(move || {
            let _guard = CheckpointOnDrop;
            begun.send(()).unwrap();
            opened.recv_timeout(PATIENCE).unwrap();
            panic!("of the job");
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    job.cancel("meanwhile");
    open.send(()).unwrap();
    let error = block_on(job).unwrap_err();
    assert_eq!(
        *error.into_panic().downcast::<&str>().unwrap(),
        "of the job"
    );
}

#[test]
fn parts_on_other_threads_end_with_their_job() {
    let pool = pool(2).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let job: JoinHandle<()> = pool
        .offload(move || {
            offload_scope(|scope| {
                // One is taken by the other thread while this one is at the other.
                for _ in 0..2 {
                    let begun = begun.clone();
                    scope.spawn(move |_| {
                        begun.send(thread::current().id()).unwrap();
                        compute_for_ever();
                    });
                }
            });
        })
        .unwrap();
    let first = has_begun.recv_timeout(PATIENCE).unwrap();
    let second = has_begun.recv_timeout(PATIENCE).unwrap();
    assert_ne!(first, second);
    job.cancel("all of it");
    assert!(block_on(job).unwrap_err().is_cancelled());
    assert_eq!(pool.metrics().stray_panics, 0);
}

/// A job that waits for its parts has its thread borrowed for another's. Cancelling the one does not end the other.
#[test]
fn a_part_that_runs_on_a_cancelled_jobs_thread_goes_on() {
    let pool = Arc::new(pool(2).build().unwrap());
    let (parts_begun, part_has_begun) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Arc::new(Mutex::new(may_go));
    // The job to be cancelled: its own part is taken by the other thread, so that its own thread waits.
    let (waiting, is_waiting) = mpsc::channel();
    let cancelled: JoinHandle<()> = pool
        .offload({
            let may_go = Arc::clone(&may_go);
            move || {
                offload_scope(|scope| {
                    scope.spawn(move |scope| {
                        // Runs on some thread; from there, two parts that count, one for each thread.
                        let (tell, told) = (waiting, may_go);
                        scope.spawn(move |_| tell.send(()).unwrap());
                        told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                    });
                });
            }
        })
        .unwrap();
    is_waiting.recv_timeout(PATIENCE).unwrap();
    let survivor = pool
        .offload(move || {
            offload_scope(|scope| {
                for _ in 0..8 {
                    let parts_begun = parts_begun.clone();
                    scope.spawn(move |_| {
                        parts_begun.send(()).unwrap();
                        let until = Instant::now() + Duration::from_millis(1);
                        while Instant::now() < until {
                            checkpoint();
                        }
                    });
                }
            });
            "survived"
        })
        .unwrap();
    cancelled.cancel("this one only");
    go.send(()).unwrap();
    assert_eq!(join(survivor), "survived");
    assert_eq!(part_has_begun.try_iter().count(), 8);
    let _ = block_on(cancelled);
}

#[test]
fn one_callers_backlog_does_not_keep_anothers_first_job_waiting() {
    const BACKLOG: usize = 10_000;
    let pool = pool(1).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let gate = pool
        .offload(move || {
            begun.send(()).unwrap();
            opened.recv_timeout(PATIENCE).unwrap();
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    // Two callers: ids of tasks that exist.
    let registry = Registry::new(1);
    let (many, few) = (task_id(&registry), task_id(&registry));
    let taken = Arc::new(AtomicUsize::new(0));
    let submit = |caller: TaskId| {
        let taken = Arc::clone(&taken);
        let options = SpawnOptions::new().parent(Some(caller));
        pool.offload_with(options.into(), move || taken.fetch_add(1, SeqCst))
            .unwrap()
    };
    let backlog: Vec<_> = (0..BACKLOG).map(|_| submit(many)).collect();
    let first = submit(few);
    open.send(()).unwrap();
    join(gate);
    assert!(join(first) < 3, "the other caller's turn came at once");
    // The backlog keeps its own order.
    let places: Vec<_> = backlog.into_iter().map(join).collect();
    assert!(places.is_sorted());
}

/// Keeps the tasks alive, so that their ids differ.
fn task_id(registry: &Registry) -> TaskId {
    struct Nowhere;
    impl Schedule for Nowhere {
        fn schedule(&self, task: Runnable, _: Cause) {
            drop(task);
        }
        fn unhandled_panic(&self, _: UnhandledPanic) {}
    }
    let (task, handle) = divisi_task::spawn(
        std::future::pending::<()>(),
        Arc::new(Nowhere),
        registry,
        SpawnOptions::new(),
    )
    .unwrap();
    drop((task, handle.id()));
    handle.id()
}

#[test]
fn map_keeps_the_order_and_uses_the_compute_threads() {
    let pool = pool(3).build().unwrap();
    let squares = pool
        .map(options(), 0..10_000_u64, |n| {
            assert!(on_compute_thread());
            n * n
        })
        .unwrap();
    let squares = block_on(squares).unwrap();
    assert!(squares.into_iter().eq((0..10_000).map(|n| n * n)));
}

#[test]
fn chunks_keep_the_order_and_the_last_may_be_short() {
    let pool = pool(2).build().unwrap();
    let data: Vec<u32> = (0..1_001).collect();
    let lengths = pool
        .chunks(options(), Arc::<[u32]>::from(data), 10, |chunk| {
            (chunk[0], chunk.len())
        })
        .unwrap();
    let lengths = block_on(lengths).unwrap();
    assert_eq!(lengths.len(), 101);
    assert!(
        lengths
            .iter()
            .enumerate()
            .all(|(n, &(first, _))| first as usize == n * 10)
    );
    assert_eq!(lengths[100], (1_000, 1));
}

#[test]
fn nothing_to_map_is_done_at_once() {
    let pool = pool(2).build().unwrap();
    let none = pool.map(options(), Vec::<u8>::new(), |n| n).unwrap();
    assert_eq!(block_on(none).unwrap(), Vec::<u8>::new());
    let none = pool
        .chunks(options(), Vec::<u8>::new(), 3, |c| c.len())
        .unwrap();
    assert_eq!(block_on(none).unwrap(), Vec::<usize>::new());
    assert_eq!(pool.metrics().submitted, 0);
}

#[test]
#[should_panic(expected = "chunks of no elements")]
fn chunks_of_nothing_are_refused() {
    let pool = pool(1).build().unwrap();
    drop(pool.chunks(options(), vec![1], 0, |chunk| chunk.len()));
}

#[test]
fn a_panic_in_a_map_comes_back_and_stops_the_rest() {
    let pool = pool(2).build().unwrap();
    let map = pool.map(options(), 0..100_000, |n| {
        assert!(n != 5, "of item five");
        checkpoint();
    });
    let error = block_on(map.unwrap()).unwrap_err();
    assert_eq!(
        *error.into_panic().downcast::<&str>().unwrap(),
        "of item five"
    );
    assert_eq!(join(pool.offload(|| 2).unwrap()), 2);
}

#[test]
fn a_map_whose_future_is_dropped_ends_at_its_checkpoints() {
    let pool = pool(2).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let ended = Arc::new(AtomicBool::new(false));
    let token = SetOnDrop(Arc::clone(&ended));
    let map = pool
        .map(options(), 0..1_000, move |_| -> () {
            let _held = &token;
            begun.send(()).unwrap();
            compute_for_ever()
        })
        .unwrap();
    let mut map: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(map);
    assert!(block_on(futures_lite::future::poll_once(&mut map)).is_none());
    has_begun.recv_timeout(PATIENCE).unwrap();
    drop(map);
    // The closure goes when the last lane has let go of it.
    wait_until(|| ended.load(SeqCst) && pool.in_flight() == 0);
    assert!(
        has_begun.try_iter().count() <= 1,
        "one item a thread, and no more"
    );
}

#[test]
fn a_cancelled_map_says_so() {
    let pool = pool(1).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let map = pool
        .map(options(), [1, 2], move |_| -> () {
            begun.send(()).unwrap();
            compute_for_ever()
        })
        .unwrap()
        .detach();
    has_begun.recv_timeout(PATIENCE).unwrap();
    map.cancel("enough");
    let error = block_on(map).unwrap_err();
    assert_eq!(error.reason().unwrap().text(), "enough");
    wait_until(|| pool.in_flight() == 0);
}

#[test]
fn a_map_that_waits_when_the_pool_is_shut_down_says_so() {
    let pool = pool(1).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let gate = pool
        .offload(move || {
            begun.send(()).unwrap();
            opened.recv_timeout(PATIENCE).unwrap();
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    let map = pool.map(options(), 0..10, |n| n).unwrap();
    pool.shutdown(Duration::ZERO);
    let error = block_on(map).unwrap_err();
    assert!(
        error.is_cancelled() && error.to_string().contains("shut down"),
        "{error}"
    );
    assert!(matches!(
        pool.map(options(), 0..3, |n| n),
        Err(SpawnError::Closed)
    ));
    open.send(()).unwrap();
    join(gate);
}

/// A long map gives its threads back for jobs of equal priority that come in later.
#[test]
fn a_map_makes_room_for_other_jobs() {
    let pool = pool(1).build().unwrap();
    let (go, may_go) = mpsc::channel();
    let (may_go, waits) = (Mutex::new(may_go), AtomicBool::new(true));
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    // The first item waits until the other job is there, and each until it has run; that can only be if the map's thread takes it first.
    let map = pool
        .chunks(options(), vec![0_u8; 64], 1, move |_| {
            if waits.swap(false, SeqCst) {
                may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
            if !released.load(SeqCst) {
                thread::sleep(Duration::from_millis(2));
            }
            released.load(SeqCst)
        })
        .unwrap();
    let other = pool.offload(move || release.store(true, SeqCst)).unwrap();
    go.send(()).unwrap();
    join(other);
    let seen = block_on(map).unwrap();
    assert!(seen[63], "the other job did not wait for the whole map");
}

/// rayon serves its own pieces before what comes from outside. Parallel iterators of jobs on all threads, each of which
/// begins the next, do not keep an offloaded job waiting for ever.
#[test]
fn offloaded_jobs_are_not_starved_by_what_jobs_do_in_rayon() {
    use rayon::prelude::*;
    let pool = Arc::new(pool(2).build().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicUsize::new(0));
    // Each job is a parallel iterator, and submits its successor before it ends: rayon is never without pieces.
    fn flood(pool: &Arc<ComputePool>, stop: &Arc<AtomicBool>, rounds: &Arc<AtomicUsize>) {
        if stop.load(SeqCst) {
            return;
        }
        let (next, stopped, count) = (Arc::clone(pool), Arc::clone(stop), Arc::clone(rounds));
        let job = pool.offload(move || {
            let sum: u64 = (0..20_000_u64).into_par_iter().map(|n| n ^ 1).sum();
            assert!(sum > 0);
            count.fetch_add(1, SeqCst);
            flood(&next, &stopped, &count);
        });
        drop(job);
    }
    for _ in 0..4 {
        flood(&pool, &stop, &rounds);
    }
    for _ in 0..100 {
        let (before, count) = (rounds.load(SeqCst), Arc::clone(&rounds));
        let at_its_turn = join(pool.offload(move || count.load(SeqCst)).unwrap());
        // Counted in other jobs, not in time: a queue of four and two at work, and what began while this was asked.
        assert!(at_its_turn - before < 100);
    }
    stop.store(true, SeqCst);
    wait_until(|| pool.in_flight() == 0);
}

#[test]
fn yields_can_be_unconditional_or_never() {
    for (when, expected) in [
        (ComputeYield::Always, true),
        (ComputeYield::Never, false),
        (ComputeYield::WhenIoWaits, false),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let pool = pool(1)
            .yields(when)
            .yield_when(move || {
                counter.fetch_add(1, SeqCst);
                false
            })
            .build()
            .unwrap();
        let job = pool.offload(|| {
            let until = Instant::now() + Duration::from_millis(5);
            // Once at least, even if the thread then loses its core for as long.
            checkpoint();
            while Instant::now() < until {
                checkpoint();
            }
        });
        join(job.unwrap());
        assert_eq!(pool.metrics().yields > 0, expected, "{when:?}");
        assert_eq!(asked.load(SeqCst) > 0, when == ComputeYield::WhenIoWaits);
    }
}

struct Home;

impl Schedule for Home {
    fn schedule(&self, task: Runnable, _: Cause) {
        drop(task);
    }
    fn unhandled_panic(&self, _: UnhandledPanic) {}
}

fn work<T: Send + 'static>(
    registry: &Registry,
    f: impl FnOnce() -> T + Send + 'static,
) -> (Work, JoinHandle<T>) {
    Work::new(f, Arc::new(Home), registry, SpawnOptions::new()).unwrap()
}

#[test]
fn any_executor_runs_work() {
    struct ThreadEach;
    impl Offload for ThreadEach {
        fn execute(&self, work: Work) {
            thread::spawn(move || work.run());
        }
    }
    let registry = Registry::new(1);
    let compute = pool(1).build().unwrap();
    let blocking = divisi_blocking::BlockingPool::builder().build().unwrap();
    let executors: [&dyn Offload; 3] = [&compute, &blocking, &ThreadEach];
    for (n, executor) in executors.into_iter().enumerate() {
        let own = thread::current().id();
        let (work, handle) = work(&registry, move || (n, thread::current().id() != own));
        executor.execute(work);
        assert_eq!(join(handle), (n, true));
    }
    // A job counts as completed after its joiner was woken.
    wait_until(|| compute.metrics().completed == 1);
    wait_until(|| blocking.in_flight() == 0);
}

#[test]
fn work_that_an_executor_refuses_or_loses_ends_with_an_error() {
    struct Full;
    impl Offload for Full {
        fn execute(&self, work: Work) {
            work.refuse("the queue is full: come back later");
        }
    }
    struct Loses;
    impl Offload for Loses {
        fn execute(&self, work: Work) {
            drop(work);
        }
    }
    let registry = Registry::new(1);
    let (first, handle) = work(&registry, || ());
    Full.execute(first);
    let error = block_on(handle).unwrap_err();
    assert_eq!(
        error.reason().unwrap().text(),
        "the queue is full: come back later"
    );
    let (second, handle) = work(&registry, || ());
    Loses.execute(second);
    assert!(block_on(handle).unwrap_err().is_cancelled());
    let closed = pool(1).build().unwrap();
    closed.shutdown(PATIENCE);
    let (third, handle) = work(&registry, || ());
    closed.execute(third);
    assert!(block_on(handle).unwrap_err().is_cancelled());
    assert_eq!(registry.len(), 0);
}

#[test]
fn the_value_of_a_job_is_dropped_by_who_has_the_handle() {
    struct TellsWhere(mpsc::Sender<thread::ThreadId>);
    impl Drop for TellsWhere {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }
    let pool = pool(1).build().unwrap();
    let (tell, told) = mpsc::channel();
    let job = pool.offload(move || TellsWhere(tell)).unwrap();
    wait_until(|| job.is_finished());
    drop(job);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), thread::current().id());
}

#[test]
fn a_maps_priority_is_its_lanes() {
    let pool = pool(1).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let gate = pool
        .offload(move || {
            begun.send(()).unwrap();
            opened.recv_timeout(PATIENCE).unwrap();
        })
        .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (Arc::clone(&order), Arc::clone(&order));
    let normal = pool
        .offload(move || first.lock().unwrap().push("job"))
        .unwrap();
    let high = pool
        .map(options().priority(Priority::High), [()], move |()| {
            second.lock().unwrap().push("map");
        })
        .unwrap();
    open.send(()).unwrap();
    join(gate);
    join(normal);
    block_on(high).unwrap();
    assert_eq!(*order.lock().unwrap(), ["map", "job"]);
}
