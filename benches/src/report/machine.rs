//! Where and with what a measurement was made.

use std::{fmt, fs, process::Command, thread, time::Duration};

use serde::{Deserialize, Serialize};

/// Programs compared; their versions stand on the page.
const PACKAGES: [&str; 7] = [
    "tokio",
    "smol",
    "async-executor",
    "async-io",
    "rayon",
    "hyper",
    "polling",
];

/// When this part of the cores is busy before a run begins, others compute too.
const QUIET: f64 = 0.05;

/// How long the cores are watched for that.
const WATCHED: Duration = Duration::from_secs(1);

/// What the page says of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    system: String,
    compiler: String,
    revision: String,
    versions: Vec<String>,
    date: String,
    /// The part of the cores' time that others took before the run.
    busy: f64,
    fifo: bool,
    arguments: Vec<String>,
}

impl Machine {
    /// Looks around. `arguments` are those of the suite.
    pub fn look(arguments: Vec<String>) -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown processor", |rest| {
                rest.trim_start_matches([' ', '\t', ':'])
            })
            .to_owned();
        Self {
            processor,
            cores: num_cpus::get(),
            system: says(Command::new("uname").arg("-sr")),
            compiler: says(Command::new("rustc").arg("--version")),
            revision: says(Command::new("git").args(["describe", "--always", "--dirty"])),
            versions: versions(include_str!("../../../Cargo.lock")),
            date: says(Command::new("date").args(["-u", "+%F"])),
            busy: in_thousandths(busy(WATCHED)),
            fifo: fifo_is_allowed(),
            arguments,
        }
    }
}

/// So that a number read from a file is the one that was written.
fn in_thousandths(part: f64) -> f64 {
    (part * 1_000.0).round() / 1_000.0
}

/// The part of all cores' time that was used while this waited.
fn busy(time: Duration) -> f64 {
    let [used, total] = core_times();
    thread::sleep(time);
    let [used_later, total_later] = core_times();
    (used_later - used) / (total_later - total).max(1.0)
}

/// Ticks that all cores have worked so far, and all ticks.
fn core_times() -> [f64; 2] {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks = line
        .split_whitespace()
        .skip(1)
        .filter_map(|tick| tick.parse().ok());
    let ticks: Vec<f64> = ticks.collect();
    let total: f64 = ticks.iter().sum();
    // The fourth and fifth are idle time and waiting for disks.
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    [total - idle, total]
}

/// Whether the load generator may run at `SCHED_FIFO`, where the servers cannot delay it.
pub fn fifo_is_allowed() -> bool {
    let allowed = Command::new("chrt").args(["-f", "50", "true"]).output();
    allowed.is_ok_and(|output| output.status.success())
}

/// The first line that a program prints.
fn says(command: &mut Command) -> String {
    let output = command
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = output.unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        "unknown".to_owned()
    } else {
        line.to_owned()
    }
}

/// The versions of what is compared, by the lock file that this program was built with.
fn versions(lock: &str) -> Vec<String> {
    let field = |block: &str, name: &str| {
        let value = block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
        Some(value.trim_matches('"').to_owned())
    };
    let all: Vec<_> = lock
        .split("[[package]]")
        .filter_map(|block| Some((field(block, "name")?, field(block, "version")?)))
        .collect();
    let named = |name: &&str| all.iter().find(|(package, _)| package == name);
    PACKAGES
        .iter()
        .filter_map(named)
        .map(|(package, version)| format!("{package} {version}"))
        .collect()
}

/// The runs that a page is made of: one, or those by which it was continued.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs(pub Vec<Machine>);

impl Machine {
    /// Whether this run was on a later day.
    pub(super) fn is_newer_than(&self, other: &Machine) -> bool {
        // As they are written, days sort by age.
        self.date > other.date
    }

    /// With what it was measured: the same for all runs on one machine between two updates.
    fn surroundings(&self) -> String {
        format!(
            "{}, {} cores, {}, {}; divisi {}, {}",
            self.processor,
            self.cores,
            self.system,
            self.compiler,
            env!("CARGO_PKG_VERSION"),
            self.versions.join(", ")
        )
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut surroundings = String::new();
        for run in &self.0 {
            let of_this = run.surroundings();
            if of_this != surroundings {
                writeln!(f, "- {of_this}:")?;
                surroundings = of_this;
            }
            let arguments = run.arguments.join(" ");
            write!(
                f,
                "  - {}, at {}: `cargo run --release -p divisi-benches --bin suite -- {arguments}`",
                run.date, run.revision
            )?;
            if run.busy > QUIET {
                write!(
                    f,
                    " **on a machine that was not idle (others took {:.0} % of it): take no figure from this page**",
                    run.busy * 100.0
                )?;
            }
            writeln!(f)?;
        }
        match self.0.iter().all(|run| run.fifo) {
            true => writeln!(
                f,
                "- The load generator runs at `SCHED_FIFO`: it stands for a client on another machine."
            ),
            false => writeln!(
                f,
                "- The load generator runs at normal priority, as `SCHED_FIFO` is not allowed: what computes on this machine delays it too."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        hint,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"tokio\"\nversion = \"1.54.1\"\n\n[[package]]\nname = \"tokio-util\"\nversion = \"0.7.0\"\n";
        assert_eq!(versions(lock), ["tokio 1.54.1"]);
        assert_eq!(
            versions(include_str!("../../../Cargo.lock")).len(),
            PACKAGES.len()
        );
    }

    #[test]
    fn a_busy_machine_is_not_passed_over_in_silence() {
        let mut machine = Machine::look(Vec::new());
        machine.busy = 0.5;
        let runs = Runs(vec![machine.clone(), machine.clone()]);
        assert_eq!(runs.to_string().matches("not idle").count(), 2);
        machine.busy = 0.01;
        assert!(!Runs(vec![machine]).to_string().contains("not idle"));
    }

    #[test]
    fn a_core_that_spins_is_seen() {
        let ended = AtomicBool::new(false);
        let busy = thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Relaxed) {
                    hint::spin_loop();
                }
            });
            let busy = busy(Duration::from_millis(300));
            ended.store(true, Relaxed);
            busy
        });
        assert!(busy > 0.0 && busy <= 1.0, "{busy}");
    }
}
