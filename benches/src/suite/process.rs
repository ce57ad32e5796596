//! Servers and load generators as processes, and what the kernel says of them.

use std::{
    fs, io,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{output, workspace};
use crate::{load::Outcome, report::machine::fifo_is_allowed, server::Stats};

/// How long a server may take to start or to answer: long, for it may be starving.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the load generator's process may take beyond the time of its plan: connecting, and waiting for the last answers.
const LOAD_PATIENCE: Duration = Duration::from_secs(30);

/// Python's servers, by the names of their contenders.
const PYTHON: [(&str, &str); 2] = [
    ("asyncio + threads", "threads"),
    ("asyncio + processes", "processes"),
];

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Its end is the server's; `None` while it is ended.
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    port: u16,
}

/// CPU time, context switches and the like of a process so far, all its threads together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Time on a core, in nanoseconds.
    pub cpu: f64,
    /// Times that a thread gave its core away by waiting.
    pub voluntary: f64,
    /// Times that one was taken from it.
    pub involuntary: f64,
}

impl Usage {
    /// What has been used since then.
    pub fn since(self, then: Self) -> Self {
        Self {
            cpu: self.cpu - then.cpu,
            voluntary: self.voluntary - then.voluntary,
            involuntary: self.involuntary - then.involuntary,
        }
    }
}

/// A program that was built with this one.
pub fn sibling(name: &str) -> Result<PathBuf, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let path = program.with_file_name(name);
    match path.exists() {
        true => Ok(path),
        false => Err(format!(
            "{} is missing: `cargo build --release -p divisi-benches` makes it",
            path.display()
        )),
    }
}

/// A command, kept on one core if so wished.
fn on_core(program: PathBuf, core: Option<usize>) -> Command {
    match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    }
}

impl Server {
    /// Starts a contender and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(
        contender: &str,
        arguments: &[String],
        core: Option<usize>,
    ) -> Result<Self, String> {
        let python = PYTHON.iter().find(|(name, _)| *name == contender);
        let mut command = match python {
            Some((_, pool)) => {
                let mut command = on_core("python3".into(), core);
                command
                    .arg(workspace().join("benches/asyncio/server.py"))
                    .arg(pool);
                command
            }
            None => {
                let mut command = on_core(sibling("bench-server")?, core);
                command.arg(contender);
                command
            }
        };
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{contender}: {error}"))?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        // Ends with the server.
        thread::spawn(move || {
            for line in stdout.lines().map_while(io::Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            child,
            stdin: Some(stdin),
            lines,
            port: 0,
        };
        let line = server.line()?;
        let port = line
            .strip_prefix("listening ")
            .and_then(|port| port.parse().ok());
        server.port =
            port.ok_or_else(|| format!("{contender} said {line:?} instead of its port"))?;
        Ok(server)
    }

    fn line(&self) -> Result<String, String> {
        let line = self.lines.recv_timeout(PATIENCE);
        line.map_err(|_| format!("the server said nothing for {PATIENCE:?}, or has ended"))
    }

    /// The server's own counters.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn stats(&mut self) -> Result<Stats, String> {
        let stdin = self.stdin.as_mut().expect("it is taken by drop alone");
        writeln!(stdin, "stats").map_err(|error| format!("the server has ended: {error}"))?;
        let line = self.line()?;
        serde_json::from_str(&line).map_err(|error| format!("{line:?}: {error}"))
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What its threads have used; those that have ended are not counted.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        let threads = fs::read_dir(format!("/proc/{}/task", self.id()));
        for thread in threads.into_iter().flatten().flatten() {
            // A thread may end between the list and the look.
            let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let run = read("schedstat")
                .split(' ')
                .next()
                .and_then(|run| run.parse::<f64>().ok());
            usage.cpu += run.unwrap_or(0.0);
            let status = read("status");
            usage.voluntary += field(&status, "voluntary_ctxt_switches:");
            usage.involuntary += field(&status, "nonvoluntary_ctxt_switches:");
        }
        usage
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> f64 {
        const KIB: f64 = 1_024.0;
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        field(&status, "VmRSS:") * KIB
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// [`load`] on it.
    ///
    /// # Errors
    ///
    /// When a connection fails.
    pub fn load(
        &self,
        arguments: &[String],
        duration: Duration,
        core: Option<usize>,
    ) -> Result<Outcome, String> {
        load(self.port, arguments, duration, core)
    }
}

/// Lets a load generator loose on a port. `arguments` are the generator's, but for the duration.
///
/// # Errors
///
/// When a connection fails.
pub fn load(
    port: u16,
    arguments: &[String],
    duration: Duration,
    core: Option<usize>,
) -> Result<Outcome, String> {
    let mut command = on_core(sibling("bench-load")?, core);
    if fifo_is_allowed() {
        let plain = command;
        command = Command::new("chrt");
        command
            .args(["-f", "50"])
            .arg(plain.get_program())
            .args(plain.get_args());
    }
    command.arg(format!("127.0.0.1:{port}")).args(arguments);
    command
        .arg("--duration")
        .arg(duration.as_millis().to_string());
    let text = output(&mut command, duration + LOAD_PATIENCE)?;
    serde_json::from_str(&text).map_err(|error| format!("{text:?}: {error}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: Python's has processes of its own to end.
        drop(self.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(1);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        // It has most likely ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number behind a word at the beginning of a line.
pub(super) fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status =
            "VmRSS:\t  5120 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(field(status, "voluntary_ctxt_switches:"), 7.0);
        assert_eq!(field(status, "VmRSS:"), 5120.0);
        assert_eq!(field(status, "VmSwap:"), 0.0);
    }
}
