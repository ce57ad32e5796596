//! The compute pool as a runtime uses it.
#![allow(missing_docs)]

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use divisi_blocking::compute::{checkpoint, on_compute_thread};
use divisi_blocking::{
    BuildError, ComputeMetrics, ComputePool, ComputePoolBuilder, ComputePriority, OffloadOptions,
    Priority, SpawnError, TryOffloadError, offload_scope,
};
use divisi_task::JoinHandle;
use futures_lite::future::{block_on, poll_once};
use rayon::prelude::*;

/// Far longer than anything takes that works; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Without the starvation guard, which a busy machine may call upon, and then one job more runs than there are threads; and
/// not lowered: such a thread stands back for a long time where others keep the machine busy.
fn pool(threads: usize) -> ComputePoolBuilder {
    ComputePool::builder()
        .threads(threads)
        .priority(ComputePriority::Normal)
        .starvation_guard(false)
}

fn join<T>(handle: JoinHandle<T>) -> T {
    block_on(handle).expect("the job returns")
}

fn with(priority: Priority) -> OffloadOptions {
    OffloadOptions::new().priority(priority)
}

fn eventually(pool: &ComputePool, what: impl Fn(&ComputeMetrics) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !what(&pool.metrics()) {
        assert!(Instant::now() < until, "{:?}", pool.metrics());
        thread::yield_now();
    }
}

/// A job that stays until it is let go.
struct Parked {
    gate: mpsc::Sender<()>,
    handle: JoinHandle<()>,
}

impl Parked {
    /// Returns once the job runs.
    fn start(pool: &ComputePool) -> Self {
        let (gate, opened) = mpsc::channel();
        let (begun, has_begun) = mpsc::channel();
        let handle = pool
            .offload(move || {
                begun.send(()).unwrap();
                opened.recv_timeout(PATIENCE).expect("let go of");
            })
            .unwrap();
        has_begun.recv_timeout(PATIENCE).expect("the job starts");
        Self { gate, handle }
    }

    fn release(self) {
        self.gate.send(()).unwrap();
        join(self.handle);
    }
}

#[test]
fn a_job_gives_its_value_and_threads_start_with_the_first() {
    let pool = pool(2).build().unwrap();
    assert_eq!(pool.metrics().threads, 0);
    assert_eq!(join(pool.offload(|| 6 * 7).unwrap()), 42);
    eventually(&pool, |now| now.threads == 2);
    assert_eq!(pool.thread_limit(), 2);
}

#[test]
fn urgent_jobs_go_first_and_equals_in_order() {
    let pool = pool(1).build().unwrap();
    let parked = Parked::start(&pool);
    let (order, taken) = mpsc::channel();
    let wanted = [
        (Priority::Low, 1),
        (Priority::Normal, 2),
        (Priority::High, 3),
        (Priority::Low, 4),
        (Priority::High, 5),
    ];
    let handles: Vec<_> = wanted
        .into_iter()
        .map(|(priority, n)| {
            let order = order.clone();
            pool.offload_with(with(priority), move || order.send(n).unwrap())
                .unwrap()
        })
        .collect();
    assert_eq!(pool.metrics().queued, [2, 1, 2]);
    assert_eq!(pool.metrics().queued(Priority::Normal), 1);
    parked.release();
    handles.into_iter().for_each(join);
    assert_eq!(taken.try_iter().collect::<Vec<_>>(), [3, 5, 2, 1, 4]);
}

#[test]
fn a_job_cancelled_before_its_start_never_runs() {
    let pool = pool(1).build().unwrap();
    let parked = Parked::start(&pool);
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&ran);
    let job = pool
        .offload(move || {
            counter.fetch_add(1, SeqCst);
        })
        .unwrap();
    job.cancel("not wanted");
    parked.release();
    let error = block_on(job).unwrap_err();
    assert_eq!(error.reason().unwrap().text(), "not wanted");
    assert_eq!((ran.load(SeqCst), Arc::strong_count(&ran)), (0, 1));
    eventually(&pool, |now| now.cancelled == 1 && now.completed == 1);
}

#[test]
fn a_panic_comes_back_and_the_thread_lives_on() {
    let pool = pool(1).build().unwrap();
    let error = block_on(pool.offload(|| panic!("of the job")).unwrap()).unwrap_err();
    assert_eq!(
        *error.into_panic().downcast::<&str>().unwrap(),
        "of the job"
    );
    assert_eq!(join(pool.offload(|| 3).unwrap()), 3);
    eventually(&pool, |now| now.panicked == 1 && now.completed == 1);
}

#[test]
fn the_panic_of_a_detached_job_reaches_the_hook() {
    let (reports, reported) = mpsc::channel();
    let pool = pool(1)
        .unhandled_panic(move |report| reports.send(report.message().to_owned()).unwrap())
        .build()
        .unwrap();
    drop(pool.offload(|| panic!("unseen")).unwrap());
    assert_eq!(reported.recv_timeout(PATIENCE).unwrap(), "unseen");
}

#[test]
fn a_stray_rayon_panic_does_not_abort_the_process() {
    let (strays, stray) = mpsc::channel();
    let pool = pool(1)
        .stray_panic(move |payload| strays.send(payload).unwrap())
        .build()
        .unwrap();
    join(pool.offload(|| rayon::spawn(|| panic!("stray"))).unwrap());
    let payload = stray.recv_timeout(PATIENCE).unwrap();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "stray");
    assert_eq!(join(pool.offload(|| 1).unwrap()), 1);
    assert_eq!(pool.metrics().stray_panics, 1);
}

#[test]
fn a_full_queue_pushes_back_and_hands_the_closure_back() {
    let pool = pool(1).queue_bound(Some(2)).build().unwrap();
    let parked = Parked::start(&pool);
    let waiting: Vec<_> = (0..2)
        .map(|n| pool.try_offload(move || n).unwrap())
        .collect();
    let Err(TryOffloadError::Full(closure)) = pool.try_offload(|| 7) else {
        panic!("two jobs wait already");
    };
    assert_eq!(closure(), 7);
    // What cannot be refused is taken in all the same.
    let more = pool.offload(|| 8).unwrap();
    parked.release();
    assert_eq!(waiting.into_iter().map(join).sum::<i32>(), 1);
    assert_eq!(join(more), 8);
    assert_eq!(join(pool.try_offload(|| 9).unwrap()), 9);
}

#[test]
fn reserve_waits_for_room_in_order() {
    block_on(async {
        let pool = pool(1).queue_bound(Some(1)).build().unwrap();
        let parked = Parked::start(&pool);
        let queued = pool.reserve().await.unwrap().offload(|| 1).unwrap();
        let mut first = pool.reserve();
        let mut second = pool.reserve();
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        parked.release();
        let permit = first.await.unwrap();
        assert!(poll_once(&mut second).await.is_none(), "one place only");
        // While somebody waits, nobody is let past.
        assert!(matches!(
            pool.try_offload(|| ()),
            Err(TryOffloadError::Full(_))
        ));
        // An unused place goes to the next.
        drop(permit);
        let last = second.await.unwrap().offload(|| 2).unwrap();
        assert_eq!(queued.await.unwrap() + last.await.unwrap(), 3);
    });
}

#[test]
fn a_reservation_given_up_passes_its_place_on() {
    block_on(async {
        let pool = pool(1).queue_bound(Some(1)).build().unwrap();
        let parked = Parked::start(&pool);
        let queued = pool.try_offload(|| ()).unwrap();
        let mut first = pool.reserve();
        let mut second = pool.reserve();
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        parked.release();
        queued.await.unwrap();
        // By now the first may have been granted the place, or not: it is passed on either way.
        drop(first);
        drop(second.await.unwrap());
        let job = pool.reserve().await.unwrap().offload(|| 4).unwrap();
        assert_eq!(job.await.unwrap(), 4);
    });
}

#[test]
fn waiters_for_room_learn_of_the_shutdown() {
    block_on(async {
        let pool = pool(1).queue_bound(Some(1)).build().unwrap();
        let parked = Parked::start(&pool);
        let queued = pool.try_offload(|| ()).unwrap();
        let mut waiter = pool.reserve();
        assert!(poll_once(&mut waiter).await.is_none());
        pool.shutdown(Duration::ZERO);
        assert!(matches!(waiter.await, Err(SpawnError::Closed)));
        assert!(matches!(pool.reserve().await, Err(SpawnError::Closed)));
        assert!(queued.await.unwrap_err().is_cancelled());
        parked.release();
        assert!(pool.shutdown(PATIENCE).is_empty());
    });
}

#[test]
fn many_waiters_share_a_little_room() {
    let pool = Arc::new(pool(2).queue_bound(Some(2)).build().unwrap());
    let done = Arc::new(AtomicUsize::new(0));
    let submitters: Vec<_> = (0..6)
        .map(|_| {
            let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
            thread::spawn(move || {
                block_on(async {
                    for n in 0..300 {
                        let reserve = pool.reserve();
                        if n % 7 == 0 {
                            let mut reserve = reserve;
                            // Gives up: at once, in the line, or with a place granted.
                            let _ = poll_once(&mut reserve).await;
                            continue;
                        }
                        let done = Arc::clone(&done);
                        let permit = reserve.await.unwrap();
                        permit
                            .offload(move || done.fetch_add(1, SeqCst))
                            .unwrap()
                            .await
                            .unwrap();
                    }
                });
            })
        })
        .collect();
    for submitter in submitters {
        submitter.join().unwrap();
    }
    assert_eq!(
        done.load(SeqCst),
        6 * (0..300).filter(|n| n % 7 != 0).count()
    );
    // No place was lost on the way.
    let parked = [Parked::start(&pool), Parked::start(&pool)];
    // The place of the last waiter that gave up may be on its way back yet.
    let until = Instant::now() + PATIENCE;
    let mut fits = Vec::new();
    while fits.len() < 2 {
        assert!(Instant::now() < until, "{:?}", pool.metrics());
        fits.extend(pool.try_offload(|| ()).ok());
    }
    assert!(pool.try_offload(|| ()).is_err());
    parked.into_iter().for_each(Parked::release);
    fits.into_iter().for_each(join);
}

#[test]
fn parallel_iterators_run_on_the_same_pool() {
    let pool = pool(3).thread_name("crunch").build().unwrap();
    let job = pool.offload(|| {
        let names: HashSet<_> = (0..10_000)
            .into_par_iter()
            .map(|_| {
                assert!(on_compute_thread());
                assert!(rayon::current_thread_index().unwrap() < 3);
                thread::current().name().unwrap().to_owned()
            })
            .collect();
        let joined = rayon::join(on_compute_thread, on_compute_thread);
        (names, joined)
    });
    let (names, joined) = join(job.unwrap());
    assert!(names.iter().all(|name| name.starts_with("crunch-")));
    assert_eq!(joined, (true, true));
    assert!(!on_compute_thread());
}

#[test]
fn a_scope_borrows_and_joins() {
    let pool = pool(2).build().unwrap();
    let job = pool.offload(|| {
        let mut parts = [0_u64; 8];
        offload_scope(|scope| {
            for (n, part) in parts.iter_mut().enumerate() {
                scope.spawn(move |scope| {
                    *part = n as u64;
                    scope.spawn(move |_| *part += 100);
                });
            }
        });
        parts.iter().sum::<u64>()
    });
    assert_eq!(join(job.unwrap()), 28 + 800);
}

#[test]
fn the_panic_of_a_part_comes_back_to_the_awaiter() {
    let pool = pool(2).build().unwrap();
    let job = pool.offload(|| offload_scope(|scope| scope.spawn(|_| panic!("of a part"))));
    let error = block_on(job.unwrap()).unwrap_err();
    assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "of a part");
}

#[test]
#[should_panic(expected = "call it inside a closure given to `offload`")]
fn a_scope_outside_the_pool_is_refused() {
    offload_scope(|_| ());
}

/// A job that waits for a part of itself has its thread borrowed by rayon, which must not begin another job there.
#[test]
fn no_job_begins_inside_a_waiting_one() {
    let pool = Arc::new(pool(2).build().unwrap());
    let lock = Arc::new(Mutex::new(0_u32));
    let jobs: Vec<_> = (0..50)
        .map(|_| {
            let lock = Arc::clone(&lock);
            pool.offload(move || {
                // Held across a parallel part: a job that began inside would deadlock.
                let mut total = lock.lock().unwrap();
                *total += (0..64_u32).into_par_iter().map(|_| 1).sum::<u32>();
            })
            .unwrap()
        })
        .collect();
    jobs.into_iter().for_each(join);
    assert_eq!(*lock.lock().unwrap(), 50 * 64);
}

/// The same, step by step: rayon offers the waiting job's thread; the job goes to the other one when that is free, while
/// the waiting one still holds its own.
#[test]
fn a_job_offered_to_a_waiting_thread_runs_on_another() {
    let pool = pool(2).starvation_guard(false).build().unwrap();
    let (stolen, is_stolen) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let (release_half, half_released) = mpsc::channel();
    let (release_rest, rest_released) = mpsc::channel();
    let outer = pool
        .offload(move || {
            rayon::join(
                move || is_stolen.recv_timeout(PATIENCE).unwrap(),
                move || {
                    stolen.send(()).unwrap();
                    begun.send(()).unwrap();
                    half_released.recv_timeout(PATIENCE).unwrap();
                },
            );
            rest_released.recv_timeout(PATIENCE).unwrap();
        })
        .unwrap();
    // Before that the other thread could take the next job instead of its half.
    has_begun.recv_timeout(PATIENCE).unwrap();
    let inner = pool.offload(|| ()).unwrap();
    // However often it is offered there.
    eventually(&pool, |now| now.bounced > 3);
    assert!(!inner.is_finished());
    release_half.send(()).unwrap();
    join(inner);
    assert!(!outer.is_finished());
    release_rest.send(()).unwrap();
    join(outer);
}

/// A pool of three threads: a job blocks one, half of it, which rayon has moved to another one, waits there for its own half, which blocks the third.
struct PartThatWaits {
    pool: ComputePool,
    release_half: mpsc::Sender<()>,
    release: mpsc::Sender<()>,
    outer: JoinHandle<()>,
}

impl PartThatWaits {
    fn new(starvation_guard: bool) -> Self {
        let pool = pool(3).starvation_guard(starvation_guard).build().unwrap();
        let (part_moved, is_part_moved) = mpsc::channel();
        let (half_moved, is_half_moved) = mpsc::channel();
        let (all_placed, are_placed) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let (release_half, half_released) = mpsc::channel();
        let part = move || {
            part_moved.send(()).unwrap();
            // While it waits, this thread takes whatever rayon finds.
            rayon::join(
                move || is_half_moved.recv_timeout(PATIENCE).unwrap(),
                move || {
                    half_moved.send(()).unwrap();
                    all_placed.send(()).unwrap();
                    half_released.recv_timeout(PATIENCE).unwrap();
                },
            );
        };
        let job = move || {
            let block = move || {
                is_part_moved.recv_timeout(PATIENCE).unwrap();
                released.recv_timeout(PATIENCE).unwrap();
            };
            rayon::join(block, part);
        };
        let outer = pool.offload(job).unwrap();
        are_placed.recv_timeout(PATIENCE).unwrap();
        Self {
            pool,
            release_half,
            release,
            outer,
        }
    }

    fn end(self) {
        // Those that are not there any more have ended.
        let _ = self.release_half.send(());
        let _ = self.release.send(());
        join(self.outer);
    }
}

#[test]
fn no_job_begins_inside_a_part_that_waits() {
    let waits = PartThatWaits::new(false);
    let inner = waits.pool.offload(|| ()).unwrap();
    eventually(&waits.pool, |now| now.bounced > 3 || now.completed > 0);
    assert!(!inner.is_finished());
    waits.release_half.send(()).unwrap();
    join(inner);
    waits.end();
}

#[test]
fn a_job_that_no_thread_begins_is_run_by_the_helper() {
    let waits = PartThatWaits::new(true);
    join(waits.pool.offload(|| ()).unwrap());
    eventually(&waits.pool, |now| now.helped == 1);
    waits.end();
}

#[test]
fn however_many_runners_bounce_they_are_tried_again_together() {
    let waits = PartThatWaits::new(false);
    let begin = Instant::now();
    let inner: Vec<_> = (0..3).map(|_| waits.pool.offload(|| ()).unwrap()).collect();
    eventually(&waits.pool, |now| now.bounced > 20);
    let bounced = waits.pool.metrics().bounced;
    // Each round begins a millisecond after the last, and has two runners at most: the third is at the first job.
    let most_rounds = begin.elapsed().as_millis() as u64 + 2;
    assert!(
        bounced <= 2 * most_rounds,
        "{bounced} in {most_rounds} rounds"
    );
    waits.release_half.send(()).unwrap();
    inner.into_iter().for_each(join);
    waits.end();
}

#[test]
fn jobs_are_served_between_what_a_job_left_behind() {
    fn respawn(stop: Arc<AtomicBool>) {
        if !stop.load(SeqCst) {
            rayon::spawn(move || respawn(stop));
        }
    }
    let pool = pool(1).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let chain = Arc::clone(&stop);
    join(pool.offload(move || respawn(chain)).unwrap());
    // The chain keeps the only thread busy for ever, as far as rayon is concerned.
    for n in 0..20 {
        assert_eq!(join(pool.offload(move || n).unwrap()), n);
    }
    stop.store(true, SeqCst);
    assert!(pool.shutdown(PATIENCE).is_empty());
}

#[test]
fn ten_thousand_jobs_from_eight_threads_all_complete() {
    const THREADS: usize = 8;
    const JOBS: usize = 1_250;
    let (quiet, fell_quiet) = mpsc::channel();
    let pool = Arc::new(
        pool(2)
            .on_quiet(move || quiet.send(()).unwrap())
            .build()
            .unwrap(),
    );
    let running = Arc::new(AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(THREADS));
    let submitters: Vec<_> = (0..THREADS)
        .map(|_| {
            let (pool, running, start) =
                (Arc::clone(&pool), Arc::clone(&running), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let handles: Vec<_> = (0..JOBS)
                    .map(|n| {
                        let running = Arc::clone(&running);
                        let priority = Priority::ALL[n % 3];
                        pool.offload_with(with(priority), move || {
                            assert!(running.fetch_add(1, SeqCst) < 2);
                            running.fetch_sub(1, SeqCst);
                            n
                        })
                        .unwrap()
                    })
                    .collect();
                handles.into_iter().map(join).sum::<usize>()
            })
        })
        .collect();
    let sum: usize = submitters.into_iter().map(|it| it.join().unwrap()).sum();
    assert_eq!(sum, THREADS * (0..JOBS).sum::<usize>());
    fell_quiet.recv_timeout(PATIENCE).unwrap();
    eventually(&pool, |now| now.completed == 10_000);
    let metrics = pool.metrics();
    assert_eq!((metrics.submitted, metrics.queued), (10_000, [0; 3]));
    assert!(metrics.running_peak <= 2);
    assert!(metrics.run_time > Duration::ZERO && metrics.queue_wait > Duration::ZERO);
    assert!(pool.shutdown(PATIENCE).is_empty());
    assert_eq!(pool.in_flight(), 0);
}

#[test]
fn jobs_one_at_a_time_are_never_stranded() {
    let pool = pool(2).build().unwrap();
    for n in 0..3_000 {
        assert_eq!(join(pool.offload(move || n).unwrap()), n);
    }
}

#[test]
fn the_hook_is_asked_between_jobs_and_at_checkpoints() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let pool = pool(1)
        .yield_when(move || {
            counter.fetch_add(1, SeqCst);
            true
        })
        .build()
        .unwrap();
    join(pool.offload(|| ()).unwrap());
    join(pool.offload(|| ()).unwrap());
    assert!(asked.load(SeqCst) >= 1, "asked after the first job");
    let counter = Arc::clone(&asked);
    let job = pool.offload(move || {
        let before = counter.load(SeqCst);
        let until = Instant::now() + PATIENCE;
        while counter.load(SeqCst) < before + 3 {
            assert!(Instant::now() < until);
            checkpoint();
        }
    });
    join(job.unwrap());
    // Elsewhere it does nothing.
    let before = asked.load(SeqCst);
    thread::spawn(checkpoint).join().unwrap();
    assert!(asked.load(SeqCst) <= before + 1);
}

#[test]
fn without_a_dispatcher_a_job_is_refused_with_advice() {
    let pool = pool(1)
        .thread_spawner(|_, _| Err(io::Error::from(io::ErrorKind::WouldBlock)))
        .build()
        .unwrap();
    let held = Arc::new(());
    for _ in 0..3 {
        let in_job = Arc::clone(&held);
        let error = pool.offload(move || drop(in_job)).unwrap_err();
        assert!(matches!(error, SpawnError::NoThread(_)));
        assert!(error.to_string().contains("ulimit -u"), "{error}");
    }
    assert_eq!((Arc::strong_count(&held), pool.in_flight()), (1, 0));
    assert!(pool.shutdown(PATIENCE).is_empty());
}

#[test]
fn without_compute_threads_jobs_end_with_advice_and_later_ones_work() {
    let refuse = Arc::new(AtomicBool::new(true));
    let refusing = Arc::clone(&refuse);
    let pool = pool(2)
        .thread_spawner(move |builder, body| {
            // The second compute thread: the first has started, and has to end again.
            if refusing.load(SeqCst) && format!("{builder:?}").contains("-1") {
                return Err(io::Error::from(io::ErrorKind::WouldBlock));
            }
            builder.spawn(body).map(drop)
        })
        .build()
        .unwrap();
    let error = block_on(pool.offload(|| ()).unwrap()).unwrap_err();
    assert!(error.is_cancelled());
    assert!(error.to_string().contains("ulimit -u"), "{error}");
    refuse.store(false, SeqCst);
    assert_eq!(join(pool.offload(|| 5).unwrap()), 5);
    assert!(pool.shutdown(PATIENCE).is_empty());
}

#[test]
fn shutdown_cancels_what_waits_and_names_what_is_stuck() {
    let pool = pool(1).build().unwrap();
    let parked = Parked::start(&pool);
    let waiting = pool.offload(|| ()).unwrap();
    let report = pool.shutdown(Duration::from_millis(10));
    assert_eq!(report.len(), 1);
    assert_eq!(report[0].id, parked.handle.id());
    assert!(report[0].to_string().contains("compute_pool.rs"));
    assert!(block_on(waiting).unwrap_err().is_cancelled());
    assert!(matches!(pool.offload(|| ()), Err(SpawnError::Closed)));
    parked.release();
    assert!(pool.shutdown(PATIENCE).is_empty());
    assert_eq!((pool.metrics().threads, pool.in_flight()), (0, 0));
}

#[test]
fn dropping_the_pool_does_not_wait_for_a_stuck_job() {
    let pool = pool(2).build().unwrap();
    let parked = Parked::start(&pool);
    let job = pool.offload(|| ()).unwrap();
    drop(pool);
    // It has run or it was cancelled, but it has ended.
    if let Err(error) = block_on(job) {
        assert!(error.is_cancelled());
    }
    parked.release();
}

#[test]
fn a_pool_that_was_never_used_shuts_down_at_once() {
    let pool = pool(2).build().unwrap();
    assert!(pool.shutdown(Duration::MAX).is_empty());
    assert!(matches!(pool.offload(|| ()), Err(SpawnError::Closed)));
}

#[test]
fn submits_that_race_with_a_shutdown_are_refused_or_end() {
    for _ in 0..100 {
        let pool = Arc::new(pool(2).build().unwrap());
        let submitter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let mut handles = Vec::new();
                while let Ok(handle) = pool.offload(|| ()) {
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
        // A job is told of before it is counted out.
        eventually(&pool, |_| pool.in_flight() == 0);
    }
}

#[test]
fn hooks_run_on_each_compute_thread() {
    let started = Arc::new(AtomicUsize::new(0));
    let stopped = Arc::new(AtomicUsize::new(0));
    let (on_start, on_stop) = (Arc::clone(&started), Arc::clone(&stopped));
    let pool = pool(3)
        .on_thread_start(move || {
            on_start.fetch_add(1, SeqCst);
        })
        .on_thread_stop(move || {
            on_stop.fetch_add(1, SeqCst);
        })
        .build()
        .unwrap();
    join(pool.offload(|| ()).unwrap());
    assert!(pool.shutdown(PATIENCE).is_empty());
    assert_eq!((started.load(SeqCst), stopped.load(SeqCst)), (3, 3));
}

#[test]
fn what_cannot_work_is_refused_when_it_is_built() {
    assert_eq!(pool(0).build().unwrap_err(), BuildError::NoThreads);
    assert_eq!(
        pool(1).queue_bound(Some(0)).build().unwrap_err(),
        BuildError::NoRoom
    );
    assert!(matches!(
        pool(1).thread_name("\0").build(),
        Err(BuildError::ThreadName(_))
    ));
}
