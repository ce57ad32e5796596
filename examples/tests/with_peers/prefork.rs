//! Several processes on one port: all serve, a dead one is replaced, and they stop in order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use divisi::channel::mpsc;
use divisi::io::StreamReader;
use divisi::net::TcpStream;
use divisi::process::Command;
use divisi::sync::Event;
use divisi::time::Instant;
use divisi_examples::mixing::ask;
use divisi_examples::prefork::{Change, Port, Settings, supervise};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::ANY_PORT;

fn worker(address: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prefork"));
    command.args(["--worker", &address.to_string()]);
    command
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process.try_into().unwrap()).unwrap()
}

/// Connects until each of the processes has answered. The system chooses by a hash of the peers' ports.
async fn meet(address: SocketAddr, processes: &BTreeSet<u32>) {
    let mut met = BTreeSet::new();
    while met != *processes {
        let process = ask(address, "who?").await.unwrap().parse().unwrap();
        assert!(processes.contains(&process), "{process} of {processes:?}");
        met.insert(process);
    }
}

async fn next_ready(changes: &mut mpsc::Receiver<Change>) -> (usize, u32) {
    loop {
        if let Change::Ready { place, process } = changes.recv().await.unwrap() {
            return (place, process);
        }
    }
}

#[divisi::test]
async fn a_worker_that_is_killed_is_replaced_and_all_stop_in_order() {
    let port = Port::hold(ANY_PORT).unwrap();
    let address = port.address();
    let settings = Settings {
        processes: 3,
        grace: Duration::from_secs(300),
        ..Settings::default()
    };
    let stop = Event::new();
    let (sender, mut changes) = mpsc::unbounded();
    let workers = supervise(
        settings,
        || worker(address),
        &stop,
        |change| {
            sender.send(change).unwrap();
        },
    );
    let client = async {
        let mut places = BTreeMap::new();
        while places.len() < 3 {
            let (place, process) = next_ready(&mut changes).await;
            places.insert(place, process);
        }
        meet(address, &places.values().copied().collect()).await;

        let (&place, &killed) = places.first_key_value().unwrap();
        kill_process(pid(killed), Signal::KILL).unwrap();
        let (again, replacement) = next_ready(&mut changes).await;
        assert_eq!(again, place);
        assert_ne!(replacement, killed);
        places.insert(place, replacement);
        meet(address, &places.values().copied().collect()).await;

        let idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"who?\n").await.unwrap();
        let mut idle = StreamReader::new(idle);
        assert!(idle.read_line().await.unwrap().is_some());
        stop.set();
        assert_eq!(idle.read_line().await.unwrap(), None, "closed, not reset");
        places
    };
    let (ended, places) = divisi::join!(workers, client);
    ended.unwrap();
    assert!(
        places
            .values()
            .all(|&process| test_kill_process(pid(process)).is_err()),
        "no process is left behind"
    );
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

/// The clock jumps only while all wait for it: here during the pauses.
#[divisi::test(clock = "virtual")]
async fn a_worker_that_cannot_live_is_started_ever_more_slowly() {
    let settings = Settings {
        processes: 1,
        pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(4),
        ..Settings::default()
    };
    let stop = Event::new();
    let starts = Mutex::new(Vec::new());
    let changed = |change| {
        let mut starts = starts.lock().unwrap();
        match change {
            Change::Started { .. } => starts.push(Instant::now()),
            Change::Ended { status, .. } => assert_eq!(status.code(), Some(1)),
            other => panic!("{other:?}"),
        }
        if starts.len() == 5 {
            stop.set();
        }
    };
    supervise(settings, || Command::new("false"), &stop, changed)
        .await
        .unwrap();
    let starts = starts.into_inner().unwrap();
    let pauses: Vec<_> = starts
        .windows(2)
        .map(|two| (two[1] - two[0]).as_secs())
        .collect();
    assert_eq!(pauses, [1, 2, 4, 4]);
}

#[divisi::test]
async fn a_worker_that_is_not_there_is_an_error_at_once() {
    let missing = || Command::new("/no/such/program");
    let changed = |change| panic!("{change:?}");
    let error = supervise(Settings::default(), missing, &Event::new(), changed)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}
