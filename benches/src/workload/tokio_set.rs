//! tokio's own bench set (its `benches/` directory), rebuilt from its parameters for every runtime: what its authors watch for regressions.
//!
//! Names and sizes are theirs. The number of workers is the suite's, not their fixed 4, 6 or 8. What lives elsewhere in this package is not
//! repeated: `ping_pong`, `yield_many` and `chained_spawn` are [`ping_pong`](super::ping_pong), [`yielding`](super::yielding) and
//! [`spawn`](super::spawn). An operation is one task, one closure or one timer.

use std::{
    future::{self, Future},
    hint::black_box,
    pin::pin,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use super::{Measured, Workload, in_a_task, in_batches};
use crate::peer::FullPeer;

/// `rt_multi_threaded.rs`: tasks of `spawn_many_*`.
const MANY: u64 = 10_000;

/// The same while chains of tasks keep the workers busy.
const MANY_BUSY: u64 = 1_000;

/// Background tasks a worker in `spawn_many_remote_busy1`, and chains in `spawn_many_remote_busy2`.
const YIELDERS: usize = 8;
const CHAINS: usize = 4;

/// How long a background task keeps its worker each time.
const STALL: Duration = Duration::from_micros(10);

/// `remote_spawn.rs`: tasks started by all outside threads together.
const REMOTE: u64 = 12_800;

/// `spawn_blocking.rs`: closures a batch and batches a task.
const BLOCKING_BATCH: u64 = 16;
const BLOCKING_BATCHES: u64 = 100;

/// `time_timeout.rs`: time-outs of a sample, as made between two yields.
const TIMEOUTS: u64 = 10_000;
const TIMEOUTS_A_POLL: u64 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("tokio_set/spawn_many_local", spawn_many_local),
        Workload::new("tokio_set/spawn_many_remote_idle", spawn_many_remote_idle),
        Workload::new("tokio_set/spawn_many_remote_busy1", spawn_many_remote_busy1),
        Workload::new("tokio_set/spawn_many_remote_busy2", spawn_many_remote_busy2),
        Workload::new("tokio_set/threaded_scheduler_spawn", spawn_yield::<P, 1>),
        Workload::new("tokio_set/threaded_scheduler_spawn10", spawn_yield::<P, 10>),
        Workload::new("tokio_set/remote_spawn_1_thread", remote_spawn::<P, 1>),
        Workload::new("tokio_set/remote_spawn_2_threads", remote_spawn::<P, 2>),
        Workload::new("tokio_set/remote_spawn_4_threads", remote_spawn::<P, 4>),
        Workload::new("tokio_set/spawn_blocking_1_task", blocking::<P, 1>),
        Workload::new("tokio_set/spawn_blocking_4_tasks", blocking::<P, 4>),
        Workload::new("tokio_set/timeout_of_a_ready_future", timeout_ready),
        Workload::new("tokio_set/sleep_made_and_dropped", sleep_dropped),
    ]
}

/// The root future starts the tasks and its thread then waits in a plain channel, as there: it does not help.
fn spawn_many_local<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, MANY, || {
        peer.block_on(async {
            let (done, all_done) = mpsc::sync_channel(1);
            let left = Arc::new(AtomicU64::new(MANY));
            let start = Instant::now();
            for _ in 0..MANY {
                let (done, left) = (done.clone(), left.clone());
                P::spawn_detached(async move {
                    if left.fetch_sub(1, Relaxed) == 1 {
                        done.send(()).expect("somebody waits");
                    }
                });
            }
            all_done.recv().expect("the last task tells");
            start.elapsed()
        })
    })
}

/// Starts tasks from outside, then awaits them in order.
fn spawn_and_join<P: FullPeer>(peer: &P, tasks: u64) -> Duration {
    let start = Instant::now();
    let tasks: Vec<_> = (0..tasks).map(|_| peer.spawn_remote(async {})).collect();
    peer.block_on(async {
        for task in tasks {
            task.await;
        }
    });
    start.elapsed()
}

fn spawn_many_remote_idle<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, MANY, || spawn_and_join(peer, MANY))
}

/// Keeps a worker busy without sleeping.
fn stall() {
    let start = Instant::now();
    while start.elapsed() < STALL {
        thread::yield_now();
    }
}

/// Background tasks that stall and yield.
fn spawn_many_remote_busy1<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, MANY, || {
        let go_on = Arc::new(AtomicBool::new(true));
        let yielders: Vec<_> = (0..YIELDERS)
            .map(|_| {
                let go_on = go_on.clone();
                peer.spawn_remote(async move {
                    while go_on.load(Relaxed) {
                        P::yield_now().await;
                        stall();
                    }
                })
            })
            .collect();
        let time = spawn_and_join(peer, MANY);
        go_on.store(false, Relaxed);
        peer.block_on(async {
            for yielder in yielders {
                yielder.await;
            }
        });
        time
    })
}

/// Background chains, each task of which stalls and starts the next.
fn spawn_many_remote_busy2<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    fn link<P: FullPeer>(go_on: Arc<AtomicBool>, ended: mpsc::Sender<()>) {
        if go_on.load(Relaxed) {
            P::spawn_detached(async move {
                stall();
                link::<P>(go_on, ended);
            });
        } else {
            ended.send(()).expect("somebody waits");
        }
    }
    in_batches(operations, MANY_BUSY, || {
        let go_on = Arc::new(AtomicBool::new(true));
        let (ended, all_ended) = mpsc::channel();
        for _ in 0..CHAINS {
            let (go_on, ended) = (go_on.clone(), ended.clone());
            drop_detached::<P>(peer, async move { link::<P>(go_on, ended) });
        }
        let time = spawn_and_join(peer, MANY_BUSY);
        go_on.store(false, Relaxed);
        for _ in 0..CHAINS {
            all_ended.recv().expect("every chain ends");
        }
        time
    })
}

/// Starts a task from outside and waits until it has run.
fn drop_detached<P: FullPeer>(peer: &P, future: impl Future<Output = ()> + Send + 'static) {
    let task = peer.spawn_remote(future);
    peer.block_on(task);
}

/// `spawn.rs`: tasks that yield once, with the entry into the runtime.
fn spawn_yield<P: FullPeer, const TASKS: usize>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, TASKS as u64, || {
        let start = Instant::now();
        peer.block_on(async {
            let tasks: [_; TASKS] = std::array::from_fn(|_| {
                P::spawn(async {
                    P::yield_now().await;
                    black_box(2)
                })
            });
            for task in tasks {
                task.await;
            }
        });
        start.elapsed()
    })
}

/// Threads of their own start tasks at the same time; only the starting counts.
fn remote_spawn<P: FullPeer, const THREADS: usize>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, REMOTE, || {
        let barrier = Barrier::new(THREADS + 1);
        let (time, tasks) = thread::scope(|scope| {
            let spawners: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let tasks =
                            (0..REMOTE / THREADS as u64).map(|_| peer.spawn_remote(async {}));
                        tasks.collect::<Vec<_>>()
                    })
                })
                .collect();
            barrier.wait();
            let start = Instant::now();
            let tasks: Vec<_> = spawners
                .into_iter()
                .flat_map(|spawner| spawner.join().expect("spawning does not panic"))
                .collect();
            (start.elapsed(), tasks)
        });
        peer.block_on(async {
            for task in tasks {
                task.await;
            }
        });
        time
    })
}

/// Tasks that each have batches of empty closures done.
fn blocking<P: FullPeer, const TASKS: u64>(peer: &P, operations: u64) -> Measured {
    in_a_task(
        peer,
        operations,
        TASKS * BLOCKING_BATCHES * BLOCKING_BATCH,
        || async {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    P::spawn(async {
                        for _ in 0..BLOCKING_BATCHES {
                            let batch: Vec<_> = (0..BLOCKING_BATCH)
                                .map(|_| P::spawn_blocking(|| ()))
                                .collect();
                            for job in batch {
                                job.await;
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
        },
    )
}

/// tokio looks at the clock when a timeout is made; the time of divisi's and smol's runs from the first poll that has to wait, which these never come to.
fn timeout_ready<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TIMEOUTS, || async {
        for _ in 0..TIMEOUTS / TIMEOUTS_A_POLL {
            for _ in 0..TIMEOUTS_A_POLL {
                let outcome = P::timeout(SECOND, future::ready(black_box(2))).await;
                assert!(outcome.is_some(), "what is ready is in time");
            }
            P::yield_now().await;
        }
    })
}

/// Sleeps that are made and dropped without a poll, as there: a look at the clock, for the time runs from the call.
fn sleep_dropped<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TIMEOUTS, || async {
        for _ in 0..TIMEOUTS / TIMEOUTS_A_POLL {
            future::poll_fn(|_| {
                for _ in 0..TIMEOUTS_A_POLL {
                    black_box(pin!(P::sleep(SECOND)));
                }
                Poll::Ready(())
            })
            .await;
            P::yield_now().await;
        }
    })
}
