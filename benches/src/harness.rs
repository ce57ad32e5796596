//! How the workloads meet criterion and the machine.

use std::{env, time::Duration};

use criterion::Criterion;

use crate::{
    for_each_peer,
    peer::FullPeer,
    sample::{Nanoseconds, Sorted},
    workload::Theme,
};

/// How many workers each runtime gets: `DIVISI_BENCH_WORKERS`, or one per core.
///
/// # Panics
///
/// When the variable holds something else than a number above zero.
pub fn workers() -> usize {
    match env::var("DIVISI_BENCH_WORKERS") {
        Ok(text) => match text.parse() {
            Ok(workers) if workers > 0 => workers,
            _ => panic!("DIVISI_BENCH_WORKERS={text}: give a number above zero"),
        },
        Err(_) => num_cpus::get(),
    }
}

/// Runs a theme's workloads under criterion: a group each, with a function for every runtime.
pub fn bench(criterion: &mut Criterion, theme: Theme) {
    let names: Vec<_> = theme
        .workloads::<crate::peers::Divisi>()
        .iter()
        .map(|workload| workload.name)
        .collect();
    for name in names {
        for_each_peer!(bench_peer(criterion, theme, name));
    }
}

fn bench_peer<P: FullPeer>(criterion: &mut Criterion, theme: Theme, name: &str) {
    let workloads = theme.workloads::<P>();
    let workload = workloads
        .iter()
        .find(|workload| workload.name == name)
        .expect("all runtimes run the same workloads");
    // Started by the first sample, so that what the filter leaves out costs nothing.
    let mut peer = None;
    let mut each = Vec::new();
    criterion
        .benchmark_group(name)
        .bench_function(P::NAME, |bencher| {
            let peer = peer.get_or_insert_with(|| P::start(workers()));
            bencher.iter_custom(|operations| {
                let measured = (workload.run)(peer, operations);
                each.extend(measured.each);
                Duration::from_nanos(measured.nanoseconds as u64)
            });
        });
    if !each.is_empty() {
        println!("{name}/{}: {}\n", P::NAME, percentiles(&each));
    }
}

/// What is worth knowing of the single operations' times.
///
/// # Panics
///
/// When there are none.
pub fn percentiles(each: &[Duration]) -> String {
    let sorted = Sorted::new(each.iter().map(|time| time.as_nanos() as f64));
    let [p50, p90, p99, p999] =
        [0.5, 0.9, 0.99, 0.999].map(|share| Nanoseconds(sorted.quantile(share)));
    let max = Nanoseconds(sorted.max());
    format!(
        "p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max} of {} samples",
        each.len()
    )
}

/// The `main` of a bench target that runs one theme.
#[macro_export]
macro_rules! bench_theme {
    ($theme:ident) => {
        fn theme(criterion: &mut criterion::Criterion) {
            $crate::harness::bench(criterion, $crate::workload::Theme::$theme);
        }

        criterion::criterion_group! {
            name = benches;
            config = criterion::Criterion::default().sample_size(30);
            targets = theme
        }
        criterion::criterion_main!(benches);
    };
}
