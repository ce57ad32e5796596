//! What a graceful shutdown does with task groups, scopes and clean-ups.

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use divisi::cleanup::finally;
use divisi::scope::{CancelScope, shield};
use divisi::time::{Instant, sleep, sleep_until, timeout};
use divisi::{Runtime, Shutdown, ShutdownReport, task_group};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(2);

type Log = mpsc::Sender<&'static str>;

/// Runs `task` as a task until it logs "begun", shuts down gracefully, and gives the result of the task, the report and the rest of the log.
fn shut_down_while<F>(
    task: impl FnOnce(Log) -> F,
) -> (
    Result<(), divisi::task::JoinError>,
    ShutdownReport,
    Vec<&'static str>,
)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Runtime::builder().worker_threads(2).build().unwrap();
    let (log, logged) = mpsc::channel();
    let task = runtime.spawn(task(log));
    assert_eq!(logged.recv_timeout(LONG), Ok("begun"));
    let report = runtime.shutdown(Shutdown::graceful(LONG));
    let result = futures_lite::future::block_on(task);
    (result, report, logged.iter().collect())
}

async fn wait_and_clean(log: Log, slow: Duration, done: &'static str) {
    let end = log.clone();
    let body = async {
        log.send("begun").unwrap();
        pending::<()>().await;
    };
    finally(body, async || {
        // Clean-ups may wait, and use groups of their own.
        let inner = task_group(async |g| {
            g.spawn(async move {
                sleep(slow).await;
                Ok::<_, ()>(())
            });
            Ok(())
        });
        inner.await.unwrap();
        end.send(done).unwrap();
    })
    .await;
}

#[test]
fn a_group_in_a_task_cleans_up_and_its_task_ends_within_the_grace() {
    let (result, report, log) = shut_down_while(async |log: Log| {
        let group = task_group(async |g| {
            g.spawn(async move {
                wait_and_clean(log, SHORT, "cleaned").await;
                Ok::<_, ()>(())
            });
            Ok(())
        });
        group.await.unwrap();
        unreachable!("the group does not return");
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["cleaned"]);
    let error = result.unwrap_err();
    let reason = error.reason().expect("it was cancelled");
    assert_eq!(reason.text(), "its runtime is being shut down");
}

#[test]
fn the_body_of_a_group_cleans_up_also_inside_a_limit_of_time() {
    let (result, report, log) = shut_down_while(async |log: Log| {
        let group = task_group(async |_| {
            wait_and_clean(log, SHORT, "cleaned").await;
            Ok::<_, ()>(())
        });
        timeout(LONG, group).await.unwrap().unwrap();
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["cleaned"]);
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn a_scope_with_nothing_to_clean_ends_its_task() {
    let (result, report, _) = shut_down_while(async |log: Log| {
        let scope = CancelScope::new();
        let inside = scope.run(async {
            log.send("begun").unwrap();
            pending::<()>().await;
        });
        inside.await.unwrap();
    });
    assert!(report.is_clean(), "{report}");
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn a_task_ends_when_the_last_of_its_scopes_has_cleaned_up() {
    let (result, report, mut log) = shut_down_while(async |log: Log| {
        let (quick, slow) = (CancelScope::new(), CancelScope::new());
        let end = log.clone();
        let both = divisi::join!(
            slow.run(finally(pending::<()>(), async || {
                sleep(SHORT).await;
                end.send("slow").unwrap();
            })),
            quick.run(wait_and_clean(log, Duration::ZERO, "quick")),
        );
        unreachable!("{both:?}");
    });
    assert!(report.is_clean(), "{report}");
    log.sort_unstable();
    assert_eq!(log, ["quick", "slow"]);
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn a_shielded_part_comes_to_its_end_and_then_the_task_ends() {
    let (result, report, log) = shut_down_while(async |log: Log| {
        let scope = CancelScope::new();
        let inside = scope.run(async {
            shield(async {
                log.send("begun").unwrap();
                sleep(SHORT).await;
                log.send("committed").unwrap();
            })
            .await;
            pending::<()>().await;
        });
        inside.await.unwrap();
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["committed"]);
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn a_task_that_comes_to_a_scope_during_the_grace_ends_there() {
    let (result, report, log) = shut_down_while(async |log: Log| {
        let end = log.clone();
        let (tell, told) = divisi::channel::oneshot();
        let first = async move {
            let scope = CancelScope::new();
            let body = finally(pending::<()>(), async || tell.send(()).unwrap());
            drop(scope.run(body).await);
        };
        drop(divisi::spawn(first));
        log.send("begun").unwrap();
        told.await.unwrap();
        end.send("goes on without a scope").unwrap();
        drop(CancelScope::new().run(pending::<()>()).await);
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["goes on without a scope"]);
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn what_a_blocking_job_waits_for_is_left_alone() {
    let (result, report, log) = shut_down_while(async |log: Log| {
        let job = divisi::spawn_blocking(move || {
            futures_lite::future::block_on(CancelScope::new().run(async {
                log.send("begun").unwrap();
                sleep(SHORT).await;
                log.send("done").unwrap();
            }))
            .unwrap();
        });
        job.await.unwrap();
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["done"]);
    assert!(result.is_ok());
}

#[test]
fn a_clean_up_around_a_scope_ends_its_task() {
    let (result, report, log) = shut_down_while(async |log: Log| {
        let end = log.clone();
        let scope = CancelScope::new();
        let inside = scope.run(async move {
            log.send("begun").unwrap();
            pending::<()>().await;
        });
        finally(inside, async || end.send("cleaned").unwrap())
            .await
            .unwrap();
        unreachable!("what was cut off does not go on");
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["cleaned"]);
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn a_limit_that_passes_while_a_task_cleans_up_does_not_bring_it_back() {
    const LIMIT: Duration = Duration::from_millis(50);
    let (result, report, log) = shut_down_while(async |log: Log| {
        let begin = Instant::now();
        let end = log.clone();
        let mut is_for_the_shutdown = false;
        let cleaned = finally(
            async {
                log.send("begun").unwrap();
                pending::<()>().await;
            },
            async || {
                is_for_the_shutdown = begin.elapsed() < LIMIT;
                sleep_until(begin + 2 * LIMIT).await;
                end.send("cleaned").unwrap();
            },
        );
        let late = timeout(LIMIT, cleaned).await;
        // On a slow machine it may have passed before.
        assert!(!is_for_the_shutdown, "{late:?}");
        let _ = CancelScope::new().run(pending::<()>()).await;
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["cleaned"]);
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn what_stands_still_ends_its_task_when_a_shield_beside_it_has_its_value() {
    // `join_all` polls only what was woken.
    type Part = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let (result, report, log) = shut_down_while(async |log: Log| {
        let begun = log.clone();
        let (clean, is_clean) = divisi::channel::oneshot();
        let cleans: Part = Box::pin(async move {
            let scope = CancelScope::new();
            let inside = scope.run(pending::<()>());
            let cleaned = finally(inside, async || {
                log.send("cleaned").unwrap();
                clean.send(()).unwrap();
            });
            let _ = cleaned.await;
        });
        // It stands still when the other has cleaned up, and is over when the shield is.
        let gone: Part = Box::pin(async {
            let stands = async { drop(CancelScope::new().run(pending::<()>()).await) };
            futures_lite::future::or(stands, sleep(SHORT)).await;
        });
        let shielded: Part = Box::pin(shield(async move {
            begun.send("begun").unwrap();
            is_clean.await.unwrap();
            sleep(2 * SHORT).await;
        }));
        divisi::join_all([cleans, gone, shielded]).await;
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["cleaned"]);
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn a_race_that_is_won_during_the_shutdown_gives_its_value_and_its_task_goes_on() {
    type Attempt = std::pin::Pin<Box<dyn Future<Output = Result<u8, ()>> + Send>>;
    let (result, report, log) = shut_down_while(async |log: Log| {
        let begun = log.clone();
        let commits: Attempt = Box::pin(shield(async move {
            begun.send("begun").unwrap();
            sleep(10 * SHORT).await;
            Ok(7)
        }));
        let loses: Attempt = Box::pin(pending());
        let won = divisi::future::race::staggered([commits, loses], Duration::ZERO).await;
        assert_eq!(won.unwrap().value, 7);
        divisi::yield_now().await;
        log.send("went on").unwrap();
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(log, ["went on"]);
    result.unwrap();
}
