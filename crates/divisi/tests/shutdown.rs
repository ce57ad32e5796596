//! How runtimes end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use divisi::task::TaskState;
use divisi::{Runtime, Shutdown};

const LONG: Duration = Duration::from_secs(60);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder()
        .worker_threads(workers)
        .compute_threads(1)
        .build()
        .unwrap()
}

#[test]
fn tasks_that_end_within_the_grace_are_not_reported() {
    let runtime = runtime(2);
    let done = Arc::new(AtomicBool::new(false));
    let tell = done.clone();
    let (started, is_started) = mpsc::channel();
    drop(runtime.spawn(async move {
        started.send(()).unwrap();
        divisi::time::sleep(Duration::from_millis(5)).await;
        // What a draining task needs still works.
        divisi::spawn(async {}).await.unwrap();
        divisi::spawn_blocking(|| ()).await.unwrap();
        tell.store(true, Ordering::SeqCst);
    }));
    is_started.recv_timeout(LONG).unwrap();
    let report = runtime.shutdown(Shutdown::graceful(LONG));
    assert!(report.is_clean(), "{report}");
    assert!(done.load(Ordering::SeqCst));
}

#[test]
fn tasks_that_outlive_the_grace_are_cancelled_and_named_with_where_they_waited() {
    let runtime = runtime(1);
    let task = {
        let _guard = runtime.enter();
        divisi::task::Builder::new()
            .name("waits for ever")
            .spawn(async {
                let (_keep, never) = divisi::channel::oneshot::<()>();
                never.await.unwrap();
            })
    };
    while runtime.tasks()[0].state != TaskState::Waiting {
        std::thread::yield_now();
    }
    let report = runtime.shutdown(Shutdown::graceful(Duration::from_millis(1)));
    assert_eq!(report.cancelled.len(), 1);
    assert_eq!(report.cancelled[0].name.as_deref(), Some("waits for ever"));
    let waited_at = report.cancelled[0].waits_at.unwrap();
    assert!(waited_at.file().ends_with("shutdown.rs"));
    assert!(report.stuck.is_empty());
    assert!(report.to_string().contains("waits for ever"));
    let error = futures_lite::future::block_on(task).unwrap_err();
    assert!(error.reason().unwrap().text().contains("shut down"));
    // Again: the same report.
    assert_eq!(runtime.shutdown(Shutdown::now()).cancelled.len(), 1);
}

#[test]
fn a_stuck_blocking_closure_is_reported_and_does_not_hang_the_shutdown() {
    let runtime = runtime(1);
    let (open, closed) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    let job = {
        let _guard = runtime.enter();
        divisi::spawn_blocking(move || {
            started.send(()).unwrap();
            let _ = closed.recv();
        })
    };
    is_started.recv_timeout(LONG).unwrap();
    let report = runtime.shutdown(Shutdown::now().patience(Duration::ZERO));
    assert_eq!(report.stuck.len(), 1);
    assert_eq!(report.stuck[0].id, job.id());
    drop(open);
}

#[test]
fn a_stuck_task_is_reported_and_does_not_hang_the_shutdown() {
    let runtime = runtime(2);
    let (open, closed) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    let task = runtime.spawn(async move {
        started.send(()).unwrap();
        let _ = closed.recv();
    });
    is_started.recv_timeout(LONG).unwrap();
    let report = runtime.shutdown(Shutdown::now().patience(Duration::ZERO));
    assert_eq!(report.stuck.len(), 1);
    assert_eq!(report.stuck[0].id, task.id());
    drop(open);
}

#[test]
fn a_runtime_dropped_with_live_tasks_timers_sockets_and_jobs_drops_every_future() {
    let witness = Arc::new(());
    let runtime = runtime(2);
    runtime.block_on(async {
        let (started, mut is_started) = (Arc::new(AtomicUsize::new(0)), 0);
        let listener = divisi::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for n in 0..30 {
            let (held, count) = (witness.clone(), started.clone());
            let mut tasks = Vec::new();
            tasks.push(divisi::spawn(async move {
                count.fetch_add(1, Ordering::SeqCst);
                match n % 3 {
                    0 => divisi::time::sleep(Duration::MAX).await,
                    1 => {
                        let stream = divisi::net::TcpStream::connect(address).await.unwrap();
                        stream.readable().await.unwrap();
                    }
                    _ => loop {
                        divisi::yield_now().await;
                    },
                }
                drop(held);
            }));
            drop(tasks);
            is_started += 1;
        }
        for _ in 0..10 {
            let held = witness.clone();
            drop(divisi::spawn_blocking(move || drop(held)));
            let held = witness.clone();
            drop(divisi::offload(move || drop(held)));
        }
        while started.load(Ordering::SeqCst) < is_started {
            divisi::yield_now().await;
        }
    });
    drop(runtime);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn spawns_from_sixteen_threads_during_the_shutdown_either_run_or_resolve_to_an_error() {
    for _ in 0..20 {
        let runtime = runtime(2);
        let start = Arc::new(Barrier::new(17));
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let (handle, start) = (runtime.handle().clone(), start.clone());
                std::thread::spawn(move || {
                    start.wait();
                    let tasks: Vec<_> = (0..50).map(|n| handle.spawn(async move { n })).collect();
                    for (n, task) in tasks.into_iter().enumerate() {
                        match futures_lite::future::block_on(task) {
                            Ok(output) => assert_eq!(output, n),
                            Err(error) => assert!(error.is_cancelled(), "{error}"),
                        }
                    }
                })
            })
            .collect();
        start.wait();
        runtime.shutdown(Shutdown::now());
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_task_may_drop_the_last_runtime() {
    let runtime = Arc::new(runtime(2));
    let (done, finished) = mpsc::channel();
    let (go, may_go) = divisi::channel::oneshot();
    drop(runtime.spawn({
        let runtime = runtime.clone();
        async move {
            may_go.await.unwrap();
            drop(runtime);
            done.send(()).unwrap();
        }
    }));
    drop(runtime);
    go.send(()).unwrap();
    finished.recv_timeout(LONG).unwrap();
}

#[test]
fn a_local_runtime_runs_its_tasks_during_the_grace_and_drops_the_rest() {
    let runtime = divisi::LocalRuntime::new().unwrap();
    let witness = std::rc::Rc::new(());
    let done = std::rc::Rc::new(std::cell::Cell::new(false));
    drop(runtime.spawn_local({
        let done = done.clone();
        async move {
            divisi::time::sleep(Duration::from_millis(2)).await;
            done.set(true);
        }
    }));
    assert!(runtime.shutdown(Shutdown::graceful(LONG)).is_clean());
    assert!(done.get());

    let runtime = divisi::LocalRuntime::new().unwrap();
    drop(runtime.spawn_local({
        let witness = witness.clone();
        async move {
            std::future::pending::<()>().await;
            drop(witness);
        }
    }));
    assert_eq!(runtime.shutdown(Shutdown::now()).cancelled.len(), 1);
    assert_eq!(std::rc::Rc::strong_count(&witness), 1);
}

#[test]
fn a_task_that_owns_the_runtime_is_aborted_without_a_deadlock() {
    let runtime = Arc::new(runtime(1));
    let handle = runtime.handle().clone();
    drop(runtime.spawn({
        let runtime = runtime.clone();
        async move {
            std::future::pending::<()>().await;
            drop(runtime);
        }
    }));
    drop(runtime);
    assert_eq!(handle.shutdown(Shutdown::now()).cancelled.len(), 1);
}

#[test]
fn a_task_may_ask_for_the_shutdown_that_waits_for_it() {
    let runtime = runtime(2);
    let handle = runtime.handle().clone();
    let (started, is_started) = mpsc::channel();
    let (go, may_go) = divisi::channel::oneshot();
    drop(runtime.spawn(async move {
        started.send(()).unwrap();
        may_go.await.unwrap();
        // Another shutdown is under way, and waits for this task.
        assert!(handle.shutdown(Shutdown::now()).is_clean());
    }));
    is_started.recv_timeout(LONG).unwrap();
    let outside = runtime.handle().clone();
    let shutting_down = std::thread::spawn(move || outside.shutdown(Shutdown::graceful(LONG)));
    // The grace has begun when spawns from outside are refused.
    while futures_lite::future::block_on(runtime.spawn(async {})).is_ok() {}
    go.send(()).unwrap();
    let report = shutting_down.join().unwrap();
    assert!(report.stuck.is_empty(), "{report}");
}

#[test]
fn destructors_at_a_shutdown_find_the_runtime_and_are_refused_by_it() {
    struct SpawnsWhenDropped(mpsc::Sender<bool>);
    impl Drop for SpawnsWhenDropped {
        fn drop(&mut self) {
            let task = divisi::spawn(async {});
            let _ = self.0.send(task.is_finished());
        }
    }
    let runtime = runtime(1);
    let (tell, told) = mpsc::channel();
    let task = runtime.spawn(async move {
        let _guard = SpawnsWhenDropped(tell);
        std::future::pending::<()>().await;
    });
    while runtime.tasks()[0].state != TaskState::Waiting {
        std::thread::yield_now();
    }
    drop(runtime);
    assert_eq!(told.recv_timeout(LONG), Ok(true));
    assert!(
        futures_lite::future::block_on(task)
            .unwrap_err()
            .is_cancelled()
    );
}

#[test]
fn a_second_root_ends_when_the_runtime_does() {
    let runtime = Arc::new(runtime(1));
    let (inside, is_inside) = mpsc::channel();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (runtime, inside) = (runtime.handle().clone(), inside.clone());
            std::thread::spawn(move || {
                let root = async {
                    inside.send(()).unwrap();
                    std::future::pending::<()>().await;
                };
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(root)))
                    .is_err()
            })
        })
        .collect();
    is_inside.recv_timeout(LONG).unwrap();
    is_inside.recv_timeout(LONG).unwrap();
    runtime.shutdown(Shutdown::now());
    for thread in threads {
        assert!(
            thread.join().unwrap(),
            "the panic says that the runtime was shut down"
        );
    }
}
