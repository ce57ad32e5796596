//! Counts the system calls that the crate claims, with strace, in a child process.

#![cfg(all(target_os = "linux", not(feature = "portable")))]

mod support;

use divisi_reactor::{Direction, Progress, Source, Timer, Wait};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Command;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use support::*;

/// Tells the child how often to do its work.
const ROUNDS: &str = "DIVISI_REACTOR_ROUNDS";

type Counts = BTreeMap<String, i64>;

/// The rounds to play, in the child.
fn rounds() -> Option<u32> {
    let rounds = std::env::var(ROUNDS).ok()?;
    Some(rounds.parse().unwrap())
}

/// Runs the test of this name under strace and counts the system calls of `rounds` rounds.
fn count(test: &str, rounds: u32) -> Counts {
    let out = std::env::temp_dir().join(format!(
        "divisi-reactor-strace-{}-{test}-{rounds}",
        std::process::id()
    ));
    let traced = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(&out)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROUNDS, rounds.to_string())
        .output()
        .expect("this test needs strace: install the package `strace` (apt-get install strace)");
    assert!(
        traced.status.success(),
        "{}",
        String::from_utf8_lossy(&traced.stderr)
    );
    let table = std::fs::read_to_string(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            let calls = words.next()?.parse().ok()?;
            (name != "total").then(|| (name.to_owned(), calls))
        })
        .collect()
}

/// The system calls of one round, by name: what 1000 rounds make more than none.
fn per_round(test: &str) -> BTreeMap<String, f64> {
    const MANY: u32 = 1_000;
    let none = count(test, 0);
    let many = count(test, MANY);
    many.into_iter()
        .map(|(name, calls)| {
            let start = none.get(&name).copied().unwrap_or(0);
            (name, (calls - start) as f64 / f64::from(MANY))
        })
        // The rest is the test harness (memory, its own threads).
        .filter(|&(_, calls)| calls > 0.05)
        .collect()
}

fn assert_calls(test: &str, expected: &[(&str, f64)]) {
    let calls = per_round(test);
    let close = calls.len() == expected.len()
        && expected.iter().all(|&(name, times)| {
            calls
                .get(name)
                .is_some_and(|&calls| (calls - times).abs() < 0.05)
        });
    assert!(close, "{test}: {calls:?} instead of {expected:?}");
}

#[test]
fn a_turn_that_only_looks_is_one_system_call() {
    let Some(rounds) = rounds() else {
        return assert_calls(
            "a_turn_that_only_looks_is_one_system_call",
            &[("epoll_pwait", 1.0)],
        );
    };
    let mut l = Loop::new();
    for _ in 0..rounds {
        l.poll();
    }
}

#[test]
fn a_turn_that_waits_for_a_timer_is_one_system_call() {
    let Some(rounds) = rounds() else {
        return assert_calls(
            "a_turn_that_waits_for_a_timer_is_one_system_call",
            &[("epoll_pwait2", 1.0)],
        );
    };
    let mut l = Loop::new();
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..rounds {
        let mut timer = Timer::after(l.reactor.clock(), Duration::from_micros(200));
        assert!(timer.poll_expired(&mut cx, l.home()).is_pending());
        let turn = l.reactor.turn(&mut l.scratch, Wait::Until(None)).unwrap();
        assert_eq!(turn.timers, 1);
    }
}

#[test]
fn arming_and_dropping_a_timer_makes_no_system_call() {
    let Some(rounds) = rounds() else {
        return assert_calls("arming_and_dropping_a_timer_makes_no_system_call", &[]);
    };
    let l = Loop::new();
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..rounds {
        let mut timer = Timer::after(l.reactor.clock(), Duration::from_secs(1));
        assert!(timer.poll_expired(&mut cx, l.home()).is_pending());
    }
}

#[test]
fn notifying_nobody_makes_no_system_call() {
    let Some(rounds) = rounds() else {
        return assert_calls("notifying_nobody_makes_no_system_call", &[]);
    };
    let l = Loop::new();
    for _ in 0..rounds {
        l.reactor.notify();
    }
}

#[test]
fn notifying_a_sleeper_ten_times_is_one_write() {
    let Some(rounds) = rounds() else {
        return assert_calls(
            "notifying_a_sleeper_ten_times_is_one_write",
            &[("epoll_pwait", 1.0), ("write", 1.0)],
        );
    };
    let mut l = Loop::new();
    for _ in 0..rounds {
        let sleep = l.reactor.sleep_outside().unwrap();
        for _ in 0..10 {
            l.reactor.notify();
        }
        drop(sleep);
        let turn = l.reactor.turn(&mut l.scratch, Wait::Until(None)).unwrap();
        assert!(turn.notified);
    }
}

#[test]
fn a_message_that_is_waited_for_is_one_wait_and_one_read() {
    let Some(rounds) = rounds() else {
        return assert_calls(
            "a_message_that_is_waited_for_is_one_wait_and_one_read",
            &[("epoll_pwait", 1.0), ("recvfrom", 1.0), ("sendto", 1.0)],
        );
    };
    let mut l = Loop::new();
    let (near, far) = tcp_pair();
    let near = Source::new(near);
    let mut cx = Context::from_waker(Waker::noop());
    let mut receive = |l: &Loop| {
        near.poll_io(&mut cx, Direction::Read, l.home(), |mut io| {
            let mut buffer = [0; 64];
            io.read(&mut buffer).map(|n| Progress::of(n, buffer.len()))
        })
    };
    assert!(receive(&l).is_pending());
    l.settle();
    for _ in 0..rounds {
        assert_eq!((&far).write(b"ping").unwrap(), 4);
        let limit = Instant::now() + LIMIT;
        loop {
            let turn = l.reactor.turn(&mut l.scratch, Wait::Until(None)).unwrap();
            if turn.events > 0 {
                break;
            }
            assert!(Instant::now() < limit);
        }
        assert!(receive(&l).is_ready());
        // The short read said that nothing is left: this makes no system call.
        assert!(receive(&l).is_pending());
    }
}
