//! Time that jumps when nothing runs, on one worker and on several.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use divisi::time::{Instant, advance, sleep, timeout};
use divisi::{Clock, Runtime};
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder()
        .worker_threads(workers)
        .clock(Clock::Virtual)
        .build()
        .unwrap()
}

#[test]
fn a_day_passes_at_once_and_exactly() {
    for workers in [1, 2, 4] {
        runtime(workers).block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> = (1..=100)
                .map(|n| {
                    divisi::spawn(async move {
                        for _ in 0..10 {
                            sleep(DAY / 1000 * n).await;
                        }
                        Instant::now()
                    })
                })
                .collect();
            for (n, task) in (1..=100).zip(tasks) {
                assert_eq!(task.await.unwrap() - start, DAY / 1000 * n * 10);
            }
        });
    }
}

#[test]
fn time_stands_still_while_jobs_run() {
    for workers in [1, 2] {
        runtime(workers).block_on(async {
            let start = Instant::now();
            let (go, may_go) = mpsc::channel::<()>();
            let (open, opened) = mpsc::channel::<()>();
            let blocking = divisi::spawn_blocking(move || may_go.recv());
            let computing = divisi::offload(move || opened.recv());
            // The jobs are still out when this poll ends; if time moved, the time-out would win.
            let releaser = std::thread::spawn(move || {
                // Only after the workers had every opportunity to fall asleep.
                for _ in 0..1000 {
                    std::thread::yield_now();
                }
                drop((go, open));
            });
            assert!(timeout(DAY, blocking).await.is_ok());
            assert!(timeout(DAY, computing).await.is_ok());
            assert_eq!(Instant::now(), start);
            releaser.join().unwrap();
        });
    }
}

#[test]
fn advancing_fires_what_is_due_and_nothing_else() {
    let runtime = runtime(1);
    // In a task: on the one worker, where a yield lets the others run.
    let test = runtime.spawn(async {
        let start = Instant::now();
        let early = divisi::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            Instant::now() - start
        });
        let late = divisi::spawn(sleep(Duration::from_secs(3)));
        divisi::yield_now().await;
        advance(Duration::from_secs(2)).await;
        divisi::yield_now().await;
        assert!(early.is_finished() && !late.is_finished());
        assert!(early.await.unwrap() >= Duration::from_secs(1));
        late.await.unwrap();
        assert_eq!(Instant::now() - start, Duration::from_secs(3));
    });
    runtime.block_on(test).unwrap();
}

#[test]
fn two_runtimes_have_clocks_of_their_own() {
    let (first, second) = (runtime(1), runtime(1));
    let before = second.block_on(async { Instant::now() });
    first.block_on(sleep_in_runtime(DAY));
    assert_eq!(second.block_on(async { Instant::now() }), before);
}

async fn sleep_in_runtime(time: Duration) {
    sleep(time).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sleepers_wake_in_the_order_of_their_deadlines_and_never_early(
        millis in proptest::collection::vec(0u64..10_000, 1..50),
        workers in 1usize..4,
    ) {
        let order: Arc<Mutex<Vec<(u64, Duration)>>> = Arc::default();
        runtime(workers).block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> = millis.iter().map(|&milli| {
                let order = order.clone();
                divisi::spawn(async move {
                    sleep(Duration::from_millis(milli)).await;
                    order.lock().unwrap().push((milli, Instant::now() - start));
                })
            }).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let order = order.lock().unwrap();
        prop_assert_eq!(order.len(), millis.len());
        for (milli, at) in order.iter() {
            prop_assert_eq!(*at, Duration::from_millis(*milli));
        }
        prop_assert!(order.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }
}

#[test]
fn time_stands_still_until_a_woken_root_has_run() {
    const ROUNDS: u32 = 2_000;
    let runtime = runtime(2);
    runtime.block_on(async {
        let step = Duration::from_millis(1);
        // Its next deadline is where time would go to.
        let ticking = divisi::spawn(async move {
            loop {
                sleep(step / 10).await;
            }
        });
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            // Enough of them for both workers, so that one often wakes the root while that sleeps on the other.
            let sleepers: Vec<_> = (0..10).map(|_| divisi::spawn(sleep(step))).collect();
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
        }
        assert_eq!(begin.elapsed(), step * ROUNDS);
        ticking.cancel("seen enough");
    });
}

#[test]
fn time_goes_on_after_a_spare_has_left() {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .clock(Clock::Virtual)
        .stall_threshold(Duration::from_millis(1))
        .exception_handler(|_| {})
        .build()
        .unwrap();
    // In a task, which is on the worker in any case.
    let test = runtime.spawn(async {
        for _ in 0..20 {
            let stalls = divisi::Handle::current().metrics().scheduler.stalls;
            drop(divisi::spawn(divisi::yield_now()));
            // A poll that is blocked, not only long, until the monitor has taken it for stuck.
            let (handle, blocked) = (divisi::Handle::current(), std::thread::current());
            let watch = std::thread::spawn(move || {
                while handle.metrics().scheduler.stalls == stalls {
                    std::thread::yield_now();
                }
                blocked.unpark();
            });
            while divisi::Handle::current().metrics().scheduler.stalls == stalls {
                std::thread::park();
            }
            watch.join().unwrap();
            sleep(DAY).await;
        }
    });
    runtime.block_on(test).unwrap();
}
