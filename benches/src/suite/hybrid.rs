//! I/O beside CPU-bound work: a server whose process computes, under an open loop from another process.
//!
//! The rate is the same everywhere; how much of the cores the I/O takes is set by the work of a request, so that the client's own cost
//! on the machine stays the same.

use std::time::{Duration, Instant};

use super::{Extent, Work, process::Server};
use crate::{
    job::steps_a_second,
    record::{OURS, OURS_AGAIN, Row, Rule, Unit},
};

/// One scenario.
#[derive(Debug, Clone)]
pub struct Job {
    http: bool,
    /// What part of all cores the requests take, in per cent.
    io: u32,
    jobs: usize,
    /// Length of a job in microseconds on an idle core.
    length: u64,
    checkpoints: bool,
    contenders: Vec<&'static str>,
}

/// The server as it is when nothing computes: what can be hoped for.
const IDLE: &str = "divisi, no jobs";

/// Everybody.
const ALL: [&str; 12] = [
    OURS,
    OURS_AGAIN,
    "divisi (yields always)",
    "divisi inline",
    "tokio + rayon",
    "tokio + spawn_blocking",
    "tokio + block_in_place",
    "tokio inline",
    "smol",
    "asyncio + threads",
    "asyncio + processes",
    IDLE,
];

/// Those that are in question for a server that computes on purpose.
const MAIN: [&str; 4] = [OURS, OURS_AGAIN, "tokio + rayon", "tokio + spawn_blocking"];

/// With no more jobs than cores, those in tasks are interesting: one in each worker, and nothing queued.
const FEW: [&str; 5] = [
    OURS,
    OURS_AGAIN,
    "tokio + rayon",
    "divisi inline",
    "tokio inline",
];

/// Requests a second: 64 connections, each asked every 16 ms.
const RATE: f64 = 4_000.0;
const CONNECTIONS: usize = 64;

/// What a request of nothing but echo costs a server, about: the rest of the I/O load is made by work.
const BARE_REQUEST: f64 = 10e-6;

/// Part of a round that is not counted: queues fill, pools start.
const WARM_UP: Duration = Duration::from_millis(400);

/// Beyond what a round measures it starts a server and waits for last answers.
const ROUND_AT_MOST: Duration = Duration::from_secs(15);

struct Effort {
    rounds: usize,
    duration: Duration,
}

impl Effort {
    const fn of(extent: Extent) -> Self {
        match extent {
            Extent::Quick => Self {
                rounds: 3,
                duration: Duration::from_millis(1_000),
            },
            Extent::Default | Extent::Full => Self {
                rounds: 5,
                duration: Duration::from_millis(1_600),
            },
        }
    }
}

/// The scenarios: one for the quick table, a choice that takes some five minutes, or the whole matrix.
pub fn jobs(extent: Extent) -> Vec<super::Job> {
    let echo = |jobs, contenders: &[&'static str]| Job {
        http: false,
        io: 2,
        jobs,
        length: 10_000,
        checkpoints: true,
        contenders: contenders.to_vec(),
    };
    let choice = vec![
        echo(64, &ALL),
        echo(2, &FEW),
        echo(256, &MAIN),
        Job {
            checkpoints: false,
            ..echo(64, &MAIN[..3])
        },
        Job {
            io: 30,
            ..echo(64, &MAIN[..3])
        },
        Job {
            http: true,
            ..echo(64, &MAIN[..3])
        },
    ];
    let jobs = match extent {
        Extent::Quick => vec![echo(64, &MAIN)],
        Extent::Default => choice,
        Extent::Full => {
            let mut all = choice;
            for scenario in matrix() {
                if !all.iter().any(|known| {
                    known.id() == scenario.id()
                        && known.contenders.len() >= scenario.contenders.len()
                }) {
                    // The matrix has everybody where the choice has some.
                    all.retain(|known| known.id() != scenario.id());
                    all.push(scenario);
                }
            }
            all
        }
    };
    let rounds = Effort::of(extent).rounds as u32;
    jobs.into_iter()
        .map(|job| {
            let limit = ROUND_AT_MOST * rounds * job.contenders.len() as u32;
            super::Job::new(job.id(), limit, Work::Hybrid(job))
        })
        .collect()
}

/// Every combination.
fn matrix() -> Vec<Job> {
    let mut matrix = Vec::new();
    for http in [false, true] {
        for io in [2, 30, 60] {
            for jobs in [0, 2, 8, 64, 256] {
                for length in [100, 1_000, 10_000, 100_000] {
                    for checkpoints in [true, false] {
                        // Without jobs there is nothing to choose.
                        if jobs == 0 && (length != 10_000 || !checkpoints) {
                            continue;
                        }
                        // Python's servers speak no HTTP.
                        let takes_part = |name: &&str| !(http && name.starts_with("asyncio"));
                        matrix.push(Job {
                            http,
                            io,
                            jobs,
                            length,
                            checkpoints,
                            contenders: ALL.into_iter().filter(takes_part).collect(),
                        });
                    }
                }
            }
        }
    }
    matrix
}

/// Measures it.
///
/// # Errors
///
/// When a server or the load generator fails.
pub fn run(job: &Job, extent: Extent) -> Result<Vec<Row>, String> {
    let effort = Effort::of(extent);
    let workers = num_cpus::get();
    let speed = steps_a_second();
    let title = job.title();
    let row = |what: &str, unit, rule| {
        Row::new("hybrid", format!("{title}: {what}"), workers, unit, rule)
    };
    let mut percentiles = ["p50", "p90", "p99", "p99.9", "max"]
        .map(|name| row(name, Unit::Nanoseconds, Rule::Ranges));
    let mut lateness = ["p50", "p99", "p99.9"].map(|name| {
        let title = format!("{title}: {name}");
        Row::new(
            "timers under load",
            title,
            workers,
            Unit::Nanoseconds,
            Rule::Ranges,
        )
    });
    let mut computed = row("jobs a second", Unit::PerSecond, Rule::Ranges);
    let mut unanswered = row("unanswered, %", Unit::Count, Rule::Ranges);
    for round in 0..effort.rounds {
        for turn in 0..job.contenders.len() {
            let contender = job.contenders[(round + turn) % job.contenders.len()];
            let sample = job.sample(contender, speed, effort.duration)?;
            for (row, value) in percentiles.iter_mut().zip(sample.percentiles) {
                row.push(contender, value as f64);
            }
            for (row, value) in lateness.iter_mut().zip(&sample.lateness) {
                row.push(contender, *value as f64);
            }
            if job.jobs > 0 && contender != IDLE {
                computed.push(contender, sample.jobs_a_second);
            }
            unanswered.push(contender, sample.unanswered);
        }
    }
    let mut rows: Vec<_> = percentiles.into_iter().chain([computed]).collect();
    if unanswered
        .lanes
        .iter()
        .flat_map(|lane| &lane.samples)
        .any(|part| *part > 0.0)
    {
        rows.push(unanswered);
    }
    rows.extend(lateness);
    rows.retain(|row| !row.lanes.is_empty());
    Ok(rows)
}

/// One contender's round.
struct Sample {
    percentiles: [u64; 5],
    lateness: Vec<u64>,
    jobs_a_second: f64,
    unanswered: f64,
}

impl Job {
    fn id(&self) -> String {
        format!(
            "hybrid-{}-io{}-{}x{}us{}",
            if self.http { "http" } else { "echo" },
            self.io,
            self.jobs,
            self.length,
            if self.checkpoints { "+" } else { "" },
        )
    }

    fn title(&self) -> String {
        let protocol = if self.http { "HTTP" } else { "echo" };
        let length = match self.length {
            us if us < 1_000 => format!("0.{} ms", us / 100),
            us => format!("{} ms", us / 1_000),
        };
        let checkpoints = if self.checkpoints { " +" } else { "" };
        match self.jobs {
            0 => format!("{protocol}, io {} %, no jobs", self.io),
            jobs => format!(
                "{protocol}, io {} %, {jobs} x {length}{checkpoints}",
                self.io
            ),
        }
    }

    fn sample(&self, contender: &str, speed: f64, duration: Duration) -> Result<Sample, String> {
        let cores = num_cpus::get() as f64;
        let request = (f64::from(self.io) / 100.0 * cores / RATE - BARE_REQUEST).max(0.0);
        let jobs = if contender == IDLE { 0 } else { self.jobs };
        let mut arguments: Vec<String> = [
            ("--buffer", 64),
            ("--request-steps", (request * speed) as u64),
            ("--jobs", jobs as u64),
            ("--job-steps", (self.length as f64 * 1e-6 * speed) as u64),
        ]
        .iter()
        .flat_map(|(name, value)| [(*name).to_owned(), value.to_string()])
        .collect();
        arguments.push("--timers".to_owned());
        if self.http {
            arguments.push("--http".to_owned());
        }
        if self.checkpoints {
            arguments.push("--checkpoints".to_owned());
        }
        if contender.starts_with("asyncio") {
            arguments.extend(["--steps-a-second".to_owned(), speed.to_string()]);
        }
        let program = match contender {
            OURS_AGAIN | IDLE => OURS,
            other => other,
        };
        let mut server = Server::start(program, &arguments, None)?;
        let mut load = vec![
            "--connections".to_owned(),
            CONNECTIONS.to_string(),
            "--rate".to_owned(),
            (RATE as u64).to_string(),
            "--warm-up".to_owned(),
            WARM_UP.as_millis().to_string(),
        ];
        if self.http {
            load.push("--http".to_owned());
        }
        let before = server.stats()?.jobs;
        let start = Instant::now();
        let outcome = server.load(&load, duration, None)?;
        let after = server.stats()?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Sample {
            percentiles: outcome.percentiles,
            lateness: after.lateness,
            jobs_a_second: (after.jobs - before) as f64 / seconds,
            unanswered: outcome.unanswered as f64 / outcome.due.max(1) as f64 * 100.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_choice_takes_at_most_six_minutes() {
        /// Starting a server, connecting, and ending it.
        const AROUND: Duration = Duration::from_millis(300);
        let effort = Effort::of(Extent::Default);
        let runs: usize = jobs(Extent::Default)
            .iter()
            .map(|job| match &job.work {
                Work::Hybrid(job) => job.contenders.len() * effort.rounds,
                other => panic!("not of this group: {other:?}"),
            })
            .sum();
        let time = (effort.duration + WARM_UP + AROUND) * runs as u32;
        assert!(time <= Duration::from_secs(360), "{time:?}");
    }

    #[test]
    fn the_matrix_has_every_combination_once() {
        let loads = 2 * 3;
        assert_eq!(matrix().len(), loads * (1 + 4 * 4 * 2));
    }
}
