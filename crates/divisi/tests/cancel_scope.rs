//! Scopes: cancelling, deadlines, shields.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use divisi::scope::{CancelScope, effective_deadline, move_on_after, shield, timeout_scope};
use divisi::time::{Instant, sleep, timeout, timeout_at};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[divisi::test(clock = "virtual")]
async fn a_cancelled_scope_reports_the_first_reason() {
    let scope = CancelScope::new();
    let stop = scope.clone();
    drop(divisi::spawn(async move {
        stop.cancel("first");
        stop.cancel("second");
    }));
    let error = scope.run(pending::<()>()).await.unwrap_err();
    assert_eq!(error.reason().text(), "first");
    assert!(error.reason().by().is_some());
    assert!(scope.is_finished());
}

#[divisi::test(clock = "virtual")]
async fn a_value_that_is_ready_beats_the_cancellation() {
    let scope = CancelScope::new();
    scope.cancel("before it began");
    assert_eq!(scope.run(async { 5 }).await.unwrap(), 5);

    let event = Arc::new(divisi::sync::Event::new());
    let scope = CancelScope::new();
    let (stop, set) = (scope.clone(), event.clone());
    drop(divisi::spawn(async move {
        set.set();
        stop.cancel("too late");
    }));
    let waited = scope
        .run(async move {
            event.wait().await;
            1
        })
        .await;
    assert_eq!(waited.unwrap(), 1);
}

#[divisi::test(clock = "virtual")]
async fn a_cancellation_cannot_be_swallowed() {
    let start = Instant::now();
    let result = timeout(ms(10), async {
        loop {
            let _ = timeout(ms(3), pending::<()>()).await;
            divisi::yield_now().await;
        }
    })
    .await;
    assert!(result.is_err());
    assert_eq!(start.elapsed(), ms(10));

    let scope = CancelScope::new();
    let inner = scope.clone();
    let mut steps = 0;
    scope
        .run(async {
            inner.cancel("from inside");
            loop {
                steps += 1;
                divisi::yield_now().await;
            }
        })
        .await
        .map(|(): ()| ())
        .unwrap_err();
    assert_eq!(steps, 1, "it ends at the next thing that waits");
}

#[divisi::test(clock = "virtual")]
async fn the_nearest_deadline_counts() {
    let start = Instant::now();
    let result = timeout(ms(10), timeout(ms(20), pending::<()>())).await;
    assert!(result.is_err());
    assert_eq!(start.elapsed(), ms(10));
    let result = timeout(ms(20), timeout(ms(10), pending::<()>())).await;
    assert!(result.unwrap().is_err());
    assert_eq!(start.elapsed(), ms(20));
}

#[divisi::test(clock = "virtual")]
async fn of_equal_deadlines_only_the_outermost_reports() {
    let at = Instant::now() + ms(10);
    let mut inner = false;
    let outer = timeout_at(at, async {
        let _ = timeout_at(at, timeout_at(at, pending::<()>())).await;
        inner = true;
        sleep(ms(1)).await;
    })
    .await;
    assert!(outer.is_err());
    assert!(!inner);
}

#[divisi::test(clock = "virtual")]
async fn of_equal_deadlines_across_tasks_only_the_outermost_reports() {
    let at = Instant::now() + ms(10);
    let (send, heard) = divisi::channel::oneshot::channel::<()>();
    let outer = timeout_at(
        at,
        divisi::task_group(async move |g| {
            g.spawn(async move {
                let _ = timeout_at(at, pending::<()>()).await;
                let _ = send.send(());
                Ok::<_, ()>(())
            });
            Ok(())
        }),
    )
    .await;
    assert!(outer.is_err());
    assert!(heard.await.is_err(), "the inner one reported");
}

#[divisi::test(clock = "virtual")]
async fn a_zero_timeout_lets_a_ready_future_through() {
    assert_eq!(timeout(Duration::ZERO, async { 1 }).await, Ok(1));
    assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
}

#[divisi::test(clock = "virtual")]
async fn a_timeout_scope_can_be_rescheduled() {
    let start = Instant::now();
    let value = timeout_scope(ms(10), async |t| {
        assert_eq!(t.when(), Some(start + ms(10)));
        assert!(t.reschedule(start + ms(50)));
        sleep(ms(20)).await;
        assert!(!t.expired());
        assert!(t.reschedule(None));
        sleep(ms(100)).await;
        7
    })
    .await;
    assert_eq!(value, Ok(7));

    let mut kept = None;
    let late = timeout_scope(None, async |t| {
        kept = Some(t.clone());
        assert_eq!(t.when(), None);
        t.reschedule(Instant::now() - ms(1));
        pending::<()>().await;
    })
    .await;
    assert!(late.is_err());
    let kept = kept.unwrap();
    assert!(kept.expired());
    assert!(!kept.reschedule(None), "it has ended");
}

#[divisi::test(clock = "virtual")]
async fn both_of_two_equal_timeout_scopes_have_expired() {
    let at = ms(10);
    let mut scopes = Vec::new();
    let result = timeout_scope(at, async |outer| {
        scopes.push(outer);
        timeout_scope(at, async |inner| {
            scopes.push(inner);
            pending::<()>().await;
        })
        .await
    })
    .await;
    assert!(result.is_err());
    assert!(scopes.iter().all(|scope| scope.expired()));
}

#[divisi::test(clock = "virtual")]
async fn a_shielded_future_ends_and_what_follows_it_does_not() {
    let start = Instant::now();
    let mut value = None;
    let result = timeout(ms(10), async {
        value = Some(
            shield(async {
                sleep(ms(30)).await;
                42
            })
            .await,
        );
        sleep(ms(1)).await;
        value = None;
    })
    .await;
    assert!(result.is_err());
    assert_eq!(value, Some(42));
    assert_eq!(start.elapsed(), ms(30));
}

#[divisi::test(clock = "virtual")]
async fn a_limit_inside_a_shield_works() {
    let start = Instant::now();
    let result = timeout(ms(10), shield(timeout(ms(25), pending::<()>()))).await;
    assert!(result.unwrap().is_err());
    assert_eq!(start.elapsed(), ms(25));
}

#[divisi::test(clock = "virtual")]
async fn move_on_after_says_nothing() {
    assert_eq!(move_on_after(ms(5), sleep(ms(10))).await, None);
    assert_eq!(move_on_after(ms(10), sleep(ms(5))).await, Some(()));
}

#[divisi::test(clock = "virtual")]
async fn a_shield_hides_the_deadlines_around_it() {
    let outer = Instant::now() + ms(10);
    timeout_scope(ms(10), async |_| {
        assert_eq!(effective_deadline(), Some(outer));
        shield(async { assert_eq!(effective_deadline(), None) }).await;
    })
    .await
    .unwrap();
}

#[divisi::test(clock = "virtual")]
#[should_panic(expected = "a cancel scope runs one future")]
async fn a_scope_cannot_be_entered_twice() {
    let scope = CancelScope::new();
    scope.run(async {}).await.unwrap();
    let _ = scope.run(async {}).await;
}

/// Nobody else may be kept waiting by something that stands still.
#[divisi::test(clock = "virtual")]
async fn a_frozen_waiter_passes_its_turn_on() {
    let semaphore = Arc::new(divisi::sync::Semaphore::new(1));
    let permit = semaphore.acquire().await.unwrap();
    let (scope, other) = (CancelScope::new(), semaphore.clone());
    let stop = scope.clone();
    let frozen = divisi::spawn(async move {
        scope
            .run(async {
                futures_lite::future::zip(
                    async {
                        drop(other.acquire().await);
                    },
                    shield(sleep(ms(100))),
                )
                .await;
            })
            .await
    });
    while semaphore.waiting() == 0 {
        divisi::yield_now().await;
    }
    stop.cancel("freeze");
    while semaphore.waiting() != 0 {
        divisi::yield_now().await;
    }
    drop(permit);
    let start = Instant::now();
    drop(semaphore.acquire().await);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(frozen.await.unwrap().is_err());
}
