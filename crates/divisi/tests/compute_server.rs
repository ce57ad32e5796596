//! The example `compute_server`, as a process of its own, spoken to over sockets.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use walkdir::WalkDir;

/// Far longer than anything here takes: who waits this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(5);

// ---- the process -----------------------------------------------------------------------------

/// The program, built.
///
/// `cargo test` builds the examples along with the tests, but `cargo test --test compute_server`
/// does not; then this does.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        // TARGET_DIR[/TRIPLE]/PROFILE/deps/compute_server-HASH
        let profile_dir = test.ancestors().nth(2).expect("cargo's layout");
        let program = profile_dir.join("examples").join("compute_server");
        let built = fs::metadata(&program).and_then(|metadata| metadata.modified());
        if !built.is_ok_and(|built| built >= newest_source()) {
            build(profile_dir);
        }
        program
    })
}

/// When a source of this crate, or of its neighbours in the workspace, was last changed.
fn newest_source() -> SystemTime {
    let this_crate = Path::new(env!("CARGO_MANIFEST_DIR"));
    let neighbours = fs::read_dir(this_crate.join(".."))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("divisi-"))
        .map(|entry| entry.path().join("src"));
    [this_crate.join("src"), this_crate.join("examples")]
        .into_iter()
        .chain(neighbours)
        .flat_map(|directory| WalkDir::new(directory).into_iter().flatten())
        .filter(|entry| entry.path().extension().is_some_and(|it| it == "rs"))
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max()
        .expect("there are sources")
}

fn build(profile_dir: &Path) {
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("{} is not a profile's directory", profile_dir.display()),
    };
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "build",
        "--package",
        "divisi",
        "--example",
        "compute_server",
    ]);
    command.args(["--profile", profile]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Only the top of the target directory has cargo's notes about the compiler in it.
    let mut target_dir = profile_dir.parent().expect("cargo's layout");
    if !target_dir.join(".rustc_info.json").exists() {
        command
            .arg("--target")
            .arg(target_dir.file_name().expect("a triple"));
        target_dir = target_dir.parent().expect("cargo's layout");
    }
    command.arg("--target-dir").arg(target_dir);
    if cfg!(feature = "portable") {
        command.args(["--features", "portable"]);
    }
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "the example does not build: {status}");
}

/// A server that is killed at the end of the test, whatever becomes of that.
struct Server {
    child: Child,
    address: SocketAddr,
    stdout: BufReader<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Server {
    fn start(directory: &Path, options: &[&str]) -> Server {
        Server::launch(Command::new(program()), directory, options)
    }

    /// With no more than `descriptors` open files.
    fn start_with_few_descriptors(directory: &Path, descriptors: u32) -> Server {
        let mut shell = Command::new("sh");
        // `exec`, so that the server has the process id of the child.
        shell
            .arg("-c")
            .arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""))
            .arg(program());
        Server::launch(shell, directory, &[])
    }

    fn launch(mut command: Command, directory: &Path, options: &[&str]) -> Server {
        let mut child = command
            .args(options)
            .args(["--listen", "127.0.0.1:0"])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C for the test run is none for the server.
            .process_group(0)
            .spawn()
            .expect("the example can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let stderr = child.stderr.take();
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it prints text");
        let address = line
            .trim_end()
            .rsplit_once("http://")
            .and_then(|(_, address)| address.parse().ok());
        let mut server = Server {
            child,
            address: ([0, 0, 0, 0], 0).into(),
            stdout,
            stderr,
        };
        match address {
            Some(address) => server.address = address,
            None => {
                let (status, stderr) = server.wait();
                panic!("it printed no address but {line:?} and ended with {status}:\n{stderr}");
            }
        }
        server
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server accepts");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit can be set");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a time limit can be set");
        stream
    }

    /// One request on a connection of its own; `path` is sent as it is.
    fn request(&self, method: &str, path: &str) -> Answer {
        let mut stream = self.connect();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        )
        .expect("the server reads");
        Answer::read(stream)
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path)
    }

    /// Requests of `/sha256/endless` that go on until the connections are dropped.
    fn order_endless(&self, number: usize) -> Vec<TcpStream> {
        let order = |_| {
            let mut stream = self.connect();
            stream
                .write_all(b"GET /sha256/endless HTTP/1.1\r\nhost: test\r\n\r\n")
                .expect("the server reads");
            stream
        };
        (0..number).map(order).collect()
    }

    /// Keeps all cores computing until the connections are dropped.
    fn fill_cores(&self) -> Vec<TcpStream> {
        let cores = cores();
        let orders = self.order_endless(cores);
        self.wait_for("work for all cores", |metrics| {
            metrics["divisi_compute_running"] >= cores as f64
        });
        orders
    }

    /// The values of `/metrics`, by name with labels.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let page = self.get("/metrics");
        assert_eq!(page.status, 200);
        let samples = page
            .text()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (name, value) = line
                    .rsplit_once(' ')
                    .expect("a sample has a name and a value");
                (name.to_owned(), value.parse().expect("a value is a number"))
            });
        samples.collect()
    }

    /// Looks at `/metrics` until `condition` holds.
    fn wait_for(&self, what: &str, condition: impl Fn(&BTreeMap<String, f64>) -> bool) {
        let begin = Instant::now();
        loop {
            let metrics = self.metrics();
            if condition(&metrics) {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{what} did not come: {metrics:#?}"
            );
            thread::sleep(LOOK);
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the child is ours to signal");
    }

    /// Waits for the end; gives the exit status and what was printed to standard error.
    fn wait(&mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "the server does not end");
            thread::sleep(LOOK);
        };
        let mut printed = String::new();
        let mut stderr = self.stderr.take().expect("the end is waited for once");
        stderr.read_to_string(&mut printed).expect("it prints text");
        (status, printed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn read(stream: TcpStream) -> Answer {
        let mut stream = BufReader::new(stream);
        let (status, headers) = read_head(&mut stream);
        let mut body = Vec::new();
        stream
            .read_to_end(&mut body)
            .expect("the connection ends in order");
        Answer {
            status,
            headers,
            body,
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value)
    }
}

fn read_head(stream: &mut impl BufRead) -> (u16, BTreeMap<String, String>) {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("the server answers");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let status = lines
        .first()
        .expect("an answer has a status")
        .split(' ')
        .nth(1);
    let status = status
        .and_then(|status| status.parse().ok())
        .expect("the status is a number");
    let headers = lines[1..].iter().map(|line| {
        let (name, value) = line
            .split_once(": ")
            .expect("a header has a name and a value");
        (name.to_lowercase(), value.to_owned())
    });
    (status, headers.collect())
}

fn cores() -> usize {
    thread::available_parallelism()
        .expect("the number of cores is known")
        .get()
}

// ---- a directory to serve --------------------------------------------------------------------

/// Some bytes that depend on the position, so that a wrong chunk shows.
fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|n| (n / 251) as u8 ^ (n % 251) as u8 ^ seed)
        .collect()
}

/// Several of the server's chunks, and not a whole number of them.
const LARGE: usize = 3 * 256 * 1024 + 17;

struct Tree {
    outer: TempDir,
}

impl Tree {
    /// `served/` with files and links, beside `secret`.
    fn new() -> Tree {
        let outer = tempfile::tempdir().expect("there is room for a directory");
        let served = outer.path().join("served");
        fs::create_dir_all(served.join("deep/er")).expect("directories can be made");
        for (name, content) in Tree::files() {
            fs::write(served.join(name), content).expect("files can be written");
        }
        fs::write(outer.path().join("secret"), "secret").expect("files can be written");
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, served.join(name)).expect("links can be made");
        };
        link("deep/er/leaf", "inner-link");
        link("../secret", "outer-link");
        link("..", "outer-directory");
        link("nothing", "dangling");
        Tree { outer }
    }

    fn files() -> [(&'static str, Vec<u8>); 6] {
        [
            ("empty", Vec::new()),
            ("small", b"hello\n".to_vec()),
            ("large", bytes(LARGE, 1)),
            ("with space é", b"a name to encode".to_vec()),
            ("deep/second", bytes(1000, 2)),
            ("deep/er/leaf", bytes(100_000, 3)),
        ]
    }

    fn served(&self) -> PathBuf {
        self.outer.path().join("served")
    }

    /// A file that takes an hour to digest.
    fn add_endless(&self) {
        self.add_sparse("endless", 1 << 40);
    }

    /// A file of zeros that takes no room on the disk.
    fn add_sparse(&self, name: &str, length: u64) {
        let file = fs::File::create(self.served().join(name)).expect("files can be made");
        file.set_len(length)
            .expect("the file system knows sparse files");
    }
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

// ---- answers ---------------------------------------------------------------------------------

#[test]
fn files_arrive_whole() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &[]);
    for (name, content) in Tree::files() {
        let path = format!("/files/{}", name.replace(' ', "%20").replace('é', "%C3%A9"));
        let answer = server.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(
            answer.header("content-length"),
            content.len().to_string(),
            "{path}"
        );
        assert!(answer.body == content, "{path}: the bytes differ");
    }
    let linked = server.get("/files/inner-link");
    assert_eq!((linked.status, linked.body.len()), (200, 100_000));
}

#[test]
fn head_gives_the_head_of_get_and_no_body() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &[]);
    let answer = server.request("HEAD", "/files/large");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), LARGE.to_string());
    for path in ["/health", "/metrics", "/sha256/small", "/files/nothing"] {
        let (head, get) = (server.request("HEAD", path), server.get(path));
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
    }
}

#[test]
fn the_digest_of_a_file_is_what_sha256_says() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &[]);
    for (name, content) in Tree::files()
        .into_iter()
        .filter(|(name, _)| name.is_ascii() && !name.contains(' '))
    {
        let answer = server.get(&format!("/sha256/{name}"));
        let file_name = name.rsplit('/').next().expect("a path has a last part");
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(
            answer.text(),
            format!("{}  {file_name}\n", sha256(&content))
        );
    }
}

#[test]
fn the_digests_of_a_tree_are_sorted_and_the_same_every_time() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &[]);
    let mut files = Tree::files();
    files.sort_by_key(|(name, _)| *name);
    let expected: String = files
        .iter()
        .map(|(name, content)| format!("{}  {name}\n", sha256(content)))
        .collect();
    for _ in 0..10 {
        let answer = server.get("/sha256/");
        assert_eq!((answer.status, answer.text()), (200, expected.as_str()));
    }
    let below: String = files
        .iter()
        .filter_map(|(name, content)| {
            Some(format!(
                "{}  {}\n",
                sha256(content),
                name.strip_prefix("deep/")?
            ))
        })
        .collect();
    assert_eq!(server.get("/sha256/deep/").text(), below);
}

#[test]
fn names_with_line_breaks_are_escaped_as_sha256sum_does() {
    let tree = tempfile::tempdir().expect("there is room for a directory");
    fs::write(tree.path().join("a\nb\\c"), "x").expect("files can be written");
    let server = Server::start(tree.path(), &[]);
    assert_eq!(
        server.get("/sha256/").text(),
        format!("\\{}  a\\nb\\\\c\n", sha256(b"x"))
    );
}

#[test]
fn nothing_outside_of_the_directory_can_be_had() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &[]);
    for space in ["files", "sha256"] {
        for (path, status) in [
            ("../secret", 400),
            ("deep/../../secret", 400),
            ("%2e%2e/secret", 400),
            ("%2E%2E/secret", 400),
            (".%2e/secret", 400),
            ("deep/%2e%2e/%2e%2e/secret", 400),
            ("..%2fsecret", 400),
            ("%2fetc%2fpasswd", 400),
            ("small%00", 400),
            ("%", 400),
            ("%zz", 400),
            ("%ff", 400),
            // Not absolute here: empty parts are left out, so this is `served/etc/passwd`.
            ("/etc/passwd", 404),
            ("outer-link", 403),
            ("outer-directory/secret", 403),
            ("dangling", 404),
        ] {
            let path = format!("/{space}/{path}");
            let answer = server.get(&path);
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert!(
                !answer.text().contains("secret\n") && !answer.text().contains(&sha256(b"secret")),
                "{path}"
            );
        }
    }
    // The tree's digests leave the links out.
    assert!(!server.get("/sha256/").text().contains("link"));
}

#[test]
fn what_cannot_be_served_is_refused_with_the_right_status() {
    let tree = Tree::new();
    let pipe = tree.served().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a pipe can be made");
    let server = Server::start(&tree.served(), &[]);
    for (path, status) in [
        ("/nowhere", 404),
        ("/files", 404),
        ("/files/", 404),
        ("/files/deep", 404),
        ("/files/nothing", 404),
        ("/files/small/below", 404),
        // To open it would wait for ever.
        ("/files/pipe", 404),
        ("/sha256/pipe", 404),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = server.request(method, "/files/small");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, "GET, HEAD"),
            "{method}"
        );
    }
    let mut stream = server.connect();
    stream
        .write_all(b"this is not HTTP\r\n\r\n")
        .expect("the server reads");
    assert_eq!(Answer::read(stream).status, 400);
    assert_eq!(server.get("/health").text(), "ok\n");
}

#[test]
fn a_connection_serves_request_after_request() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &[]);
    let mut stream = BufReader::new(server.connect());
    for _ in 0..100 {
        stream
            .get_mut()
            .write_all(b"GET /files/small HTTP/1.1\r\nhost: test\r\n\r\n")
            .expect("the server reads");
        let (status, headers) = read_head(&mut stream);
        let mut body = vec![
            0;
            headers["content-length"]
                .parse()
                .expect("a length is a number")
        ];
        stream
            .read_exact(&mut body)
            .expect("the server sends the body");
        assert_eq!((status, body.as_slice()), (200, &b"hello\n"[..]));
    }
    assert!(server.metrics()["http_connections_total"] <= 2.0);
}

#[test]
fn metrics_are_in_the_format_of_prometheus() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &[]);
    assert_eq!(server.get("/sha256/").status, 200);
    assert_eq!(server.get("/nowhere").status, 404);
    let page = server.get("/metrics");
    assert_eq!(page.header("content-type"), "text/plain; version=0.0.4");

    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let mut typed = HashSet::new();
    let mut seen = HashSet::new();
    for line in page.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type has a name and a kind");
            assert!(
                is_name(name) && ["counter", "gauge"].contains(&kind),
                "{line}"
            );
            assert!(typed.insert(name), "{name} is there twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            assert!(seen.insert(sample), "{sample} is there twice");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "x=\"\"}"));
            assert!(typed.contains(name), "{line} has no type before it");
            let label = labels
                .strip_suffix("\"}")
                .and_then(|label| label.split_once("=\""));
            assert!(label.is_some_and(|(label, _)| is_name(label)), "{line}");
        }
    }

    // A job is counted when its thread is done with it, which is after the answer.
    server.wait_for("the count of the job", |metrics| {
        metrics["divisi_compute_jobs_total{how=\"completed\"}"] == 1.0
    });
    let metrics = server.metrics();
    assert_eq!(metrics["http_responses_total{code=\"4xx\"}"], 1.0);
    assert_eq!(metrics["http_requests_in_flight"], 1.0, "this one");
    assert!(metrics["divisi_polls_total{worker=\"0\"}"] >= 0.0);
}

#[test]
fn many_clients_at_once_each_get_their_own_answer() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &["--timeout", "600"]);
    let files = Tree::files();
    thread::scope(|scope| {
        for client in 0..64 {
            let (server, files) = (&server, &files);
            scope.spawn(move || {
                for round in 0..6 {
                    let (name, content) = &files[(client + round) % files.len()];
                    let name_in_url = name.replace(' ', "%20").replace('é', "%C3%A9");
                    if round % 2 == 0 {
                        let answer = server.get(&format!("/files/{name_in_url}"));
                        assert!(answer.status == 200 && answer.body == *content, "{name}");
                    } else {
                        let answer = server.get(&format!("/sha256/{name_in_url}"));
                        assert!(
                            answer.text().starts_with(&sha256(content)),
                            "{name}: {}",
                            answer.text()
                        );
                    }
                }
            });
        }
    });
}

// ---- limits ----------------------------------------------------------------------------------

#[test]
fn a_request_that_takes_too_long_is_answered_and_its_work_stops() {
    let tree = Tree::new();
    tree.add_endless();
    let server = Server::start(&tree.served(), &["--timeout", "0.2"]);
    let answer = server.get("/sha256/endless");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("200ms"), "{}", answer.text());
    server.wait_for("the end of the job", |metrics| {
        metrics["divisi_compute_running"] == 0.0
    });
}

#[test]
fn work_for_a_client_that_went_away_stops() {
    let tree = Tree::new();
    tree.add_endless();
    let server = Server::start(&tree.served(), &[]);
    let orders = server.order_endless(1);
    server.wait_for("the job", |metrics| {
        metrics["divisi_compute_running"] == 1.0
    });
    drop(orders);
    server.wait_for("the end of the job", |metrics| {
        metrics["divisi_compute_running"] == 0.0
    });
}

#[test]
fn health_answers_while_every_core_computes() {
    let tree = Tree::new();
    tree.add_endless();
    let server = Server::start(&tree.served(), &["--timeout", "600"]);
    let orders = server.fill_cores();
    for _ in 0..100 {
        assert_eq!(server.get("/health").text(), "ok\n");
    }
    let running = server.metrics()["divisi_compute_running"];
    assert!(
        running >= cores() as f64,
        "the cores were busy all the time"
    );
    drop(orders);
}

#[test]
fn digests_beyond_the_queue_are_told_to_come_again() {
    let tree = Tree::new();
    tree.add_endless();
    let server = Server::start(&tree.served(), &["--timeout", "600"]);
    // 64 wait at most, and hardly more than one runs on each core.
    let mut orders = server.order_endless(64 + 2 * cores() + 16);
    for order in &orders {
        order
            .set_nonblocking(true)
            .expect("the mode can be changed");
    }
    let begin = Instant::now();
    let refused = loop {
        let answered = orders.iter().position(|order| order.peek(&mut [0]).is_ok());
        if let Some(answered) = answered {
            break orders.swap_remove(answered);
        }
        assert!(begin.elapsed() < PATIENCE, "nothing was refused");
        thread::sleep(LOOK);
    };
    refused
        .set_nonblocking(false)
        .expect("the mode can be changed");
    let (status, headers) = read_head(&mut BufReader::new(refused));
    assert_eq!((status, headers["retry-after"].as_str()), (503, "1"));
    let refused = server.metrics()["http_responses_total{code=\"5xx\"}"];
    assert!(refused < 64.0, "{refused} were refused, with room for 64");

    // Nobody waits for them any more, so each ends as soon as its turn comes.
    drop(orders);
    server.wait_for("room", |metrics| {
        metrics["divisi_compute_queued{priority=\"normal\"}"] == 0.0
            && metrics["divisi_compute_running"] == 0.0
    });
    assert_eq!(server.get("/sha256/small").status, 200);
}

#[test]
fn running_out_of_descriptors_does_not_end_the_server() {
    let tree = Tree::new();
    let mut server = Server::start_with_few_descriptors(&tree.served(), 64);
    // More than it can have; the rest waits in the system's queue.
    let idle: Vec<_> = (0..80).map(|_| server.connect()).collect();
    let stderr = BufReader::new(server.stderr.take().expect("it is a pipe"));
    let mut lines = stderr.lines().map(|line| line.expect("it prints text"));
    // Others may tell of a machine that is busy.
    let message = lines.find(|line| line.contains("cannot accept"));
    let message = message.expect("it tells of the failure");
    assert!(message.contains("Too many open files"), "{message}");

    drop(idle);
    assert_eq!(server.get("/health").text(), "ok\n");
    assert!(server.metrics()["http_accept_errors_total"] >= 1.0);
}

// ---- starting and stopping -------------------------------------------------------------------

/// Waits until nothing listens there any more.
fn wait_until_refused(address: SocketAddr) {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return,
            _ => assert!(begin.elapsed() < PATIENCE, "the server still accepts"),
        }
        thread::sleep(LOOK);
    }
}

#[test]
fn a_signal_lets_requests_in_flight_end_and_accepts_no_more() {
    for signal in [Signal::INT, Signal::TERM] {
        let tree = Tree::new();
        // Too large for the buffers of the sockets: most of it is not sent before it is read.
        const HUGE: usize = 24 * 1024 * 1024;
        tree.add_sparse("huge", HUGE as u64);
        // Less than the 30 s after which hyper gives up on an idle connection anyway.
        let mut server = Server::start(&tree.served(), &["--grace", "20"]);
        let idle = server.connect();
        let mut stream = BufReader::new(server.connect());
        stream
            .get_mut()
            .write_all(b"GET /files/huge HTTP/1.1\r\nhost: test\r\n\r\n")
            .expect("the server reads");
        let (status, _) = read_head(&mut stream);
        assert_eq!(status, 200);

        server.signal(signal);
        wait_until_refused(server.address);
        let mut body = Vec::new();
        stream
            .read_to_end(&mut body)
            .expect("the connection ends in order");
        assert_eq!(body.len(), HUGE);
        let (status, printed) = server.wait();
        assert!(status.success(), "{status}: {printed}");
        assert!(printed.contains("0 cancelled, 0 stuck"), "{printed}");
        drop(idle);
    }
}

#[test]
fn what_does_not_end_within_the_grace_is_named() {
    let tree = Tree::new();
    tree.add_endless();
    let mut server = Server::start(&tree.served(), &["--grace", "0.2"]);
    let mut stream = BufReader::new(server.connect());
    // Nobody reads on, so this download does not end.
    stream
        .get_mut()
        .write_all(b"GET /files/endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .expect("the server reads");
    assert_eq!(read_head(&mut stream).0, 200);
    server.signal(Signal::INT);
    let (status, printed) = server.wait();
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("cancelled: task") && printed.contains("connection"),
        "{printed}"
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let tree = Tree::new();
    tree.add_endless();
    let mut server = Server::start(&tree.served(), &["--grace", "3600"]);
    let mut stream = BufReader::new(server.connect());
    stream
        .get_mut()
        .write_all(b"GET /files/endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .expect("the server reads");
    assert_eq!(read_head(&mut stream).0, 200);
    server.signal(Signal::INT);
    wait_until_refused(server.address);
    server.signal(Signal::INT);
    let (status, printed) = server.wait();
    assert_eq!(status.code(), Some(130), "{printed}");
}

/// Runs it with arguments it cannot follow; gives the exit code and the message.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program())
        .args(arguments)
        .output()
        .expect("the example can be started");
    (
        output.status.code(),
        String::from_utf8(output.stderr).expect("it prints text"),
    )
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    for (arguments, code, words) in [
        (
            &["/there/is/no/such/directory"][..],
            2,
            "/there/is/no/such/directory",
        ),
        (&["/dev/null"], 2, "not a directory"),
        (&["--frobnicate"], 2, "--frobnicate"),
        (
            &["--timeout", "soon"],
            2,
            "--timeout wants a number of seconds",
        ),
        (
            &["--timeout", "-1"],
            2,
            "--timeout wants a number of seconds",
        ),
        (&["one", "two"], 2, "two"),
        (&["--listen", "here"], 1, "cannot listen on here"),
    ] {
        let (status, message) = refused(arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {message}");
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
    let help = Command::new(program())
        .arg("--help")
        .output()
        .expect("the example can be started");
    assert!(help.status.success() && help.stdout.starts_with(b"Serves the files"));
}

#[test]
fn a_port_in_use_is_said_to_be_so() {
    let tree = Tree::new();
    let server = Server::start(&tree.served(), &[]);
    let (status, message) = refused(&["--listen", &server.address.to_string()]);
    assert_eq!(status, Some(1), "{message}");
    assert!(message.contains("give another --listen"), "{message}");
    assert!(server.stdout.buffer().is_empty());
}
