//! Timers: what one costs that never fires, and how late one is that fires. An operation is one timer; the time of a firing one is its
//! lateness.

use std::{
    future::{self, Future},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use super::{Measured, Workload, in_a_task};
use crate::peer::FullPeer;

/// Timers made between two yields, so that no runtime's budget for one poll is what is measured.
const TIMERS_A_POLL: u64 = 100;

/// Timers made between two looks at the clock.
const TIMERS: u64 = 10_000;

/// Far enough away that it does not fire in a run.
const FAR: Duration = Duration::from_secs(60);

/// What the lateness is measured with: one tick of tokio's clock, and a usual interval.
const SLEEP: Duration = Duration::from_millis(1);

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("timers/timeout_armed_and_dropped", armed_and_dropped),
        Workload::new("timers/sleep_1ms_lateness", lateness),
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
