//! The pool for closures that block. An operation is one closure that does nothing: what remains is the hand-over there and back.

use super::{Measured, Workload, in_a_task};
use crate::peer::FullPeer;

/// Closures started one after the other between two looks at the clock.
const SERIES: u64 = 1_000;

/// Closures started at once.
const WAVE: u64 = 1_000;

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("blocking/one_at_a_time", one_at_a_time),
        Workload::new("blocking/wave_of_1000", wave),
    ]
}

fn one_at_a_time<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, SERIES, || async {
        for _ in 0..SERIES {
            P::spawn_blocking(|| ()).await;
        }
    })
}

fn wave<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, WAVE, || async {
        let jobs: Vec<_> = (0..WAVE).map(|_| P::spawn_blocking(|| ())).collect();
        for job in jobs {
            job.await;
        }
    })
}
