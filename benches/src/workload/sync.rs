//! Locks, channels and limits: each runtime with its own, or what its documentation recommends. An operation is one lock, permit, message or pass; of a
//! broadcast, one message that one receiver hears.
//!
//! flume's channel needs no runtime of its own, so it runs on each, as a row besides.

use std::{future::Future, hint::black_box, sync::Arc};

use super::{Measured, Workload, in_a_task};
use crate::peer::FullPeer;

/// Tasks that want the same lock, and permits for them.
const TASKS: u64 = 32;
const PERMITS: usize = 8;

/// What each of them does.
const ROUNDS: u64 = 500;

/// What one task alone does between two looks at the clock.
const SERIES: u64 = 10_000;

/// Senders of a channel, what each sends, and how much fits.
const SENDERS: u64 = 8;
const MESSAGES: u64 = 1_000;
const CAPACITY: usize = 128;

/// Receivers of a watched value or a broadcast, and how much is told between two looks at the clock.
const RECEIVERS: u64 = 8;
const TOLD: u64 = 1_000;

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("sync/mutex_alone", mutex_alone),
        Workload::new("sync/mutex_32_tasks", mutex_contended),
        Workload::new("sync/semaphore_alone", semaphore_alone),
        Workload::new("sync/semaphore_32_tasks", semaphore_contended),
        Workload::new("sync/oneshot", oneshot),
        Workload::new("sync/mpsc_1_sender", mpsc::<P, 1>),
        Workload::new("sync/mpsc_8_senders", mpsc::<P, SENDERS>),
        Workload::new("sync/mpsc_8_senders_of_flume", flume),
        Workload::new("sync/watch_8_receivers", watch),
        Workload::new("sync/broadcast_8_receivers", broadcast),
        Workload::new("sync/limiter_alone", limiter_alone),
        Workload::new("sync/limiter_2_tasks", limiter_shared),
    ]
}

/// Starts that many tasks and waits for all of them.
async fn in_tasks<P: FullPeer, F>(tasks: u64, mut work: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks: Vec<_> = (0..tasks).map(|_| P::spawn(work())).collect();
    for task in tasks {
        task.await;
    }
}

fn mutex_alone<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, SERIES, || async {
        let mutex = P::mutex();
        for _ in 0..SERIES {
            P::count(&mutex).await;
        }
    })
}

fn mutex_contended<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TASKS * ROUNDS, || async {
        let mutex = Arc::new(P::mutex());
        in_tasks::<P, _>(TASKS, || {
            let mutex = mutex.clone();
            async move {
                for _ in 0..ROUNDS {
                    P::count(&mutex).await;
                }
            }
        })
        .await;
    })
}

fn semaphore_alone<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, SERIES, || async {
        let semaphore = P::semaphore(PERMITS);
        for _ in 0..SERIES {
            P::with_permit(&semaphore, async {}).await;
        }
    })
}

/// Each holds its permit while others run, so most of them wait.
fn semaphore_contended<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TASKS * ROUNDS, || async {
        let semaphore = Arc::new(P::semaphore(PERMITS));
        in_tasks::<P, _>(TASKS, || {
            let semaphore = semaphore.clone();
            async move {
                for _ in 0..ROUNDS {
                    P::with_permit(&semaphore, P::yield_now()).await;
                }
            }
        })
        .await;
    })
}

fn oneshot<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, SERIES, || async {
        for number in 0..SERIES {
            let (sender, receiver) = P::oneshot();
            P::send(sender, number);
            black_box(receiver.await);
        }
    })
}

fn mpsc<P: FullPeer, const TASKS: u64>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TASKS * MESSAGES, || async {
        let (sender, mut receiver) = P::mpsc(CAPACITY);
        for _ in 0..TASKS {
            let sender = sender.clone();
            P::spawn_detached(async move {
                for number in 0..MESSAGES {
                    P::send_to(&sender, number).await;
                }
            });
        }
        drop(sender);
        let mut received = 0;
        while P::receive(&mut receiver).await.is_some() {
            received += 1;
        }
        assert_eq!(received, TASKS * MESSAGES);
    })
}

fn flume<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, SENDERS * MESSAGES, || async {
        let (sender, receiver) = flume::bounded(CAPACITY);
        for _ in 0..SENDERS {
            let sender = sender.clone();
            P::spawn_detached(async move {
                for number in 0..MESSAGES {
                    sender
                        .send_async(number)
                        .await
                        .expect("the receiver is there");
                }
            });
        }
        drop(sender);
        let mut received = 0;
        while receiver.recv_async().await.is_ok() {
            received += 1;
        }
        assert_eq!(received, SENDERS * MESSAGES);
    })
}

/// All receivers see the last value; how many of the others is the runtime's affair.
fn watch<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TOLD, || async {
        let (sender, receiver) = P::watch();
        let receivers: Vec<_> = (0..RECEIVERS)
            .map(|_| {
                let mut receiver = receiver.clone();
                P::spawn(async move { while P::changed(&mut receiver).await < TOLD {} })
            })
            .collect();
        for number in 1..=TOLD {
            P::set(&sender, number);
            P::yield_now().await;
        }
        for receiver in receivers {
            receiver.await;
        }
    })
}

fn broadcast<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, TOLD * RECEIVERS, || async {
        let (sender, receivers) = P::broadcast(TOLD as usize, RECEIVERS as usize);
        let receivers: Vec<_> = receivers
            .into_iter()
            .map(|mut receiver| {
                P::spawn(async move { while P::hear(&mut receiver).await < TOLD {} })
            })
            .collect();
        for number in 1..=TOLD {
            P::tell(&sender, number);
        }
        for receiver in receivers {
            receiver.await;
        }
    })
}

/// Passes that are not refused: a look at the clock (not the same one for all: see `peers/sync.rs`) and a change of one word.
fn limiter_alone<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, SERIES, || async {
        let limiter = P::limiter();
        for _ in 0..SERIES {
            assert!(P::pass(&limiter), "the rate is out of reach");
        }
    })
}

fn limiter_shared<P: FullPeer>(peer: &P, operations: u64) -> Measured {
    in_a_task(peer, operations, 2 * SERIES, || async {
        let limiter = Arc::new(P::limiter());
        in_tasks::<P, _>(2, || {
            let limiter = limiter.clone();
            async move {
                for _ in 0..SERIES {
                    assert!(P::pass(&limiter), "the rate is out of reach");
                }
            }
        })
        .await;
    })
}
