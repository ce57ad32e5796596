//! Many calls at once: over HTTP, and the rules on a clock that jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::time::{Instant, sleep};
use divisi_examples::calls::{CallError, Limits, call_all};
use divisi_examples::http::{self, Client};

use crate::ANY_PORT;

#[divisi::test(worker_threads = 2)]
async fn two_hundred_requests_are_answered_in_order_of_their_asking() {
    let server = http::serve(ANY_PORT).await.unwrap();
    let address = server.address();
    let limits = Limits {
        at_once: 16,
        each: Duration::from_secs(30),
        ..Limits::default()
    };
    let results = call_all(0..200_u32, limits, move |n| async move {
        let mut client = Client::http1(address).await?;
        let (status, body) = client.get("divisi", &format!("/primes/{n}")).await?;
        assert_eq!(status.as_u16(), 200);
        let count: usize = String::from_utf8(body.to_vec())?.trim().parse()?;
        Ok::<_, divisi_examples::Error>((n, count))
    })
    .await;
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.as_ref().unwrap().0 as usize, n);
    }
    assert_eq!(results[100].as_ref().unwrap().1, 25);
    assert!(server.shutdown(Duration::from_secs(30)).await);
}

/// Counts what runs at a time.
#[derive(Clone, Default)]
struct Gauge(Arc<[AtomicUsize; 2]>);

struct Running(Gauge);

impl Gauge {
    fn begin(&self) -> Running {
        let [now, peak] = &*self.0;
        peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Running(self.clone())
    }

    fn now(&self) -> usize {
        self.0[0].load(Ordering::Relaxed)
    }

    fn peak(&self) -> usize {
        self.0[1].load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0[0].fetch_sub(1, Ordering::Relaxed);
    }
}

#[divisi::test(clock = "virtual", worker_threads = 2)]
async fn no_more_run_than_allowed_and_as_many_as_allowed() {
    let gauge = Gauge::default();
    let limits = Limits {
        at_once: 10,
        ..Limits::default()
    };
    let begin = Instant::now();
    let counted = gauge.clone();
    let results = call_all(0..1_000, limits, move |n| {
        let gauge = counted.clone();
        async move {
            let _running = gauge.begin();
            sleep(Duration::from_millis(100)).await;
            Ok::<_, ()>(n)
        }
    })
    .await;
    assert!(
        results
            .iter()
            .enumerate()
            .all(|(n, result)| matches!(result, Ok(m) if *m == n))
    );
    assert_eq!(gauge.peak(), 10);
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
}

#[divisi::test(clock = "virtual")]
async fn slow_failing_and_panicking_calls_are_told_apart_and_harm_no_other() {
    let limits = Limits {
        at_once: 2,
        each: Duration::from_secs(1),
        attempts: 3,
        pause: Duration::from_millis(100),
    };
    let begin = Instant::now();
    let results = call_all(
        ["slow", "fails", "panics", "fine"],
        limits,
        |what| async move {
            match what {
                "slow" => sleep(Duration::from_secs(2)).await,
                "fails" => return Err("no such thing"),
                "panics" => panic!("a call panicked, as the test wants it"),
                _ => {}
            }
            Ok(what)
        },
    )
    .await;
    assert!(matches!(results[0], Err(CallError::TimedOut)));
    assert!(matches!(
        results[1],
        Err(CallError::Failed("no such thing"))
    ));
    assert!(matches!(&results[2], Err(CallError::Ended(error)) if error.is_panic()));
    assert!(matches!(results[3], Ok("fine")));
    // Three attempts of a second with pauses of 0.1 and 0.2 s.
    assert_eq!(begin.elapsed(), Duration::from_millis(3_300));
}

#[divisi::test(clock = "virtual")]
async fn a_call_that_fails_at_first_is_tried_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let results = call_all([()], Limits::default(), move |()| {
        let tries = counted.clone();
        async move {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 => Err("not yet"),
                _ => Ok("now"),
            }
        }
    })
    .await;
    assert!(matches!(results[..], [Ok("now")]));
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

#[divisi::test(worker_threads = 2)]
async fn dropping_the_whole_cancels_the_calls_that_run() {
    let gauge = Gauge::default();
    let counted = gauge.clone();
    let calls = call_all(0..100, Limits::default(), move |_| {
        let gauge = counted.clone();
        async move {
            let _running = gauge.begin();
            std::future::pending::<Result<(), ()>>().await
        }
    });
    let all = Limits::default().at_once;
    divisi::select! {
        _ = calls => unreachable!("no call ends"),
        () = async { while gauge.now() < all { divisi::yield_now().await; } } => {}
    }
    while gauge.now() > 0 {
        divisi::yield_now().await;
    }
    assert_eq!(gauge.peak(), all);
}
