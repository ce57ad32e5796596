//! When the operating system refuses.

#![cfg(target_os = "linux")]

mod support;

use divisi_reactor::{Clock, Reactor, Scratch, Wait};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};
use support::*;

/// Tells the child which part to play.
const ROLE: &str = "DIVISI_REACTOR_FAULT";

/// Runs a test of this file by itself: it changes limits of the whole process.
fn in_child(test: &str) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, test)
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
}

fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

#[test]
fn a_reactor_without_descriptors_left_is_an_error_and_leaks_none() {
    if !is_child() {
        return in_child("a_reactor_without_descriptors_left_is_an_error_and_leaks_none");
    }
    let old = getrlimit(Resource::Nofile);
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    // The limit is one of numbers, and the lowest free number is given out: fill the holes.
    let fillers: Vec<_> = (0..32)
        .map(|_| std::fs::File::open("/dev/null").unwrap())
        .collect();
    let used = fillers.iter().map(AsRawFd::as_raw_fd).max().unwrap() as u64 + 1;
    let before = open();
    // Each step lets one more descriptor be opened, so every open of `new` fails once.
    let mut refused = 0;
    for room in 0..16 {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(used + room),
                maximum: old.maximum,
            },
        )
        .unwrap();
        let made = Reactor::new(Clock::real());
        setrlimit(Resource::Nofile, old).unwrap();
        match made {
            Ok(reactor) => {
                assert!(refused > 0, "it was never refused");
                reactor.notify();
                let turn = reactor.turn(&mut Scratch::new(4), Wait::Until(None));
                assert!(turn.unwrap().notified);
                return;
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(24), "EMFILE, not {error}");
                assert_eq!(open(), before, "descriptors leaked");
                refused += 1;
            }
        }
    }
    panic!("a reactor needs more than 16 descriptors");
}

#[test]
fn a_signal_ends_a_wait_at_worst_and_never_the_turn() {
    if !is_child() {
        return in_child("a_signal_ends_a_wait_at_worst_and_never_the_turn");
    }
    // epoll_wait is one of the calls that Linux interrupts when a process is stopped and continued,
    // even without a handler (see signal(7)).
    let mut l = Loop::new();
    let me = rustix::process::getpid();
    let killer = std::thread::spawn(move || {
        let script = format!(
            "for i in 1 2 3 4 5; do kill -STOP {0}; kill -CONT {0}; done",
            me.as_raw_nonzero()
        );
        assert!(
            Command::new("sh")
                .args(["-c", &script])
                .status()
                .unwrap()
                .success()
        );
    });
    let end = Instant::now() + Duration::from_millis(200);
    while Instant::now() < end {
        l.reactor
            .turn(&mut l.scratch, Wait::Until(Some(end)))
            .unwrap();
    }
    killer.join().unwrap();
}
