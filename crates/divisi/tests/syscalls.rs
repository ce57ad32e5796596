//! What one echo round trip asks of the kernel, counted by strace.
//!
//! The test runs itself again, under strace, as a server of one worker; the client is a plain blocking socket in this process.
#![cfg(all(target_os = "linux", not(feature = "portable")))]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use divisi::Runtime;

const CHILD: &str = "DIVISI_TEST_ECHO_SERVER";
const ROUNDS: usize = 1000;
/// Start-up, the connection itself and shutdown; also a few late looks of helpers.
const SLACK: usize = 60;

#[derive(Default)]
struct Count {
    calls: usize,
    errors: usize,
}

/// Reads the table of `strace -c`: `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn parse(table: &str) -> HashMap<String, Count> {
    let mut counts = HashMap::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(calls), Some(name)) = (
            fields.get(3).and_then(|calls| calls.parse().ok()),
            fields.last(),
        ) else {
            continue;
        };
        let errors = if fields.len() == 6 {
            fields[4].parse().unwrap_or(0)
        } else {
            0
        };
        counts.insert((*name).to_owned(), Count { calls, errors });
    }
    counts
}

fn serve() {
    // A spare that comes because the machine is busy would wait for events as well.
    let runtime = Runtime::builder()
        .worker_threads(1)
        .stall_threshold(None)
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = divisi::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nport {}", listener.local_addr().unwrap().port());
        let (stream, _) = listener.accept().await.unwrap();
        divisi::spawn(async move {
            let mut buffer = [0; 256];
            loop {
                let n = stream.read(&mut buffer).await.unwrap();
                if n == 0 {
                    break;
                }
                stream.write_all(&buffer[..n]).await.unwrap();
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn an_echo_costs_one_wait_one_read_and_one_write() {
    if std::env::var_os(CHILD).is_some() {
        return serve();
    }
    let table = std::env::temp_dir().join(format!("divisi-strace-{}", std::process::id()));
    let mut child = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&table)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "an_echo_costs_one_wait_one_read_and_one_write",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs strace: install it (on Debian: apt-get install strace)");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port: u16 = lines
        .find_map(|line| {
            line.unwrap()
                .strip_prefix("port ")
                .map(|port| port.parse().unwrap())
        })
        .expect("the server tells its port");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    for _ in 0..ROUNDS {
        stream.write_all(&[7; 64]).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
    }
    drop(stream);
    // Reading to the end keeps the child from blocking on its output.
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(&table).unwrap();
    std::fs::remove_file(&table).unwrap();

    let counts = parse(&text);
    let calls = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| counts.get(*name))
            .map(|count| count.calls)
            .sum::<usize>()
    };
    let errors = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| counts.get(*name))
            .map(|count| count.errors)
            .sum::<usize>()
    };
    let waits = calls(&["epoll_wait", "epoll_pwait", "epoll_pwait2"]);
    let reads = calls(&["read", "recvfrom", "recvmsg"]);
    let writes = calls(&["write", "sendto", "sendmsg"]);
    // The server may miss the moment to sleep and find the next message at once, so fewer waits than rounds are fine.
    assert!(waits <= ROUNDS + SLACK, "{waits} waits\n{text}");
    assert!(
        (ROUNDS..=ROUNDS + SLACK).contains(&reads),
        "{reads} reads\n{text}"
    );
    assert!(
        (ROUNDS..=ROUNDS + SLACK).contains(&writes),
        "{writes} writes\n{text}"
    );
    assert!(
        calls(&["epoll_ctl"]) <= SLACK,
        "sources are registered once\n{text}"
    );
    assert!(
        errors(&["read", "recvfrom", "recvmsg"]) <= SLACK / 4,
        "no read after a short one\n{text}"
    );
}
