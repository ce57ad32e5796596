//! Giving way. An operation is one `yield_now`.

use super::{Measured, Workload, in_a_task};
use crate::peer::FullPeer;

/// Tasks that yield to each other; so many fit into every runtime's local queue.
const TASKS: u64 = 200;

/// Yields of each of them.
const YIELDS: u64 = 1_000;

/// Yields of a task that is alone.
const YIELDS_ALONE: u64 = 10_000;

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("yield/200_tasks", many),
        Workload::new("yield/one_task", one),
    ]
}

async fn yields<P: FullPeer>(count: u64) {
    for _ in 0..count {
        P::yield_now().await;
    }
}

fn many<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TASKS * YIELDS, || async {
        let tasks: Vec<_> = (0..TASKS).map(|_| P::spawn(yields::<P>(YIELDS))).collect();
        for task in tasks {
            task.await;
        }
    })
}

fn one<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, YIELDS_ALONE, || yields::<P>(YIELDS_ALONE))
}
