//! Streams that are thinned out, and streams of bytes that take their time.

use std::future::Future;
use std::time::Duration;

use divisi::channel::mpsc;
use divisi::io::Cursor;
use divisi::limit::{Limited, Rate, RateLimiter, Throttle};
use divisi::prelude::*;
use divisi::time::{Instant, sleep};
use divisi::{Clock, Runtime};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn on_virtual_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = Runtime::builder().worker_threads(1).clock(Clock::Virtual);
    runtime.build().unwrap().block_on(test)
}

/// What comes through when values come at these times, in milliseconds, and the stream ends 5 ms after the last.
async fn thinned(throttle: Throttle, times: &[u64]) -> Vec<(u64, u64)> {
    let (sender, receiver) = mpsc::bounded(1);
    let times = times.to_vec();
    let start = Instant::now();
    let source = divisi::spawn(async move {
        for time in times {
            divisi::time::sleep_until(start + time as u32 * MILLI).await;
            sender.send(time).await.unwrap();
        }
        sleep(5 * MILLI).await;
    });
    let mut through = Vec::new();
    let mut stream = std::pin::pin!(throttle.stream(receiver));
    while let Some(value) = stream.next().await {
        through.push((start.elapsed().as_millis() as u64, value));
    }
    source.await.unwrap();
    through
}

#[test]
fn debounce_lets_through_what_is_followed_by_quiet() {
    on_virtual_clock(async {
        let through = thinned(Throttle::debounce(10 * MILLI), &[0, 5, 9, 30, 100, 105]).await;
        // The last comes with the end of the stream.
        assert_eq!(through, [(19, 9), (40, 30), (110, 105)]);
    });
}

#[test]
fn latest_lets_the_first_through_at_once_and_then_one_a_period() {
    on_virtual_clock(async {
        let through = thinned(Throttle::latest(10 * MILLI), &[0, 5, 9, 12, 50, 51]).await;
        assert_eq!(through, [(0, 0), (10, 9), (20, 12), (50, 50), (60, 51)]);
    });
}

#[test]
fn latest_lets_values_of_a_stream_through_that_is_always_ready() {
    let next_two = || async {
        let stream = futures_lite::stream::repeat(1);
        let mut stream = std::pin::pin!(Throttle::latest(MILLI).stream(stream));
        (stream.next().await, stream.next().await)
    };
    // On the system's clock: a virtual one stands still as long as somebody runs.
    divisi::run(async {
        assert_eq!(divisi::spawn(next_two()).await.unwrap(), (Some(1), Some(1)));
        let unlimited = divisi_task::budget::unconstrained(next_two());
        assert_eq!(divisi::spawn(unlimited).await.unwrap(), (Some(1), Some(1)));
    });
}

#[test]
fn a_stream_that_is_always_ready_does_not_keep_its_worker() {
    on_virtual_clock(async {
        let endless = divisi::spawn(async {
            let stream = futures_lite::stream::repeat(1);
            let mut stream = std::pin::pin!(Throttle::debounce(SECOND).stream(stream));
            stream.next().await
        });
        for _ in 0..10 {
            divisi::yield_now().await;
        }
        endless.cancel("it never ends");
        assert!(endless.await.is_err());
    });
}

#[test]
fn bytes_take_their_time() {
    on_virtual_clock(async {
        let limiter = RateLimiter::new(Rate::per(100_000, SECOND).burst(4_096));
        let data = vec![7; 500_000];
        let start = Instant::now();
        let mut read = Vec::new();
        let mut source = Limited::new(Cursor::new(&data)).read(limiter.clone());
        source.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, data);
        let took = start.elapsed();
        // All but a burst before, and a burst that is not paid for at the end.
        let paid = Duration::from_secs_f64((500_000.0 - 2.0 * 4_096.0) / 100_000.0);
        assert!(took >= paid && took <= 5 * SECOND, "{took:?}");

        let start = Instant::now();
        let mut sink = Limited::new(Cursor::new(Vec::new())).write(limiter);
        sink.write_all(&data).await.unwrap();
        assert!(start.elapsed() >= paid && start.elapsed() <= 5 * SECOND + 100 * MILLI);
        assert_eq!(sink.into_inner().into_inner(), data);
    });
}

#[test]
fn many_short_streams_share_the_rate_and_get_the_same() {
    on_virtual_clock(async {
        let limiter = RateLimiter::new(Rate::per(100_000, SECOND).burst(1_000));
        let start = Instant::now();
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let limiter = limiter.clone();
                divisi::spawn(async move {
                    let mut source = Limited::new(Cursor::new(vec![1; 5_000])).read(limiter);
                    for _ in 0..10 {
                        source.read_exact(&mut [0; 500]).await.unwrap();
                    }
                    start.elapsed()
                })
            })
            .collect();
        let mut ends = Vec::new();
        for task in tasks {
            ends.push(task.await.unwrap());
        }
        let last = *ends.iter().max().unwrap();
        assert!(last >= 4_800 * MILLI && last <= 5_100 * MILLI, "{last:?}");
        // Turn by turn: nobody is done long before the others.
        assert!(*ends.iter().min().unwrap() >= last / 2, "{ends:?}");
    });
}

#[test]
fn a_stream_without_limits_is_the_stream() {
    on_virtual_clock(async {
        let start = Instant::now();
        let mut source = Limited::new(Cursor::new(vec![1; 100_000]));
        let mut all = Vec::new();
        source.read_to_end(&mut all).await.unwrap();
        assert_eq!((all.len(), start.elapsed()), (100_000, Duration::ZERO));
    });
}
