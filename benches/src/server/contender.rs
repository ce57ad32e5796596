//! Who takes part: runtimes, and for each the ways in which its users do CPU-bound work.

use std::{future::Future, io};

use divisi::compute::{self, ComputeYield};

use super::{Options, raw, serve_on, serve_pinned};
use crate::{
    job::Job,
    peer::{Blocking, FullPeer, Http, Peer},
    peers::{Divisi, Smol, Tokio},
};

/// A runtime together with a way to compute.
pub trait Contender: 'static {
    /// The runtime.
    type Peer: FullPeer + Http;

    /// What a long job may call to give way, where there is something.
    const CHECKPOINT: Option<fn()> = None;

    /// Starts the runtime.
    fn start(workers: usize) -> Self::Peer {
        Self::Peer::start(workers)
    }

    /// Has a job done and waits for it.
    fn job(job: Job) -> impl Future<Output = ()> + Send;

    /// Times that a worker went to sleep, and those after which it found nothing.
    fn parks(_: &Self::Peer) -> Option<[u64; 2]> {
        None
    }
}

/// All names that [`run`](super::run) knows, with what each is.
pub const NAMES: [(&str, &str); 14] = [
    ("divisi", "`offload`, default settings"),
    (
        "divisi (yields always)",
        "`offload`, compute threads that give way at every checkpoint: for clients on the same machine",
    ),
    (
        "divisi inline",
        "the job in a task, as where somebody forgot; spare workers stand in",
    ),
    ("tokio", "no jobs; with jobs, the same as tokio + rayon"),
    (
        "tokio + rayon",
        "`rayon::spawn` and a oneshot: tokio's documentation, \"CPU-bound tasks and blocking code\"",
    ),
    ("tokio + spawn_blocking", "`tokio::task::spawn_blocking`"),
    (
        "tokio + block_in_place",
        "`tokio::task::block_in_place` in a task",
    ),
    ("tokio inline", "the job in a task"),
    (
        "smol",
        "`smol::unblock`, the crate `blocking`, as smol's documentation has it",
    ),
    ("smol inline", "the job in a task"),
    ("limit: epoll, 1 thread", "by hand, one thread"),
    (
        "limit: epoll, partitioned",
        "by hand, a pinned thread a worker, connections dealt out",
    ),
    (
        "limit: divisi, pinned",
        "a pinned runtime of one worker for each core, connections dealt out",
    ),
    ("limit: tokio, pinned", "the same with tokio"),
];

pub(super) fn serve(name: &str, options: &Options) -> io::Result<()> {
    match name {
        "divisi" => serve_on::<Offload>(options),
        "divisi (yields always)" => serve_on::<OffloadYields>(options),
        "divisi inline" => serve_on::<Inline<Divisi>>(options),
        "tokio" | "tokio + rayon" => serve_on::<Rayon>(options),
        "tokio + spawn_blocking" => serve_on::<Pool<Tokio>>(options),
        "tokio + block_in_place" => serve_on::<InPlace>(options),
        "tokio inline" => serve_on::<Inline<Tokio>>(options),
        "smol" => serve_on::<Pool<Smol>>(options),
        "smol inline" => serve_on::<Inline<Smol>>(options),
        "limit: epoll, 1 thread" => raw::serve(1, options),
        "limit: epoll, partitioned" => raw::serve(options.workers, options),
        "limit: divisi, pinned" => serve_pinned::<Divisi>(options),
        "limit: tokio, pinned" => serve_pinned::<Tokio>(options),
        _ => Err(io::Error::other(format!("there is no contender {name:?}"))),
    }
}

struct Offload;

impl Contender for Offload {
    type Peer = Divisi;

    const CHECKPOINT: Option<fn()> = Some(compute::checkpoint);

    async fn job(job: Job) {
        let done = divisi::offload(move || job.run()).await;
        done.expect("the job does not panic");
    }

    fn parks(peer: &Divisi) -> Option<[u64; 2]> {
        let metrics = peer.runtime().metrics();
        Some([
            metrics.sum(|worker| worker.parks),
            metrics.sum(|worker| worker.futile_wakeups),
        ])
    }
}

struct OffloadYields;

impl Contender for OffloadYields {
    type Peer = Divisi;

    const CHECKPOINT: Option<fn()> = Some(compute::checkpoint);

    fn start(workers: usize) -> Divisi {
        Divisi::of(
            divisi::Runtime::builder()
                .worker_threads(workers)
                .compute_yield(ComputeYield::Always),
        )
    }

    fn job(job: Job) -> impl Future<Output = ()> + Send {
        Offload::job(job)
    }
}

/// Jobs in tasks. They yield in between: otherwise nothing else would ever run.
struct Inline<P>(P);

impl<P: FullPeer + Http> Contender for Inline<P> {
    type Peer = P;

    async fn job(job: Job) {
        std::hint::black_box(job.run());
        P::yield_now().await;
    }
}

/// Jobs in the pool for closures that block.
struct Pool<P>(P);

impl<P: FullPeer + Http> Contender for Pool<P> {
    type Peer = P;

    async fn job(job: Job) {
        <P as Blocking>::spawn_blocking(move || job.run()).await;
    }
}

struct Rayon;

impl Contender for Rayon {
    type Peer = Tokio;

    async fn job(job: Job) {
        let (done, result) = tokio::sync::oneshot::channel();
        rayon::spawn(move || {
            done.send(job.run()).expect("the task waits");
        });
        result.await.expect("the job does not panic");
    }
}

struct InPlace;

impl Contender for InPlace {
    type Peer = Tokio;

    async fn job(job: Job) {
        std::hint::black_box(tokio::task::block_in_place(|| job.run()));
        tokio::task::yield_now().await;
    }
}
