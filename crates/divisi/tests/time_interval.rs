//! Intervals, on a virtual clock.

use std::time::Duration;

use divisi::time::{
    Instant, Interval, MissedTickBehavior, advance, interval, interval_at, timeout,
};
use futures_lite::StreamExt;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// When the next ticks are served, counted from `start`.
async fn served(ticks: &mut Interval, start: Instant, count: usize) -> Vec<u64> {
    let mut times = Vec::new();
    for _ in 0..count {
        ticks.tick().await;
        times.push(start.elapsed().as_millis() as u64);
    }
    times
}

/// The first tick is served at 0; that of 10 only at 34. When the next four are.
async fn after_a_late_tick(behavior: MissedTickBehavior) -> Vec<u64> {
    let start = Instant::now();
    let mut ticks = interval(ms(10));
    ticks.set_missed_tick_behavior(behavior);
    assert_eq!(ticks.missed_tick_behavior(), behavior);
    ticks.tick().await;
    advance(ms(34)).await;
    assert_eq!(ticks.tick().await, start + ms(10));
    served(&mut ticks, start, 4).await
}

#[divisi::test(clock = "virtual")]
async fn the_first_tick_comes_at_once_and_the_others_after_one_period_each() {
    let start = Instant::now();
    let mut ticks = interval(ms(10));
    assert_eq!(served(&mut ticks, start, 4).await, [0, 10, 20, 30]);
    assert_eq!(ticks.period(), ms(10));
}

#[divisi::test(clock = "virtual")]
async fn interval_at_ticks_first_at_its_start() {
    let start = Instant::now();
    let mut ticks = interval_at(start + ms(5), ms(10));
    assert_eq!(served(&mut ticks, start, 3).await, [5, 15, 25]);
}

#[divisi::test(clock = "virtual")]
async fn burst_serves_missed_ticks_without_a_pause() {
    assert_eq!(
        after_a_late_tick(MissedTickBehavior::Burst).await,
        [34, 34, 40, 50]
    );
}

#[divisi::test(clock = "virtual")]
async fn delay_counts_from_the_late_tick() {
    assert_eq!(
        after_a_late_tick(MissedTickBehavior::Delay).await,
        [44, 54, 64, 74]
    );
}

#[divisi::test(clock = "virtual")]
async fn skip_goes_on_at_the_next_multiple_of_the_period() {
    assert_eq!(
        after_a_late_tick(MissedTickBehavior::Skip).await,
        [40, 50, 60, 70]
    );
}

#[divisi::test(clock = "virtual")]
async fn a_dropped_tick_is_served_to_the_next_call() {
    let start = Instant::now();
    let mut ticks = interval_at(start + ms(10), ms(10));
    assert!(timeout(ms(5), ticks.tick()).await.is_err());
    assert_eq!(ticks.tick().await, start + ms(10));
    assert_eq!(start.elapsed(), ms(10));
}

#[divisi::test(clock = "virtual")]
async fn resets_start_over() {
    let start = Instant::now();
    let mut ticks = interval(ms(10));
    ticks.tick().await;
    advance(ms(3)).await;
    ticks.reset();
    assert_eq!(served(&mut ticks, start, 2).await, [13, 23]);
    ticks.reset_immediately();
    assert_eq!(served(&mut ticks, start, 2).await, [23, 33]);
    ticks.reset_after(ms(1));
    assert_eq!(served(&mut ticks, start, 2).await, [34, 44]);
    ticks.reset_at(start + ms(100));
    assert_eq!(served(&mut ticks, start, 2).await, [100, 110]);
}

#[divisi::test(clock = "virtual")]
async fn an_interval_is_a_stream_of_ticks() {
    let start = Instant::now();
    let ticks: Vec<_> = interval(ms(10)).take(3).collect().await;
    assert_eq!(ticks, [start, start + ms(10), start + ms(20)]);
}

#[divisi::test(clock = "virtual")]
async fn an_interval_with_the_longest_period_ticks_once() {
    let mut ticks = interval(Duration::MAX);
    ticks.tick().await;
    assert!(
        timeout(Duration::from_secs(1 << 33), ticks.tick())
            .await
            .is_err()
    );
}

#[test]
#[should_panic(expected = "the period of an interval must not be zero")]
fn a_period_of_zero_panics() {
    let _ = interval(Duration::ZERO);
}
