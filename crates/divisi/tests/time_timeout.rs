//! Timeouts, on a virtual clock.

use std::future::{Future, pending, poll_fn, ready};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use divisi::time::{Elapsed, Instant, sleep, timeout, timeout_at};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[divisi::test(clock = "virtual")]
async fn a_future_that_is_late_is_given_up_at_the_limit() {
    let start = Instant::now();
    assert!(timeout(ms(10), pending::<()>()).await.is_err());
    assert_eq!(start.elapsed(), ms(10));
    assert!(timeout_at(start + ms(25), sleep(ms(60))).await.is_err());
    assert_eq!(start.elapsed(), ms(25));
}

#[divisi::test(clock = "virtual")]
async fn a_future_in_time_gives_its_output() {
    let start = Instant::now();
    let output = timeout(ms(10), async {
        sleep(ms(4)).await;
        "in time"
    });
    assert_eq!(output.await, Ok("in time"));
    assert_eq!(start.elapsed(), ms(4));
}

#[divisi::test(clock = "virtual")]
async fn a_future_that_is_ready_at_the_limit_wins() {
    assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
    assert_eq!(timeout_at(Instant::now() - ms(1), ready(2)).await, Ok(2));
    // Both timers fire in one turn.
    assert_eq!(timeout(ms(10), sleep(ms(10))).await, Ok(()));
}

#[divisi::test(clock = "virtual")]
async fn no_time_at_all_gives_a_pending_future_up_at_once() {
    let start = Instant::now();
    assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[test]
fn a_timeout_around_a_ready_future_needs_no_runtime() {
    // So it arms no timer, and asks no runtime for its clock.
    let ready = futures_lite::future::block_on(timeout(ms(10), ready(1)));
    assert_eq!(ready, Ok(1));
}

#[test]
#[should_panic(expected = "there is no divisi runtime on this thread")]
fn a_timeout_that_must_wait_outside_a_runtime_panics_with_what_to_do() {
    let _ = futures_lite::future::block_on(timeout(ms(10), pending::<()>()));
}

#[divisi::test(clock = "virtual")]
async fn the_longest_limit_never_ends() {
    let mut forever = pin!(timeout(Duration::MAX, pending::<()>()));
    assert!(
        timeout(Duration::from_secs(1 << 33), &mut forever)
            .await
            .is_err()
    );
    assert!(
        timeout(Duration::from_secs(1 << 20), forever)
            .await
            .is_err()
    );
}

#[divisi::test(clock = "virtual")]
async fn the_inner_of_two_limits_ends_first() {
    let start = Instant::now();
    let inner_first = timeout(ms(20), timeout(ms(10), pending::<()>())).await;
    assert!(matches!(inner_first, Ok(Err(_))));
    let outer_first = timeout(ms(10), timeout(ms(20), pending::<()>())).await;
    assert!(outer_first.is_err());
    assert_eq!(start.elapsed(), ms(20));
}

#[divisi::test(clock = "virtual")]
async fn the_limit_counts_from_the_first_poll_that_waits() {
    let start = Instant::now();
    let limited = timeout(ms(10), pending::<()>());
    sleep(ms(100)).await;
    assert!(limited.await.is_err());
    assert_eq!(start.elapsed(), ms(110));
}

#[divisi::test(clock = "virtual")]
async fn dropping_a_timeout_drops_the_future_and_the_timer() {
    let armed = || {
        let reactors = divisi::Handle::current().metrics().reactors;
        reactors.iter().map(|reactor| reactor.timers).sum::<usize>()
    };
    let before = armed();
    let token = Arc::new(());
    let held = token.clone();
    let mut limited = Box::pin(timeout(ms(10), async move {
        let _held = held;
        pending::<()>().await;
    }));
    poll_fn(|cx| {
        assert!(limited.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(armed(), before + 1);
    drop(limited);
    assert_eq!(armed(), before);
    assert_eq!(Arc::strong_count(&token), 1);
}

#[divisi::test(clock = "virtual")]
async fn a_task_that_spends_its_budget_is_stopped_by_the_limit() {
    // The inner future is never at an end, and always yields to the budget. The clock moves only when nothing can run, so it is moved here.
    let busy = divisi::spawn(timeout(ms(10), async {
        loop {
            sleep(Duration::ZERO).await;
        }
    }));
    while !busy.is_finished() {
        divisi::time::advance(ms(1)).await;
    }
    assert!(busy.await.unwrap().is_err());
}

#[test]
fn an_elapsed_limit_is_an_io_error_of_kind_timed_out() {
    fn late() -> Result<(), Elapsed> {
        divisi::run(timeout(Duration::ZERO, pending::<()>()))
    }
    fn convert() -> io::Result<()> {
        Ok(late()?)
    }
    let error = convert().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("did not complete in the time"));
}
