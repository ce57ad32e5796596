//! Timers: what one costs that never fires, and how late one is that fires. An operation is one timer; the time of a firing one is its
//! lateness.

use std::{
    future::{self, Future},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use super::{Measured, Workload, in_a_task, in_batches};
use crate::peer::FullPeer;

/// Timers made between two yields, so that no runtime's budget for one poll is what is measured.
const TIMERS_A_POLL: u64 = 100;

/// Timers made between two looks at the clock.
const TIMERS: u64 = 10_000;

/// Far enough away that it does not fire in a run.
const FAR: Duration = Duration::from_secs(60);

/// What the lateness is measured with: one tick of tokio's clock, and a usual interval.
const SLEEP: Duration = Duration::from_millis(1);

/// Timers that are due at the same moment.
const BURST: u64 = 10_000;

/// Long enough for every runtime to have armed all of them.
const BURST_DELAY: Duration = Duration::from_millis(60);

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("timers/timeout_armed_and_dropped", armed_and_dropped),
        Workload::new("timers/sleep_1ms_lateness", lateness),
        Workload::new("timers/10k_fire_at_once", fire_at_once),
    ]
}

fn armed_and_dropped<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TIMERS, || async {
        for _ in 0..TIMERS / TIMERS_A_POLL {
            future::poll_fn(|cx| {
                for _ in 0..TIMERS_A_POLL {
                    let timeout = pin!(P::timeout(FAR, future::pending::<()>()));
                    assert!(timeout.poll(cx).is_pending(), "a minute has not passed");
                }
                Poll::Ready(())
            })
            .await;
            P::yield_now().await;
        }
    })
}

/// How late each `sleep(1 ms)` is, one after the other in one task.
fn lateness<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    let each = peer.block_on(async move {
        P::spawn(async move {
            let mut lateness = Vec::with_capacity(operations as usize);
            for _ in 0..operations {
                let due = Instant::now() + SLEEP;
                P::sleep(SLEEP).await;
                lateness.push(due.elapsed());
            }
            lateness
        })
        .await
    });
    let total: Duration = each.iter().sum();
    Measured {
        nanoseconds: total.as_nanos() as f64,
        each,
    }
}

/// Timers of as many tasks fire together. An operation is one of them: the time from their moment until the last task has gone on, shared out.
fn fire_at_once<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_batches(operations, BURST, || {
        peer.block_on(async {
            P::spawn(async {
                let due = Instant::now() + BURST_DELAY;
                let sleeper = |_| {
                    P::spawn(async move {
                        P::sleep(due.saturating_duration_since(Instant::now())).await;
                    })
                };
                let sleepers: Vec<_> = (0..BURST).map(sleeper).collect();
                for sleeper in sleepers {
                    sleeper.await;
                }
                due.elapsed()
            })
            .await
        })
    })
}
