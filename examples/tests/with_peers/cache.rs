//! redis: a real server.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use divisi::time::timeout;
use divisi_examples::cache;
use redis::AsyncCommands;
use tempfile::TempDir;

use crate::peers::{self, Peer};

const LONG: Duration = Duration::from_secs(30);

/// A server on a free port, with nothing on disk.
pub(crate) struct Redis {
    pub(crate) peer: Peer,
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Redis {
    /// `None`: there is no such program.
    pub(crate) fn start() -> Option<Redis> {
        let program = peers::program("redis-server")?;
        let directory = tempfile::tempdir().unwrap();
        let (peer, address) = peers::on_a_free_port(|port| {
            let mut command = Command::new(&program);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
            command.args(["--save", "", "--appendonly", "no", "--dir"]);
            command.arg(directory.path());
            Ok(Peer::start(&mut command, false, "Ready to accept connections")?.0)
        });
        Some(Redis {
            peer,
            address,
            _directory: directory,
        })
    }
}

#[divisi::test(worker_threads = 2)]
async fn fifty_tasks_share_a_connection() {
    let Some(redis) = Redis::start() else {
        return;
    };
    let connection = cache::connect(redis.address).await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let mut connection = connection.clone();
            divisi::spawn(async move {
                for i in 0..100 {
                    let (key, value) = (format!("{task}/{i}"), format!("value {i} of {task}"));
                    let () = connection.set(&key, &value).await.unwrap();
                    let got: String = connection.get(&key).await.unwrap();
                    assert_eq!(got, value);
                    let _: u64 = connection.incr("calls", 1).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut connection = connection;
    let calls: u64 = connection.get("calls").await.unwrap();
    assert_eq!(calls, 5_000);
    let (one, two): (u64, Option<String>) = redis::pipe()
        .atomic()
        .incr("one", 1)
        .get("nothing")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!((one, two), (1, None));
    let wrong: redis::RedisResult<u64> = connection.incr("0/0", 1).await;
    assert!(wrong.unwrap_err().to_string().contains("not an integer"));
}

#[divisi::test(worker_threads = 2)]
async fn a_call_that_takes_too_long_is_given_up_by_divisis_clock() {
    let Some(redis) = Redis::start() else {
        return;
    };
    let mut waiting = cache::connect(redis.address).await.unwrap();
    let mut other = cache::connect(redis.address).await.unwrap();
    let limit = Duration::from_millis(20);
    let nothing = timeout(
        limit,
        waiting.blpop::<_, Option<(String, String)>>("jobs", 0.0),
    )
    .await;
    assert!(nothing.is_err());
    // Blocks its own connection alone.
    let length: u64 = timeout(LONG, other.rpush("jobs", "wash"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(length, 1);
}

#[divisi::test(worker_threads = 2)]
async fn a_server_that_dies_is_an_error_for_whoever_waits() {
    let Some(redis) = Redis::start() else {
        return;
    };
    let mut connection = cache::connect(redis.address).await.unwrap();
    let () = connection.set("a", 1).await.unwrap();
    let waiting = divisi::spawn(async move {
        connection
            .blpop::<_, Option<(String, String)>>("nothing", 0.0)
            .await
    });
    divisi::yield_now().await;
    drop(redis.peer);
    let answer = timeout(LONG, waiting).await.unwrap().unwrap();
    assert!(answer.unwrap_err().is_connection_dropped());
    let refused = cache::connect(redis.address).await;
    assert!(refused.unwrap_err().is_connection_refusal());
}
