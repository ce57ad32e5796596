//! What is left of tokio's runtime when the divisi runtime beside it has ended. Alone in its file: it counts what the process has.
#![cfg(all(feature = "tokio-compat", target_os = "linux"))]

use std::fs;
use std::time::Duration;

fn count(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
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
    let before = (count("/proc/self/fd"), threads);
    for _ in 0..20 {
        round();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while (count("/proc/self/fd"), count("/proc/self/task")) != before {
        assert!(
            std::time::Instant::now() < deadline,
            "before: {before:?}, now: {:?}",
            (count("/proc/self/fd"), count("/proc/self/task"))
        );
        std::thread::yield_now();
    }
}
