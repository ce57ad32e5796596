//! How much a sleeping task takes, and an idle connection.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use super::{
    Extent, Work, output,
    process::{Server, load},
};
use crate::{
    peer::{Peer, Time},
    peers::{Divisi, Smol, Tokio},
    record::{OURS, Row, Rule, Unit},
};

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Job {
    /// A task that sleeps.
    Task,
    /// A connection of an echo server that says nothing.
    Connection,
}

const CONTENDERS: [&str; 3] = [OURS, "tokio", "smol"];

const TASKS: u64 = 100_000;
/// As many as the usual limit on descriptors lets both sides have.
const CONNECTIONS: u64 = 10_000;

/// Longer than any probe.
const SLEEP: Duration = Duration::from_secs(600);

const LIMIT: Duration = Duration::from_secs(120);

/// The jobs: all of them in every extent.
pub fn jobs(_: Extent) -> Vec<super::Job> {
    [
        ("memory-task", Job::Task),
        ("memory-connection", Job::Connection),
    ]
    .map(|(id, job)| super::Job::new(id.to_owned(), LIMIT, Work::Memory(job)))
    .into()
}

/// Measures it.
///
/// # Errors
///
/// When a process fails.
pub fn run(job: Job) -> Result<Vec<Row>, String> {
    let (name, rounds) = match job {
        Job::Task => ("a sleeping task, of 100000", 3),
        Job::Connection => ("an idle connection, of 10000", 1),
    };
    let mut row = Row::new("memory", name, 0, Unit::Bytes, Rule::Ranges);
    for _ in 0..rounds {
        for contender in CONTENDERS {
            let bytes = match job {
                Job::Task => task(contender)?,
                Job::Connection => connection(contender)?,
            };
            row.push(contender, bytes);
        }
    }
    row.note = "resident memory, the allocator's and the kernel's rounding included".to_owned();
    Ok(vec![row])
}

/// In a process of its own, so that no other runtime's memory is reused.
fn task(contender: &str) -> Result<f64, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let text = output(
        Command::new(program).args(["probe", "--only", contender]),
        LIMIT,
    )?;
    text.trim()
        .parse()
        .map_err(|error| format!("{text:?}: {error}"))
}

/// Bytes of a sleeping task of that runtime; to be called in a fresh process.
///
/// # Errors
///
/// When there is no such runtime.
pub fn probe(contender: &str) -> Result<f64, String> {
    match contender {
        "divisi" => Ok(sleepers::<Divisi>()),
        "tokio" => Ok(sleepers::<Tokio>()),
        "smol" => Ok(sleepers::<Smol>()),
        other => Err(format!("there is no runtime {other}")),
    }
}

fn sleepers<P: Time>() -> f64 {
    let peer = P::start(1);
    peer.block_on(async {
        P::spawn(async {
            let asleep = Arc::new(AtomicU64::new(0));
            spawn_sleepers::<P>(&asleep, 1).await;
            let before = resident();
            spawn_sleepers::<P>(&asleep, TASKS).await;
            (resident() - before) / TASKS as f64
        })
        .await
    })
}

/// Starts them and waits until each has been polled.
async fn spawn_sleepers<P: Time>(asleep: &Arc<AtomicU64>, count: u64) {
    asleep.store(0, Relaxed);
    for _ in 0..count {
        let asleep = asleep.clone();
        P::spawn_detached(async move {
            asleep.fetch_add(1, Relaxed);
            // What is counted once must not stay part of the task.
            drop(asleep);
            P::sleep(SLEEP).await;
        });
    }
    while asleep.load(Relaxed) < count {
        <P as Peer>::yield_now().await;
    }
}

/// Resident memory of this process in bytes.
fn resident() -> f64 {
    const KIB: f64 = 1_024.0;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    super::process::field(&status, "VmRSS:") * KIB
}

fn connection(contender: &str) -> Result<f64, String> {
    let server = Server::start(contender, &["--workers".to_owned(), "2".to_owned()], None)?;
    let (before, port) = (server.resident(), server.port());
    let arguments = [
        "--idle",
        &CONNECTIONS.to_string(),
        "--connections",
        "1",
        "--rate",
        "10",
    ]
    .map(str::to_owned);
    let most = thread::scope(|scope| {
        let loading = scope.spawn(|| load(port, &arguments, Duration::from_secs(1), None));
        let mut most = before;
        while !loading.is_finished() {
            most = most.max(server.resident());
            thread::sleep(Duration::from_millis(50));
        }
        loading.join().expect("it does not panic").map(|_| most)
    })?;
    Ok((most - before) / CONNECTIONS as f64)
}
