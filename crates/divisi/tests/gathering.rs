//! `join_all`, `try_join_all`, `race::staggered`, shared futures, promises and the methods on futures.

use std::future::{Future, pending, poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use divisi::future::race::{self, AllFailed, Won};
use divisi::future::{FutureExt, poll_once};
use divisi::task::{PromiseError, promise};
use divisi::time::{Instant, sleep};
use divisi::{Runtime, join_all, spawn, try_join_all};
use parking_lot::Mutex;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn after<T>(delay: u64, value: T) -> T {
    sleep(ms(delay)).await;
    value
}

struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[divisi::test(clock = "virtual")]
async fn outputs_come_in_the_order_of_the_futures() {
    let start = Instant::now();
    let outputs = join_all([30, 10, 20].map(|n| after(n, n))).await;
    assert_eq!(outputs, [30, 10, 20]);
    assert_eq!(start.elapsed(), ms(30));
    assert!(
        join_all(Vec::<std::future::Ready<()>>::new())
            .await
            .is_empty()
    );
}

#[divisi::test]
async fn a_future_that_was_not_woken_is_not_polled() {
    let polls = Arc::new(AtomicUsize::new(0));
    let quiet: Vec<_> = (0..100)
        .map(|_| {
            let polls = polls.clone();
            let mut first = true;
            Box::pin(poll_fn(move |_| {
                polls.fetch_add(1, Ordering::Relaxed);
                if std::mem::take(&mut first) {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        })
        .collect();
    let busy = Box::pin(async {
        for _ in 0..50 {
            divisi::yield_now().await;
        }
    }) as _;
    let mut all = join_all(quiet.into_iter().chain([busy]));
    for _ in 0..60 {
        assert!(poll_once(&mut all).await.is_none());
        divisi::yield_now().await;
    }
    assert_eq!(polls.load(Ordering::Relaxed), 100);
}

#[divisi::test]
async fn ten_thousand_futures_are_joined_within_the_budget() {
    let outputs = join_all((0..10_000_u64).map(async |n| {
        divisi::yield_now().await;
        n
    }))
    .await;
    assert_eq!(outputs, (0..10_000).collect::<Vec<_>>());
}

#[divisi::test(clock = "virtual")]
async fn the_first_error_drops_the_other_futures_before_it_is_returned() {
    let alive = Arc::new(AtomicUsize::new(0));
    let futures = [None, Some(10), Some(20), None].map(|fails| {
        let alive = Alive::new(&alive);
        async move {
            let _alive = alive;
            match fails {
                Some(delay) => after(delay, Err(delay)).await,
                None => pending::<Result<(), u64>>().await,
            }
        }
    });
    assert_eq!(try_join_all(futures).await, Err(10));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[divisi::test(clock = "virtual")]
async fn values_of_try_join_all_come_in_the_order_of_the_futures() {
    let values = try_join_all([30, 10, 20].map(|n| after(n, Ok::<_, ()>(n)))).await;
    assert_eq!(values, Ok(vec![30, 10, 20]));
}

#[divisi::test(clock = "virtual")]
async fn dropping_a_join_drops_futures_and_outputs() {
    let alive = Arc::new(AtomicUsize::new(0));
    let futures: Vec<_> = (0..10).map(|n| after(n, Alive::new(&alive))).collect();
    let mut all = join_all(futures);
    assert!(divisi::time::timeout(ms(5), &mut all).await.is_err());
    assert_eq!(alive.load(Ordering::SeqCst), 10);
    drop(all);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

// --- race::staggered

#[divisi::test(clock = "virtual")]
async fn attempts_start_a_delay_apart_and_the_first_success_wins() {
    let starts = Mutex::new(Vec::new());
    let begin = Instant::now();
    let alive = Arc::new(AtomicUsize::new(0));
    let attempts = (0..10).map(|n| {
        starts.lock().push(begin.elapsed());
        let alive = Alive::new(&alive);
        async move {
            let _alive = alive;
            // The third, started at 20 ms, is the first to succeed, at 25 ms.
            after(if n == 2 { 5 } else { 100 }, Ok::<_, ()>(n)).await
        }
    });
    let won = race::staggered(attempts, ms(10)).await;
    assert_eq!(
        won,
        Ok(Won {
            value: 2,
            index: 2,
            errors: vec![]
        })
    );
    assert_eq!(begin.elapsed(), ms(25));
    assert_eq!(*starts.lock(), [ms(0), ms(10), ms(20)]);
    assert_eq!(alive.load(Ordering::SeqCst), 0, "the losers are gone");
}

#[divisi::test(clock = "virtual")]
async fn a_failure_starts_the_next_attempt_at_once() {
    let begin = Instant::now();
    let attempts = (0..4).map(async |n| {
        if n < 3 {
            after(2, Err(n)).await
        } else {
            Ok("won")
        }
    });
    let won = race::staggered(attempts, ms(1000)).await.unwrap();
    assert_eq!(begin.elapsed(), ms(6));
    assert_eq!((won.value, won.index), ("won", 3));
    assert_eq!(won.errors, [(0, 0), (1, 1), (2, 2)]);
}

#[divisi::test(clock = "virtual")]
async fn only_a_failure_of_the_latest_attempt_starts_the_next_early() {
    let begin = Instant::now();
    let starts = Mutex::new(Vec::new());
    let attempts = (0..3).map(|n| {
        starts.lock().push(begin.elapsed());
        // The first fails at 15 ms, while the second, started at 10 ms, is at work.
        async move {
            if n == 0 {
                after(15, Err(())).await
            } else {
                after(50, Ok(n)).await
            }
        }
    });
    let won = race::staggered(attempts, ms(10)).await.unwrap();
    assert_eq!((won.value, begin.elapsed()), (1, ms(60)));
    assert_eq!(*starts.lock(), [ms(0), ms(10), ms(20)]);
}

#[divisi::test(clock = "virtual")]
async fn without_a_delay_attempts_run_strictly_one_after_the_other() {
    let begin = Instant::now();
    let attempts = [30, 20, 10].map(async |n| after(n, Err::<(), _>(n)).await);
    let failed = race::staggered(attempts, None).await;
    assert_eq!(
        failed,
        Err(AllFailed {
            errors: vec![(0, 30), (1, 20), (2, 10)]
        })
    );
    assert_eq!(begin.elapsed(), ms(60));
}

#[divisi::test(clock = "virtual")]
async fn when_all_fail_every_error_is_kept() {
    let attempts =
        [("a", 30), ("b", 5)].map(async |(name, delay)| after(delay, Err::<(), _>(name)).await);
    let failed = race::staggered(attempts, ms(10)).await.unwrap_err();
    assert_eq!(failed.errors, [(1, "b"), (0, "a")]);
    assert_eq!(
        failed.to_string(),
        "all 2 attempts failed: attempt 1: b; attempt 0: a"
    );
    let nothing = race::staggered(Vec::<std::future::Ready<Result<(), &str>>>::new(), ms(1));
    assert_eq!(nothing.await, Err(AllFailed { errors: vec![] }));
}

// --- shared

#[divisi::test(worker_threads = 2)]
async fn everybody_gets_the_output_of_a_shared_task() {
    for _ in 0..200 {
        let (go, gone) = divisi::channel::oneshot::<u32>();
        let shared = spawn(async move { gone.await.unwrap() }).shared();
        let waiters: Vec<_> = (0..8).map(|_| spawn(shared.clone())).collect();
        divisi::yield_now().await;
        go.send(7).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap().unwrap(), 7);
        }
        assert_eq!(shared.await.unwrap(), 7);
    }
}

#[divisi::test]
async fn a_shared_future_goes_on_when_the_one_who_polled_it_last_is_dropped() {
    let (go, gone) = divisi::channel::oneshot::<u32>();
    let shared = gone.shared();
    let other = spawn(shared.clone());
    divisi::yield_now().await;
    let mut last = shared.clone();
    assert!(poll_once(&mut last).await.is_none());
    go.send(3).unwrap();
    drop(last);
    assert_eq!(other.await.unwrap(), Ok(3));
    assert_eq!(shared.peek(), Some(&Ok(3)));
}

#[divisi::test]
async fn a_shared_future_is_polled_once_for_all() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = {
        let polls = polls.clone();
        poll_fn(move |_| {
            polls.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(5)
        })
    };
    let shared = counted.shared();
    let outputs = join_all((0..10).map(|_| shared.clone())).await;
    assert_eq!(outputs, [5; 10]);
    assert_eq!(polls.load(Ordering::Relaxed), 1);
}

#[divisi::test]
async fn every_clone_of_a_shared_task_sees_its_panic() {
    let shared = spawn(async { panic!("for all (this is meant)") as () }).shared();
    let first = shared.clone().await.unwrap_err();
    let second = shared.await.unwrap_err();
    assert!(first.is_panic() && second.is_panic());
    assert_eq!(first.to_string(), second.to_string());
    // The payload is there once; the other one gets its text.
    assert_eq!(
        *first.into_panic().downcast::<&str>().unwrap(),
        "for all (this is meant)"
    );
    assert_eq!(
        *second.into_panic().downcast::<String>().unwrap(),
        "for all (this is meant)"
    );
}

#[test]
fn a_panic_that_no_clone_has_seen_reaches_the_exception_handler() {
    let reports = Arc::new(AtomicUsize::new(0));
    let runtime = Runtime::builder()
        .worker_threads(1)
        .exception_handler({
            let reports = reports.clone();
            // Not of stalls: printing a panic's backtrace keeps a worker for long.
            move |report| {
                if report.panic.is_some() {
                    reports.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let (go, may_go) = divisi::channel::oneshot();
        let task = spawn(async {
            let () = may_go.await.unwrap();
            panic!("unseen (this is meant)") as ()
        });
        let done = task.abort_handle();
        let shared = task.shared();
        let mut clone = shared.clone();
        assert!(poll_once(&mut clone).await.is_none());
        go.send(()).unwrap();
        while !done.is_finished() {
            divisi::yield_now().await;
        }
        drop((shared, clone));
    });
    drop(runtime);
    assert_eq!(reports.load(Ordering::SeqCst), 1);
}

#[divisi::test]
async fn a_shared_future_that_panics_tells_the_others() {
    let shared = async {
        divisi::yield_now().await;
        panic!("broken (this is meant)") as ()
    }
    .shared();
    let first = spawn(shared.clone());
    let second = spawn(shared.clone());
    assert!(first.await.unwrap_err().is_panic());
    assert!(second.await.unwrap_err().is_panic());
    assert!(
        spawn(shared)
            .await
            .unwrap_err()
            .to_string()
            .contains("after it had panicked")
    );
}

// --- promise

#[divisi::test]
async fn a_promise_can_be_kept_failed_or_abandoned() {
    let (kept, value) = promise::<_, &str>();
    kept.set(1);
    assert_eq!(value.await, Ok(1));
    let (failed, value) = promise::<u8, _>();
    failed.fail("no");
    assert_eq!(value.await, Err(PromiseError::Failed("no")));
    let (dropped, value) = promise::<u8, &str>();
    let waits = spawn(value);
    divisi::yield_now().await;
    drop(dropped);
    assert_eq!(waits.await.unwrap(), Err(PromiseError::Abandoned));
}

#[divisi::test]
async fn a_promise_knows_when_nobody_waits_any_more() {
    let (promise, value) = promise::<u8, ()>();
    assert!(!promise.is_abandoned());
    drop(value);
    assert!(promise.is_abandoned());
    promise.set(1);
}

#[divisi::test]
async fn a_promised_value_can_be_shared() {
    let (promise, value) = promise::<_, String>();
    let value = value.shared();
    let readers: Vec<_> = (0..5).map(|_| spawn(value.clone())).collect();
    promise.set("for all");
    for reader in readers {
        assert_eq!(reader.await.unwrap(), Ok("for all"));
    }
}

// --- methods

#[divisi::test(clock = "virtual")]
async fn a_future_can_be_limited_and_named_by_methods() {
    assert!(pending::<()>().timeout(ms(5)).await.is_err());
    assert!(
        pending::<()>()
            .timeout_at(Instant::now() + ms(5))
            .await
            .is_err()
    );
    assert_eq!(ready(1).timeout(ms(5)).await, Ok(1));
    let task = async { divisi::task::current().unwrap().name().map(str::to_owned) }
        .named("by name")
        .spawn();
    assert_eq!(task.await.unwrap().as_deref(), Some("by name"));
    assert_eq!(ready(2).named("unused").into_inner().await, 2);
}

// --- in scopes

#[divisi::test(clock = "virtual")]
async fn siblings_of_an_error_come_to_the_end_of_what_they_shield() {
    let begin = Instant::now();
    let shielded = Arc::new(AtomicUsize::new(0));
    let sibling = |delay: u64| {
        let shielded = shielded.clone();
        async move {
            sleep(ms(delay)).shielded().await;
            shielded.fetch_add(1, Ordering::SeqCst);
            // Waits, and stands still.
            sleep(ms(1)).await;
            shielded.fetch_add(100, Ordering::SeqCst);
            Ok(())
        }
    };
    type Boxed = std::pin::Pin<Box<dyn Future<Output = Result<(), u64>> + Send>>;
    let futures: [Boxed; 4] = [
        Box::pin(sibling(20)),
        Box::pin(after(10, Err(10))),
        Box::pin(sibling(30)),
        Box::pin(after(25, Err(25))),
    ];
    assert_eq!(try_join_all(futures).await, Err(10));
    assert_eq!(begin.elapsed(), ms(30));
    assert_eq!(shielded.load(Ordering::SeqCst), 2);
}

#[divisi::test(clock = "virtual")]
async fn a_race_is_over_when_the_losers_have_ended_what_they_shield() {
    let begin = Instant::now();
    let attempts = [30, 5].map(async |delay| {
        if delay == 30 {
            sleep(ms(30)).shielded().await;
            return pending().await;
        }
        after(delay, Ok::<_, ()>(delay)).await
    });
    let won = race::staggered(attempts, ms(10)).await.unwrap();
    assert_eq!((won.value, begin.elapsed()), (5, ms(30)));
}

#[divisi::test(clock = "virtual")]
async fn a_cancelled_scope_reaches_every_future_of_a_set() {
    use divisi::scope::CancelScope;
    let begin = Instant::now();
    let ended = Arc::new(AtomicUsize::new(0));
    let futures = (1..=10_u64).map(|n| {
        let ended = ended.clone();
        async move {
            sleep(ms(10 * n)).shielded().await;
            ended.fetch_add(1, Ordering::SeqCst);
            sleep(ms(1)).await;
            ended.fetch_add(100, Ordering::SeqCst);
        }
    });
    let scope = CancelScope::new();
    let stop = scope.clone();
    divisi::Handle::current().call_later(ms(5), move || stop.cancel("enough"));
    assert!(scope.run(join_all(futures)).await.is_err());
    assert_eq!(begin.elapsed(), ms(100));
    assert_eq!(ended.load(Ordering::SeqCst), 10);
}

#[divisi::test(clock = "virtual")]
async fn a_cancelled_scope_does_not_take_a_shared_future_from_others() {
    let shared = after(20, 7).shared();
    let inside = shared.clone();
    // The one that polls first is cancelled, and leaves the future to the other.
    assert!(inside.timeout(ms(5)).await.is_err());
    let other = spawn(shared.clone());
    assert!(shared.clone().timeout(ms(5)).await.is_err());
    assert_eq!(other.await.unwrap(), 7);
    assert_eq!(shared.await, 7);
}

#[divisi::test(clock = "virtual")]
async fn a_cancelled_wait_for_a_join_set_leaves_it_usable() {
    use divisi::task::{JoinSet, Until};
    let mut set = JoinSet::new();
    for n in [10, 20] {
        set.spawn(after(n, n));
    }
    for _ in 0..3 {
        assert!(set.wait(Until::All).timeout(ms(5)).await.is_err());
    }
    assert_eq!(set.join_next().await.unwrap().unwrap(), 10);
    assert_eq!(set.join_next().await.unwrap().unwrap(), 20);
}

#[divisi::test(clock = "virtual")]
async fn an_error_in_a_scope_that_was_cancelled_does_not_leave_the_siblings_behind() {
    let begin = Instant::now();
    type Boxed = std::pin::Pin<Box<dyn Future<Output = Result<(), &'static str>> + Send>>;
    let futures: [Boxed; 2] = [
        Box::pin(after(20, Err("first")).shielded()),
        Box::pin(after(30, Ok(())).shielded()),
    ];
    let joined = try_join_all(futures).timeout(ms(10)).await;
    assert!(
        matches!(joined, Ok(Err("first"))),
        "a value beats the time-out"
    );
    assert_eq!(begin.elapsed(), ms(30));
}

#[divisi::test(clock = "virtual")]
async fn a_win_in_a_scope_that_was_cancelled_does_not_leave_the_losers_behind() {
    let begin = Instant::now();
    let attempts = [20_u64, 30].map(|delay| after(delay, Ok::<_, ()>(delay)).shielded());
    let race = race::staggered(attempts, ms(1)).timeout(ms(10)).await;
    assert_eq!(race.unwrap().unwrap().value, 20);
    assert_eq!(begin.elapsed(), ms(31));
}

#[divisi::test(clock = "virtual")]
async fn no_attempt_starts_in_a_scope_that_was_cancelled() {
    let started = AtomicUsize::new(0);
    let attempts = (0..10).map(|_| {
        started.fetch_add(1, Ordering::SeqCst);
        after(20, Err::<(), _>(())).shielded()
    });
    assert!(
        race::staggered(attempts, None)
            .timeout(ms(10))
            .await
            .is_err()
    );
    assert_eq!(started.load(Ordering::SeqCst), 1);
}

#[divisi::test(clock = "virtual")]
async fn attempts_without_a_delay_start_all_at_once() {
    let attempts = (0..300_u64).map(|n| after(300 - n, Ok::<_, ()>(n)));
    let won = race::staggered(attempts, Duration::ZERO).await.unwrap();
    assert_eq!(won.value, 299);
}

#[divisi::test]
async fn an_attempt_that_spends_the_budget_does_not_keep_the_next_from_its_start() {
    let always = divisi::sync::Event::new();
    always.set();
    let attempts = [true, false].map(async |busy| {
        if busy {
            loop {
                always.wait().await;
            }
        }
        Ok::<_, ()>(())
    });
    let won = race::staggered(attempts, ms(5)).await.unwrap();
    assert_eq!(won.index, 1);
}
