//! Tasks that wake each other. An operation is one pair of tasks that meet: two spawns and four wakes.

use super::{Measured, Workload, in_a_task};
use crate::peer::FullPeer;

/// Pairs started at once.
const PAIRS: u64 = 1_000;

/// Messages that two standing tasks exchange between two looks at the clock.
const ROUNDS: u64 = 10_000;

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("ping_pong/1000_pairs", pairs),
        Workload::new("ping_pong/one_pair_at_a_time", one_pair_at_a_time),
    ]
}

/// Starts a partner, sends it a value and waits for the answer.
async fn meet<P: FullPeer>() {
    let (ping, ping_receiver) = P::oneshot::<()>();
    let (pong, pong_receiver) = P::oneshot::<()>();
    P::spawn_detached(async move {
        ping_receiver.await;
        P::send(pong, ());
    });
    P::send(ping, ());
    pong_receiver.await;
}

fn pairs<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, PAIRS, || async {
        let tasks: Vec<_> = (0..PAIRS).map(|_| P::spawn(meet::<P>())).collect();
        for task in tasks {
            task.await;
        }
    })
}

fn one_pair_at_a_time<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, ROUNDS, || async {
        for _ in 0..ROUNDS {
            P::spawn(meet::<P>()).await;
        }
    })
}
