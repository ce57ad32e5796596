//! What is measured. One module a theme; each lists its workloads.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::peer::FullPeer;

pub mod blocking;
pub mod echo;
pub mod ping_pong;
pub mod spawn;
pub mod sync;
pub mod tasks;
pub mod timers;
pub mod tokio_set;
pub mod yielding;

/// One thing to measure on one runtime.
#[derive(Debug)]
pub struct Workload<P> {
    /// `theme/name`.
    pub name: &'static str,
    /// Does at least so many operations and tells how long so many took.
    pub run: fn(&P, u64) -> Measured,
}

/// What came out of a run.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// The time of the operations asked for, in nanoseconds; as a part of a batch it need not be a whole number.
    pub nanoseconds: f64,
    /// The time of each single one, where it is the spread that matters; empty elsewhere.
    pub each: Vec<Duration>,
}

impl<P> Workload<P> {
    const fn new(name: &'static str, run: fn(&P, u64) -> Measured) -> Self {
        Self { name, run }
    }
}

impl Measured {
    /// Of the time that `done` operations took, the share of those asked for.
    fn share(total: Duration, operations: u64, done: u64) -> Self {
        Self {
            nanoseconds: total.as_nanos() as f64 * operations as f64 / done as f64,
            each: Vec::new(),
        }
    }
}

/// A theme's workloads: what a bench target runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// [`spawn`]
    Spawn,
    /// [`yielding`]
    Yield,
    /// [`ping_pong`]
    PingPong,
    /// [`timers`]
    Timers,
    /// [`sync`]
    Sync,
    /// [`echo`]
    Echo,
    /// [`blocking`]
    Blocking,
    /// [`tasks`]
    Tasks,
    /// [`tokio_set`]
    TokioSet,
}

impl Theme {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::Spawn,
        Self::Yield,
        Self::PingPong,
        Self::Timers,
        Self::Sync,
        Self::Echo,
        Self::Blocking,
        Self::Tasks,
        Self::TokioSet,
    ];

    /// Its name, which its workloads' names begin with.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Yield => "yield",
            Self::PingPong => "ping_pong",
            Self::Timers => "timers",
            Self::Sync => "sync",
            Self::Echo => "echo",
            Self::Blocking => "blocking",
            Self::Tasks => "tasks",
            Self::TokioSet => "tokio_set",
        }
    }

    /// Its workloads for one runtime: the same names in the same order for each.
    pub fn workloads<P: FullPeer>(self) -> Vec<Workload<P>> {
        match self {
            Self::Spawn => spawn::workloads(),
            Self::Yield => yielding::workloads(),
            Self::PingPong => ping_pong::workloads(),
            Self::Timers => timers::workloads(),
            Self::Sync => sync::workloads(),
            Self::Echo => echo::workloads(),
            Self::Blocking => blocking::workloads(),
            Self::Tasks => tasks::workloads(),
            Self::TokioSet => tokio_set::workloads(),
        }
    }
}

/// Runs whole batches until they hold enough operations, and returns the time that `operations` of them took.
///
/// `run` measures one batch, so that what surrounds it (starting the root future, making room for handles) is not counted.
fn in_batches(operations: u64, batch: u64, mut run: impl FnMut() -> Duration) -> Measured {
    let batches = operations.div_ceil(batch).max(1);
    let total: Duration = (0..batches).map(|_| run()).sum();
    Measured::share(total, operations, batches * batch)
}

/// [`in_batches`] for work that is timed in a task of its own, where it is at home: not in the root future, which is no task for most
/// runtimes.
fn in_a_task<P, F>(peer: &P, operations: u64, batch: u64, work: fn() -> F) -> Measured
where
    P: FullPeer,
    F: Future<Output = ()> + Send + 'static,
{
    in_batches(operations, batch, || {
        peer.block_on(async move { P::spawn(timed(work())).await })
    })
}

/// How long a future takes.
async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}
