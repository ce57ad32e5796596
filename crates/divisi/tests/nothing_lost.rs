//! Errors, panics and clean-ups that lose their place, in groups, scopes and clean-ups: they come to somebody's attention, or run, all the same.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use divisi::channel::oneshot;
use divisi::cleanup::{Exit, ExitStack, defer, exit_stack, finally, finally_owned, scoped, with};
use divisi::future::poll_once;
use divisi::group::Ready;
use divisi::runtime::Report;
use divisi::time::{sleep, timeout};
use divisi::{CancelScope, Clock, Runtime, Shutdown, task_group};

/// Long enough for a shutdown to be under way, and far below its patience.
const A_LONG_POLL: Duration = Duration::from_millis(100);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

type Lines = Arc<Mutex<Vec<String>>>;

/// What the exception handler was told.
fn reporting(clock: Clock) -> (Runtime, Lines) {
    let reports = Lines::default();
    let told = reports.clone();
    let runtime = Runtime::builder()
        .worker_threads(1)
        .clock(clock)
        .exception_handler(move |report: &Report| {
            let text = report.to_string();
            // A machine under load may be slow enough for this one at any time.
            if !text.contains("kept its worker") {
                told.lock().unwrap().push(text);
            }
        })
        .build()
        .unwrap();
    (runtime, reports)
}

fn log(lines: &Lines, line: &str) {
    lines.lock().unwrap().push(line.to_owned());
}

fn take(lines: &Lines) -> Vec<String> {
    std::mem::take(&mut lines.lock().unwrap())
}

/// A foreign waker that panics.
struct Bad;

impl Wake for Bad {
    fn wake(self: Arc<Self>) {
        panic!("a foreign waker panics (this is meant)");
    }
}

fn poll_with_a_bad_waker<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::new(Bad))))
}

async fn panics() {
    panic!("panic of a clean-up (this is meant)");
}

#[test]
fn a_shutdown_runs_the_owned_clean_up_of_a_task_that_is_inside_a_poll() {
    let (runtime, _reports) = reporting(Clock::Real);
    let lines = Lines::default();
    let (begun, has_begun) = mpsc::channel();
    let cleaned = lines.clone();
    let body = async move {
        begun.send(()).unwrap();
        std::thread::sleep(A_LONG_POLL);
        pending::<()>().await;
    };
    drop(runtime.spawn(finally_owned(body, async move || {
        log(&cleaned, "cleaned up")
    })));
    has_begun.recv().unwrap();
    let report = runtime.shutdown(Shutdown::now());
    assert_eq!(take(&lines), ["cleaned up"]);
    assert_eq!((report.cleanups_adopted, report.cleanups_cut_off), (1, 0));
}

#[test]
fn a_shutdown_runs_what_a_panicking_task_defers() {
    let (runtime, _reports) = reporting(Clock::Real);
    let lines = Lines::default();
    let (begun, has_begun) = mpsc::channel();
    let cleaned = lines.clone();
    drop(runtime.spawn(async move {
        let _deferred = defer(async move || log(&cleaned, "cleaned up"));
        begun.send(()).unwrap();
        std::thread::sleep(A_LONG_POLL);
        panic!("in the middle of the shutdown (this is meant)");
    }));
    has_begun.recv().unwrap();
    runtime.shutdown(Shutdown::now());
    assert_eq!(take(&lines), ["cleaned up"]);
}

#[test]
fn a_dropped_group_reports_how_its_body_ended() {
    let (runtime, reports) = reporting(Clock::Virtual);
    runtime.block_on(async {
        let mut group = Box::pin(task_group(async |g| {
            g.spawn(divisi::shield(pending::<Result<(), &str>>()));
            // The task has begun, so that the group has to wait for it.
            sleep(ms(1)).await;
            Err::<(), _>("body")
        }));
        assert!(timeout(ms(5), poll_until(&mut group, ms(2))).await.is_ok());
        drop(group);
        let mut group = Box::pin(task_group(async |g| {
            g.spawn(divisi::shield(pending::<Result<(), &str>>()));
            sleep(ms(1)).await;
            if true {
                panic!("panic of the body (this is meant)");
            }
            Ok(())
        }));
        assert!(timeout(ms(5), poll_until(&mut group, ms(2))).await.is_ok());
        drop(group);
    });
    let reports = take(&reports);
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert!(reports[0].contains("or its body"), "{reports:?}");
    assert!(reports[1].contains("panic of the body"), "{reports:?}");
}

/// Polls `future`, which does not end, for a while.
async fn poll_until<F: Future + Unpin>(future: &mut F, until: Duration) {
    let mut end = Box::pin(sleep(until));
    poll_fn(|cx| {
        assert!(Pin::new(&mut *future).poll(cx).is_pending());
        end.as_mut().poll(cx)
    })
    .await;
}

#[test]
fn what_a_body_and_its_clean_ups_came_to_is_reported_if_the_future_is_dropped() {
    let (runtime, reports) = reporting(Clock::Virtual);
    runtime.block_on(async {
        let body = async { panic!("panic of the body (this is meant)") };
        let mut future = Box::pin(finally(body, async || sleep(ms(10)).await));
        assert!(poll_once(&mut future).await.is_none());
        drop::<Pin<Box<dyn Future<Output = ()>>>>(future);
    });
    let told = take(&reports);
    assert!(
        told.iter().any(|one| one.contains("panic of the body")),
        "{told:?}"
    );

    runtime.block_on(async {
        let mut future = Box::pin(exit_stack(async |stack| {
            stack.defer(async || sleep(ms(10)).await);
            stack.defer(panics);
            stack.defer(async || Err("error of a clean-up"));
        }));
        assert!(poll_once(&mut future).await.is_none());
        drop(future);
        sleep(ms(20)).await;
    });
    let told = take(&reports);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("error of a clean-up"), "{told:?}");
    assert!(told[1].contains("panic of a clean-up"), "{told:?}");
}

#[test]
fn a_dropped_exit_stack_keeps_its_order_and_loses_nothing_to_a_panic() {
    let (runtime, reports) = reporting(Clock::Virtual);
    let lines = Lines::default();
    let late: Mutex<Option<ExitStack>> = Mutex::default();
    runtime.block_on(async {
        let mut future = Box::pin(exit_stack(async |stack: ExitStack| {
            *late.lock().unwrap() = Some(stack.clone());
            let (first, last) = (lines.clone(), lines.clone());
            stack.defer(async move || log(&first, "first"));
            stack.defer(panics);
            stack.defer(async move || {
                sleep(ms(10)).await;
                log(&last, "last");
            });
        }));
        assert!(poll_once(&mut future).await.is_none());
        drop(future);
        sleep(ms(20)).await;
        assert_eq!(take(&lines), ["last", "first"]);

        // Nobody is left to run what comes now.
        let stack = late.lock().unwrap().take().unwrap();
        let cleaned = lines.clone();
        stack.defer(async move || log(&cleaned, "late"));
        sleep(ms(1)).await;
        assert_eq!(take(&lines), ["late"]);
    });
    let told = take(&reports);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("panic of a clean-up"), "{told:?}");
}

#[divisi::test(clock = "virtual")]
async fn what_becomes_ready_in_the_poll_that_a_cancellation_comes_in_beats_it() {
    let (sender, mut receiver) = oneshot::channel();
    let mut sender = Some(sender);
    let scope = CancelScope::new();
    let stop = scope.clone();
    let value = scope
        .run(poll_fn(|cx| {
            let received = Pin::new(&mut receiver).poll(cx);
            if let Some(sender) = sender.take() {
                sender.send("in time").unwrap();
                stop.cancel("in the same poll");
            }
            received
        }))
        .await;
    assert_eq!(value.unwrap(), Ok("in time"));
}

#[divisi::test(clock = "virtual")]
async fn the_failure_of_a_task_whose_starter_does_not_take_it_is_the_groups() {
    let error = task_group(async |g| {
        let mut start = Box::pin(g.start(async |_ready: Ready<(), &str>| Err::<(), _>("untaken")));
        assert!(poll_once(&mut start).await.is_none());
        sleep(ms(1)).await;
        drop(start);
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(error.errors().collect::<Vec<_>>(), [&"untaken"]);
}

#[test]
fn a_panicking_waker_of_a_child_does_not_keep_the_group() {
    let (runtime, _reports) = reporting(Clock::Virtual);
    let value = runtime.block_on(task_group(async |g| {
        let mut child = g.spawn(async {
            sleep(ms(1)).await;
            Ok::<_, ()>(())
        });
        assert!(poll_with_a_bad_waker(Pin::new(&mut child)).is_pending());
        Ok(5)
    }));
    assert_eq!(value.unwrap(), 5);
}

#[divisi::test(clock = "virtual")]
async fn a_panicking_waker_does_not_stop_a_cancellation() {
    let scope = CancelScope::new();
    let (sender, ended) = oneshot::channel::<()>();
    let mut content = Box::pin(scope.run(task_group(async move |g| {
        g.spawn(async move {
            let _sender = sender;
            pending::<Result<(), ()>>().await
        });
        pending::<Result<(), ()>>().await
    })));
    assert!(poll_with_a_bad_waker(content.as_mut()).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| scope.cancel("enough"))).is_err());
    assert!(ended.await.is_err());
}

/// Ends `future` by a time-out, which must not be what it is told when it is polled again.
async fn poll_after_a_timeout<F: Future>(mut future: Pin<&mut F>) {
    assert!(timeout(ms(1), future.as_mut()).await.is_err());
    let again = catch_unwind(AssertUnwindSafe(|| {
        drop(future.poll(&mut Context::from_waker(Waker::noop())));
    }));
    let panic = again.expect_err("it must not wait for ever");
    let text = panic_text(&*panic);
    assert!(text.contains("polled again outside"), "{text}");
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    match panic.downcast_ref::<String>() {
        Some(text) => text,
        None => panic.downcast_ref::<&str>().unwrap(),
    }
}

#[divisi::test(clock = "virtual")]
async fn a_scope_that_was_cut_off_by_reference_says_so_when_it_is_polled_again() {
    let scope = CancelScope::new();
    poll_after_a_timeout(pin!(scope.run(pending::<()>()))).await;
}

#[divisi::test(clock = "virtual")]
async fn a_clean_up_whose_body_was_cut_off_by_reference_says_so_when_it_is_polled_again() {
    let mut cleaned = 0;
    poll_after_a_timeout(pin!(finally(pending::<()>(), async || cleaned += 1))).await;
    assert_eq!(cleaned, 1);
    poll_after_a_timeout(pin!(finally(sleep(ms(5)), async || {
        sleep(ms(1)).await;
        cleaned += 1;
    })))
    .await;
    assert_eq!(cleaned, 2);
    poll_after_a_timeout(pin!(finally_owned(pending::<()>(), async || ()))).await;
    poll_after_a_timeout(pin!(exit_stack(async |_| pending::<()>().await))).await;
    let resource = scoped(
        async || Ok::<_, std::io::Error>(()),
        async |(), exit| {
            assert_eq!(exit, Exit::Cancelled);
            Ok(())
        },
    );
    let used = with(resource, async |_| {
        pending::<Result<(), std::io::Error>>().await
    });
    poll_after_a_timeout(pin!(used)).await;
}

#[divisi::test(clock = "virtual")]
async fn a_cancelled_scope_that_a_limit_passed_by_reports_when_it_is_polled_again() {
    let scope = CancelScope::new();
    let cleans = finally(pending::<()>(), async || sleep(ms(100)).await);
    let mut work = pin!(scope.run(cleans));
    scope.cancel("enough");
    assert!(timeout(ms(10), work.as_mut()).await.is_err());
    assert!(work.await.is_err());
}

#[divisi::test(clock = "virtual")]
async fn a_cancelled_group_that_a_limit_passed_by_reports_when_it_is_polled_again() {
    let mut work = pin!(task_group(async |g| {
        g.spawn(async {
            finally(pending::<()>(), async || sleep(ms(100)).await).await;
            Ok::<_, ()>(())
        });
        sleep(ms(1)).await;
        g.cancel("enough");
        pending::<Result<(), ()>>().await
    }));
    assert!(timeout(ms(10), work.as_mut()).await.is_err());
    assert!(work.await.unwrap_err().is_cancelled());
}

#[divisi::test(clock = "virtual")]
async fn a_group_that_was_cut_off_by_reference_says_so_when_it_is_polled_again() {
    poll_after_a_timeout(pin!(task_group(async |_| {
        pending::<Result<(), ()>>().await
    })))
    .await;
}
