//! Limits of what is under way at once: order, cancellation, changes, and limits that adapt.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use divisi::limit::{Aimd, Concurrency, Gradient};
use divisi::time::{Instant, sleep};
use divisi::{Clock, Runtime};
use proptest::prelude::*;

const MILLI: Duration = Duration::from_millis(1);

fn on_virtual_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = Runtime::builder().worker_threads(1).clock(Clock::Virtual);
    runtime.build().unwrap().block_on(test)
}

fn is_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

#[test]
fn no_more_than_the_limit_are_under_way_on_any_number_of_workers() {
    let runtime = Runtime::builder().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let limit = Concurrency::new(3);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..500)
            .map(|_| {
                let (limit, now, most) = (limit.clone(), now.clone(), most.clone());
                divisi::spawn(async move {
                    let _slot = limit.acquire().await;
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    divisi::yield_now().await;
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!((limit.in_use(), limit.waiting()), (0, 0));
    });
}

#[test]
fn a_slot_that_was_given_but_not_taken_goes_to_the_next() {
    on_virtual_clock(async {
        let limit = Concurrency::new(1);
        let slot = limit.acquire().await;
        let mut first = Box::pin(limit.acquire());
        let mut second = pin!(limit.acquire());
        assert!(is_pending(first.as_mut()) && is_pending(second.as_mut()));
        drop(slot);
        assert!(limit.try_acquire().is_none(), "nobody overtakes");
        drop(first);
        drop(second.await);
        assert_eq!(limit.in_use(), 0);
    });
}

#[test]
fn a_lower_limit_waits_for_those_under_way_and_a_higher_one_lets_in_at_once() {
    on_virtual_clock(async {
        let limit = Concurrency::new(2);
        let (one, other) = (limit.acquire().await, limit.acquire().await);
        limit.set_limit(1);
        let mut waiting = pin!(limit.acquire());
        assert!(is_pending(waiting.as_mut()));
        drop(one);
        assert!(is_pending(waiting.as_mut()));
        limit.set_limit(2);
        let third = waiting.await;
        drop((other, third));
    });
}

#[test]
fn jobs_of_the_pools_keep_their_slot_until_they_have_ended() {
    let runtime = Runtime::builder().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let limit = Concurrency::new(1);
        let (go, may_go) = std::sync::mpsc::channel::<()>();
        // The handle is dropped; the job goes on.
        drop(limit.spawn_blocking(move || may_go.recv()).await);
        let mut next = pin!(limit.offload(|| 7));
        assert!(is_pending(next.as_mut()));
        drop(go);
        assert_eq!(next.await.await.unwrap(), 7);
        // A panic frees it too.
        assert!(
            limit
                .spawn_blocking(|| panic!("on purpose"))
                .await
                .await
                .is_err()
        );
        drop(limit.acquire().await);
    });
}

/// A server that does `capacity` at a time, each in 10 ms, in order, and refuses beyond `queue`. Returns the limit in the end.
async fn against_a_server(limit: Concurrency, capacity: usize, queue: usize) -> usize {
    let server = Concurrency::new(capacity);
    let clients: Vec<_> = (0..300)
        .map(|_| {
            let (limit, server) = (limit.clone(), server.clone());
            divisi::spawn(async move {
                for _ in 0..100 {
                    let slot = limit.acquire().await;
                    if server.waiting() >= queue {
                        slot.overloaded();
                        // As a refused client does.
                        sleep(MILLI).await;
                        continue;
                    }
                    let _served = server.acquire().await;
                    sleep(10 * MILLI).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    limit.limit()
}

#[test]
fn additive_increase_finds_what_the_server_takes() {
    for capacity in [10, 50] {
        let limit = Concurrency::adaptive(Aimd::default());
        let found = on_virtual_clock(against_a_server(limit, capacity, 10));
        // It goes to and fro about what is in service and in line there.
        let bounds = capacity * 3 / 4..=(capacity + 10) * 3 / 2;
        assert!(
            bounds.contains(&found),
            "{found} for a server that takes {capacity}"
        );
    }
}

#[test]
fn the_gradient_keeps_a_queue_from_growing() {
    let gradient = Gradient {
        min: 1,
        max: 250,
        ..Gradient::default()
    };
    let limit = Concurrency::adaptive(gradient);
    let found = on_virtual_clock(against_a_server(limit, 30, usize::MAX));
    assert!(
        (20..=120).contains(&found),
        "{found}: it neither starves nor floods a server that takes 30"
    );
}

#[test]
fn work_that_says_nothing_does_not_change_the_limit() {
    on_virtual_clock(async {
        let limit = Concurrency::adaptive(Aimd {
            initial: 2,
            ..Aimd::default()
        });
        limit.acquire().await.ignore();
        assert_eq!(limit.limit(), 2);
        drop(limit.acquire().await);
        assert_eq!(limit.limit(), 3);
        let (one, other) = (limit.acquire().await, limit.acquire().await);
        let start = Instant::now();
        sleep(6_000 * MILLI).await;
        drop(one);
        assert_eq!(limit.limit(), 2, "it took {:?}", start.elapsed());
        other.overloaded();
        assert_eq!(limit.limit(), 1);
    });
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let refused = |make: fn() -> Concurrency| std::panic::catch_unwind(make).is_err();
    assert!(refused(|| Concurrency::new(0)));
    assert!(refused(|| Concurrency::adaptive(Aimd {
        min: 0,
        ..Aimd::default()
    })));
    assert!(refused(|| Concurrency::adaptive(Aimd {
        backoff: 1.5,
        ..Aimd::default()
    })));
    assert!(refused(|| Concurrency::adaptive(Gradient {
        smoothing: 0.0,
        ..Gradient::default()
    })));
    assert!(refused(|| Concurrency::adaptive(Gradient {
        initial: 1000,
        ..Gradient::default()
    })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Against the obvious sequential model: who is in, who waits, in which order.
    #[test]
    fn histories_are_those_of_a_queue(steps in proptest::collection::vec((0u8..5, 0usize..8), 1..100)) {
        let limit = Concurrency::new(2);
        let (mut bound, mut next) = (2usize, 0u64);
        let mut waiting = Vec::new();
        let mut inside = Vec::new();
        let (mut model_waiting, mut model_inside): (Vec<u64>, Vec<u64>) = Default::default();
        for (step, index) in steps {
            match step {
                0 | 1 => {
                    let mut wait = Box::pin(limit.acquire());
                    if is_pending(wait.as_mut()) {
                        waiting.push((next, wait));
                    } else {
                        // Polled to its end: its slot went with the output, so it has left again.
                        prop_assert!(model_inside.len() < bound && model_waiting.is_empty());
                        next += 1;
                        continue;
                    }
                    model_waiting.push(next);
                    next += 1;
                }
                2 => if let Some(slot) = limit.try_acquire() {
                    prop_assert!(model_inside.len() < bound && model_waiting.is_empty());
                    inside.push((next, slot));
                    model_inside.push(next);
                    next += 1;
                } else {
                    prop_assert!(model_inside.len() >= bound || !model_waiting.is_empty());
                },
                3 if !inside.is_empty() => {
                    let (id, slot) = inside.remove(index % inside.len());
                    drop(slot);
                    model_inside.retain(|other| *other != id);
                }
                4 if !waiting.is_empty() => {
                    let (id, wait) = waiting.remove(index % waiting.len());
                    drop(wait);
                    model_waiting.retain(|other| *other != id);
                    model_inside.retain(|other| *other != id);
                }
                _ => {
                    bound = index + 1;
                    limit.set_limit(bound);
                }
            }
            while model_inside.len() < bound && !model_waiting.is_empty() {
                model_inside.push(model_waiting.remove(0));
            }
            prop_assert_eq!(limit.in_use(), model_inside.len());
            prop_assert_eq!(limit.waiting(), model_waiting.len());
        }
    }
}

/// Sends the name of the thread that wakes.
struct SaysWhere(std::sync::mpsc::Sender<std::thread::ThreadId>);

impl std::task::Wake for SaysWhere {
    fn wake(self: std::sync::Arc<Self>) {
        let _ = self.0.send(std::thread::current().id());
    }
}

#[test]
fn the_slot_of_a_computing_job_is_not_freed_on_its_thread() {
    divisi::run(async {
        for panics in [false, true] {
            let limit = Concurrency::new(1);
            let (go, gone) = std::sync::mpsc::channel::<()>();
            let (say_job, job_thread) = std::sync::mpsc::channel();
            let job = limit
                .offload(move || {
                    say_job.send(std::thread::current().id()).unwrap();
                    gone.recv().unwrap();
                    assert!(!panics, "as it should");
                })
                .await;
            let (say_woken, woken_by) = std::sync::mpsc::channel();
            let waker = std::task::Waker::from(std::sync::Arc::new(SaysWhere(say_woken)));
            let mut next = std::pin::pin!(limit.acquire());
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(next.as_mut().poll(&mut cx).is_pending());
            go.send(()).unwrap();
            assert_eq!(job.await.is_err(), panics);
            let woken_by = divisi::spawn_blocking(move || {
                woken_by.recv_timeout(std::time::Duration::from_secs(60))
            });
            let woken_by = woken_by.await.unwrap().unwrap();
            assert_ne!(woken_by, job_thread.recv().unwrap());
            drop(next.await);
            assert_eq!(limit.in_use(), 0);
        }
    });
}
