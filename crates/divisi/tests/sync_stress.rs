//! Primitives, channels and queues on several workers, with tasks that are cancelled all the time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::channel::{broadcast, mpsc, watch};
use divisi::queue;
use divisi::sync::{Barrier, Condvar, Mutex, RwLock, Semaphore};
use divisi::{Runtime, spawn, yield_now};
use futures_lite::future::poll_once;

/// So long nothing takes on a machine that is busy otherwise; only a hang does.
const GENEROUS: Duration = Duration::from_secs(60);

fn run<T: Send + 'static>(test: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = Runtime::builder().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        divisi::time::timeout(GENEROUS, test)
            .await
            .expect("somebody waits for ever")
    })
}

/// A number that looks random and is the same in every run.
fn scramble(number: usize) -> usize {
    number.wrapping_mul(0x9E37_79B9).rotate_right(7) % 7
}

/// Polls `future` once, lets others run, and gives up every other time; then tries once more with patience.
macro_rules! impatiently {
    ($round:expr, $future:expr) => {{
        if scramble($round) < 3 {
            let mut future = pin!($future);
            let early = poll_once(future.as_mut()).await;
            yield_now().await;
            early
        } else {
            None
        }
    }};
}

#[test]
fn a_mutex_excludes_and_serves_all_while_waiters_are_dropped() {
    run(async {
        let mutex = Arc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..16)
            .map(|task| {
                let mutex = mutex.clone();
                spawn(async move {
                    for round in 0..200 {
                        drop(impatiently!(task + round, mutex.lock()));
                        let mut value = mutex.lock().await;
                        let before = *value;
                        if scramble(round) == 0 {
                            yield_now().await;
                        }
                        *value = before + 1;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*mutex.lock().await, 16 * 200);
        assert!(mutex.try_lock().is_some());
    });
}

#[test]
fn readers_never_see_half_a_write() {
    run(async {
        let lock = Arc::new(RwLock::new((0, 0)));
        let tasks: Vec<_> = (0..12)
            .map(|task| {
                let lock = lock.clone();
                spawn(async move {
                    for round in 0..200 {
                        drop(impatiently!(task + round, lock.write()));
                        if task % 3 == 0 {
                            let mut pair = lock.write().await;
                            pair.0 += 1;
                            yield_now().await;
                            pair.1 += 1;
                        } else {
                            let pair = lock.read().await;
                            assert_eq!(pair.0, pair.1);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*lock.read().await, (800, 800));
    });
}

#[test]
fn permits_are_neither_lost_nor_made_up_while_waiters_are_dropped() {
    run(async {
        let semaphore = Arc::new(Semaphore::new(3));
        let out = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..16)
            .map(|task| {
                let (semaphore, out) = (semaphore.clone(), out.clone());
                spawn(async move {
                    for round in 0..200 {
                        drop(impatiently!(task + round, semaphore.acquire_many(2)));
                        let wanted = 1 + scramble(round) % 3;
                        let permit = semaphore.acquire_many(wanted).await.unwrap();
                        let others = out.fetch_add(wanted, Ordering::SeqCst);
                        assert!(others + wanted <= 3);
                        yield_now().await;
                        out.fetch_sub(wanted, Ordering::SeqCst);
                        drop(permit);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!((semaphore.available(), semaphore.waiting()), (3, 0));
    });
}

#[test]
fn every_value_of_a_queue_is_received_once_while_both_sides_are_dropped() {
    run(async {
        let (sender, receiver) = queue::bounded(3);
        let senders: Vec<_> = (0..8_usize)
            .map(|task| {
                let sender = sender.clone();
                spawn(async move {
                    for number in 0..200 {
                        drop(impatiently!(task + number, sender.reserve()));
                        sender.send(task * 200 + number).await.unwrap();
                    }
                })
            })
            .collect();
        let receivers: Vec<_> = (0..8_usize)
            .map(|task| {
                let receiver = receiver.clone();
                spawn(async move {
                    let mut received = Vec::new();
                    for round in 0.. {
                        let early = impatiently!(task + round, receiver.recv());
                        match early.unwrap_or(None) {
                            Some(number) => received.push(number),
                            None => match receiver.recv_tracked().await {
                                Some(number) => received.push(*number),
                                None => break,
                            },
                        }
                    }
                    received
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        sender.close();
        sender.join().await;
        let mut all = Vec::new();
        for receiver in receivers {
            all.extend(receiver.await.unwrap());
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1600));
    });
}

#[test]
fn each_sender_of_a_channel_keeps_its_order() {
    run(async {
        let (sender, mut receiver) = mpsc::bounded(5);
        for task in 0..8_usize {
            let sender = sender.clone();
            drop(spawn(async move {
                for number in 0..500_usize {
                    drop(impatiently!(task + number, sender.reserve()));
                    sender.send((task, number)).await.unwrap();
                }
            }));
        }
        drop(sender);
        let mut next = [0; 8];
        while let Some((task, number)) = receiver.recv().await {
            assert_eq!(next[task], number);
            next[task] += 1;
        }
        assert_eq!(next, [500; 8]);
    });
}

#[test]
fn a_condition_hands_out_work_while_waiters_are_dropped() {
    run(async {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let takers: Vec<_> = (0..8)
            .map(|task| {
                let shared = shared.clone();
                spawn(async move {
                    let (jobs, more) = &*shared;
                    for round in 0..100 {
                        drop(impatiently!(task + round, async {
                            more.wait(jobs.lock().await).await
                        }));
                        let mut jobs = more.wait_while(jobs.lock().await, |jobs| *jobs == 0).await;
                        *jobs -= 1;
                    }
                })
            })
            .collect();
        for round in 0..800 {
            *shared.0.lock().await += 1;
            shared.1.notify_one();
            if scramble(round) == 0 {
                yield_now().await;
            }
        }
        // A waiter that takes its notification and drops the job would leave one behind.
        let jobs_left = async {
            for taker in takers {
                while !taker.is_finished() {
                    shared.1.notify_one();
                    yield_now().await;
                }
                taker.await.unwrap();
            }
            *shared.0.lock().await
        };
        assert_eq!(jobs_left.await, 0);
    });
}

#[test]
fn all_meet_at_a_barrier_round_after_round() {
    run(async {
        const PARTIES: usize = 6;
        let barrier = Arc::new(Barrier::new(PARTIES));
        let rounds = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..PARTIES)
            .map(|_| {
                let (barrier, rounds) = (barrier.clone(), rounds.clone());
                spawn(async move {
                    for round in 0..200 {
                        assert_eq!(rounds.load(Ordering::SeqCst), round);
                        if barrier.wait().await.unwrap() == 0 {
                            rounds.fetch_add(1, Ordering::SeqCst);
                        }
                        barrier.wait().await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn watchers_and_subscribers_see_the_end() {
    run(async {
        let (latest, watcher) = watch::channel(0);
        let (all, subscriber) = broadcast::channel(4);
        let watchers: Vec<_> = (0..4)
            .map(|_| {
                let (mut watcher, mut subscriber) = (watcher.clone(), subscriber.clone());
                spawn(async move {
                    let mut seen = 0;
                    while watcher.changed().await.is_ok() {
                        let value = *watcher.get_and_update();
                        assert!(value > seen);
                        seen = value;
                    }
                    let mut next = 1;
                    loop {
                        match subscriber.recv().await {
                            Ok(number) => {
                                assert_eq!(number, next);
                                next += 1;
                            }
                            Err(broadcast::RecvError::Lagged(missed)) => next += missed,
                            Err(broadcast::RecvError::Closed) => return (seen, next),
                        }
                    }
                })
            })
            .collect();
        drop((watcher, subscriber));
        for number in 1..=500 {
            latest.send(number).unwrap();
            all.send(number as u64).unwrap();
            yield_now().await;
        }
        drop((latest, all));
        for watcher in watchers {
            assert_eq!(watcher.await.unwrap(), (500, 501));
        }
    });
}

#[test]
fn a_task_that_only_does_what_is_ready_lets_others_run() {
    let runtime = divisi::LocalRuntime::new().unwrap();
    runtime.block_on(async {
        let (sender, receiver) = queue::unbounded();
        let mutex = Mutex::new(());
        let other_ran = Arc::new(AtomicUsize::new(0));
        let other = divisi::spawn_local({
            let other_ran = other_ran.clone();
            async move { other_ran.store(1, Ordering::SeqCst) }
        });
        let mut rounds = 0;
        while other_ran.load(Ordering::SeqCst) == 0 {
            drop(mutex.lock().await);
            sender.send(()).await.unwrap();
            receiver.recv().await.unwrap();
            rounds += 1;
            assert!(rounds < 1_000_000, "the other task never ran");
        }
        other.await.unwrap();
    });
}
