//! A process with nothing to do does nothing. Alone in its file: the threads of other tests would be counted too.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use divisi::Runtime;

/// As long as nobody may wake up. What a window can find is what happens more often; the threads that end after their keep-alive
/// do so once.
const WINDOW: Duration = Duration::from_secs(10);

/// Far more than the lookout, the monitor and the pools take to find that nothing goes on.
const LONG: Duration = Duration::from_secs(60);

/// How often each thread of this process, other than the calling one, has gone to sleep so far.
fn sleeps() -> BTreeMap<String, u64> {
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    let mut threads = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/task").unwrap() {
        let entry = entry.unwrap();
        if Some(entry.file_name().as_os_str()) == own.file_name() {
            continue;
        }
        // A thread may end between the listing and the look.
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let name = field("Name:");
        // The harness's main thread waits for this one with a time-out of its own.
        if name.starts_with("divisi") {
            let key = format!("{name} {}", entry.file_name().to_string_lossy());
            threads.insert(key, field("voluntary_ctxt_switches:").parse().unwrap());
        }
    }
    threads
}

#[test]
fn an_idle_runtime_wakes_nobody_for_ten_seconds() {
    let runtime = Runtime::builder()
        .worker_threads(2)
        .compute_threads(2)
        // Idle threads of the blocking pool wake up once, to end.
        .blocking_keep_alive(Duration::from_millis(1))
        .build()
        .unwrap();
    // Everything has been in use: tasks on both workers, a timer, a socket, both pools.
    runtime.block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|_| divisi::spawn(divisi::yield_now()))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        divisi::time::sleep(Duration::from_millis(1)).await;
        divisi::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        divisi::spawn_blocking(|| ()).await.unwrap();
        divisi::offload(|| ()).await.unwrap();
    });
    // A task that waits for ever, and a timer that is far away, are no reason to wake up.
    let _waits = runtime.spawn(std::future::pending::<()>());
    let _far = runtime.spawn(divisi::time::sleep(Duration::from_secs(3600)));

    let begin = Instant::now();
    let mut before = sleeps();
    loop {
        std::thread::sleep(WINDOW);
        let after = sleeps();
        if after == before {
            break;
        }
        assert!(
            begin.elapsed() < LONG,
            "somebody wakes up: {before:?} became {after:?}"
        );
        before = after;
    }
    assert!(
        before.len() >= 4,
        "the runtime's threads were seen: {before:?}"
    );
}
