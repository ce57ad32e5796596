//! A limiter for each key: what is remembered, and how much.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use divisi::limit::{Keyed, Rate};
use divisi::time::advance;
use divisi::{Clock, Runtime};

const SECOND: Duration = Duration::from_secs(1);

fn on_virtual_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = Runtime::builder().worker_threads(1).clock(Clock::Virtual);
    runtime.build().unwrap().block_on(test)
}

#[test]
fn keys_do_not_disturb_each_other() {
    on_virtual_clock(async {
        let limits = Keyed::new(Rate::per(1, SECOND));
        for key in 0..100 {
            assert!(limits.try_acquire(&key).is_ok());
        }
        for key in 0..100 {
            assert!(limits.try_acquire(&key).is_err());
        }
        limits.acquire(&5).await;
        assert!(limits.try_acquire(&6).is_ok());
        assert!(limits.try_acquire(&5).is_err());
    });
}

#[test]
fn ten_million_distinct_keys_stay_under_the_cap() {
    const CAP: usize = 10_000;
    // All ten with optimization: without, they take half a minute of CPU time.
    let keys = if cfg!(debug_assertions) {
        1_000_000
    } else {
        10_000_000u64
    };
    let limits = Keyed::new(Rate::per(1, SECOND)).max_keys(CAP);
    for key in 0..keys {
        assert!(limits.try_acquire(&key).is_ok());
        if key % 1_000 == 0 {
            assert!(limits.len() <= CAP);
        }
    }
    assert!(limits.len() <= CAP);
}

#[test]
fn a_key_in_use_outlives_a_flood_of_others() {
    on_virtual_clock(async {
        let limits = Keyed::new(Rate::per(1, 1_000 * SECOND)).max_keys(100);
        limits.acquire(&0).await;
        // Used again before half of the keys were others.
        for key in 1..10_000 {
            let _ = limits.try_acquire(&key);
            if key % 40 == 0 {
                assert!(limits.try_acquire(&0).is_err(), "forgotten after {key}");
            }
        }
        // Somebody waits, and the key is not used meanwhile.
        let mut waiting = pin!(limits.acquire(&0));
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        for key in 1..10_000 {
            let _ = limits.try_acquire(&key);
        }
        assert_eq!(limits.limiter(&0).waiting(), 1);
        assert!(limits.len() <= 100);
        waiting.await;
    });
}

#[test]
fn more_keys_in_use_than_the_cap_do_not_exceed_it() {
    let limits = Keyed::new(Rate::per(1, SECOND)).max_keys(10);
    let held: Vec<_> = (0..1_000).map(|key| limits.limiter(&key)).collect();
    assert!(limits.len() <= 10);
    drop(held);
}

#[test]
fn idle_keys_are_forgotten_in_time_and_used_ones_never() {
    on_virtual_clock(async {
        let limits = Keyed::new(Rate::per(1, 1_000 * SECOND)).idle_ttl(10 * SECOND);
        for key in 0..1_000 {
            limits.acquire(&key).await;
        }
        for _ in 0..5 {
            advance(9 * SECOND).await;
            assert!(limits.try_acquire(&0).is_err());
        }
        assert_eq!(limits.len(), 1);
        assert!(limits.try_acquire(&1).is_ok(), "it begins anew");
    });
}
