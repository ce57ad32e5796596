//! Task groups, rule by rule. The rules are in the documentation of `divisi::group`.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use divisi::group::{Failure, Group, GroupError, StartError};
use divisi::time::{Instant, sleep, timeout};
use divisi::{CancelScope, task_group};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

type Log = Arc<Mutex<Vec<&'static str>>>;

fn texts<E: std::fmt::Display>(error: &GroupError<E>) -> Vec<String> {
    error.errors().map(ToString::to_string).collect()
}

#[divisi::test(clock = "virtual")]
async fn r1_the_end_waits_for_tasks_added_while_it_waits() {
    let start = Instant::now();
    let value = task_group(async |g| {
        let inner = g.clone();
        g.spawn(async move {
            sleep(ms(10)).await;
            let innermost = inner.clone();
            inner.spawn(async move {
                sleep(ms(10)).await;
                innermost.spawn(async {
                    sleep(ms(10)).await;
                    Ok(())
                });
                Ok(())
            });
            Ok::<_, ()>(())
        });
        Ok(5)
    })
    .await;
    assert_eq!(value.unwrap(), 5);
    assert_eq!(start.elapsed(), ms(30));
}

#[divisi::test(clock = "virtual")]
async fn r2_a_task_cancelled_by_its_handle_is_no_failure() {
    let value = task_group(async |g| {
        let cut = g.spawn(async {
            pending::<()>().await;
            Ok::<_, ()>(())
        });
        let other = g.spawn(async {
            sleep(ms(10)).await;
            Ok(3)
        });
        sleep(ms(1)).await;
        cut.cancel("not needed");
        let error = cut.await.unwrap_err();
        assert_eq!(error.reason().unwrap().text(), "not needed");
        Ok(other.await.unwrap())
    })
    .await;
    assert_eq!(value.unwrap(), 3);
}

#[divisi::test(clock = "virtual")]
async fn r3_the_first_failure_cancels_tasks_and_body_and_refuses_more() {
    let start = Instant::now();
    let ran = Arc::new(AtomicUsize::new(0));
    let (seen, kept) = (ran.clone(), Arc::new(Mutex::new(None)));
    let put = kept.clone();
    let error = task_group(async move |g| {
        g.spawn(pending::<Result<(), &str>>());
        let late = g.clone();
        g.spawn(async move {
            sleep(ms(5)).await;
            // Spawned before the failure, but never run.
            let seen = seen.clone();
            let child = late.spawn(async move {
                seen.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            put.lock().unwrap().replace((late, child));
            Err::<(), _>("failed")
        });
        pending::<()>().await;
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(texts(&error), ["failed"]);
    assert_eq!(start.elapsed(), ms(5));
    let (group, _) = kept.lock().unwrap().take().unwrap();
    let refused = group.spawn(async { Ok(()) });
    assert!(refused.is_finished());
    assert!(refused.await.unwrap_err().is_cancelled());
}

#[divisi::test(clock = "virtual")]
async fn r4_all_errors_are_collected_in_order_and_the_bodys_comes_last() {
    let error = task_group(async |g| {
        for (wait, text) in [(30, "third"), (10, "first"), (20, "second")] {
            g.spawn(async move {
                divisi::shield(sleep(ms(wait))).await;
                Err::<(), _>(text)
            });
        }
        // By then all of them run.
        sleep(ms(1)).await;
        Err::<(), _>("body")
    })
    .await
    .unwrap_err();
    assert_eq!(texts(&error), ["first", "second", "third", "body"]);
}

#[divisi::test(clock = "virtual")]
async fn r5_an_error_of_the_body_cancels_the_tasks_and_is_wrapped() {
    let error = task_group(async |g| {
        g.spawn(pending::<Result<(), &str>>());
        Err::<(), _>("alone")
    })
    .await
    .unwrap_err();
    assert_eq!(texts(&error), ["alone"]);
    assert!(!error.is_cancelled());
}

#[divisi::test(clock = "virtual")]
async fn r6_an_outer_cancellation_without_errors_propagates() {
    let after = AtomicUsize::new(0);
    let result = timeout(ms(10), async {
        let _ = task_group(async |g| {
            g.spawn(pending::<Result<(), &str>>());
            Ok(())
        })
        .await;
        after.fetch_add(1, Ordering::Relaxed);
    })
    .await;
    assert!(result.is_err());
    assert_eq!(after.into_inner(), 0, "the group returned");
}

#[divisi::test(clock = "virtual")]
async fn r6_errors_win_over_an_outer_cancellation_which_stays() {
    let mut error = None;
    let mut after = false;
    let result = timeout(ms(10), async {
        error = task_group(async |g| {
            g.spawn(async {
                divisi::shield(sleep(ms(20))).await;
                Err::<(), _>("while cancelled")
            });
            Ok(())
        })
        .await
        .err();
        sleep(ms(1)).await;
        after = true;
    })
    .await;
    assert!(result.is_err());
    assert_eq!(texts(&error.unwrap()), ["while cancelled"]);
    assert!(!after, "the cancellation was lost");
}

#[divisi::test(clock = "virtual")]
async fn r7_a_nested_failure_is_wrapped_once_per_level() {
    let error = task_group(async |outer| {
        outer.spawn_nested(task_group(async |inner| {
            inner.spawn(async { Err::<(), _>("deep") });
            Ok(())
        }));
        Ok(())
    })
    .await
    .unwrap_err();
    let [Failure::Group(inner)] = error.failures() else {
        panic!("{error:?}")
    };
    assert!(matches!(inner.failures(), [Failure::Error("deep")]));
}

#[divisi::test(clock = "virtual")]
async fn r7_an_inner_group_that_was_only_cancelled_adds_nothing() {
    let error = task_group(async |outer| {
        outer.spawn_nested(task_group(async |inner| {
            inner.spawn(pending::<Result<(), &str>>());
            Ok(())
        }));
        sleep(ms(1)).await;
        Err::<(), _>("outer")
    })
    .await
    .unwrap_err();
    assert!(matches!(error.failures(), [Failure::Error("outer")]));
}

#[divisi::test(clock = "virtual")]
async fn r8_inner_and_outer_failing_at_once() {
    let log = Log::default();
    let seen = log.clone();
    let error = task_group(async move |outer| {
        outer.spawn(async {
            sleep(ms(10)).await;
            Err::<(), _>("outer")
        });
        let inner = task_group(async |inner| {
            inner.spawn(async {
                divisi::shield(sleep(ms(10))).await;
                Err::<(), _>("inner")
            });
            Ok(())
        })
        .await;
        assert_eq!(texts(&inner.unwrap_err()), ["inner"]);
        seen.lock().unwrap().push("inner reported");
        sleep(ms(1)).await;
        seen.lock().unwrap().push("not reached");
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(texts(&error), ["outer"]);
    assert_eq!(*log.lock().unwrap(), ["inner reported"]);
}

#[divisi::test(clock = "virtual")]
async fn r9_nothing_of_a_group_is_left() {
    for _ in 0..10 {
        let _ = task_group(async |g| {
            g.spawn(pending::<Result<(), ()>>());
            Err::<(), _>(())
        })
        .await;
        assert!(divisi::Handle::current().tasks().is_empty());
    }
    // Nor a cancellation.
    sleep(ms(1)).await;
}

#[test]
fn r10_a_panic_of_the_body_resumes_after_the_tasks_have_ended() {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let handler = reports.clone();
    let runtime = divisi::Runtime::builder()
        .clock(divisi::Clock::Virtual)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| handler.lock().unwrap().push(report.to_string()))
        .build()
        .unwrap();
    let log = Log::default();
    let seen = log.clone();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(task_group(async move |g| {
            g.spawn(async move {
                divisi::shield(sleep(ms(10))).await;
                seen.lock().unwrap().push("the task has ended");
                Err::<(), _>("lost")
            });
            sleep(ms(1)).await;
            panic!("of the body");
            #[allow(unreachable_code)]
            Ok(())
        }))
    }));
    let panic = result.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"of the body"));
    assert_eq!(*log.lock().unwrap(), ["the task has ended"]);
    assert_eq!(reports.lock().unwrap().len(), 1, "{reports:?}");
}

#[divisi::test(clock = "virtual")]
async fn r11_cancel_ends_the_group_without_a_failure() {
    let error = task_group(async |g| {
        g.spawn(pending::<Result<(), &str>>());
        g.cancel("enough");
        g.cancel("again");
        pending::<()>().await;
        Ok(())
    })
    .await
    .unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.cause().unwrap().text(), "enough");
    assert!(
        error
            .to_string()
            .starts_with("the task group was cancelled: enough (asked ")
    );
}

#[divisi::test(clock = "virtual")]
async fn r11_cancel_keeps_the_value_of_a_body_that_has_one() {
    let value = task_group(async |g| {
        let stop = g.clone();
        g.spawn(async move {
            sleep(ms(10)).await;
            stop.cancel("enough");
            pending::<()>().await;
            Ok::<_, ()>(())
        });
        Ok(4)
    })
    .await;
    assert_eq!(value.unwrap(), 4);
}

#[divisi::test(clock = "virtual")]
async fn r11_an_outer_cancellation_during_cancel_is_not_swallowed() {
    let mut returned = false;
    let mut after = false;
    let scope = CancelScope::new();
    let stop = scope.clone();
    let outcome = scope
        .run(async {
            let inner = task_group(async |g| {
                g.cancel("inner");
                stop.cancel("outer");
                pending::<()>().await;
                Ok::<_, ()>(())
            })
            .await;
            drop(inner);
            returned = true;
            sleep(ms(1)).await;
            after = true;
        })
        .await;
    assert_eq!(outcome.unwrap_err().reason().text(), "outer");
    assert!(!returned && !after);
}

#[divisi::test(clock = "virtual")]
async fn r12_a_handle_kept_beyond_the_end_is_refused() {
    let mut kept: Option<Group<()>> = None;
    task_group(async |g| {
        kept = Some(g);
        Ok(())
    })
    .await
    .unwrap();
    let kept = kept.unwrap();
    kept.cancel("nothing happens");
    assert!(!kept.is_cancelled());
    let error = kept.spawn(async { Ok(()) }).await.unwrap_err();
    assert_eq!(error.reason().unwrap().text(), "its task group has ended");
}

#[divisi::test(clock = "virtual")]
async fn r13_what_a_task_used_is_freed_when_it_ends() {
    let resource = Arc::new(());
    task_group(async |g| {
        let used = resource.clone();
        let child = g.spawn(async move {
            sleep(ms(1)).await;
            drop(used);
            Ok::<_, ()>(())
        });
        child.await.unwrap();
        assert_eq!(Arc::strong_count(&resource), 1);
        Ok(())
    })
    .await
    .unwrap();
}

#[divisi::test(clock = "virtual")]
async fn r14_a_task_that_cancels_its_group_is_cancelled_itself() {
    let log = Log::default();
    let seen = log.clone();
    let error = task_group(async move |g| {
        let own = g.clone();
        g.spawn(async move {
            own.cancel("all of us");
            seen.lock().unwrap().push("goes on until it must wait");
            divisi::yield_now().await;
            seen.lock().unwrap().push("not reached");
            Ok::<_, ()>(())
        });
        pending::<()>().await;
        Ok(())
    })
    .await
    .unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(*log.lock().unwrap(), ["goes on until it must wait"]);
}

#[divisi::test(clock = "virtual")]
async fn a_panic_of_a_task_is_a_failure() {
    let error = task_group(async |g| {
        g.spawn(async {
            if true {
                panic!("oh no");
            }
            Ok::<_, ()>(())
        });
        pending::<()>().await;
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(error.panics().count(), 1);
    assert!(error.panics().next().unwrap().to_string().contains("oh no"));
}

#[divisi::test(clock = "virtual")]
async fn a_task_that_is_cancelled_before_it_runs_never_does() {
    let ran = Arc::new(AtomicUsize::new(0));
    let seen = ran.clone();
    task_group(async move |g| {
        let child = g.spawn(async move {
            seen.fetch_add(1, Ordering::Relaxed);
            Ok::<_, ()>(())
        });
        child.cancel("at once");
        let _ = child.await;
        Ok(())
    })
    .await
    .unwrap();
    // Another worker may have begun it before the request.
    assert!(ran.load(Ordering::Relaxed) <= 1);
}

#[divisi::test(clock = "virtual")]
async fn start_gives_the_value_and_the_task_goes_on() {
    let start = Instant::now();
    task_group(async |g| {
        let (value, child) = g
            .start(async |ready| {
                sleep(ms(10)).await;
                ready.set(7);
                sleep(ms(10)).await;
                Ok::<_, ()>("end")
            })
            .await
            .unwrap();
        assert_eq!((value, start.elapsed()), (7, ms(10)));
        assert_eq!(child.await.unwrap(), "end");
        Ok(())
    })
    .await
    .unwrap();
}

#[divisi::test(clock = "virtual")]
async fn a_failure_before_ready_is_the_starters_and_not_the_groups() {
    task_group(async |g| {
        let failed = g
            .start(async |_ready: divisi::group::Ready<(), &str>| Err::<(), _>("bind"))
            .await;
        assert!(matches!(failed, Err(StartError::Failed("bind"))));
        let silent = g
            .start(async |_ready: divisi::group::Ready<(), &str>| Ok(()))
            .await;
        assert!(matches!(silent, Err(StartError::NeverReady)));
        Ok(())
    })
    .await
    .unwrap();
}

#[divisi::test(clock = "virtual")]
async fn a_failure_after_ready_is_the_groups() {
    let error = task_group(async |g| {
        g.start(async |ready| {
            ready.set(());
            sleep(ms(1)).await;
            Err::<(), _>("serving")
        })
        .await
        .unwrap();
        pending::<()>().await;
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(texts(&error), ["serving"]);
}

#[divisi::test(clock = "virtual")]
async fn a_start_that_is_given_up_cancels_its_task() {
    let start = Instant::now();
    task_group(async |g| {
        let never = g.start(async |ready: divisi::group::Ready<(), ()>| {
            pending::<()>().await;
            ready.set(());
            Ok(())
        });
        assert!(timeout(ms(10), never).await.is_err());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(start.elapsed(), ms(10));
}

#[test]
fn groups_work_in_spawned_tasks_and_on_a_local_runtime() {
    let runtime = divisi::Runtime::new().unwrap();
    let task = runtime.spawn(async {
        task_group(async |g| {
            let child = g.spawn(async { Ok::<_, String>(1) });
            Ok(child.await.unwrap())
        })
        .await
    });
    assert_eq!(runtime.block_on(task).unwrap().unwrap(), 1);

    let runtime = divisi::LocalRuntime::new().unwrap();
    let local = std::rc::Rc::new(2);
    let sum = runtime.block_on(task_group(async |g| {
        let there = local.clone();
        let child = g.spawn_local(async move { Ok::<_, String>(*there) });
        Ok(child.await.unwrap() + *local)
    }));
    assert_eq!(sum.unwrap(), 4);
}

#[divisi::test]
async fn a_group_that_is_dropped_cancels_its_tasks() {
    let (sender, receiver) = divisi::channel::oneshot::channel::<()>();
    let mut group = Box::pin(task_group(async move |g| {
        g.spawn(async move {
            let _sender = sender;
            pending::<Result<(), ()>>().await
        });
        pending::<Result<(), ()>>().await
    }));
    assert!(divisi::future::poll_once(&mut group).await.is_none());
    drop(group);
    assert!(receiver.await.is_err());
}
