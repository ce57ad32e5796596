//! Reports of locks that are held for too long.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use divisi::Runtime;
use divisi::debug::watch_holds;
use divisi::sync::{Mutex, Semaphore};

/// More than a report ever takes.
const AMPLE: Duration = Duration::from_secs(60);

fn reporting() -> (Runtime, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let runtime = Runtime::builder()
        .worker_threads(2)
        // The first report is one of a lock.
        .stall_threshold(None)
        .exception_handler(move |report| drop(tell.send(report.to_string())))
        .build()
        .unwrap();
    (runtime, told)
}

#[test]
fn a_deadlock_of_two_tasks_is_reported_with_who_and_where() {
    let (runtime, told) = reporting();
    let _watch = runtime.block_on(async { watch_holds(Duration::from_millis(200)).unwrap() });
    let (one, other) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let meet = Arc::new(divisi::sync::Barrier::new(2));
    let tasks = [(one.clone(), other.clone()), (other, one)].map(|(first, second)| {
        let meet = meet.clone();
        let _guard = runtime.enter();
        divisi::task::Builder::new()
            .name("deadlocked")
            .spawn(async move {
                let _first = first.lock().await;
                meet.wait().await.unwrap();
                let _second = second.lock().await;
            })
    });
    let report = told.recv_timeout(AMPLE).unwrap();
    assert!(report.contains("a Mutex taken at"), "{report}");
    assert!(
        report.contains("waits at") && report.contains(file!()),
        "{report}"
    );
    assert!(report.contains("\"deadlocked\""), "{report}");
    assert!(report.contains("spawned at"), "{report}");
    for task in &tasks {
        task.cancel("it is a deadlock");
    }
}

#[test]
fn each_place_is_reported_once_and_a_permit_too() {
    let (runtime, told) = reporting();
    let watch = runtime.block_on(async { watch_holds(Duration::from_millis(1)).unwrap() });
    let semaphore = Arc::new(Semaphore::new(20));
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let semaphore = semaphore.clone();
            runtime.spawn(async move {
                let _permit = semaphore.acquire().await.unwrap();
                std::future::pending::<()>().await;
            })
        })
        .collect();
    let report = told.recv_timeout(AMPLE).unwrap();
    assert!(report.contains("a Semaphore taken at"), "{report}");
    // Another place: when its report is here, every permit has been looked at again.
    let last = runtime.spawn(async {
        let mutex = Mutex::new(());
        let _guard = mutex.lock().await;
        std::future::pending::<()>().await;
    });
    let report = told.recv_timeout(AMPLE).unwrap();
    assert!(report.contains("a Mutex taken at"), "{report}");
    last.cancel("enough");
    for task in &tasks {
        task.cancel("enough");
    }
    drop(watch);
    assert!(told.try_recv().is_err());
}

#[test]
fn a_watch_ends_with_its_runtime() {
    let (runtime, told) = reporting();
    let watch = runtime.block_on(async { watch_holds(Duration::from_millis(1)).unwrap() });
    drop(runtime);
    // The handler goes with the runtime, and with it the sender: nothing keeps them.
    assert!(told.recv_timeout(AMPLE).is_err());
    drop(watch);
}
