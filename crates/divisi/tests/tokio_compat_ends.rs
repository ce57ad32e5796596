//! What is left of tokio's runtime when the divisi runtime beside it has ended. Alone in its file: it counts what the process has.
#![cfg(all(feature = "tokio-compat", target_os = "linux"))]

use std::fs;
use std::time::{Duration, Instant};

fn count(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[track_caller]
fn settles(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < deadline, "something is left");
        std::thread::yield_now();
    }
}

#[test]
fn no_descriptor_and_no_thread_is_left() {
    // Before the first runtime: a thread that was joined may be listed for an instant longer.
    let threads = count("/proc/self/task");
    let round = || {
        let runtime = divisi::Runtime::builder()
            .worker_threads(2)
            .tokio_compat(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::spawn(tokio::time::sleep(Duration::from_millis(1)))
                .await
                .unwrap();
        });
    };
    // tokio keeps descriptors for signals from its first runtime on.
    round();
    // A thread may hold descriptors until its very end, which its runtime does not wait for.
    settles(|| count("/proc/self/task") == threads);
    let descriptors = count("/proc/self/fd");
    for _ in 0..20 {
        round();
    }
    settles(|| count("/proc/self/task") == threads);
    settles(|| count("/proc/self/fd") == descriptors);
}
