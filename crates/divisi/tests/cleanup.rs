//! Clean-ups: when they run, in which order, how long, and what becomes of them when their future is dropped.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use divisi::cleanup::{
    Exit, Resource, TryExitStack, defer, exit_stack, finally, finally_owned, finally_within,
    scoped, try_exit_stack, with,
};
use divisi::runtime::Report;
use divisi::time::{Instant, sleep, timeout};
use divisi::{CancelScope, Clock, Runtime, Shutdown, shield, task_group};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What happened, and when.
#[derive(Clone, Debug)]
struct Log(Arc<Mutex<Vec<(u128, String)>>>, Instant);

impl Log {
    fn new() -> Log {
        Log(Arc::default(), Instant::now())
    }

    fn push(&self, what: &str) {
        let at = self.1.elapsed().as_millis();
        self.0.lock().unwrap().push((at, what.to_owned()));
    }

    fn take(&self) -> Vec<(u128, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn expect(log: &Log, wanted: &[(u128, &str)]) {
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(at, what)| (*at, (*what).to_owned()))
        .collect();
    assert_eq!(log.take(), wanted);
}

/// A runtime on a virtual clock, and what its exception handler was told.
fn runtime_with_reports() -> (Runtime, Arc<Mutex<Vec<String>>>) {
    let reports: Arc<Mutex<Vec<String>>> = Arc::default();
    let handler = reports.clone();
    let runtime = Runtime::builder()
        .clock(Clock::Virtual)
        .exception_handler(move |report: &Report| {
            let text = report.to_string();
            // A machine under load may be slow enough for this one at any time.
            if !text.contains("kept its worker") {
                handler.lock().unwrap().push(text);
            }
        })
        .build()
        .unwrap();
    (runtime, reports)
}

#[divisi::test(clock = "virtual")]
async fn a_clean_up_follows_a_value() {
    let log = Log::new();
    let value = finally(
        async {
            sleep(ms(10)).await;
            log.push("body");
            5
        },
        async || {
            sleep(ms(10)).await;
            log.push("clean-up");
        },
    )
    .await;
    assert_eq!(value, 5);
    expect(&log, &[(10, "body"), (20, "clean-up")]);
}

#[divisi::test(clock = "virtual")]
async fn clean_ups_run_innermost_first_and_before_the_scope_reports() {
    let log = Log::new();
    let late = timeout(
        ms(100),
        finally(
            finally(pending::<()>(), async || {
                log.push("inner begins");
                sleep(ms(50)).await;
                log.push("inner ends");
            }),
            async || {
                log.push("outer begins");
                sleep(ms(20)).await;
                log.push("outer ends");
            },
        ),
    )
    .await;
    assert!(late.is_err());
    log.push("reported");
    expect(
        &log,
        &[
            (100, "inner begins"),
            (150, "inner ends"),
            (150, "outer begins"),
            (170, "outer ends"),
            (170, "reported"),
        ],
    );
}

#[divisi::test(clock = "virtual")]
async fn clean_ups_of_concurrent_branches_run_concurrently() {
    let start = Instant::now();
    let branch = |wait| finally(pending::<()>(), move || sleep(ms(wait)));
    let late = timeout(ms(10), async {
        divisi::join!(branch(30), branch(20), branch(5))
    });
    assert!(late.await.is_err());
    assert_eq!(start.elapsed(), ms(40));
}

#[divisi::test(clock = "virtual")]
async fn nothing_goes_on_beside_a_clean_up() {
    let log = Log::new();
    let late = timeout(ms(10), async {
        divisi::join!(
            finally(pending::<()>(), async || sleep(ms(50)).await),
            async {
                loop {
                    sleep(ms(4)).await;
                    log.push("tick");
                }
            },
        )
    })
    .await;
    assert!(late.is_err());
    expect(&log, &[(4, "tick"), (8, "tick")]);
    assert_eq!(log.1.elapsed(), ms(60));
}

#[divisi::test(clock = "virtual")]
async fn a_frozen_sibling_gives_up_the_lock_that_the_clean_up_wants() {
    let lock = Arc::new(divisi::sync::Mutex::new(()));
    let log = Log::new();
    let outer = lock.lock().await;
    let scope = CancelScope::new();
    let (stop, theirs, logged) = (scope.clone(), lock.clone(), log.clone());
    let task = divisi::spawn(async move {
        scope
            .run(async {
                divisi::join!(
                    // Waits for the lock, before the clean-up does.
                    async {
                        let _guard = theirs.lock().await;
                        pending::<()>().await;
                    },
                    finally(pending::<()>(), async || {
                        let _guard = theirs.lock().await;
                        logged.push("clean-up has the lock");
                    }),
                )
            })
            .await
    });
    sleep(ms(10)).await;
    stop.cancel("stop");
    sleep(ms(10)).await;
    drop(outer);
    assert!(task.await.unwrap().is_err());
    expect(&log, &[(20, "clean-up has the lock")]);
}

#[divisi::test(clock = "virtual")]
async fn a_sibling_that_spends_the_last_budget_keeps_nobody_in_a_queue() {
    use divisi::future::zip;
    let lock = divisi::sync::Mutex::new(());
    let always = divisi::sync::Event::new();
    always.set();
    let log = Log::new();
    let outer = lock.lock().await;
    let scope = CancelScope::new();
    // These are polled in this order each time.
    let busy = async {
        sleep(ms(10)).await;
        scope.cancel("stop");
        loop {
            always.wait().await;
        }
    };
    let queued = async {
        let _guard = lock.lock().await;
        pending::<()>().await;
    };
    let cleaned = finally(pending::<()>(), async || {
        let _guard = lock.lock().await;
        log.push("clean-up has the lock");
    });
    let content = zip(busy, zip(queued, cleaned));
    let unlock = async {
        sleep(ms(20)).await;
        drop(outer);
    };
    let (ended, ()) = divisi::join!(timeout(ms(60_000), scope.run(content)), unlock);
    assert!(ended.unwrap().is_err());
    expect(&log, &[(20, "clean-up has the lock")]);
}

#[divisi::test(clock = "virtual")]
async fn a_body_is_dropped_before_its_clean_up() {
    let lock = Arc::new(divisi::sync::Mutex::new(0));
    let late = timeout(
        ms(10),
        finally(
            async {
                let _guard = lock.lock().await;
                pending::<()>().await;
            },
            async || *lock.lock().await += 1,
        ),
    )
    .await;
    assert!(late.is_err());
    assert_eq!(*lock.lock().await, 1);
}

#[test]
fn a_clean_up_that_takes_too_long_is_cut_off_and_reported() {
    let (runtime, reports) = runtime_with_reports();
    let took = runtime.block_on(async {
        let start = Instant::now();
        let late = timeout(
            ms(10),
            finally(pending::<()>(), async || pending::<()>().await),
        )
        .await;
        assert!(late.is_err());
        start.elapsed()
    });
    assert_eq!(took, ms(5_010));
    let reports = reports.lock().unwrap();
    assert!(
        reports[0].starts_with("a clean-up was given up after 5s"),
        "{reports:?}"
    );
}

#[test]
fn the_limit_of_clean_ups_can_be_chosen() {
    let runtime = Runtime::builder()
        .clock(Clock::Virtual)
        .cleanup_deadline(ms(100))
        .exception_handler(|_| {})
        .build()
        .unwrap();
    runtime.block_on(async {
        let start = Instant::now();
        let forever = || finally(pending::<()>(), async || pending::<()>().await);
        assert!(timeout(ms(10), forever()).await.is_err());
        assert_eq!(start.elapsed(), ms(110));
        let shorter = finally_within(ms(30), pending::<()>(), async || pending::<()>().await);
        assert!(timeout(ms(10), shorter).await.is_err());
        assert_eq!(start.elapsed(), ms(150));
    });
}

#[divisi::test(clock = "virtual")]
async fn without_a_cancellation_a_clean_up_has_the_time_it_needs() {
    let start = Instant::now();
    finally(async {}, async || sleep(Duration::from_secs(60)).await).await;
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[divisi::test(clock = "virtual")]
async fn a_timeout_inside_a_clean_up_works() {
    let log = Log::new();
    let late = timeout(
        ms(10),
        finally(pending::<()>(), async || {
            assert!(timeout(ms(20), pending::<()>()).await.is_err());
            log.push("gave up");
        }),
    )
    .await;
    assert!(late.is_err());
    expect(&log, &[(30, "gave up")]);
}

#[divisi::test(clock = "virtual")]
async fn a_clean_up_that_runs_goes_on_when_the_scope_is_cancelled() {
    let log = Log::new();
    let late = timeout(ms(10), async {
        finally(async {}, async || {
            sleep(ms(30)).await;
            log.push("cleaned up");
        })
        .await;
        log.push("a value beats the cancellation");
        sleep(ms(1)).await;
        log.push("not reached");
    })
    .await;
    assert!(late.is_err());
    expect(
        &log,
        &[(30, "cleaned up"), (30, "a value beats the cancellation")],
    );
}

#[divisi::test(clock = "virtual")]
async fn tasks_of_a_group_clean_up_before_the_group_ends() {
    let log = Log::new();
    let (a, b) = (log.clone(), log.clone());
    let error = task_group(async move |g| {
        for (wait, log) in [(20, a), (10, b)] {
            g.spawn(async move {
                finally(pending::<()>(), async || {
                    sleep(ms(wait)).await;
                    log.push("cleaned up");
                })
                .await;
                Ok(())
            });
        }
        sleep(ms(5)).await;
        Err::<(), _>("stop")
    })
    .await
    .unwrap_err();
    assert_eq!(error.first(), Some(&"stop"));
    expect(&log, &[(15, "cleaned up"), (25, "cleaned up")]);
}

#[test]
fn a_panic_of_the_body_goes_on_after_the_clean_up() {
    let (runtime, _) = runtime_with_reports();
    let cleaned = Arc::new(Mutex::new(false));
    let theirs = cleaned.clone();
    let task = runtime.spawn(async move {
        finally(
            async {
                sleep(ms(1)).await;
                panic!("of the body")
            },
            async || {
                sleep(ms(1)).await;
                *theirs.lock().unwrap() = true;
            },
        )
        .await
    });
    let error = runtime.block_on(task).map(|(): ()| ()).unwrap_err();
    assert!(error.to_string().contains("of the body"));
    assert!(*cleaned.lock().unwrap());
}

#[test]
fn what_goes_wrong_while_unwinding_is_reported() {
    let (runtime, reports) = runtime_with_reports();
    runtime.block_on(async {
        let _ = timeout(
            ms(1),
            finally(pending::<()>(), async || Err::<(), _>("broken")),
        )
        .await;
        let _ = timeout(
            ms(1),
            finally(pending::<()>(), async || {
                if true {
                    panic!("worse");
                }
            }),
        )
        .await;
    });
    let reports = reports.lock().unwrap();
    assert!(
        reports[0].contains("failed") && reports[0].contains("broken"),
        "{reports:?}"
    );
    assert!(
        reports[1].contains("while its scope was unwound: worse"),
        "{reports:?}"
    );
}

#[test]
fn a_borrowing_clean_up_whose_future_is_dropped_is_reported() {
    let (runtime, reports) = runtime_with_reports();
    runtime.block_on(async {
        let lost = finally(pending::<()>(), async || {});
        divisi::future::or(lost, async { divisi::yield_now().await }).await;
        // Never polled: nothing to clean up after.
        drop(finally(pending::<()>(), async || {}));
    });
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains("did not run to its end"));
}

#[test]
fn an_owned_clean_up_whose_future_is_dropped_runs_at_the_root() {
    let (runtime, reports) = runtime_with_reports();
    runtime.block_on(async {
        let (sender, receiver) = divisi::channel::oneshot::channel();
        let body = finally_owned(pending::<()>(), async move || {
            sleep(ms(10)).await;
            sender.send(1).unwrap();
        });
        divisi::future::or(body, async { divisi::yield_now().await }).await;
        assert_eq!(receiver.await, Ok(1));

        // In the middle of the clean-up.
        let (sender, receiver) = divisi::channel::oneshot::channel();
        let body = finally_owned(async {}, async move || {
            sleep(ms(10)).await;
            sender.send(2).unwrap();
        });
        divisi::future::or(body, sleep(ms(5))).await;
        assert_eq!(receiver.await, Ok(2));
    });
    let report = runtime.shutdown(Shutdown::now());
    assert_eq!((report.cleanups_adopted, report.cleanups_cut_off), (2, 0));
    assert!(reports.lock().unwrap().is_empty());
}

#[test]
fn a_shutdown_runs_owned_clean_ups_and_cuts_off_what_does_not_end() {
    let log: Arc<Mutex<Vec<&str>>> = Arc::default();
    let runtime = Runtime::builder()
        .worker_threads(1)
        .clock(Clock::Virtual)
        .cleanup_deadline(ms(5_000))
        .exception_handler(|_| {})
        .build()
        .unwrap();
    let theirs = log.clone();
    drop(runtime.spawn(finally_owned(pending::<()>(), async move || {
        sleep(ms(10)).await;
        theirs.lock().unwrap().push("cleaned up");
    })));
    drop(runtime.spawn(finally_owned(pending::<()>(), async || {
        pending::<()>().await
    })));
    // Both have begun.
    runtime.block_on(sleep(ms(1)));
    let report = runtime.shutdown(Shutdown::now());
    assert_eq!(*log.lock().unwrap(), ["cleaned up"]);
    assert_eq!((report.cleanups_adopted, report.cleanups_cut_off), (2, 1));
    assert!(!report.is_clean());
}

#[divisi::test(clock = "virtual")]
async fn with_closes_what_it_opened_and_says_how_it_went() {
    let log = Log::new();
    let resource = |log: &Log| {
        let (opens, closes) = (log.clone(), log.clone());
        scoped(
            async move || {
                opens.push("open");
                Ok::<_, &str>(1)
            },
            async move |_item, exit| {
                sleep(ms(5)).await;
                closes.push(&format!("{exit:?}"));
                Ok(())
            },
        )
    };
    assert_eq!(
        with(resource(&log), async |item| Ok::<_, &str>(**item)).await,
        Ok(1)
    );
    let failed: Result<(), &str> = with(resource(&log), async |_| Err("no")).await;
    assert_eq!(failed, Err("no"));
    let cut = timeout(
        ms(10),
        with(resource(&log), async |_| {
            pending::<Result<(), &str>>().await
        }),
    );
    assert!(cut.await.is_err());
    expect(
        &log,
        &[
            (0, "open"),
            (5, "Done"),
            (5, "open"),
            (10, "Failed"),
            (10, "open"),
            (25, "Cancelled"),
        ],
    );
    assert_eq!(Exit::Done, Exit::Done);
}

#[divisi::test(clock = "virtual")]
async fn an_exit_stack_unwinds_last_first_and_collects_errors() {
    let log = Log::new();
    let logs = [log.clone(), log.clone(), log.clone()];
    let errors = exit_stack(async |stack| {
        for (n, log) in logs.into_iter().enumerate() {
            stack.defer(async move || {
                sleep(ms(1)).await;
                log.push(&n.to_string());
                if n == 1 {
                    Ok(())
                } else {
                    Err(format!("{n} failed"))
                }
            });
        }
        7
    })
    .await
    .unwrap_err();
    let texts: Vec<_> = errors.errors().iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["2 failed", "0 failed"]);
    assert_eq!(errors.into_value(), 7);
    expect(&log, &[(1, "2"), (2, "1"), (3, "0")]);
}

#[divisi::test(clock = "virtual")]
async fn an_exit_stack_unwinds_when_it_is_cancelled_or_dropped() {
    let log = Log::new();
    let body = |log: &Log| {
        let logs = [log.clone(), log.clone()];
        exit_stack(async |stack| {
            for (n, log) in logs.into_iter().enumerate() {
                stack.defer(async move || {
                    sleep(ms(1)).await;
                    log.push(&n.to_string());
                });
            }
            pending::<()>().await;
        })
    };
    assert!(timeout(ms(10), body(&log)).await.is_err());
    expect(&log, &[(11, "1"), (12, "0")]);
    divisi::future::or(async { drop(body(&log).await) }, sleep(ms(1))).await;
    sleep(ms(5)).await;
    expect(&log, &[(14, "1"), (15, "0")]);
}

/// Opens and closes in a log, and fails to close if it is told to.
#[derive(Debug)]
struct Session {
    name: &'static str,
    log: Log,
    fails: bool,
}

impl Session {
    fn new(name: &'static str, log: &Log) -> Session {
        let log = log.clone();
        Session {
            name,
            log,
            fails: false,
        }
    }
}

impl Resource for Session {
    type Item = Session;
    type Error = std::io::Error;

    async fn open(self) -> Result<Session, std::io::Error> {
        sleep(ms(1)).await;
        self.log.push(&format!("open {}", self.name));
        Ok(self)
    }

    async fn close(session: Session, exit: Exit) -> Result<(), std::io::Error> {
        sleep(ms(1)).await;
        session
            .log
            .push(&format!("close {} {exit:?}", session.name));
        if session.fails {
            return Err(std::io::Error::other(format!("{} failed", session.name)));
        }
        Ok(())
    }
}

#[divisi::test(clock = "virtual")]
async fn what_was_entered_is_closed_last_first_in_one_order_with_the_other_clean_ups() {
    let log = Log::new();
    let errors = try_exit_stack(async |stack| {
        let mut first = stack.enter(Session::new("a", &log).open().await?, Session::close);
        let between = log.clone();
        stack.defer(async move || between.push("deferred"));
        let mut second = stack.enter(Session::new("b", &log).open().await?, Session::close);
        assert_eq!(stack.len(), 3);
        (first.fails, second.fails) = (true, true);
        Ok::<_, std::io::Error>(7)
    })
    .await
    .unwrap_err();
    let texts: Vec<_> = errors.errors().iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["b failed", "a failed"]);
    assert_eq!(errors.into_value().unwrap(), 7);
    expect(
        &log,
        &[
            (1, "open a"),
            (2, "open b"),
            (3, "close b Done"),
            (3, "deferred"),
            (4, "close a Done"),
        ],
    );
}

#[divisi::test(clock = "virtual")]
async fn what_was_entered_is_told_how_the_body_ended() {
    let log = Log::new();
    let failed = try_exit_stack(async |stack| {
        let _one = stack.enter(Session::new("one", &log).open().await?, Session::close);
        Err::<(), _>(std::io::Error::other("no"))
    });
    assert!(failed.await.unwrap().is_err());
    expect(&log, &[(1, "open one"), (2, "close one Failed")]);

    let body = async |stack: TryExitStack| {
        let _one = stack.enter(Session::new("one", &log).open().await?, Session::close);
        pending::<Result<(), std::io::Error>>().await
    };
    assert!(timeout(ms(8), try_exit_stack(body)).await.is_err());
    expect(&log, &[(3, "open one"), (11, "close one Cancelled")]);
    // Dropped, it is closed at the root of the runtime.
    divisi::future::or(async { drop(try_exit_stack(body).await) }, sleep(ms(8))).await;
    sleep(ms(5)).await;
    expect(&log, &[(12, "open one"), (20, "close one Cancelled")]);

    let in_task = log.clone();
    let panics = try_exit_stack(async move |stack| {
        let _one = stack.enter(Session::new("one", &in_task).open().await?, Session::close);
        if stack.len() == 1 {
            panic!("the body");
        }
        Ok::<_, std::io::Error>(())
    });
    assert!(divisi::spawn(panics).await.unwrap_err().is_panic());
    expect(&log, &[(25, "open one"), (26, "close one Panicked")]);
}

#[divisi::test(clock = "virtual")]
async fn what_outlives_its_exit_stack_is_an_error_and_closed_when_it_is_dropped() {
    let log = Log::new();
    let errors = try_exit_stack(async |stack| {
        let session = Session::new("one", &log).open().await?;
        Ok::<_, std::io::Error>((stack.enter(session, Session::close), stack))
    })
    .await
    .unwrap_err();
    assert_eq!(errors.errors().len(), 1);
    let text = errors.to_string();
    assert!(
        text.contains("cleanup.rs") && text.contains("still in use"),
        "{text}"
    );
    let (entered, stack) = errors.into_value().unwrap();
    expect(&log, &[(1, "open one")]);
    drop(entered);
    sleep(ms(5)).await;
    expect(&log, &[(2, "close one Done")]);
    drop(stack);
}

#[divisi::test(clock = "virtual")]
async fn a_deferred_clean_up_runs_when_its_guard_goes() {
    let (sender, receiver) = divisi::channel::oneshot::channel();
    drop(defer(async move || sender.send(1).unwrap()));
    assert_eq!(receiver.await, Ok(1));
    let (sender, receiver) = divisi::channel::oneshot::channel::<()>();
    defer(async move || sender.send(()).unwrap()).forget();
    assert!(receiver.await.is_err());
}

#[divisi::test(clock = "virtual")]
async fn a_shield_inside_a_cancelled_scope_delays_its_report_only() {
    let start = Instant::now();
    let late = timeout(
        ms(10),
        finally(shield(sleep(ms(20))), async || sleep(ms(5)).await),
    )
    .await;
    // The body had a value, so the scope has one.
    assert_eq!(late, Ok(()));
    assert_eq!(start.elapsed(), ms(25));
}
