//! Starting, using and sharing runtimes.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use divisi::task::TaskState;
use divisi::{BuildError, Handle, LocalRuntime, Runtime};

const LONG: Duration = Duration::from_secs(60);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().worker_threads(workers).build().unwrap()
}

/// The message of the panic of `f`.
fn panic_of(f: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = std::panic::catch_unwind(f).expect_err("it should panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&'static str>().unwrap()).to_owned(),
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused_when_it_is_built() {
    let zero = Runtime::builder().worker_threads(0).build();
    assert!(matches!(zero, Err(BuildError::WorkerThreads(0))));
    assert!(zero.unwrap_err().to_string().contains("ask for 1"));
    assert!(matches!(
        Runtime::builder().compute_threads(0).build(),
        Err(BuildError::ComputeThreads(0))
    ));
    assert!(matches!(
        Runtime::builder().max_blocking_threads(0).build(),
        Err(BuildError::BlockingThreads(0))
    ));
    assert!(matches!(
        Runtime::builder().compute_queue_bound(0).build(),
        Err(BuildError::ComputeQueue)
    ));
    assert!(matches!(
        Runtime::builder().thread_name("a\0b").build(),
        Err(BuildError::ThreadName)
    ));
    assert!(matches!(
        Runtime::builder().worker_threads(1_000_000).build(),
        Err(BuildError::WorkerThreads(_))
    ));
}

#[test]
fn outside_of_a_runtime_the_panic_says_what_to_do() {
    assert!(Handle::try_current().is_none());
    for message in [
        panic_of(|| drop(divisi::spawn(async {}))),
        panic_of(|| drop(divisi::spawn_blocking(|| ()))),
        panic_of(|| drop(divisi::offload(|| ()))),
        panic_of(|| drop(Handle::current())),
        panic_of(|| {
            drop(divisi::spawn_reporting(async {
                Ok::<(), std::io::Error>(())
            }))
        }),
    ] {
        assert!(
            message.contains("no divisi runtime on this thread"),
            "{message}"
        );
    }
}

#[test]
fn a_nested_run_is_refused_with_advice() {
    let nested = divisi::run(async {
        let in_root = panic_of(|| divisi::run(async {}));
        let in_task = divisi::spawn(async { panic_of(|| Handle::current().block_on(async {})) })
            .await
            .unwrap();
        [in_root, in_task]
    });
    for message in nested {
        assert!(message.contains("spawn_blocking"), "{message}");
    }
}

#[test]
fn blocking_on_the_runtime_works_from_a_blocking_thread_and_is_refused_on_a_compute_thread() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let handle = Handle::current();
        let answer = divisi::spawn_blocking(move || {
            handle.block_on(async { divisi::spawn(async { 5 }).await.unwrap() })
        });
        assert_eq!(answer.await.unwrap(), 5);
        let refused = divisi::offload(|| panic_of(|| Handle::current().block_on(async {})));
        let message = refused.await.unwrap();
        assert!(
            cfg!(not(debug_assertions)) || message.contains("compute thread"),
            "{message}"
        );
    });
}

#[test]
fn a_spawn_after_shutdown_resolves_to_an_error_that_says_so() {
    let runtime = runtime(1);
    let handle = runtime.handle().clone();
    drop(runtime);
    let task = handle.spawn(async { 1 });
    let (blocking, offloaded) = {
        let _guard = handle.enter();
        (divisi::spawn_blocking(|| 1), divisi::offload(|| 1))
    };
    for task in [task, blocking, offloaded] {
        let error = futures_lite::future::block_on(task).unwrap_err();
        assert!(error.is_cancelled());
        assert!(error.to_string().contains("shut"), "{error}");
    }
}

#[test]
fn ten_runtimes_live_in_one_process() {
    let runtimes: Vec<Runtime> = (0..10).map(|_| runtime(2)).collect();
    let tasks: Vec<_> = runtimes
        .iter()
        .enumerate()
        .map(|(n, runtime)| runtime.spawn(async move { n }))
        .collect();
    // Each task is awaited on a runtime other than its own.
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(runtimes[(n + 1) % 10].block_on(task).unwrap(), n);
    }
}

#[test]
fn foreign_threads_spawn_and_block_at_the_same_time() {
    let runtime = Arc::new(runtime(2));
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let runtime = runtime.clone();
            std::thread::spawn(move || {
                let mut sum = 0;
                for m in 0..100 {
                    let task = runtime.spawn(async move {
                        divisi::yield_now().await;
                        n * m
                    });
                    sum += runtime.block_on(task).unwrap();
                }
                sum
            })
        })
        .collect();
    for (n, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), n * 4950);
    }
}

#[test]
fn thread_hooks_run_on_every_thread_that_polls_or_runs_jobs() {
    let (started, stopped): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let (starts, stops) = (started.clone(), stopped.clone());
    let names: Arc<Mutex<HashSet<String>>> = Arc::default();
    let seen = names.clone();
    let runtime = Runtime::builder()
        .worker_threads(2)
        .compute_threads(1)
        .thread_name("hooked")
        .on_thread_start(move || {
            starts.fetch_add(1, Ordering::SeqCst);
            seen.lock()
                .unwrap()
                .insert(std::thread::current().name().unwrap_or("?").to_owned());
        })
        .on_thread_stop(move || {
            stops.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        divisi::spawn_blocking(|| ()).await.unwrap();
        divisi::offload(|| ()).await.unwrap();
    });
    drop(runtime);
    assert_eq!(
        started.load(Ordering::SeqCst),
        stopped.load(Ordering::SeqCst)
    );
    let names = names.lock().unwrap();
    for part in [
        "hooked-worker-0",
        "hooked-worker-1",
        "hooked-blocking",
        "hooked-compute",
    ] {
        assert!(
            names.iter().any(|name| name.starts_with(part)),
            "{part} is not in {names:?}"
        );
    }
    assert!(
        names.contains(std::thread::current().name().unwrap()),
        "the thread that blocks polls too"
    );
}

#[test]
fn tasks_are_listed_with_name_parent_state_and_places() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let (_keep, never) = divisi::channel::oneshot::<()>();
        let waits_at = line!() - 1;
        let parent = divisi::task::Builder::new()
            .name("parent")
            .spawn(async move {
                let child = divisi::spawn(never);
                let id = child.id();
                (id, child)
            });
        let parent_id = parent.id();
        let (child, handle) = parent.await.unwrap();
        while Handle::current()
            .tasks()
            .iter()
            .any(|task| task.state != TaskState::Waiting)
        {
            divisi::yield_now().await;
        }
        let tasks = Handle::current().tasks();
        let info = tasks.iter().find(|task| task.id == child).unwrap();
        assert_eq!(info.parent, Some(parent_id));
        assert_eq!(info.name, None);
        assert_eq!(info.polls, 1);
        assert!(info.spawned_at.file().ends_with("runtime.rs"));
        assert_eq!(info.waits_at.map(|at| at.line()), Some(waits_at));
        handle.cancel("done");
        assert!(handle.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_panic_of_a_detached_task_reaches_the_exception_handler_and_one_of_the_handler_ends_nothing() {
    let (reports, received) = mpsc::channel();
    let reports = Mutex::new(reports);
    let runtime = Runtime::builder()
        .worker_threads(1)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| {
            reports
                .lock()
                .unwrap()
                .send((report.message.clone(), report.task, report.error.is_some()))
                .unwrap();
            if report.message.contains("second") {
                panic!("in the handler");
            }
        })
        .build()
        .unwrap();
    let first = runtime.spawn(async { panic!("first") });
    let id = first.id();
    drop(first);
    let (message, task, _) = received.recv_timeout(LONG).unwrap();
    assert!(message.contains("first"));
    assert_eq!(task, Some(id));
    drop(runtime.spawn(async { panic!("second") }));
    assert!(received.recv_timeout(LONG).unwrap().0.contains("second"));
    runtime.block_on(async {
        drop(divisi::spawn_reporting(async {
            Err::<(), _>(std::io::Error::other("third"))
        }));
    });
    assert!(
        received.recv_timeout(LONG).unwrap().2,
        "the error comes with the report"
    );
}

#[test]
fn a_joined_panic_does_not_reach_the_exception_handler() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let runtime = Runtime::builder()
        .worker_threads(1)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let error = runtime
        .block_on(runtime.spawn(async { panic!("joined") }))
        .unwrap_err();
    assert!(error.is_panic());
    drop(runtime);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn calls_run_soon_later_and_not_at_all_when_taken_back() {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .clock(divisi::Clock::Virtual)
        .build()
        .unwrap();
    let (tell, told) = mpsc::channel();
    let handle = runtime.handle();
    let order = |n: u32| {
        let tell = tell.clone();
        move || tell.send(n).unwrap()
    };
    // The clock stands still while the root runs; from outside, it would be free to jump between two calls.
    runtime.block_on(async {
        handle.call_later(Duration::from_secs(3600), order(3));
        handle.call_later(Duration::from_secs(60), order(2));
        let back = handle.call_later(Duration::from_secs(120), order(99));
        handle.call_soon(order(1));
        back.cancel();
    });
    assert_eq!(
        (0..3)
            .map(|_| told.recv_timeout(LONG).unwrap())
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    drop((runtime, tell));
    assert!(
        told.recv().is_err(),
        "the call that was taken back is not made"
    );
}

#[test]
fn local_tasks_share_what_is_not_send() {
    let runtime = LocalRuntime::new().unwrap();
    let log = Rc::new(RefCell::new(Vec::new()));
    let sum = runtime.block_on(async {
        let tasks: Vec<_> = (0..10)
            .map(|n| {
                let log = log.clone();
                divisi::spawn_local(async move {
                    divisi::yield_now().await;
                    log.borrow_mut().push(n);
                    Rc::new(n)
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += *task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, 45);
    assert_eq!(log.borrow().len(), 10);
}

#[test]
fn a_local_runtime_uses_timers_and_pools_and_is_woken_from_other_threads() {
    let runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle().clone();
    let out = runtime.block_on(async {
        divisi::time::sleep(Duration::from_millis(1)).await;
        let blocking = divisi::spawn_blocking(|| 1).await.unwrap();
        let computed = divisi::offload(|| 2).await.unwrap();
        let foreign = std::thread::spawn(move || handle.spawn(async { 3 }))
            .join()
            .unwrap()
            .await
            .unwrap();
        blocking + computed + foreign
    });
    assert_eq!(out, 6);
}

#[test]
fn another_loop_drives_a_local_runtime_by_its_descriptor() {
    let runtime = LocalRuntime::new().unwrap();
    if runtime.descriptor().is_none() {
        // The portable driver has none.
        return;
    }
    let done = Rc::new(Cell::new(false));
    let (tell, told) = divisi::channel::oneshot();
    drop(runtime.spawn_local({
        let done = done.clone();
        async move { done.set(told.await.unwrap()) }
    }));
    while runtime.turn().unwrap() > 0 {}
    let sender = std::thread::spawn(move || tell.send(true).unwrap());
    while !done.get() {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(
            runtime.descriptor().unwrap(),
            rustix::event::PollFlags::IN,
        )];
        let limit = rustix::event::Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        assert_ne!(
            rustix::event::poll(&mut fds, Some(&limit)).unwrap(),
            0,
            "a wake-up must make the descriptor readable"
        );
        runtime.turn().unwrap();
    }
    sender.join().unwrap();
}

#[test]
fn metrics_tell_of_every_part() {
    let runtime = runtime(2);
    runtime.block_on(async {
        divisi::spawn(async {}).await.unwrap();
        divisi::spawn_blocking(|| ()).await.unwrap();
        divisi::offload(|| ()).await.unwrap();
    });
    let metrics = runtime.metrics();
    assert_eq!(metrics.scheduler.workers.len(), 2);
    assert_eq!(metrics.reactors.len(), 2);
    assert!(metrics.sum(|worker| worker.polls) >= 1);
    assert!(metrics.blocking.peak >= 1);
    assert_eq!(metrics.compute.submitted, 1);
}

#[test]
fn spawn_local_on_a_shared_runtime_is_refused_with_advice() {
    let message = runtime(1).block_on(async { panic_of(|| drop(divisi::spawn_local(async {}))) });
    assert!(message.contains("LocalRuntime"), "{message}");
}

#[test]
fn a_callback_gets_the_result_of_a_task_however_it_ends_and_whenever_it_is_set() {
    let runtime = runtime(2);
    let (tell, told) = mpsc::channel();
    for round in 0..200 {
        let tell = tell.clone();
        let task = runtime.spawn(async move {
            for _ in 0..round % 5 {
                divisi::yield_now().await;
            }
            round
        });
        task.on_done(move |result| tell.send(result.unwrap()).unwrap());
    }
    let mut all: Vec<i32> = (0..200).map(|_| told.recv_timeout(LONG).unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..200).collect::<Vec<_>>());

    let (tell, told) = mpsc::channel();
    let task = runtime.spawn(std::future::pending::<()>());
    let abort = task.abort_handle();
    task.on_done(move |result| tell.send(result.unwrap_err().is_cancelled()).unwrap());
    abort.cancel("enough");
    assert!(told.recv_timeout(LONG).unwrap());
}

#[test]
fn a_panic_in_a_thread_hook_is_reported_and_costs_no_worker() {
    let (reports, received) = mpsc::channel();
    let reports = Mutex::new(reports);
    let runtime = Runtime::builder()
        .worker_threads(1)
        .on_thread_start(|| panic!("in the hook"))
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| {
            let _ = reports.lock().unwrap().send(report.message.clone());
        })
        .build()
        .unwrap();
    for n in 0..3 {
        let task = runtime.spawn(async move { n });
        assert_eq!(runtime.block_on(task).unwrap(), n);
    }
    assert!(received.recv_timeout(LONG).unwrap().contains("in the hook"));
}

#[test]
fn a_root_woken_from_outside_that_blocks_is_noticed_after_a_quiet_time() {
    let runtime = runtime(1);
    let (wake, woken) = divisi::channel::oneshot();
    let (done, finished) = mpsc::channel();
    let spawner = runtime.handle().clone();
    let waker = std::thread::spawn({
        let runtime = runtime.handle().clone();
        move || {
            // Until the monitor sleeps: its wake-ups stand still over many looks of this thread.
            let mut seen = (0, 0);
            while seen.1 < 20 {
                let now = runtime.metrics().scheduler.monitor_wakeups;
                seen = if now == seen.0 {
                    (now, seen.1 + 1)
                } else {
                    (now, 0)
                };
                // A part of the monitor's period; there is no event for what does not happen.
                std::thread::sleep(Duration::from_millis(5));
            }
            wake.send(()).unwrap();
        }
    });
    runtime.block_on(async {
        woken.await.unwrap();
        drop(spawner.spawn(async move { done.send(()).unwrap() }));
        // Blocks the only worker; a spare must run the task.
        finished.recv_timeout(LONG).unwrap();
    });
    waker.join().unwrap();
}
