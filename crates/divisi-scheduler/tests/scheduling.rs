//! What runs, where, and in which order.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use divisi_scheduler::BlockOnError;
use divisi_task::SpawnOptions;
use support::{LONG, build, gate, scheduler, yield_now};

#[test]
fn tasks_from_outside_run_on_every_number_of_workers() {
    for workers in [1, 2, 4, 70] {
        let fixture = scheduler(workers);
        let (done, finished) = mpsc::channel();
        for n in 0..100 {
            let done = done.clone();
            drop(fixture.spawn(async move { done.send(n).unwrap() }));
        }
        let mut seen: Vec<i32> = (0..100)
            .map(|_| finished.recv_timeout(LONG).unwrap())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn tasks_from_a_thread_of_lowered_priority_run_in_order_and_are_counted() {
    let fixture = build(1, true, None);
    fixture.drivers[0].wait_asleep();
    let (done, finished) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            divisi_scheduler::mark_lowered();
            for n in 0..1000 {
                let done = done.clone();
                drop(fixture.spawn(async move { done.send(n).unwrap() }));
            }
        });
    });
    let seen: Vec<i32> = (0..1000)
        .map(|_| finished.recv_timeout(LONG).unwrap())
        .collect();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    assert_eq!(fixture.scheduler.metrics().workers[0].injector_pops, 1000);
}

#[test]
fn the_thread_that_blocks_is_a_worker_and_a_second_one_is_not() {
    let fixture = scheduler(2);
    let scheduler = fixture.scheduler.clone();
    let inner = scheduler.clone();
    let seat = fixture.scheduler.block_on(async move {
        let second = {
            let inner = inner.clone();
            std::thread::spawn(move || {
                let asker = inner.clone();
                inner.block_on(async move { asker.current_seat() }).unwrap()
            })
        };
        // The second caller waits for the seat in vain and does without.
        (inner.current_seat(), second.join().unwrap())
    });
    assert_eq!(seat.unwrap(), (Some(0), None));
    assert_eq!(scheduler.current_seat(), None);
}

#[test]
fn blocking_inside_a_task_or_a_root_is_refused() {
    let fixture = scheduler(1);
    let inner = fixture.scheduler.clone();
    let result = fixture
        .scheduler
        .block_on(async move { inner.block_on(async {}) });
    assert_eq!(result.unwrap(), Err(BlockOnError::Nested));
    // The same without a seat.
    let inner = fixture.scheduler.clone();
    let result = fixture
        .scheduler
        .block_on_alone(async move { inner.block_on(async {}) });
    assert_eq!(result.unwrap(), Err(BlockOnError::Nested));
    assert_eq!(fixture.scheduler.block_on(async { 5 }), Ok(5));
}

#[test]
fn the_root_may_borrow_and_is_woken_from_another_thread() {
    let fixture = scheduler(2);
    let mut local = 0;
    for _ in 0..100 {
        let task = fixture.spawn(async { 1 });
        fixture
            .scheduler
            .block_on(async { local += task.await.unwrap() })
            .unwrap();
    }
    assert_eq!(local, 100);
}

#[test]
fn woken_tasks_interleave_with_queued_ones() {
    // Two tasks that wake each other for ever must not keep a third from running.
    let fixture = scheduler(1);
    let stop = Arc::new(AtomicBool::new(false));
    let slots: Arc<[Mutex<Option<std::task::Waker>>; 2]> = Arc::default();
    for me in 0..2 {
        let (slots, stop) = (slots.clone(), stop.clone());
        drop(fixture.spawn(std::future::poll_fn(move |cx| {
            *slots[me].lock().unwrap() = Some(cx.waker().clone());
            if let Some(other) = slots[1 - me].lock().unwrap().take() {
                other.wake();
            }
            if stop.load(Ordering::Relaxed) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })));
    }
    let (done, finished) = mpsc::channel();
    drop(fixture.spawn(async move { done.send(()).unwrap() }));
    finished.recv_timeout(LONG).unwrap();
    stop.store(true, Ordering::Relaxed);
    // The last wakers keep the tasks that keep them.
    assert!(fixture.scheduler.wait_empty(Instant::now() + LONG));
    slots.iter().for_each(|slot| *slot.lock().unwrap() = None);
}

#[test]
fn an_event_is_handled_within_two_passes_of_ten_thousand_ready_tasks() {
    const TASKS: usize = 10_000;
    let fixture = scheduler(1);
    let stop = Arc::new(AtomicBool::new(false));
    let polls = Arc::new(AtomicUsize::new(0));
    let (ready, is_ready) = mpsc::channel();
    let io_task = fixture.spawn({
        let polls = polls.clone();
        let mut woken_at = None;
        std::future::poll_fn(move |cx| match woken_at {
            None => {
                ready.send(cx.waker().clone()).unwrap();
                woken_at = Some(());
                std::task::Poll::Pending
            }
            Some(()) => std::task::Poll::Ready(polls.load(Ordering::SeqCst)),
        })
    });
    let waker = is_ready.recv_timeout(LONG).unwrap();
    let driver = fixture.drivers[0].clone();
    for n in 0..TASKS {
        let (stop, polls) = (stop.clone(), polls.clone());
        let (driver, waker) = (driver.clone(), waker.clone());
        drop(fixture.spawn(async move {
            let mut passes = 0;
            while !stop.load(Ordering::Relaxed) {
                polls.fetch_add(1, Ordering::SeqCst);
                passes += 1;
                if n == TASKS / 2 && passes == 5 {
                    // All others are in the queue; the event comes now.
                    polls.store(0, Ordering::SeqCst);
                    driver.event(waker.clone());
                }
                yield_now().await;
            }
        }));
    }
    let waited = fixture.scheduler.block_on(io_task).unwrap().unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(
        waited <= 2 * TASKS,
        "the event waited for {waited} polls of {TASKS} tasks"
    );
}

#[test]
fn a_long_queue_is_shared_with_an_idle_worker() {
    let fixture = scheduler(2);
    let scheduler = fixture.scheduler.clone();
    // One task fills its worker's queue and then keeps the worker; all others must run elsewhere.
    let (open, closed) = gate();
    let (done, finished) = mpsc::channel();
    drop(fixture.spawn(async move {
        for n in 0..100 {
            let done = done.clone();
            drop(
                scheduler
                    .spawn(async move { done.send(n).unwrap() }, SpawnOptions::new())
                    .unwrap(),
            );
        }
        closed();
    }));
    for _ in 0..100 {
        finished.recv_timeout(LONG).unwrap();
    }
    drop(open);
    assert!(
        fixture
            .scheduler
            .metrics()
            .workers
            .iter()
            .any(|worker| worker.stolen_tasks > 0)
    );
}

#[test]
fn a_million_tasks_complete() {
    let fixture = scheduler(2);
    let count = Arc::new(AtomicUsize::new(0));
    let scheduler = fixture.scheduler.clone();
    let (outer, done) = (count.clone(), count.clone());
    fixture
        .scheduler
        .block_on(async move {
            let mut handles = Vec::new();
            for _ in 0..1_000_000 {
                let count = outer.clone();
                let future = async move {
                    count.fetch_add(1, Ordering::Relaxed);
                };
                handles.push(scheduler.spawn(future, SpawnOptions::new()).unwrap());
            }
            for handle in handles {
                handle.await.unwrap();
            }
        })
        .unwrap();
    assert_eq!(done.load(Ordering::Relaxed), 1_000_000);
}

#[test]
fn a_turn_runs_what_is_ready_and_never_waits() {
    let fixture = build(1, false, None);
    assert_eq!(fixture.scheduler.turn(10), Ok(0));
    let task = fixture.spawn(async {
        yield_now().await;
        7
    });
    assert_eq!(fixture.scheduler.turn(1), Ok(1));
    assert!(!task.is_finished());
    assert_eq!(fixture.scheduler.turn(10), Ok(1));
    assert_eq!(fixture.scheduler.block_on(task).unwrap().unwrap(), 7);
}

#[test]
fn a_turn_that_was_woken_for_nothing_leaves_the_descriptor_quiet() {
    let fixture = build(1, false, Some(Box::new(|_| false)));
    let (scheduler, driver) = (&fixture.scheduler, &fixture.drivers[0]);
    assert_eq!(scheduler.turn(1), Ok(0));
    assert!(!driver.take_notified());
    scheduler.hold_clock();
    scheduler.release_clock();
    assert!(driver.take_notified(), "the end of the hold wakes a worker");
    assert_eq!(scheduler.turn(1), Ok(0));
    assert!(!driver.take_notified(), "the turn woke itself");
    let task = fixture.spawn(async {});
    assert!(driver.take_notified(), "a task is told of again");
    assert_eq!(scheduler.turn(1), Ok(1));
    assert!(task.is_finished());
}

#[test]
fn metrics_count_polls_parks_and_injected_tasks() {
    let fixture = scheduler(1);
    for _ in 0..10 {
        let task = fixture.spawn(async {});
        fixture.scheduler.block_on(task).unwrap().unwrap();
    }
    fixture.drivers[0].wait_asleep();
    let metrics = fixture.scheduler.metrics();
    assert_eq!(metrics.workers[0].polls, 10);
    assert_eq!(metrics.workers[0].injector_pops, 10);
    assert!(metrics.workers[0].parks > 0);
    assert_eq!(
        (
            metrics.live_tasks,
            metrics.injector_length,
            metrics.workers[0].queue_length
        ),
        (0, 0, 0)
    );
}

#[test]
fn virtual_time_jumps_only_when_nothing_runs() {
    let jumps = Arc::new(AtomicUsize::new(0));
    let jumped = jumps.clone();
    let fixture = build(
        2,
        true,
        Some(Box::new(move |nothing_runs| {
            if nothing_runs().is_some() {
                jumped.fetch_add(1, Ordering::SeqCst);
            }
            false
        })),
    );
    fixture.scheduler.hold_clock();
    fixture
        .drivers
        .iter()
        .for_each(|driver| driver.wait_asleep());
    let before = jumps.load(Ordering::SeqCst);
    let task = fixture.spawn(async {});
    fixture.scheduler.block_on_alone(task).unwrap().unwrap();
    fixture
        .drivers
        .iter()
        .for_each(|driver| driver.wait_asleep());
    assert_eq!(jumps.load(Ordering::SeqCst), before, "the clock was held");
    fixture.scheduler.release_clock();
    let end = Instant::now() + LONG;
    while jumps.load(Ordering::SeqCst) == before {
        assert!(
            Instant::now() < end,
            "the end of a hold must be followed by a look at the census"
        );
        std::thread::yield_now();
    }
}

/// Keeps the thread busy for longer than what counts as a long poll.
fn compute() {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_task_that_is_woken_goes_before_tasks_whose_polls_take_long() {
    const COMPUTING: usize = 16;
    const PINGS: usize = 40;
    let fixture = scheduler(1);
    let polls = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..COMPUTING {
        let (polls, stop) = (polls.clone(), stop.clone());
        drop(fixture.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                compute();
                polls.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
            }
        }));
    }
    // The worker has to see some of them run before it knows them.
    while polls.load(Ordering::SeqCst) < 6 * COMPUTING {
        std::thread::yield_now();
    }
    let mut waits: Vec<_> = (0..PINGS)
        .map(|_| {
            let (pong, ponged) = mpsc::channel();
            let (seen, before) = (polls.clone(), polls.load(Ordering::SeqCst));
            drop(fixture.spawn(async move {
                let waited = seen.load(Ordering::SeqCst) - before;
                pong.send(waited).unwrap();
            }));
            ponged.recv_timeout(LONG).unwrap()
        })
        .collect();
    stop.store(true, Ordering::SeqCst);
    waits.sort_unstable();
    // The one that ran, and one that joined the queue in its turn. The median: the system may take the core away in the middle of any of them.
    assert!(waits[PINGS / 2] <= 2, "polls waited for: {waits:?}");
}

#[test]
fn tasks_whose_polls_take_long_get_their_turn_beside_others_that_never_rest() {
    let fixture = scheduler(1);
    let stop = Arc::new(AtomicBool::new(false));
    let restless: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            fixture.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    yield_now().await;
                }
            })
        })
        .collect();
    let (done, finished) = mpsc::channel();
    for _ in 0..4 {
        let done = done.clone();
        drop(fixture.spawn(async move {
            for _ in 0..20 {
                compute();
                yield_now().await;
            }
            done.send(()).unwrap();
        }));
    }
    for _ in 0..4 {
        finished.recv_timeout(LONG).unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    drop(restless);
}
