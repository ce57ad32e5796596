//! `JoinSet`: order, conditions, cancelling, and that nothing is lost.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::task::{JoinSet, TryJoinError, Until};
use divisi::time::{Instant, sleep, timeout};
use divisi::{LocalRuntime, Runtime, spawn};
use parking_lot::Mutex;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Counts itself down when it is dropped.
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
async fn results_come_in_the_order_in_which_the_tasks_end() {
    let mut set = JoinSet::new();
    for n in [30, 10, 20] {
        set.spawn(async move {
            sleep(ms(n)).await;
            n
        });
    }
    let mut order = Vec::new();
    while let Some(n) = set.join_next().await {
        order.push(n.unwrap());
    }
    assert_eq!(order, [10, 20, 30]);
    assert!(set.is_empty());
}

#[divisi::test]
async fn an_empty_set_ends_at_once() {
    let mut set = JoinSet::<()>::new();
    assert!(set.join_next().await.is_none());
    assert!(set.try_join_next().is_none());
    for until in [Until::First, Until::FirstError, Until::All] {
        assert!(set.wait(until).await.is_empty());
    }
    assert!(set.join_all().await.is_empty());
}

#[divisi::test(clock = "virtual")]
async fn waiting_for_the_first_leaves_the_others_running() {
    let mut set = JoinSet::new();
    for n in [20, 10, 30] {
        set.spawn(async move {
            sleep(ms(n)).await;
            n
        });
    }
    let done = set.wait(Until::First).await;
    assert_eq!(done.len(), 1);
    assert_eq!(*done[0].1.as_ref().unwrap(), 10);
    assert_eq!(set.len(), 2);
    let rest = set.wait(Until::All).await;
    let rest: Vec<_> = rest.into_iter().map(|(_, n)| n.unwrap()).collect();
    assert_eq!(rest, [20, 30]);
}

#[divisi::test(clock = "virtual")]
async fn waiting_for_the_first_gives_all_that_have_ended() {
    let mut set = JoinSet::new();
    let quick: Vec<_> = (0..10).map(|n| set.spawn(async move { n })).collect();
    let slow = set.spawn(pending());
    // Time moves on only when nothing runs any more, and so the set has been told of all.
    sleep(ms(1)).await;
    assert!(quick.iter().all(|task| task.is_finished()));
    assert_eq!(set.wait(Until::First).await.len(), 10);
    slow.cancel("enough");
    assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
}

#[divisi::test(clock = "virtual")]
async fn waiting_for_the_first_error_passes_over_values_and_cancelled_tasks() {
    let mut set = JoinSet::new();
    set.spawn(async { 1 });
    set.spawn(pending()).cancel("no failure");
    set.spawn(async {
        sleep(ms(10)).await;
        panic!("a failure (this is meant)")
    });
    set.spawn(async {
        sleep(ms(20)).await;
        2
    });
    let start = Instant::now();
    let done = set.wait(Until::FirstError).await;
    assert_eq!(start.elapsed(), ms(10));
    assert_eq!(done.len(), 3);
    assert!(done[2].1.as_ref().unwrap_err().is_panic());
    // No failure among the rest: it waits for all.
    assert_eq!(set.wait(Until::FirstError).await.len(), 1);
}

#[divisi::test(clock = "virtual")]
async fn an_err_counts_as_an_error_for_try_wait_only() {
    let fill = || {
        let mut set = JoinSet::new();
        set.spawn(async { Err("no") });
        set.spawn(async {
            sleep(ms(10)).await;
            Ok(())
        });
        set
    };
    let start = Instant::now();
    assert_eq!(fill().try_wait(Until::FirstError).await.len(), 1);
    assert_eq!(start.elapsed(), ms(0));
    assert_eq!(fill().wait(Until::FirstError).await.len(), 2);
    assert_eq!(start.elapsed(), ms(10));
}

#[divisi::test(clock = "virtual")]
async fn a_wait_that_is_late_gives_what_there_is_and_cancels_nothing() {
    let mut set = JoinSet::new();
    for n in [10, 20, 30] {
        set.spawn(async move {
            sleep(ms(n)).await;
            n
        });
    }
    let done = set.wait_timeout(Until::All, ms(15)).await;
    assert_eq!(done.len(), 1);
    let done = set.wait_timeout(Until::All, ms(1)).await;
    assert!(done.is_empty());
    let done = set.wait_timeout(Until::All, ms(60)).await;
    let done: Vec<_> = done.into_iter().map(|(_, n)| n.unwrap()).collect();
    assert_eq!(done, [20, 30]);
}

#[divisi::test(clock = "virtual")]
async fn a_wait_that_is_given_up_loses_no_result() {
    let mut set = JoinSet::new();
    for n in [1, 2, 3, 100] {
        set.spawn(async move {
            sleep(ms(n)).await;
            n
        });
    }
    assert!(timeout(ms(10), set.wait(Until::All)).await.is_err());
    assert_eq!(set.len(), 4);
    // What the wait had seen counts for the next condition, and comes out of the other methods first.
    assert_eq!(set.try_join_next().unwrap().unwrap(), 1);
    let done = set.wait(Until::First).await;
    assert_eq!(done.len(), 2);
    assert_eq!(set.join_next().await.unwrap().unwrap(), 100);
}

#[divisi::test]
async fn dropping_the_set_cancels_its_tasks() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut set = JoinSet::new();
    for _ in 0..10 {
        let alive = Alive::new(&alive);
        set.spawn(async move {
            let _alive = alive;
            pending::<()>().await;
        });
    }
    divisi::yield_now().await;
    assert_eq!(alive.load(Ordering::SeqCst), 10);
    drop(set);
    while alive.load(Ordering::SeqCst) > 0 {
        divisi::yield_now().await;
    }
}

#[divisi::test]
async fn a_shutdown_returns_when_all_tasks_have_ended_and_tells_what_they_came_to() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut set = JoinSet::new();
    for n in 0..100 {
        let alive = Alive::new(&alive);
        set.spawn(async move {
            let _alive = alive;
            if n % 2 == 0 {
                pending::<()>().await;
            }
            n
        });
    }
    divisi::yield_now().await;
    let ended = set.shutdown("enough").await;
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(ended.len(), 100);
    for (_, result) in ended {
        match result {
            Ok(n) => assert_eq!(n % 2, 1),
            Err(error) => assert_eq!(error.reason().unwrap().text(), "enough"),
        }
    }
}

#[divisi::test]
async fn a_detached_task_goes_on() {
    let (tell, told) = divisi::channel::oneshot();
    let mut set = JoinSet::new();
    set.spawn(async move {
        divisi::yield_now().await;
        tell.send(()).unwrap();
    });
    set.detach_all();
    assert!(set.is_empty());
    drop(set);
    assert_eq!(told.await, Ok(()));
}

#[divisi::test(clock = "virtual")]
async fn no_more_tasks_run_at_a_time_than_allowed_and_all_get_their_turn() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut set = JoinSet::new().max_concurrency(3);
    for n in 0..20 {
        let (running, most) = (running.clone(), most.clone());
        set.spawn(async move {
            let _running = Alive::new(&running);
            most.fetch_max(running.load(Ordering::SeqCst), Ordering::SeqCst);
            sleep(ms(10)).await;
            n
        });
    }
    let start = Instant::now();
    let mut order = Vec::new();
    while let Some(n) = set.join_next().await {
        order.push(n.unwrap());
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(start.elapsed(), ms(70));
    assert_eq!(order, (0..20).collect::<Vec<_>>());
}

#[divisi::test(clock = "virtual")]
async fn a_task_that_is_cancelled_gives_its_turn_up() {
    let mut set = JoinSet::new().max_concurrency(1);
    let first = set.spawn(pending::<&str>());
    let second = set.spawn(pending::<&str>());
    set.spawn(async { "third" });
    divisi::yield_now().await;
    // The one that runs, and one that waits for its turn.
    second.cancel("not needed");
    first.cancel("enough");
    let results = set.join_all().await;
    assert_eq!(results.len(), 3);
    assert_eq!(results.into_iter().find_map(Result::ok), Some("third"));
}

#[test]
#[should_panic(expected = "allow at least 1")]
fn a_set_in_which_nothing_may_run_is_refused() {
    let _ = JoinSet::<()>::new().max_concurrency(0);
}

#[divisi::test]
async fn the_first_error_cancels_the_rest_and_awaits_their_end() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut set = JoinSet::new();
    for _ in 0..50 {
        let alive = Alive::new(&alive);
        set.spawn(async move {
            let _alive = alive;
            pending::<Result<(), &str>>().await
        });
    }
    set.spawn(async {
        divisi::yield_now().await;
        Err("broken")
    });
    let Err(TryJoinError::Failed(error)) = set.try_join_all().await else {
        panic!("one of them fails");
    };
    assert_eq!(error, "broken");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[divisi::test]
async fn a_panic_ends_try_join_all_too() {
    let mut set = JoinSet::<Result<(), &str>>::new();
    set.spawn(async { panic!("broken (this is meant)") });
    set.spawn(pending());
    let Err(TryJoinError::Join(error)) = set.try_join_all().await else {
        panic!("one of them panics");
    };
    assert!(error.is_panic());
}

#[divisi::test]
async fn all_values_of_try_join_all_come_back() {
    let mut set = JoinSet::<Result<u32, &str>>::new();
    for n in 0..1000 {
        set.spawn(async move { Ok(n) });
    }
    let mut values = set.try_join_all().await.unwrap();
    values.sort_unstable();
    assert_eq!(values, (0..1000).collect::<Vec<_>>());
}

/// A runtime, and the panics that its exception handler is told of.
fn runtime_with_panics() -> (Runtime, Arc<Mutex<Vec<String>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let runtime = Runtime::builder()
        .worker_threads(1)
        .exception_handler({
            let reports = reports.clone();
            // Not of stalls: printing a panic's backtrace keeps a worker for long.
            move |report| {
                if report.panic.is_some() {
                    reports.lock().push(report.message.clone());
                }
            }
        })
        .build()
        .unwrap();
    (runtime, reports)
}

#[test]
fn a_panic_that_nobody_read_reaches_the_exception_handler() {
    let (runtime, reports) = runtime_with_panics();
    runtime.block_on(async {
        let mut set = JoinSet::new();
        set.spawn(async { panic!("unread (this is meant)") });
        let read = set.spawn(async { panic!("read (this is meant)") });
        while !read.is_finished() {
            divisi::yield_now().await;
        }
        // The one that is taken out is the taker's.
        let mut texts = Vec::new();
        let (id, result) = set.join_next_with_id().await.unwrap();
        texts.push((id == read.id(), result.unwrap_err().to_string()));
        drop(set);
        assert_eq!(texts.len(), 1);
    });
    drop(runtime);
    let reports = reports.lock();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains("read (this is meant)"));
}

#[test]
fn a_panic_that_nobody_read_is_reported_whichever_way_the_set_forgets_it() {
    type Set = JoinSet<Result<(), ()>>;
    async fn forget(way: &str, mut set: Set) {
        match way {
            "drop" => drop(set),
            "detach_all" => set.detach_all(),
            // It has read the error by then, which came first.
            _ => assert!(set.try_join_all().await.is_err()),
        }
    }
    for aside in [false, true] {
        for way in ["drop", "detach_all", "try_join_all"] {
            let (runtime, reports) = runtime_with_panics();
            let set = runtime.block_on(async {
                let mut set = Set::new();
                let ended = [
                    spawn(async { Err(()) }),
                    spawn(async { panic!("unread (this is meant)") }),
                ];
                for task in ended {
                    while !task.is_finished() {
                        divisi::yield_now().await;
                    }
                    set.insert(task);
                }
                set.spawn(std::future::pending());
                if aside {
                    // Sees both, and is given up.
                    let wait = set.wait(Until::All);
                    assert!(divisi::future::poll_once(wait).await.is_none());
                }
                set
            });
            runtime.block_on(forget(way, set));
            drop(runtime);
            let reports = reports.lock();
            assert_eq!(reports.len(), 1, "{way}, set aside: {aside}: {reports:?}");
            assert!(reports[0].contains("unread (this is meant)"), "{way}");
        }
    }
}

#[test]
fn local_tasks_with_outputs_that_stay_on_their_thread_can_be_members() {
    use std::rc::Rc;
    let runtime = LocalRuntime::new().unwrap();
    runtime.block_on(async {
        let mut set = JoinSet::new().max_concurrency(2);
        for n in 0..10 {
            set.spawn_local(async move { Rc::new(n) });
        }
        let sum: u32 = set.join_all().await.into_iter().map(|n| *n.unwrap()).sum();
        assert_eq!(sum, 45);
    });
}

#[divisi::test]
async fn jobs_and_tasks_from_elsewhere_can_be_members() {
    let mut set: JoinSet<&str> = [spawn(async { "task" }), divisi::offload(|| "computed")]
        .into_iter()
        .collect();
    set.spawn_blocking(|| "blocking");
    let mut results: Vec<_> = set
        .join_all()
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    results.sort_unstable();
    assert_eq!(results, ["blocking", "computed", "task"]);
}

#[divisi::test]
async fn a_set_is_a_stream() {
    use futures_lite::{Stream, StreamExt};
    let mut set = JoinSet::new();
    for n in 0..100_u64 {
        set.spawn(async move { n });
    }
    assert_eq!(set.size_hint(), (100, Some(100)));
    let sum = set.map(Result::unwrap).fold(0, |sum, n| sum + n).await;
    assert_eq!(sum, 4950);
}

#[divisi::test]
async fn a_set_whose_tasks_are_always_ready_lets_others_run() {
    let stop = Arc::new(AtomicUsize::new(0));
    let other = spawn({
        let stop = stop.clone();
        async move { stop.store(1, Ordering::SeqCst) }
    });
    let refill = spawn(async move {
        let mut set = JoinSet::new();
        let mut joined = 0_u32;
        while stop.load(Ordering::SeqCst) == 0 || joined < 1000 {
            set.insert(divisi::spawn(async {}));
            set.join_next().await.unwrap().unwrap();
            joined += 1;
        }
    });
    other.await.unwrap();
    refill.await.unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn a_hundred_thousand_tasks_come_out_once_each() {
    const TASKS: usize = 100_000;
    let alive = Arc::new(AtomicUsize::new(0));
    let mut set = JoinSet::new();
    for n in 0..TASKS {
        let alive = Alive::new(&alive);
        set.spawn(async move {
            let _alive = alive;
            if n % 3 == 0 {
                divisi::yield_now().await;
            }
            n
        });
    }
    let mut seen = HashSet::with_capacity(TASKS);
    while let Some(n) = set.join_next().await {
        assert!(seen.insert(n.unwrap()));
    }
    assert_eq!(seen.len(), TASKS);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[divisi::test(worker_threads = 2)]
async fn a_hundred_thousand_tasks_that_wait_are_cancelled_and_awaited() {
    const TASKS: usize = 100_000;
    let alive = Arc::new(AtomicUsize::new(0));
    let mut set = JoinSet::<Result<(), &str>>::new();
    for _ in 0..TASKS {
        let alive = Alive::new(&alive);
        set.spawn(async move {
            let _alive = alive;
            pending().await
        });
    }
    set.spawn(async { Err("one fails") });
    assert!(set.try_join_all().await.is_err());
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// Tasks end, are cancelled and are joined at the same time; whatever wins, each comes out once and its future is dropped.
#[divisi::test(worker_threads = 2)]
async fn cancelling_while_tasks_end_and_are_joined_loses_none() {
    const ROUNDS: usize = 200;
    const TASKS: usize = 50;
    let alive = Arc::new(AtomicUsize::new(0));
    for _ in 0..ROUNDS {
        let mut set = JoinSet::new();
        let handles: Vec<_> = (0..TASKS)
            .map(|n| {
                let alive = Alive::new(&alive);
                set.spawn(async move {
                    let _alive = alive;
                    for _ in 0..n % 4 {
                        divisi::yield_now().await;
                    }
                    n
                })
            })
            .collect();
        let canceller = spawn(async move {
            for handle in handles {
                handle.cancel("race");
            }
        });
        let (mut finished, mut cancelled) = (0, 0);
        while let Some(result) = set.join_next().await {
            match result {
                Ok(_) => finished += 1,
                Err(error) => {
                    assert!(error.is_cancelled());
                    cancelled += 1;
                }
            }
        }
        assert_eq!(finished + cancelled, TASKS);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        canceller.await.unwrap();
    }
}
