//! Finding programs, running them, and stopping what was started.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

/// Set to `1`: a missing program fails its test.
const REQUIRE: &str = "DIVISI_REQUIRE_PEERS";
/// Where Debian puts programs that are not for everybody's path.
const BESIDE_THE_PATH: [&str; 3] = ["/usr/sbin", "/usr/local/bin", "/usr/bin"];
/// Ports may be taken between their choice and their use.
const PORTS_TO_TRY: usize = 10;

/// Says that a test is skipped for want of `what`.
pub(crate) fn missing(what: &str) {
    let required = env::var_os(REQUIRE).is_some_and(|value| value == "1");
    assert!(
        !required,
        "{what} is missing, and {REQUIRE}=1 says that it must be there"
    );
    // Past the test harness, which shows what is printed only where a test fails.
    let message = format!("SKIPPED: {what} is missing; install it to run this test\n");
    let _ = std::io::stderr().write_all(message.as_bytes());
}

/// Where `name` is, or `None` with a loud message.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        missing(name);
    }
    found
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(BESIDE_THE_PATH.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// The directory of PostgreSQL's server programs.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let debian = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let found = debian
        .chain(find("initdb").and_then(|file| file.parent().map(Path::to_owned)))
        .find(|directory| directory.join("initdb").is_file());
    if found.is_none() {
        missing("PostgreSQL");
    }
    found
}

/// A Python that has `modules`. The system's comes first: distribution packages are for that one.
pub(crate) fn python(modules: &[&str]) -> Option<PathBuf> {
    let import = format!("import {}", modules.join(", "));
    let found = [Some(PathBuf::from("/usr/bin/python3")), find("python3")]
        .into_iter()
        .flatten()
        .find(|python| {
            let result = Command::new(python)
                .args(["-c", &import])
                .stderr(Stdio::null())
                .status();
            result.is_ok_and(|status| status.success())
        });
    if found.is_none() {
        missing(&format!("Python with {}", modules.join(", ")));
    }
    found
}

/// Runs a program to its end while the runtime goes on, and demands that it succeeds.
pub(crate) async fn run<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    input: impl Into<Vec<u8>>,
) -> Output {
    let mut command = Command::new(program);
    command.args(args);
    let input = input.into();
    let shown = format!("{command:?}");
    let output = divisi::spawn_blocking(move || {
        let mut child = Peer::spawn(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let mut stdin = child.0.stdin.take().expect("piped");
        let mut stdout = child.0.stdout.take().expect("piped");
        let mut stderr = child.0.stderr.take().expect("piped");
        thread::scope(|scope| {
            // A program that reads none of it closes the pipe.
            scope.spawn(move || _ = stdin.write_all(&input));
            let errors = scope.spawn(move || read(&mut stderr));
            let out = read(&mut stdout);
            Output {
                stdout: out,
                stderr: errors.join().expect("reads on"),
                status: child.0.wait().expect("it is our child"),
            }
        })
    })
    .await
    .unwrap();
    assert!(
        output.status.success(),
        "{shown}: {}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr),
    );
    output
}

fn read(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("a pipe can be read");
    bytes
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program that runs until it is dropped, which ends it by its own process id and waits for it.
pub(crate) struct Peer(Child);

impl Peer {
    pub(crate) fn spawn(command: &mut Command) -> Peer {
        match command.spawn() {
            Ok(child) => Peer(child),
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    /// Starts a server, and waits until a line of its output (`errors`: of its standard error) has `ready` in it. Gives that line, or the output if it ended before.
    pub(crate) fn start(
        command: &mut Command,
        errors: bool,
        ready: &str,
    ) -> Result<(Peer, String), String> {
        command
            .stdin(Stdio::null())
            .stdout(if errors {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stderr(if errors {
                Stdio::piped()
            } else {
                Stdio::null()
            });
        let mut peer = Peer::spawn(command);
        let output: Box<dyn Read + Send> = if errors {
            Box::new(peer.0.stderr.take().expect("piped"))
        } else {
            Box::new(peer.0.stdout.take().expect("piped"))
        };
        let mut lines = BufReader::new(output).lines();
        let mut seen = String::new();
        for line in lines.by_ref() {
            let line = line.expect("a pipe can be read");
            if line.contains(ready) {
                // Goes on reading, so that the program never finds its pipe full.
                drop(thread::spawn(move || lines.for_each(drop)));
                return Ok((peer, line));
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        Err(seen)
    }

    pub(crate) fn wait(&mut self) {
        self.0.wait().expect("it is our child");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, signal).expect("it is our child, and has not been waited for");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Starts a server that must be told its port, by `start`.
pub(crate) fn on_a_free_port<T>(
    mut start: impl FnMut(u16) -> Result<T, String>,
) -> (T, SocketAddr) {
    let mut last = String::new();
    for _ in 0..PORTS_TO_TRY {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        match start(address.port()) {
            Ok(server) => return (server, address),
            Err(output) => last = output,
        }
    }
    panic!("the server does not start:\n{last}");
}
