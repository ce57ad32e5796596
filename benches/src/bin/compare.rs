//! The quick table: workloads on all runtimes, interleaved, with the ratio of each runtime's median to that of the first.
//!
//! ```text
//! cargo run --release -p divisi-benches --bin compare -- [OPTIONS] [FILTER..]
//!     --list            print the names of the workloads and exit
//!     --rounds N        measure each runtime N times (default 15)
//!     --sample MS       aim at samples of MS milliseconds (default 50)
//! ```
//!
//! A filter is a part of a workload's name (`spawn/`, `echo/64`); without one, all run. Each round measures every runtime once, beginning
//! with another one than the round before, so that a disturbance of the machine meets all of them alike. For TCP echo there is one more row,
//! `epoll`: the same work by hand, the connections split between the threads.

#![forbid(unsafe_code)]

use std::{env, process::ExitCode, rc::Rc, time::Duration};

use divisi_benches::{
    for_each_peer,
    harness::{percentiles, workers},
    interleave::{self, Turn},
    peer::FullPeer,
    sample::{Nanoseconds, Sorted},
    workload::{Measured, Theme},
};

const DEFAULT_ROUNDS: usize = 15;
const DEFAULT_SAMPLE: Duration = Duration::from_millis(50);

struct Options {
    list: bool,
    rounds: usize,
    sample: Duration,
    filters: Vec<String>,
}

/// One runtime's workload.
struct Lane {
    peer: &'static str,
    name: &'static str,
    run: Rc<dyn Fn(u64) -> Measured>,
}

fn main() -> ExitCode {
    let options = match parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let mut lanes = Vec::new();
    for_each_peer!(add_lanes(&mut lanes, &options));
    if lanes.is_empty() {
        eprintln!(
            "no workload's name contains {:?}: --list shows them",
            options.filters
        );
        return ExitCode::FAILURE;
    }

    let names = names(&lanes);
    if options.list {
        names.iter().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    #[cfg(target_os = "linux")]
    add_floor(&mut lanes);

    println!(
        "{} workers, {} interleaved rounds, samples of about {} ms; time per operation, ratio to the first runtime's median",
        workers(),
        options.rounds,
        options.sample.as_millis()
    );
    println!(
        "{:<34} {:<7} {:>9} {:>9} {:>9} {:>6}",
        "workload", "runtime", "median", "min", "max", "ratio"
    );
    for name in names {
        let lanes: Vec<_> = lanes.iter().filter(|lane| lane.name == name).collect();
        compare(name, &lanes, &options);
    }
    ExitCode::SUCCESS
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        list: false,
        rounds: DEFAULT_ROUNDS,
        sample: DEFAULT_SAMPLE,
        filters: Vec::new(),
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut number = || match arguments.next().map(|text| text.parse()) {
            Some(Ok(number)) if number > 0 => Ok(number),
            _ => Err(format!("{argument} needs a number above zero")),
        };
        match argument.as_str() {
            "--list" => options.list = true,
            "--rounds" => options.rounds = number()?,
            "--sample" => options.sample = Duration::from_millis(number()? as u64),
            option if option.starts_with('-') => {
                return Err(format!(
                    "unknown option {option}: there are --list, --rounds N and --sample MS"
                ));
            }
            filter => options.filters.push(filter.to_owned()),
        }
    }
    Ok(options)
}

/// Adds what the filters choose for one runtime, which is started here and stays for all its workloads.
fn add_lanes<P: FullPeer>(lanes: &mut Vec<Lane>, options: &Options) {
    let peer = Rc::new(P::start(workers()));
    let workloads = Theme::ALL.into_iter().flat_map(Theme::workloads::<P>);
    let chosen = workloads.filter(|workload| {
        options.filters.is_empty()
            || options
                .filters
                .iter()
                .any(|filter| workload.name.contains(filter))
    });
    lanes.extend(chosen.map(|workload| {
        let peer = peer.clone();
        Lane {
            peer: P::NAME,
            name: workload.name,
            run: Rc::new(move |operations| (workload.run)(&peer, operations)),
        }
    }));
}

/// Adds what the kernel alone needs, where that has been written down.
#[cfg(target_os = "linux")]
fn add_floor(lanes: &mut Vec<Lane>) {
    let connections = [
        ("echo/1_connection", 1),
        ("echo/8_connections", 8),
        ("echo/64_connections", 64),
    ];
    for (name, connections) in connections {
        if lanes.iter().any(|lane| lane.name == name) {
            let run = Rc::new(move |operations| {
                divisi_benches::floor::echo(connections, workers(), operations)
            });
            lanes.push(Lane {
                peer: "epoll",
                name,
                run,
            });
        }
    }
}

/// The workloads' names in the order in which the first runtime lists them.
fn names(lanes: &[Lane]) -> Vec<&'static str> {
    lanes
        .iter()
        .filter(|lane| lane.peer == lanes[0].peer)
        .map(|lane| lane.name)
        .collect()
}

fn compare(name: &str, lanes: &[&Lane], options: &Options) {
    let turn = |lane: &&Lane| {
        let run = lane.run.clone();
        Turn::new(lane.peer, move |operations| run(operations))
    };
    let mut turns: Vec<_> = lanes.iter().map(turn).collect();
    turns
        .iter_mut()
        .for_each(|turn| turn.calibrate(options.sample));
    interleave::rounds(&mut turns, options.rounds);

    let sorted = turns
        .iter()
        .map(|turn| Sorted::new(turn.samples.iter().copied()));
    let sorted: Vec<_> = sorted.collect();
    let first = sorted[0].median();
    for (turn, sorted) in turns.iter().zip(&sorted) {
        let [median, min, max] = [sorted.median(), sorted.min(), sorted.max()].map(Nanoseconds);
        let ratio = sorted.median() / first;
        println!(
            "{name:<34} {:<7} {median:>9} {min:>9} {max:>9} {ratio:>6.2}",
            turn.contender
        );
        if !turn.each.is_empty() {
            println!("{:<34} {:<7} {}", "", "", percentiles(&turn.each));
        }
    }
}
