//! The workloads of this package on every runtime, in one process: divisi twice, so that the noise is known.

use std::{rc::Rc, time::Duration};

use super::{Extent, Work};
use crate::{
    harness::percentiles,
    interleave::{self, Turn},
    peer::{FullPeer, Peer},
    peers::{Divisi, Smol, Tokio},
    record::{OURS, OURS_AGAIN, Row, Rule, Unit},
    sample::Sorted,
    verdict::{self, WIDEST_BAND},
    workload::Theme,
};

/// One workload with a number of workers.
#[derive(Debug, Clone)]
pub struct Job {
    theme: Theme,
    name: &'static str,
    workers: usize,
}

/// How long one sample is, how many rounds make a batch, and how many batches are tried until the band is narrow enough.
struct Effort {
    sample: Duration,
    rounds: usize,
    batches: usize,
}

impl Effort {
    const fn of(extent: Extent) -> Self {
        match extent {
            Extent::Quick => Self {
                sample: Duration::from_millis(20),
                rounds: 15,
                batches: 1,
            },
            Extent::Default | Extent::Full => Self {
                // Short, so that the two of a pair meet the same mood of the machine; and many, so that its moods even out.
                sample: Duration::from_millis(20),
                rounds: 25,
                batches: 12,
            },
        }
    }
}

/// Workloads whose single operations are told apart, and by which percentiles they are shown.
const PERCENTILES: [(f64, &str); 2] = [(0.5, "p50"), (0.99, "p99")];

/// A job a workload and number of workers: 1, 2 and 4, or one per core for the quick table.
pub fn jobs(extent: Extent) -> Vec<super::Job> {
    let cores = num_cpus::get();
    let workers = match extent {
        Extent::Quick => vec![cores],
        Extent::Default | Extent::Full => vec![1, 2, 4],
    };
    let limit = match extent {
        Extent::Quick => Duration::from_secs(30),
        Extent::Default | Extent::Full => Duration::from_secs(180),
    };
    let mut jobs = Vec::new();
    for workers in workers {
        for theme in Theme::ALL {
            for workload in theme.workloads::<Divisi>() {
                let name = workload.name;
                let job = Job {
                    theme,
                    name,
                    workers,
                };
                jobs.push(super::Job::new(
                    format!("core-w{workers}-{name}"),
                    limit,
                    Work::Core(job),
                ));
            }
        }
    }
    jobs
}

impl Job {
    /// The number of workers of every runtime.
    pub const fn workers(&self) -> usize {
        self.workers
    }
}

/// Measures it. `DIVISI_BENCH_WORKERS` must hold the number of workers.
pub fn run(job: &Job, extent: Extent) -> Vec<Row> {
    let effort = Effort::of(extent);
    let mut turns = vec![
        turn::<Divisi>(job, OURS),
        turn::<Divisi>(job, OURS_AGAIN),
        turn::<Tokio>(job, Tokio::NAME),
        turn::<Smol>(job, Smol::NAME),
    ];
    turns
        .iter_mut()
        .for_each(|turn| turn.calibrate(effort.sample));
    // The same work for both of ours: otherwise the band would hold a difference that was ordered.
    turns[1].operations = turns[0].operations;
    let mut row = Row::new(
        job.theme.name(),
        job.name,
        job.workers,
        Unit::Nanoseconds,
        Rule::Band,
    );
    for _ in 0..effort.batches {
        interleave::rounds(&mut turns, effort.rounds);
        row.lanes.clear();
        for turn in &turns {
            turn.samples
                .iter()
                .for_each(|sample| row.push(&turn.contender, *sample));
        }
        if verdict::band(&row).is_some_and(|band| band <= WIDEST_BAND) {
            break;
        }
    }
    let mut rows = vec![row];
    if turns.iter().all(|turn| !turn.each.is_empty()) {
        for (lane, turn) in rows[0].lanes.iter_mut().zip(&turns) {
            lane.detail = percentiles(&turn.each);
        }
        rows.extend(PERCENTILES.map(|(share, name)| percentile_row(job, &turns, share, name)));
    }
    rows
}

fn turn<P: FullPeer>(job: &Job, contender: &str) -> Turn {
    let workload = job
        .theme
        .workloads::<P>()
        .into_iter()
        .find(|workload| workload.name == job.name)
        .expect("all runtimes run the same workloads");
    let peer = Rc::new(P::start(job.workers));
    Turn::new(contender, move |operations| {
        (workload.run)(&peer, operations)
    })
}

/// A percentile of the single operations, one sample a round.
fn percentile_row(job: &Job, turns: &[Turn], share: f64, name: &str) -> Row {
    let title = format!("{} {name}", job.name);
    let mut row = Row::new(
        job.theme.name(),
        title,
        job.workers,
        Unit::Nanoseconds,
        Rule::Ranges,
    );
    for turn in turns {
        let a_round = turn.each.len().div_ceil(turn.samples.len());
        for round in turn.each.chunks(a_round) {
            let sorted = Sorted::new(round.iter().map(|time| time.as_nanos() as f64));
            row.push(&turn.contender, sorted.quantile(share));
        }
    }
    row
}
