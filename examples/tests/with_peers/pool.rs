//! The pool: connections to a real redis, and the rules on a clock that jumps.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::time::sleep;
use divisi_examples::cache;
use divisi_examples::pool::{AcquireError, Manager, Pool};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisError};

use crate::cache::Redis;

const LONG: Duration = Duration::from_secs(30);

struct RedisManager(std::net::SocketAddr);

impl Manager for RedisManager {
    type Connection = MultiplexedConnection;
    type Error = RedisError;

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        cache::connect(self.0).await
    }

    async fn check(&self, connection: &mut MultiplexedConnection) -> bool {
        connection.ping::<String>().await.is_ok()
    }
}

#[divisi::test(worker_threads = 2)]
async fn tasks_take_turns_on_few_connections_and_broken_ones_are_replaced() {
    let Some(redis) = Redis::start() else {
        return;
    };
    let pool = Pool::new(RedisManager(redis.address), 3);
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let pool = pool.clone();
            divisi::spawn(async move {
                for _ in 0..10 {
                    let mut connection = pool.acquire(LONG).await.unwrap();
                    let _: u64 = connection.incr("turns", 1).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!((1..=3).contains(&pool.idle()), "{pool:?}");
    let mut connection = pool.acquire(LONG).await.unwrap();
    let turns: u64 = connection.get("turns").await.unwrap();
    assert_eq!(turns, 400);
    // The server closes every connection but the one that asks.
    let _: u64 = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal"])
        .query_async(&mut *connection)
        .await
        .unwrap();
    drop(connection);
    for _ in 0..3 {
        let mut connection = pool.acquire(LONG).await.unwrap();
        let turns: u64 = connection.get("turns").await.unwrap();
        assert_eq!(turns, 400);
        connection.discard();
    }
    assert_eq!(pool.idle(), 0);
}

/// Counts what it makes.
#[derive(Clone, Default)]
struct Counting {
    made: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Manager for Counting {
    type Connection = Counted;
    type Error = Infallible;

    async fn connect(&self) -> Result<Counted, Infallible> {
        sleep(Duration::from_millis(10)).await;
        self.made.fetch_add(1, Ordering::Relaxed);
        self.alive.fetch_add(1, Ordering::Relaxed);
        Ok(Counted(self.alive.clone()))
    }

    async fn check(&self, _: &mut Counted) -> bool {
        true
    }
}

#[divisi::test(clock = "virtual")]
async fn whoever_waits_too_long_is_told_who_has_the_connections() {
    let pool = Pool::new(Counting::default(), 2);
    let first = pool.acquire(LONG).await.unwrap();
    let line = line!() - 1;
    sleep(Duration::from_secs(5)).await;
    let _second = pool.acquire(LONG).await.unwrap();
    let Err(AcquireError::TimedOut { holders }) = pool.acquire(LONG).await else {
        panic!("there were two connections and both are held");
    };
    assert_eq!(holders.len(), 2);
    let longest = holders[0];
    assert_eq!(longest.acquired_at.line(), line);
    assert!(longest.acquired_at.file().ends_with("pool.rs"));
    assert_eq!(longest.since.elapsed(), LONG + Duration::from_millis(5_010));

    let leaks = pool.held_longer_than(LONG + Duration::from_secs(3));
    assert_eq!(leaks.len(), 1);
    assert_eq!(leaks[0].acquired_at.line(), line);
    drop(first);
    assert!(
        pool.held_longer_than(LONG + Duration::from_secs(3))
            .is_empty()
    );
    assert!(pool.acquire(LONG).await.is_ok());
}

#[divisi::test(clock = "virtual", worker_threads = 2)]
async fn users_that_give_up_cost_no_connection() {
    let manager = Counting::default();
    let pool = Pool::new(manager.clone(), 4);
    let users: Vec<_> = (0..200_u64)
        .map(|user| {
            let pool = pool.clone();
            divisi::spawn(async move {
                // Some give up in the queue, some while their connection is made.
                let limit = Duration::from_millis(user * 7 % 50);
                let Ok(connection) = pool.acquire(limit).await else {
                    return;
                };
                sleep(Duration::from_millis(user * 3 % 20)).await;
                if user % 5 == 0 {
                    connection.discard();
                }
            })
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
    assert!(pool.held_longer_than(Duration::ZERO).is_empty());
    assert_eq!(pool.idle(), manager.alive.load(Ordering::Relaxed));
    assert!(manager.made.load(Ordering::Relaxed) > 0);
    let all = [
        pool.acquire(LONG).await.unwrap(),
        pool.acquire(LONG).await.unwrap(),
        pool.acquire(LONG).await.unwrap(),
        pool.acquire(LONG).await.unwrap(),
    ];
    assert_eq!(manager.alive.load(Ordering::Relaxed), 4);
    drop(all);
}
