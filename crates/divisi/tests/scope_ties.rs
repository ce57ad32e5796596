//! Several scopes that end in one instant: which of them reports.

use std::time::Duration;

use divisi::scope::timeout_scope;
use divisi::task_group;
use divisi::time::{Instant, sleep, timeout, timeout_at};

async fn sleep_well() -> Result<(), ()> {
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

#[divisi::test(clock = "virtual")]
async fn of_equal_deadlines_that_have_passed_the_outermost_reports() {
    let deadline = Instant::now();
    sleep(Duration::from_secs(1)).await;
    let inner = async {
        let inner = timeout_at(deadline, sleep(Duration::from_secs(1))).await;
        panic!("the inner limit reported: {inner:?}")
    };
    assert!(timeout_at(deadline, inner).await.is_err());
}

#[divisi::test(clock = "virtual")]
async fn a_limit_that_is_over_says_nothing_in_a_task_that_was_cancelled_in_the_same_poll() {
    for movable in [false, true] {
        let result: Result<(), divisi::group::GroupError<()>> = task_group(async |g| {
            let all = g.clone();
            g.spawn::<_, ()>(async move {
                let wait = task_group(async |inner| {
                    inner.spawn(sleep_well());
                    all.cancel("all of it");
                    Ok::<_, ()>(())
                });
                let limit = if movable {
                    timeout_scope(Duration::ZERO, async |_| wait.await).await
                } else {
                    timeout(Duration::ZERO, wait).await
                };
                panic!("the time limit reported: {limit:?}");
            });
            Ok(())
        })
        .await;
        // The body had its value.
        assert!(result.is_ok(), "{result:?}");
    }
}

#[divisi::test(clock = "virtual")]
async fn a_cancelled_group_does_not_return_into_a_cancelled_scope() {
    let mut returned = false;
    let limited = timeout(Duration::from_secs(1), async {
        let group: Result<(), _> = task_group(async |g| {
            let late = g.clone();
            g.spawn(async move {
                // In the instant in which the limit around the group is over.
                divisi::scope::shield(sleep(Duration::from_secs(2))).await;
                late.cancel("by hand");
                Ok::<_, ()>(())
            });
            sleep(Duration::from_secs(60)).await;
            Ok(())
        })
        .await;
        returned = true;
        group
    });
    assert!(limited.await.is_err());
    assert!(
        !returned,
        "a scope around it was cancelled first, so that one reports"
    );
}

#[divisi::test(clock = "virtual")]
async fn a_limit_that_cleans_up_while_the_outer_is_over_leaves_the_report_to_that() {
    let mut returned = false;
    let outer = timeout(Duration::from_secs(2), async {
        let body = sleep(Duration::from_secs(60));
        let cleaned = divisi::finally(body, async || sleep(Duration::from_secs(3)).await);
        let _elapsed = timeout(Duration::from_secs(1), cleaned).await;
        returned = true;
    });
    assert!(outer.await.is_err());
    assert!(!returned);
}

#[divisi::test(clock = "virtual")]
async fn a_limit_that_gave_way_to_one_around_it_ends_when_that_is_moved() {
    let begin = Instant::now();
    let outer = timeout_scope(Duration::from_millis(10), async |outer| {
        let inner = async {
            let late = timeout(Duration::from_millis(10), std::future::pending::<()>()).await;
            assert!(late.is_err());
        };
        let moves = async {
            sleep(Duration::from_millis(10)).await;
            outer.reschedule(Instant::now() + Duration::from_secs(3600));
        };
        let both: [std::pin::Pin<Box<dyn Future<Output = ()> + '_>>; 2] =
            [Box::pin(inner), Box::pin(moves)];
        divisi::join_all(both).await;
    });
    outer.await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1));
}
