//! Failures that nobody awaits come to somebody's attention all the same; and a runtime that ends from inside does not wait for itself.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use divisi::__private::{TestConfig, run_test};
use divisi::Runtime;

/// Far more than a machine under load needs.
const LIMIT: Duration = Duration::from_secs(60);

fn reporting(workers: usize) -> (Runtime, Receiver<(String, bool)>) {
    let (reports, received) = channel();
    let reports = Mutex::new(reports);
    let runtime = Runtime::builder()
        .worker_threads(workers)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| {
            // Nobody listens any more while the runtime ends.
            let _ = reports
                .lock()
                .unwrap()
                .send((report.message.clone(), report.panic.is_some()));
        })
        .build()
        .unwrap();
    (runtime, received)
}

#[test]
fn a_waker_that_panics_in_a_turn_of_the_reactor_is_reported() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("a foreign waker panics (this is meant)");
        }
    }
    let (runtime, received) = reporting(1);
    let message = runtime.block_on(async {
        let mut bad = Box::pin(divisi::time::sleep(Duration::from_millis(1)));
        poll_fn(|_| {
            let polled = bad
                .as_mut()
                .poll(&mut Context::from_waker(&Waker::from(Arc::new(Bad))));
            assert!(polled.is_pending());
            Poll::Ready(())
        })
        .await;
        // The runtime goes on, and fires the timers that come later.
        divisi::time::sleep(Duration::from_millis(5)).await;
        divisi::spawn_blocking(move || {
            let mut reports = received.iter();
            reports
                .find(|(_, panic)| *panic)
                .map(|(message, _)| message)
        })
        .await
        .unwrap()
    });
    let message = message.unwrap();
    assert!(message.contains("a foreign waker panics"), "{message}");
    assert!(message.contains("a waker that was to be told"), "{message}");
}

#[test]
fn a_test_fails_if_a_task_panicked_and_nobody_awaited_it() {
    let failed = catch_unwind(AssertUnwindSafe(|| {
        run_test(TestConfig::new("inner"), async {
            let task = divisi::spawn(async { panic!("unseen (this is meant)") });
            let id = task.abort_handle();
            drop(task);
            while !id.is_finished() {
                divisi::yield_now().await;
            }
        });
    }));
    let message = *failed.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.contains("1 of the test's tasks panicked and nobody awaited them"),
        "{message}"
    );
    assert!(message.contains("unseen (this is meant)"), "{message}");
    assert!(message.contains("lost_failures.rs"), "{message}");
}

#[test]
fn a_test_may_have_tasks_whose_panics_it_looks_at() {
    run_test(TestConfig::new("inner"), async {
        let task = divisi::spawn(async { panic!("seen (this is meant)") });
        assert!(task.await.unwrap_err().is_panic());
    });
}

#[test]
fn a_runtime_ended_by_its_own_blocking_job_waits_for_the_others_but_not_for_that_one() {
    let (runtime, _received) = reporting(1);
    let guard = runtime.enter();
    let (go, gone) = channel::<()>();
    let (begins, begun) = channel();
    let ended = Arc::new(AtomicBool::new(false));
    drop(divisi::spawn_blocking({
        let ended = ended.clone();
        move || {
            begins.send(()).unwrap();
            // Let go when the shutdown begins.
            assert!(gone.recv().is_err());
            ended.store(true, Ordering::SeqCst);
        }
    }));
    begun.recv_timeout(LIMIT).unwrap();
    let (told, tell) = channel();
    let job = {
        let handle = runtime.handle().clone();
        move || {
            let begin = Instant::now();
            drop(go);
            let report = handle.shutdown(divisi::Shutdown::now().patience(LIMIT));
            told.send((report, begin.elapsed(), ended.load(Ordering::SeqCst)))
                .unwrap();
        }
    };
    drop(divisi::spawn_blocking(job));
    let (report, took, other_had_ended) = tell.recv_timeout(2 * LIMIT).unwrap();
    assert!(took < LIMIT, "it has waited for itself: {took:?}");
    assert!(other_had_ended);
    assert!(report.stuck.is_empty(), "{report}");
    drop(guard);
}
