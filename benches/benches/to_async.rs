//! Criterion's own way into a runtime, `Bencher::to_async`: what one entry with a task, a timer or nothing inside costs.

#![allow(missing_docs)]

use std::{future::Future, hint::black_box, time::Duration};

use criterion::{Criterion, async_executor::AsyncExecutor, criterion_group, criterion_main};
use divisi_benches::{
    harness::workers,
    peer::{Peer, Time},
    peers::{Divisi, Tokio},
};

const SECOND: Duration = Duration::from_secs(1);

fn entries(criterion: &mut Criterion) {
    let divisi = divisi::Runtime::builder()
        .worker_threads(workers())
        .build()
        .expect("the runtime starts");
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .expect("the runtime starts");
    runs::<Divisi, _>(criterion, &divisi);
    runs::<Tokio, _>(criterion, &tokio);
}

fn runs<P: Time, E: AsyncExecutor + Copy>(criterion: &mut Criterion, executor: E) {
    run::<P, _, _, _>(criterion, executor, "nothing", || async {});
    run::<P, _, _, _>(criterion, executor, "one_task", || {
        P::spawn(async { black_box(2) })
    });
    run::<P, _, _, _>(criterion, executor, "timeout", || {
        P::timeout(SECOND, async { black_box(2) })
    });
}

fn run<P: Peer, E, F, T>(criterion: &mut Criterion, executor: E, name: &str, work: impl Fn() -> F)
where
    E: AsyncExecutor + Copy,
    F: Future<Output = T>,
{
    criterion
        .benchmark_group(format!("to_async/{name}"))
        .bench_function(P::NAME, |bencher| bencher.to_async(executor).iter(&work));
}

criterion_group!(benches, entries);
criterion_main!(benches);
