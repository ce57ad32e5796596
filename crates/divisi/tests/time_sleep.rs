//! Sleeping, on the real and on a virtual clock.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use divisi::time::{Instant, advance, sleep, sleep_until};
use divisi::{Clock, Runtime, join};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    future
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

#[divisi::test(worker_threads = 2)]
async fn a_sleep_is_never_early_on_the_real_clock() {
    let naps: Vec<_> = (0..200)
        .map(|i| {
            divisi::spawn(async move {
                let nap = Duration::from_micros(i * 53);
                let start = std::time::Instant::now();
                sleep(nap).await;
                (nap, start.elapsed())
            })
        })
        .collect();
    for nap in naps {
        let (asked, slept) = nap.await.unwrap();
        assert!(slept >= asked, "asked for {asked:?}, slept {slept:?}");
    }
}

#[divisi::test(clock = "virtual")]
async fn a_sleep_ends_exactly_at_its_deadline_on_a_virtual_clock() {
    let start = Instant::now();
    for nap in [1, 999, 1_000_000, 86_400_000_000_000] {
        let before = Instant::now();
        sleep(Duration::from_nanos(nap)).await;
        assert_eq!(before.elapsed(), Duration::from_nanos(nap));
    }
    assert_eq!(start.elapsed(), Duration::from_nanos(86_400_001_001_000));
}

#[divisi::test(clock = "virtual")]
async fn sleeps_end_in_the_order_of_their_deadlines() {
    let order = RefCell::new(Vec::new());
    let nap = async |time| {
        sleep(ms(time)).await;
        order.borrow_mut().push(time);
    };
    join!(nap(30), nap(10), nap(50), nap(20), nap(40));
    assert_eq!(*order.borrow(), [10, 20, 30, 40, 50]);
}

#[divisi::test(clock = "virtual")]
async fn a_sleep_counts_from_its_creation() {
    let start = Instant::now();
    let early = sleep(ms(100));
    sleep(ms(60)).await;
    early.await;
    assert_eq!(start.elapsed(), ms(100));
}

#[divisi::test(clock = "virtual")]
async fn a_sleep_that_no_clock_can_reach_stays_pending() {
    let mut longest = pin!(sleep(Duration::MAX));
    let mut long = pin!(sleep(Duration::MAX - ms(1)));
    let mut far = pin!(sleep_until(Instant::far_future()));
    for _ in 0..3 {
        assert!(
            is_pending(longest.as_mut()) && is_pending(long.as_mut()) && is_pending(far.as_mut())
        );
        advance(Duration::from_secs(1 << 32)).await;
    }
    assert_eq!(longest.deadline(), Instant::far_future());
}

#[divisi::test(clock = "virtual")]
async fn a_sleep_of_no_time_and_one_into_the_past_are_over_at_once() {
    let start = Instant::now();
    sleep(Duration::ZERO).await;
    sleep_until(start - ms(10)).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[divisi::test(clock = "virtual")]
async fn a_dropped_sleep_leaves_no_timer_behind() {
    let armed = || {
        let reactors = divisi::Handle::current().metrics().reactors;
        reactors.iter().map(|reactor| reactor.timers).sum::<usize>()
    };
    let before = armed();
    let mut sleeps: Vec<_> = (0..100).map(|i| Box::pin(sleep(ms(100 + i)))).collect();
    assert_eq!(armed(), before, "a sleep is armed before it is polled");
    assert!(sleeps.iter_mut().all(|sleep| is_pending(sleep.as_mut())));
    assert_eq!(armed(), before + 100);
    drop(sleeps);
    assert_eq!(armed(), before);
}

#[divisi::test(clock = "virtual")]
async fn reset_moves_a_deadline_either_way_and_revives_a_sleep() {
    let start = Instant::now();
    let mut nap = pin!(sleep(ms(100)));
    assert!(is_pending(nap.as_mut()));
    nap.reset(start + ms(10));
    assert_eq!(nap.deadline(), start + ms(10));
    nap.as_mut().await;
    assert_eq!(start.elapsed(), ms(10));
    assert!(nap.is_elapsed());

    nap.reset(start + ms(30));
    assert!(!nap.is_elapsed());
    assert!(is_pending(nap.as_mut()));
    nap.reset(start + ms(40));
    nap.as_mut().await;
    assert_eq!(start.elapsed(), ms(40));
}

#[divisi::test(clock = "virtual")]
async fn advance_fires_what_is_due_and_nothing_else() {
    let mut due = pin!(sleep(ms(10)));
    let mut later = pin!(sleep(ms(11)));
    assert!(is_pending(due.as_mut()) && is_pending(later.as_mut()));
    advance(ms(10)).await;
    assert!(!is_pending(due.as_mut()));
    assert!(is_pending(later.as_mut()));
}

#[test]
fn advance_fires_timers_of_every_worker() {
    let runtime = Runtime::builder()
        .worker_threads(3)
        .clock(Clock::Virtual)
        .build()
        .unwrap();
    let (started, starts) = std::sync::mpsc::channel();
    let naps: Vec<_> = (0..30)
        .map(|_| {
            let started = started.clone();
            runtime.spawn(async move {
                let mut nap = pin!(sleep(Duration::from_secs(10)));
                let mut first = true;
                std::future::poll_fn(|cx| {
                    let polled = nap.as_mut().poll(cx);
                    if std::mem::take(&mut first) {
                        started.send(()).unwrap();
                    }
                    polled
                })
                .await;
            })
        })
        .collect();
    runtime.block_on(async {
        // The root is always ready, so time does not pass by itself meanwhile.
        for _ in 0..30 {
            while starts.try_recv().is_err() {
                divisi::yield_now().await;
            }
        }
        let start = Instant::now();
        advance(Duration::from_secs(10)).await;
        for nap in naps {
            nap.await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    });
}

#[test]
#[should_panic(expected = "this runtime runs on the real clock")]
fn advance_on_the_real_clock_panics_with_what_to_do() {
    divisi::run(advance(ms(1)));
}

#[test]
#[should_panic(expected = "there is no divisi runtime on this thread")]
fn a_sleep_outside_a_runtime_panics_with_what_to_do() {
    futures_lite::future::block_on(sleep(ms(1)));
}

#[test]
fn a_sleep_may_be_made_before_its_runtime() {
    let start = Instant::now();
    let nap = sleep(ms(2));
    divisi::run(nap);
    assert!(start.elapsed() >= ms(2));
}

#[divisi::test(clock = "virtual")]
async fn a_sleep_spends_the_budget_of_its_task() {
    let ready = divisi::spawn(async {
        let mut polls_that_yielded = 0;
        for _ in 0..1_000 {
            let mut over = pin!(sleep(Duration::ZERO));
            std::future::poll_fn(|cx| match over.as_mut().poll(cx) {
                Poll::Pending => {
                    polls_that_yielded += 1;
                    Poll::Pending
                }
                ready => ready,
            })
            .await;
        }
        polls_that_yielded
    });
    assert_eq!(ready.await.unwrap(), 1_000 / 128);
}

#[divisi::test(clock = "virtual")]
async fn a_task_tells_where_it_sleeps() {
    let line = line!() + 1;
    let sleeper = divisi::spawn(async { sleep(ms(10)).await });
    let id = sleeper.id();
    let handle = divisi::Handle::current();
    let waits_at = loop {
        divisi::yield_now().await;
        let tasks = handle.tasks();
        let task = tasks.iter().find(|task| task.id == id).unwrap();
        if let Some(at) = task.waits_at {
            break at;
        }
    };
    assert_eq!((waits_at.file(), waits_at.line()), (file!(), line));
    sleeper.await.unwrap();
}
