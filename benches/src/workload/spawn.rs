//! Starting tasks and awaiting them. An operation is one task.

use std::{hint::black_box, time::Duration};

use super::{Measured, Workload, in_a_task, in_batches, timed};
use crate::peer::{FullPeer, Oneshot};

/// Enough tasks at once that a queue must grow and spill over.
const WAVE: u64 = 100_000;

/// Tasks started one after the other between two looks at the clock.
const SERIES: u64 = 10_000;

/// Each task of the tree has so many children.
const SKYNET_CHILDREN: u64 = 10;

/// Leaves of the tree.
const SKYNET_LEAVES: u64 = 10_000;

/// All tasks of the tree: leaves, their parents, and so on to the root.
const SKYNET_TASKS: u64 = 11_111;

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("spawn/100k_from_a_task", wave_from_a_task),
        Workload::new("spawn/100k_from_the_root", wave_from_the_root),
        Workload::new("spawn/one_and_await_it", one_and_await_it),
        Workload::new("spawn/chained", chained),
        Workload::new("spawn/skynet", skynet),
    ]
}

async fn wave<P: FullPeer>() -> Duration {
    let mut tasks = Vec::with_capacity(WAVE as usize);
    timed(async {
        tasks.extend((0..WAVE).map(|number| P::spawn(async move { black_box(number) })));
        for task in &mut tasks {
            task.await;
        }
    })
    .await
}

fn wave_from_a_task<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, WAVE, || {
        peer.block_on(async { P::spawn(wave::<P>()).await })
    })
}

fn wave_from_the_root<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, WAVE, || peer.block_on(wave::<P>()))
}

fn one_and_await_it<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, SERIES, || async {
        for number in 0..SERIES {
            P::spawn(async move { black_box(number) }).await;
        }
    })
}

/// Each task starts the next one and ends.
fn chained<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    fn link<P: FullPeer>(left: u64, done: <P as Oneshot>::Sender<()>) {
        if left == 0 {
            P::send(done, ());
        } else {
            P::spawn_detached(async move { link::<P>(left - 1, done) });
        }
    }
    in_a_task(peer, operations, SERIES, || async {
        let (done, all_done) = P::oneshot();
        link::<P>(SERIES, done);
        all_done.await;
    })
}

/// A tree of tasks that adds up the numbers of its leaves.
fn skynet<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    fn node<P: FullPeer>(first: u64, leaves: u64) -> P::Task<u64> {
        P::spawn(async move {
            if leaves == 1 {
                return first;
            }
            let leaves_of_child = leaves / SKYNET_CHILDREN;
            let mut children: [_; SKYNET_CHILDREN as usize] = std::array::from_fn(|child| {
                node::<P>(first + child as u64 * leaves_of_child, leaves_of_child)
            });
            let mut sum = 0;
            for child in &mut children {
                sum += child.await;
            }
            sum
        })
    }
    in_a_task(peer, operations, SKYNET_TASKS, || async {
        let sum = node::<P>(0, SKYNET_LEAVES).await;
        assert_eq!(sum, (0..SKYNET_LEAVES).sum::<u64>());
    })
}
