//! Servers under load from another process: how much they can do, what a request costs them, and how long it takes.

use std::{
    collections::HashMap,
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Extent, Work,
    process::{Server, Usage},
};
use crate::{
    record::{OURS, OURS_AGAIN, Row, Rule, Unit},
    verdict::{self, WIDEST_BAND},
};

/// One kind of load.
#[derive(Debug, Clone)]
pub struct Job {
    group: &'static str,
    name: String,
    workers: usize,
    http: bool,
    connections: usize,
    idle: usize,
    bytes: usize,
    one_worker: bool,
}

/// Runtimes and bounds that serve echo.
const ECHO: [&str; 8] = [
    OURS,
    OURS_AGAIN,
    "tokio",
    "smol",
    "limit: epoll, 1 thread",
    "limit: epoll, partitioned",
    "limit: divisi, pinned",
    "limit: tokio, pinned",
];

/// Those that serve HTTP or whose threads can be told apart.
const RUNTIMES: [&str; 4] = [OURS, OURS_AGAIN, "tokio", "smol"];

/// The open loop's rate, as a part of what the slowest runtime did in the closed one: busy, but far from its end.
const PART: f64 = 0.5;

/// Part of a sample's length that is not counted.
const WARM_UP: Duration = Duration::from_millis(150);

struct Effort {
    rounds: usize,
    /// Times that many rounds, at most, until the band is narrow enough.
    batches: usize,
    /// Rounds of the open loop.
    open_rounds: usize,
    /// Rounds of counting system calls.
    counts: usize,
    closed: Duration,
    open: Duration,
}

impl Effort {
    const fn of(extent: Extent) -> Self {
        match extent {
            Extent::Quick => Self {
                rounds: 3,
                batches: 1,
                open_rounds: 3,
                counts: 1,
                closed: Duration::from_millis(300),
                open: Duration::from_millis(300),
            },
            Extent::Default | Extent::Full => Self {
                // The machine's noise is of seconds: what is measured close together has the same, so many short rounds tell more than few long ones.
                rounds: 15,
                batches: 5,
                open_rounds: 7,
                counts: 3,
                closed: Duration::from_millis(250),
                open: Duration::from_millis(1_000),
            },
        }
    }
}

/// The jobs of both groups.
pub fn jobs(extent: Extent) -> Vec<super::Job> {
    let cores = num_cpus::get();
    let echo = |workers, connections, bytes| Job {
        group: "sockets",
        name: format!("{connections} x {bytes} B"),
        workers,
        http: false,
        connections,
        idle: 0,
        bytes,
        one_worker: false,
    };
    let http = |workers| Job {
        group: "http",
        name: "hello, 64 connections".to_owned(),
        http: true,
        ..echo(workers, 64, 64)
    };
    let jobs = match extent {
        Extent::Quick => vec![echo(cores, 64, 64), http(cores)],
        Extent::Default | Extent::Full => {
            let mut jobs = Vec::new();
            for bytes in [64, 4_096, 65_536] {
                jobs.extend([1, 64, 512].map(|connections| echo(cores, connections, bytes)));
            }
            jobs.push(Job {
                name: "32 x 64 B, all on one worker".to_owned(),
                one_worker: true,
                ..echo(cores, 32, 64)
            });
            jobs.push(Job {
                name: "1 x 64 B beside 10000 idle".to_owned(),
                idle: 10_000,
                ..echo(cores, 1, 64)
            });
            jobs.push(http(cores));
            // One worker, and the client on another core: nothing is in its way.
            jobs.extend([1, 64, 512].map(|connections| echo(1, connections, 64)));
            jobs.push(http(1));
            if cores != 4 {
                jobs.push(echo(4, 64, 64));
            }
            jobs
        }
    };
    let limit = match extent {
        Extent::Quick => Duration::from_secs(60),
        // With 10,000 connections to be made in each round, and all rounds.
        Extent::Default | Extent::Full => Duration::from_secs(1_800),
    };
    jobs.into_iter()
        .map(|job| {
            let id = format!(
                "{}-w{}-{}",
                job.group,
                job.workers,
                job.name.replace([' ', ','], "_")
            );
            super::Job::new(id, limit, Work::Sockets(job))
        })
        .collect()
}

/// One contender's round.
struct Sample {
    requests: f64,
    usage: Usage,
    parks: Option<f64>,
}

/// Measures it.
///
/// # Errors
///
/// When a server or the load generator fails.
pub fn run(job: &Job, extent: Extent) -> Result<Vec<Row>, String> {
    let effort = Effort::of(extent);
    let contenders = match job.http || job.one_worker || job.idle > 0 || extent == Extent::Quick {
        true => &RUNTIMES[..],
        false => &ECHO[..],
    };
    let mut rows = Rows::new(job);

    // How much each can do, and what that costs it.
    let mut slowest: HashMap<&str, f64> = HashMap::new();
    for round in 0..effort.rounds * effort.batches {
        if round > 0 && round % effort.rounds == 0 && rows.narrow() {
            break;
        }
        // What is no runtime takes no part in the verdicts, nor in their repetition.
        let contenders = if round < effort.rounds {
            contenders
        } else {
            &RUNTIMES
        };
        for turn in 0..contenders.len() {
            let contender = contenders[(round + turn) % contenders.len()];
            let sample = job.closed(contender, effort.closed)?;
            let seconds = effort.closed.as_secs_f64();
            rows.push("requests", contender, sample.requests / seconds);
            // Accepting thousands of connections would be most of what is counted.
            if job.idle == 0 {
                rows.push("cpu", contender, sample.usage.cpu / sample.requests);
                rows.push("waits", contender, sample.usage.voluntary / sample.requests);
                rows.push(
                    "preempted",
                    contender,
                    sample.usage.involuntary / sample.requests,
                );
                if let Some(parks) = sample.parks {
                    rows.push("parks", contender, parks);
                }
            }
            let least = slowest.entry(contender).or_insert(f64::INFINITY);
            *least = least.min(sample.requests / seconds);
        }
    }
    // The same rate for all.
    let rate = RUNTIMES
        .iter()
        .filter_map(|runtime| slowest.get(runtime))
        .fold(f64::INFINITY, |a, b| a.min(*b))
        * PART;
    for round in 0..effort.open_rounds {
        for turn in 0..contenders.len() {
            let contender = contenders[(round + turn) % contenders.len()];
            let percentiles = job.open(contender, rate, effort.open)?;
            for (name, value) in ["p50", "p99", "p99.9"].iter().zip(percentiles) {
                rows.push(name, contender, value);
            }
        }
    }
    rows.note("p50", &format!("open loop at {rate:.0} requests a second"));
    for _ in 0..effort.counts {
        for contender in contenders {
            if job.idle > 0 {
                continue;
            }
            if let Some(calls) = job.system_calls(contender) {
                rows.push("calls", contender, calls);
            }
        }
    }
    Ok(rows.finish())
}

/// The rows of a job under short names.
struct Rows(Vec<(&'static str, Row)>);

impl Rows {
    fn new(job: &Job) -> Self {
        let kinds = [
            ("requests", "requests/s", Unit::PerSecond, Rule::Band),
            ("cpu", "CPU time a request", Unit::Nanoseconds, Rule::Band),
            ("p50", "p50", Unit::Nanoseconds, Rule::Ranges),
            ("p99", "p99", Unit::Nanoseconds, Rule::Ranges),
            ("p99.9", "p99.9", Unit::Nanoseconds, Rule::Ranges),
            ("calls", "system calls a request", Unit::Count, Rule::Ranges),
            ("waits", "waits a request", Unit::Count, Rule::Ranges),
            (
                "preempted",
                "preemptions a request",
                Unit::Count,
                Rule::Ranges,
            ),
            (
                "parks",
                "parks that ended for nothing, of 1",
                Unit::Count,
                Rule::Ranges,
            ),
        ];
        Self(
            kinds
                .into_iter()
                .map(|(key, kind, unit, rule)| {
                    (
                        key,
                        Row::new(
                            job.group,
                            format!("{}: {kind}", job.name),
                            job.workers,
                            unit,
                            rule,
                        ),
                    )
                })
                .collect(),
        )
    }

    fn row(&mut self, key: &str) -> &mut Row {
        let (_, row) = self
            .0
            .iter_mut()
            .find(|(known, _)| *known == key)
            .expect("a known row");
        row
    }

    fn push(&mut self, key: &str, contender: &str, value: f64) {
        self.row(key).push(contender, value);
    }

    /// Whether what is measured by its band has been measured.
    fn narrow(&self) -> bool {
        let rows = self.0.iter().map(|(_, row)| row);
        rows.filter(|row| row.rule == Rule::Band && !row.lanes.is_empty())
            .all(|row| verdict::band(row).is_some_and(|band| band <= WIDEST_BAND))
    }

    fn note(&mut self, key: &str, note: &str) {
        self.row(key).note = note.to_owned();
    }

    fn finish(self) -> Vec<Row> {
        let rows = self.0.into_iter().map(|(_, row)| row);
        rows.filter(|row| !row.lanes.is_empty()).collect()
    }
}

impl Job {
    fn start(&self, contender: &str) -> Result<Server, String> {
        let contender = if contender == OURS_AGAIN {
            OURS
        } else {
            contender
        };
        let mut arguments = vec![
            "--workers".to_owned(),
            self.workers.to_string(),
            "--buffer".to_owned(),
            self.bytes.to_string(),
        ];
        if self.http {
            arguments.push("--http".to_owned());
        }
        if self.one_worker {
            arguments.push("--tag".to_owned());
        }
        Server::start(contender, &arguments, self.server_core())
    }

    /// Server and client on cores of their own where one worker leaves a core for the client.
    fn server_core(&self) -> Option<usize> {
        (self.workers == 1 && num_cpus::get() > 1).then_some(0)
    }

    fn client_core(&self) -> Option<usize> {
        self.server_core().map(|core| core + 1)
    }

    fn load_arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "--connections".to_owned(),
            self.connections.to_string(),
            "--idle".to_owned(),
            self.idle.to_string(),
            "--warm-up".to_owned(),
            WARM_UP.as_millis().to_string(),
        ];
        if self.http {
            arguments.push("--http".to_owned());
        } else {
            arguments.extend(["--bytes".to_owned(), self.bytes.to_string()]);
        }
        if self.one_worker {
            arguments.push("--one-worker".to_owned());
        }
        arguments
    }

    /// A closed loop. Usage counts from the server's start, so the warm-up's requests belong to it too.
    fn closed(&self, contender: &str, duration: Duration) -> Result<Sample, String> {
        let mut server = self.start(contender)?;
        let before = server.usage();
        let parked = server.stats()?.parks;
        let outcome = server.load(&self.load_arguments(), duration, self.client_core())?;
        let usage = server.usage().since(before);
        let parks = server.stats()?.parks.zip(parked).map(
            |([parks, futile], [parks_before, futile_before])| {
                (futile - futile_before) as f64 / ((parks - parks_before) as f64).max(1.0)
            },
        );
        let requests = outcome.answered as f64;
        // The part of the usage that belongs to the counted requests.
        let counted = duration.as_secs_f64() / (duration + WARM_UP).as_secs_f64();
        Ok(Sample {
            requests: requests.max(1.0),
            usage: Usage {
                cpu: usage.cpu * counted,
                voluntary: usage.voluntary * counted,
                involuntary: usage.involuntary * counted,
            },
            parks,
        })
    }

    /// An open loop: p50, p99 and p99.9 in nanoseconds.
    fn open(&self, contender: &str, rate: f64, duration: Duration) -> Result<[f64; 3], String> {
        let server = self.start(contender)?;
        let mut arguments = self.load_arguments();
        arguments.extend(["--rate".to_owned(), (rate as u64).max(1).to_string()]);
        let outcome = server.load(&arguments, duration, self.client_core())?;
        let [p50, _, p99, p999, _] = outcome.percentiles;
        Ok([p50, p99, p999].map(|value| value as f64))
    }

    /// System calls a request by perf's count of the kernel's own trace point; `None` where that is not allowed.
    fn system_calls(&self, contender: &str) -> Option<f64> {
        const COUNTED: Duration = Duration::from_millis(500);
        let server = self.start(contender).ok()?;
        // Runs longer than the load: what is counted before and after it is nothing, for the server is idle then.
        let seconds = (COUNTED + WARM_UP + Duration::from_secs(1)).as_secs_f64();
        let mut perf = Command::new("perf")
            .args([
                "stat",
                "-x",
                ",",
                "-e",
                "raw_syscalls:sys_enter",
                "-p",
                &server.id().to_string(),
            ])
            .args(["sleep", &seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut report = perf.stderr.take()?;
        // Until perf has attached itself.
        std::thread::sleep(Duration::from_millis(200));
        let outcome = server.load(&self.load_arguments(), COUNTED, self.client_core());
        let mut text = String::new();
        report.read_to_string(&mut text).ok()?;
        perf.wait().ok()?;
        let calls: f64 = text
            .lines()
            .find_map(|line| line.split(',').next()?.parse().ok())?;
        let counted = COUNTED.as_secs_f64() / (COUNTED + WARM_UP).as_secs_f64();
        Some(calls * counted / outcome.ok()?.answered as f64)
    }
}
