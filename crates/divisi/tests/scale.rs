//! Many of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::net::{TcpListener, TcpStream};
use divisi::{Handle, Runtime};

const CONNECTIONS: usize = 10_000;

fn runtime() -> Runtime {
    Runtime::builder().worker_threads(2).build().unwrap()
}

/// Raises the limit of open files to at least `files`, if that is allowed.
fn may_open(files: u64) -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let enough = |value: Option<u64>| value.is_none_or(|value| value >= files);
    if enough(limit.current) {
        return true;
    }
    let maximum = if enough(limit.maximum) {
        limit.maximum
    } else {
        Some(files)
    };
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(files),
            maximum,
        },
    )
    .is_ok()
}

#[test]
fn ten_thousand_concurrent_connections_echo() {
    if !may_open(2 * CONNECTIONS as u64 + 500) {
        eprintln!(
            "SKIPPED: this system does not allow {} open files",
            2 * CONNECTIONS + 500
        );
        return;
    }
    let runtime = runtime();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = divisi::spawn(async move {
            let mut served = Vec::new();
            for _ in 0..CONNECTIONS {
                let (stream, _) = listener.accept().await.unwrap();
                served.push(divisi::spawn(async move {
                    let mut buffer = [0; 8];
                    while stream.read_exact(&mut buffer).await.is_ok() {
                        stream.write_all(&buffer).await.unwrap();
                    }
                }));
            }
            for task in served {
                task.await.unwrap();
            }
        });
        // All of them are open before the first message is sent.
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(TcpStream::connect(address).await.unwrap());
        }
        let clients: Vec<_> = streams
            .into_iter()
            .enumerate()
            .map(|(n, stream)| {
                divisi::spawn(async move {
                    for round in 0..3u64 {
                        let message = (n as u64 * 3 + round).to_be_bytes();
                        stream.write_all(&message).await.unwrap();
                        let mut reply = [0; 8];
                        stream.read_exact(&mut reply).await.unwrap();
                        assert_eq!(reply, message);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        server.await.unwrap();
    });
    let metrics = runtime.metrics();
    assert_eq!(
        metrics
            .reactors
            .iter()
            .map(|reactor| reactor.sources)
            .sum::<usize>(),
        0,
        "every source was deregistered"
    );
}

#[test]
fn a_hundred_thousand_timers_armed_and_dropped_leave_no_entry() {
    let runtime = runtime();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                divisi::spawn(async {
                    for _ in 0..25_000 {
                        let timed_out =
                            divisi::time::timeout(Duration::from_secs(3600), divisi::yield_now())
                                .await;
                        assert!(timed_out.is_ok());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let armed: usize = Handle::current()
            .metrics()
            .reactors
            .iter()
            .map(|reactor| reactor.timers)
            .sum();
        assert_eq!(armed, 0);
    });
}

#[test]
fn a_million_tasks_spawned_from_tasks_complete() {
    let count = Arc::new(AtomicUsize::new(0));
    let runtime = runtime();
    runtime.block_on(async {
        let spawners: Vec<_> = (0..10)
            .map(|_| {
                let count = count.clone();
                divisi::spawn(async move {
                    let children: Vec<_> = (0..100_000)
                        .map(|_| {
                            let count = count.clone();
                            divisi::spawn(async move {
                                count.fetch_add(1, Ordering::Relaxed);
                            })
                        })
                        .collect();
                    for child in children {
                        child.await.unwrap();
                    }
                })
            })
            .collect();
        for spawner in spawners {
            spawner.await.unwrap();
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 1_000_000);
    assert!(runtime.tasks().is_empty());
}
