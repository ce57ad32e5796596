//! What few measure: many tasks cancelled, a runtime's start and end, the end of one that is full of tasks.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{Measured, Workload, in_batches};
use crate::peer::FullPeer;

/// Tasks that sleep when they are cancelled or their runtime ends.
const SLEEPERS: u64 = 100_000;

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("tasks/cancel_100k", cancel),
        Workload::new("tasks/start_a_runtime", start),
        Workload::new("tasks/drop_a_runtime", end),
        Workload::new("tasks/shut_down_with_100k", shut_down),
    ]
}

/// Starts tasks that never end, and waits until each has been polled.
async fn sleepers<P: FullPeer, T>(mut spawn: impl FnMut(Arc<AtomicU64>) -> T) -> Vec<T> {
    let asleep = Arc::new(AtomicU64::new(0));
    let tasks = (0..SLEEPERS).map(|_| spawn(asleep.clone())).collect();
    while asleep.load(Relaxed) < SLEEPERS {
        P::yield_now().await;
    }
    tasks
}

/// A task that says that it has been polled, and then waits for ever.
async fn sleeper(asleep: Arc<AtomicU64>) {
    asleep.fetch_add(1, Relaxed);
    future::pending().await
}

/// An operation is one sleeping task, asked to end and waited for.
fn cancel<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, SLEEPERS, || {
        peer.block_on(async {
            P::spawn(async {
                let tasks = sleepers::<P, _>(|asleep| P::spawn(sleeper(asleep))).await;
                let start = Instant::now();
                P::cancel_all(tasks).await;
                start.elapsed()
            })
            .await
        })
    })
}

/// How many workers a runtime gets that lives for a moment only.
fn workers() -> usize {
    crate::harness::workers()
}

fn lives<P: FullPeer>(operations: u64, part: fn((Duration, Duration)) -> Duration) -> Measured {
    in_batches(operations, 1, || part(P::live_once(workers(), async {})))
}

/// An operation is one runtime, from nothing to the first poll of its first task.
fn start<P: FullPeer>(_: &P, operations: u64) -> Measured {
    lives::<P>(operations, |(start, _)| start)
}

/// An operation is one runtime dropped, its threads joined.
fn end<P: FullPeer>(_: &P, operations: u64) -> Measured {
    lives::<P>(operations, |(_, end)| end)
}

/// An operation is one sleeping task that the end of its runtime drops.
fn shut_down<P: FullPeer>(_: &P, operations: u64) -> Measured {
    in_batches(operations, SLEEPERS, || {
        let (_, end) = P::live_once(workers(), async {
            sleepers::<P, _>(|asleep| P::spawn_in_life(sleeper(asleep))).await;
        });
        end
    })
}
