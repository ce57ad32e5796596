//! Where and with what a measurement was made.

use std::{fmt, fs, process::Command};

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

/// A load average above this when a run begins means that others compute too.
const QUIET: f64 = 0.5;

/// What the page says of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    system: String,
    compiler: String,
    revision: String,
    versions: Vec<String>,
    date: String,
    load: f64,
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
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            processor,
            cores: num_cpus::get(),
            system: says(Command::new("uname").arg("-sr")),
            compiler: says(Command::new("rustc").arg("--version")),
            revision: says(Command::new("git").args(["describe", "--always", "--dirty"])),
            versions: versions(include_str!("../../../Cargo.lock")),
            date: says(Command::new("date").args(["-u", "+%F"])),
            load: load
                .split(' ')
                .next()
                .and_then(|first| first.parse().ok())
                .unwrap_or(0.0),
            fifo: fifo_is_allowed(),
            arguments,
        }
    }
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

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "- {}, {} cores, {}, {}",
            self.processor, self.cores, self.system, self.compiler
        )?;
        writeln!(
            f,
            "- divisi {} ({}), {}",
            env!("CARGO_PKG_VERSION"),
            self.revision,
            self.versions.join(", ")
        )?;
        let arguments = self.arguments.join(" ");
        writeln!(
            f,
            "- {}, `cargo run --release -p divisi-benches --bin suite -- {arguments}`",
            self.date
        )?;
        match self.fifo {
            true => writeln!(
                f,
                "- The load generator runs at `SCHED_FIFO`: it stands for a client on another machine."
            )?,
            false => writeln!(
                f,
                "- The load generator runs at normal priority, as `SCHED_FIFO` is not allowed: what computes on this machine delays it too."
            )?,
        }
        if self.load > QUIET {
            writeln!(
                f,
                "\n**The machine was not idle when this began (load average {:.2}): take no figure from this page.**",
                self.load
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        machine.load = 2.0;
        assert!(machine.to_string().contains("not idle"));
        machine.load = 0.1;
        assert!(!machine.to_string().contains("not idle"));
    }
}
