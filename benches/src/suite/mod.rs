//! The whole suite: a plan of jobs, each of which measures a row or a few and runs as a process of its own under a time limit.
//!
//! So a hang or a crash costs the job's rows only, no job meets what another left in memory, and an interrupted run goes on where it was:
//! what a job measured lies in a file (`target/bench/<extent>/<job>.json`) that the next run takes as done.

pub mod core;
pub mod hello;
pub mod hybrid;
pub mod memory;
pub mod process;
pub mod sockets;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::record::Row;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Some two minutes: few rounds, one number of workers, the main rows.
    Quick,
    /// All groups.
    Default,
    /// With the whole matrix of the hybrid group, which takes hours.
    Full,
}

impl Extent {
    /// The name of its directory of results. The full matrix adds to the default one.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Default | Self::Full => "default",
        }
    }
}

/// What one process measures.
#[derive(Debug, Clone)]
pub struct Job {
    /// Names the file of results, and is what `--only` looks at.
    pub id: String,
    /// After this time the process is killed.
    pub limit: Duration,
    /// What to do.
    pub work: Work,
}

/// The kinds of jobs.
#[derive(Debug, Clone)]
pub enum Work {
    /// A workload on every runtime in one process.
    Core(core::Job),
    /// Servers under load from another process.
    Sockets(sockets::Job),
    /// The same, with CPU-bound work beside it.
    Hybrid(hybrid::Job),
    /// Bytes of a task or connection.
    Memory(memory::Job),
    /// Building a small program.
    Hello,
}

impl Job {
    fn new(id: String, limit: Duration, work: Work) -> Self {
        // It becomes a file's name.
        let id = id.replace('/', "__");
        Self { id, limit, work }
    }

    /// Does it, in this process.
    ///
    /// # Errors
    ///
    /// What went wrong, for a person to read.
    pub fn run(&self, extent: Extent) -> Result<Vec<Row>, String> {
        match &self.work {
            Work::Core(job) => Ok(core::run(job, extent)),
            Work::Sockets(job) => sockets::run(job, extent),
            Work::Hybrid(job) => hybrid::run(job, extent),
            Work::Memory(job) => memory::run(*job),
            Work::Hello => hello::run(extent),
        }
    }
}

/// All jobs of an extent, in the order of the report.
pub fn plan(extent: Extent) -> Vec<Job> {
    let mut jobs = core::jobs(extent);
    jobs.extend(memory::jobs(extent));
    jobs.extend(sockets::jobs(extent));
    jobs.extend(hybrid::jobs(extent));
    jobs.extend(hello::jobs(extent));
    jobs
}

/// Where results lie: `target/bench` of this workspace, unless cargo was told to build elsewhere.
pub fn results(extent: Extent) -> PathBuf {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("bench").join(extent.directory())
}

/// The root of this repository.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the workspace")
}

/// Reads a file of results.
///
/// # Errors
///
/// When it is not there, or is not what was expected.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file of results in one step, so that an interrupted run leaves no half of one.
///
/// # Errors
///
/// When the disk is full, or the directory is not ours.
pub fn store<T: Serialize>(path: &Path, value: &T) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let text = serde_json::to_vec_pretty(value).expect("results can be written as JSON");
    let unfinished = path.with_extension("part");
    fs::create_dir_all(path.parent().expect("a file in a directory")).map_err(failed)?;
    fs::write(&unfinished, text).map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)
}

/// Runs a command to its end and returns what it printed; kills it after the limit.
///
/// # Errors
///
/// When it cannot be started, fails, or takes too long. What it says on standard error goes where ours does.
pub fn output(command: &mut Command, limit: Duration) -> Result<String, String> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    let mut stdout = child.stdout.take().expect("it is piped");
    let reader = thread::spawn(move || io::read_to_string(&mut stdout));
    let deadline = Instant::now() + limit;
    let status = loop {
        match child
            .try_wait()
            .map_err(|error| format!("{shown}: {error}"))?
        {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                // It may have ended by itself just now.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{shown}: not done after {limit:?}, killed"));
            }
            None => thread::sleep(POLL),
        }
    };
    let text = reader.join().expect("reading does not panic");
    match status.success() {
        true => text.map_err(|error| format!("{shown}: {error}")),
        false => Err(format!("{shown}: {status}")),
    }
}

/// How often [`output`] looks whether the command has ended: seldom enough to cost a measurement nothing.
const POLL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn jobs_have_names_of_their_own_that_are_file_names() {
        for extent in [Extent::Quick, Extent::Default, Extent::Full] {
            let jobs = plan(extent);
            let ids: BTreeSet<_> = jobs.iter().map(|job| job.id.as_str()).collect();
            assert_eq!(ids.len(), jobs.len());
            assert!(ids.iter().all(|id| !id.contains(['/', ' '])), "{ids:?}");
        }
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed() {
        let error = output(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("killed"), "{error}");
    }

    #[test]
    fn a_command_that_fails_says_so() {
        let error = output(&mut Command::new("false"), Duration::from_secs(30)).unwrap_err();
        assert!(error.contains("exit status: 1"), "{error}");
        assert!(
            output(
                Command::new("no-such-program").arg("x"),
                Duration::from_secs(30)
            )
            .is_err()
        );
    }
}
