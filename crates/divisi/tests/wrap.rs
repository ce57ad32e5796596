//! `retry`, `cached` and `throttled`, on a virtual clock.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::future::FutureExt;
use divisi::limit::{Rate, RateLimiter};
use divisi::spawn;
use divisi::time::{Instant, sleep};
use divisi::wrap::{Backoff, Jitter, cached, retry, retry_if, throttled};
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

// --- retry

#[divisi::test(clock = "virtual")]
async fn calls_are_repeated_after_growing_pauses_until_one_succeeds() {
    let begin = Instant::now();
    let mut calls = Vec::new();
    let policy = Backoff::new()
        .first(ms(10))
        .jitter(Jitter::None)
        .calls(None);
    let value = retry(policy, async || {
        calls.push(begin.elapsed());
        if calls.len() < 5 {
            Err("not yet")
        } else {
            Ok("done")
        }
    });
    assert_eq!(value.await, Ok("done"));
    assert_eq!(calls, [0, 10, 30, 70, 150].map(ms));
}

#[divisi::test(clock = "virtual")]
async fn the_last_error_comes_back_when_no_call_is_left() {
    let mut calls = 0;
    let result = retry(Backoff::new().calls(3), async || {
        calls += 1;
        Err::<(), _>(calls)
    });
    assert_eq!(result.await, Err(3));
}

#[divisi::test(clock = "virtual")]
async fn an_error_that_is_final_is_not_retried() {
    let mut calls = 0;
    let call = async || {
        calls += 1;
        Err::<(), _>(if calls == 2 { "forbidden" } else { "busy" })
    };
    let result = retry_if(Backoff::new().calls(None), call, |error| *error == "busy").await;
    assert_eq!((result, calls), (Err("forbidden"), 2));
}

#[divisi::test(clock = "virtual")]
async fn no_pause_is_begun_that_ends_too_late() {
    let begin = Instant::now();
    let policy = Backoff::new()
        .first(ms(10))
        .factor(1.0)
        .jitter(Jitter::None)
        .calls(None)
        .within(ms(35));
    let mut calls = 0;
    let result = retry(policy, async || {
        calls += 1;
        Err::<(), _>(())
    });
    assert_eq!(result.await, Err(()));
    assert_eq!((calls, begin.elapsed()), (4, ms(30)));
}

#[divisi::test(clock = "virtual")]
async fn a_retry_can_be_limited_and_sent_to_a_task() {
    let endless = retry(Backoff::new().calls(None), async || Err::<(), _>("down"));
    assert!(
        spawn(endless.timeout(Duration::from_secs(3600)))
            .await
            .unwrap()
            .is_err()
    );
    let call = retry(Backoff::new(), async || pending::<Result<(), ()>>().await);
    assert!(call.timeout(ms(10)).await.is_err());
}

proptest! {
    #[test]
    fn pauses_stay_within_what_the_jitter_allows(
        first in 0_u64..100_000,
        factor in 1.0_f64..1e6,
        longest in 0_u64..1_000_000,
        seed: u64,
    ) {
        let policy = Backoff::new()
            .first(ms(first))
            .factor(factor)
            .longest(ms(longest))
            .calls(100)
            .seed(seed);
        let pauses = |jitter| policy.clone().jitter(jitter).pauses().collect::<Vec<_>>();
        let exact = pauses(Jitter::None);
        prop_assert_eq!(exact.len(), 99);
        prop_assert_eq!(exact[0], ms(first.min(longest)));
        prop_assert!(exact.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= ms(longest)));
        // Rounding may add a nanosecond.
        let slack = Duration::from_nanos(1);
        for (full, exact) in pauses(Jitter::Full).iter().zip(&exact) {
            prop_assert!(*full <= *exact + slack);
        }
        for (equal, exact) in pauses(Jitter::Equal).iter().zip(&exact) {
            prop_assert!(*equal <= *exact + slack && *equal + slack >= *exact / 2);
        }
        prop_assert_eq!(pauses(Jitter::Full), pauses(Jitter::Full));
    }
}

#[test]
fn pauses_that_would_overflow_are_the_longest_there_are() {
    let policy = Backoff::new()
        .first(Duration::from_secs(1))
        .factor(1e300)
        .longest(Duration::MAX)
        .jitter(Jitter::None)
        .calls(4);
    let pauses: Vec<_> = policy.pauses().collect();
    assert_eq!(
        pauses,
        [Duration::from_secs(1), Duration::MAX, Duration::MAX]
    );
}

#[test]
fn jitter_differs_from_one_retry_to_the_next() {
    let pauses = || {
        Backoff::new()
            .first(Duration::from_secs(3600))
            .longest(Duration::MAX)
            .calls(9)
            .pauses()
            .collect::<Vec<_>>()
    };
    assert_ne!(pauses(), pauses());
}

// --- cached

#[divisi::test(clock = "virtual")]
async fn a_value_is_kept_until_its_time_is_over() {
    let calls = AtomicUsize::new(0);
    let cache = cached(ms(100), async |n: u32| {
        calls.fetch_add(1, Ordering::SeqCst);
        n * n
    });
    assert_eq!(
        (cache.get(3).await, cache.get(3).await, cache.get(4).await),
        (9, 9, 16)
    );
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    sleep(ms(99)).await;
    cache.get(3).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    sleep(ms(1)).await;
    cache.get(3).await;
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    cache.clear();
    assert!(cache.is_empty());
    cache.get(3).await;
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[divisi::test(worker_threads = 2)]
async fn all_who_ask_at_the_same_time_wait_for_one_call() {
    for round in 0..50 {
        let calls = Arc::new(AtomicUsize::new(0));
        let cache = Arc::new(cached(Duration::from_secs(3600), {
            let calls = calls.clone();
            move |n: u32| {
                let calls = calls.clone();
                async move {
                    calls.fetch_add(1, Ordering::SeqCst);
                    divisi::yield_now().await;
                    n
                }
            }
        }));
        let askers: Vec<_> = (0..40)
            .map(|n| {
                let cache = cache.clone();
                spawn(async move { cache.get(n % 2).await })
            })
            .collect();
        for (n, asker) in askers.into_iter().enumerate() {
            assert_eq!(asker.await.unwrap(), n as u32 % 2);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2, "round {round}");
    }
}

#[divisi::test(clock = "virtual")]
async fn keys_do_not_wait_for_each_other() {
    let cache = cached(ms(1000), async |n: u64| sleep(ms(n)).await);
    let begin = Instant::now();
    divisi::join!(cache.get(30), cache.get(20), cache.get(30));
    assert_eq!(begin.elapsed(), ms(30));
}

#[divisi::test(clock = "virtual")]
async fn when_the_caller_is_dropped_or_panics_the_next_one_calls() {
    let calls = AtomicUsize::new(0);
    let cache = cached(ms(1000), async |()| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => pending().await,
            1 => panic!("broken (this is meant)"),
            n => n,
        }
    });
    let (first, second, third) = divisi::join!(
        cache.get(()).timeout(ms(10)),
        async {
            std::panic::AssertUnwindSafe(async { catch(cache.get(())).await })
                .0
                .await
        },
        cache.get(()),
    );
    assert!(first.is_err());
    assert!(second.is_none());
    assert_eq!(third, 2);
}

/// The output, or `None` if it panics.
async fn catch<F: Future>(future: F) -> Option<F::Output> {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Some),
            Err(_) => std::task::Poll::Ready(None),
        },
    )
    .await
}

#[divisi::test]
async fn errors_are_not_kept() {
    let calls = AtomicUsize::new(0);
    let cache = cached(Duration::from_secs(3600), async |()| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err("not yet"),
            n => Ok(n),
        }
    });
    assert_eq!(cache.try_get(()).await, Err("not yet"));
    assert_eq!(cache.try_get(()).await, Ok(1));
    assert_eq!(cache.try_get(()).await, Ok(1));
}

#[divisi::test(clock = "virtual")]
async fn entries_out_of_date_do_not_pile_up() {
    let cache = cached(ms(10), async |n: u32| n);
    for n in 0..10_000 {
        cache.get(n).await;
        sleep(ms(1)).await;
        assert!(cache.len() <= 128, "{}", cache.len());
    }
}

#[divisi::test(clock = "virtual")]
async fn the_oldest_entry_makes_room_in_a_cache_that_is_full() {
    let calls = AtomicUsize::new(0);
    let cache = cached(Duration::from_secs(3600), async |n: u32| {
        calls.fetch_add(1, Ordering::SeqCst);
        n
    })
    .max_entries(3);
    for n in [1, 2, 3, 4] {
        cache.get(n).await;
        sleep(ms(1)).await;
        assert!(cache.len() <= 3);
    }
    for n in [2, 3, 4] {
        cache.get(n).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    cache.get(1).await;
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

// --- throttled

#[divisi::test(clock = "virtual")]
async fn calls_pass_no_more_often_than_allowed_and_in_order() {
    let begin = Instant::now();
    let call = throttled(
        RateLimiter::new(Rate::paced(10, Duration::from_secs(1))),
        async |n: u64| (n, begin.elapsed()),
    );
    let calls = divisi::join_all((0..5).map(|n| call.call(n))).await;
    let expected: Vec<_> = (0..5).map(|n| (n, ms(100 * n))).collect();
    assert_eq!(calls, expected);
}

#[divisi::test(clock = "virtual")]
async fn a_cache_shrinks_to_its_bound_after_many_keys_at_a_time() {
    let cache = cached(ms(10_000), async |n: u64| {
        sleep(ms(1)).await;
        n
    })
    .max_entries(4);
    divisi::join_all((0..50).map(|n| cache.get(n))).await;
    assert_eq!(cache.len(), 50);
    cache.get(50).await;
    assert_eq!(cache.len(), 4);
}
