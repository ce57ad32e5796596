//! A differential oracle: asyncio says what structured concurrency in divisi must do.
//!
//! A scenario is a small program in a language of its own: spawn, sleep, raise, cancel, timeout, group, shield, finally, log (`scenario.rs`). Two
//! interpreters run it in virtual time, one on CPython's asyncio (`runner.py`), one on divisi (`runner.rs`), and each writes down what every task
//! did, and at which instant. The two must agree. Where the systems differ on purpose is in one table, `differences.rs`.
//!
//! What asyncio did with twelve thousand scenarios is in `recorded.txt`, so these tests need no Python. With one (3.11 or later; the variable `PYTHON`
//! names another than `python3`):
//!
//! ```text
//! just oracle          compares scenarios that were never tried before, and shrinks those that differ
//! just oracle-record   records anew: needed after a change of the language, of the generator or of runner.py
//! ```
//!
//! What becomes of `divisi_does_what_asyncio_does` when a rule is broken in the code, one at a time:
//!
//! | broken | where | scenarios that differ | the first |
//! |---|---|---|---|
//! | a failure does not cancel the rest | `Shared::fail` without the cancel | 1,282 | 8 |
//! | a child that was cancelled by hand ends its group | `adopt` | 1,283 | 26 |
//! | the error of a group's body comes first | `TaskGroup::poll`, `insert(0, ..)` | 369 | 18 |
//! | a group returns although the scope around it was cancelled | `TaskGroup::poll`, `only_own` without `is_inherited` | 561 | 2 |
//! | of equal limits the inner one reports | `outer_reports` without the deadlines | 146 | 48 |
//! | a limit reports after its clean-up though the outer one is over | `Timeout::poll` without `outer_is_cancelled` | 13 | 379 |
//! | a scope does not wait for a shield | `Guard::poll` without the hold | stops at the first: errors that nobody hears of | |
//! | a task that was cancelled before it ran begins | `ChildTask::poll` without the look | 1,708 | 5 |
//! | a shield and a clean-up let a cancel in | `Guard::poll` with `Kind::Scope` | stops at the first, likewise | |
//! | `Group::cancel` does nothing | `Group::cancel` | 4,287 | 0 |
//! | a cancel beats a value that is ready | `Cut::poll` without the last try | 514 | 8 |
//! | a limit that is over can be moved | `TimeoutScope::reschedule` | 80 | 228 |
//! | errors beside a panic of the body are lost | `TaskGroup::poll` without the report | 4 | 1359 |
//! | a cancelled group takes tasks | `Shared::admit` without the look | 313 | 42 |
//! | a group does not wait for its last child | `Shared::try_end` | 11,965 | 0 |

mod differences;
mod generate;
mod python;
mod recorded;
mod runner;
mod scenario;
mod trace;

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use differences::{DIFFERENCES, Difference, How};
use python::{Python, Verdict};
use recorded::{Line, Recorded, SCENARIOS};
use scenario::Scenario;

/// The trace of divisi, as far as it must be asyncio's.
fn comparable(scenario: &Scenario, exempt: Option<&(u64, String)>) -> trace::Trace {
    let trace = runner::run(scenario);
    match exempt {
        Some((time, _)) => trace.before(*time),
        None => trace,
    }
}

fn compare(scenario: &Scenario, asyncio: &Verdict) -> Result<(), String> {
    let expected = match &asyncio.exempt {
        Some((time, _)) => asyncio.trace.clone().before(*time),
        None => asyncio.trace.clone(),
    };
    match comparable(scenario, asyncio.exempt.as_ref()).difference(&expected) {
        None => Ok(()),
        Some(difference) => Err(format!("{difference}scenario: {scenario}")),
    }
}

#[test]
fn divisi_does_what_asyncio_does() {
    let recorded = Recorded::read();
    assert!(
        recorded.is_current(),
        "the generator makes other scenarios than were recorded: run `just oracle-record`"
    );
    let mut differ = Vec::new();
    for (number, Line { digest, exempt }) in (0..).zip(&recorded.lines) {
        let scenario = generate::recorded(number);
        let trace = comparable(&scenario, exempt.as_ref());
        if trace.digest() != *digest {
            differ.push((number, scenario, trace));
        }
    }
    if let Some((number, scenario, trace)) = differ.first() {
        panic!(
            "{} of {} scenarios differ from asyncio; `just oracle` shows how. The first is number {number}: {scenario}\ndivisi: {trace}",
            differ.len(),
            recorded.lines.len()
        );
    }
}

#[test]
fn the_recorded_scenarios_exercise_every_rule() {
    let recorded = Recorded::read();
    let all = recorded.lines.len();
    assert_eq!(all, SCENARIOS as usize);
    assert!(recorded.rules.len() > 40);
    for (rule, count) in &recorded.rules {
        assert!(*count >= 100, "{count} scenarios exercise {rule}: too few");
    }
    let cancelled = recorded.cancelled_cleanups as usize;
    assert!(
        cancelled * 100 >= all * 30,
        "{cancelled} of {all} scenarios cancel a clean-up"
    );
    let exempt = recorded.lines.iter().filter(|line| line.exempt.is_some());
    let exempt = exempt.count();
    assert!(
        exempt * 100 <= all * 5,
        "{exempt} of {all} scenarios are exempt"
    );
}

#[test]
fn every_difference_is_in_the_table_and_the_guide_shows_it() {
    for exempt in Recorded::read()
        .lines
        .iter()
        .filter_map(|line| line.exempt.as_ref())
    {
        let row = DIFFERENCES
            .iter()
            .find(|difference| difference.row == exempt.1);
        assert_eq!(row.map(|row| row.how), Some(How::Exempt), "{}", exempt.1);
    }
    let guide = include_str!("../../../../docs/src/guide/coming-from-asyncio.md");
    for Difference {
        row,
        asyncio,
        divisi,
        how,
    } in DIFFERENCES
    {
        let line = format!(
            "| {row} | {asyncio} | {divisi} | {} |",
            format!("{how:?}").to_lowercase()
        );
        assert!(guide.contains(&line), "the guide has not the line\n{line}");
    }
}

#[test]
#[ignore = "needs Python; run by `just oracle-record`"]
fn record() {
    let mut python = Python::start();
    let mut recorded = Recorded::default();
    for number in 0..SCENARIOS {
        recorded.add(python.run(&generate::recorded(number)));
    }
    recorded.write();
}

/// Compares the recorded scenarios with Python at hand, which shows what differs.
#[test]
#[ignore = "needs Python; run by `just oracle`"]
fn recorded_scenarios_in_detail() {
    let mut python = Python::start();
    let mut differ: Vec<_> = (0..SCENARIOS)
        .filter_map(|number| {
            let scenario = generate::recorded(number);
            compare(&scenario, &python.run(&scenario)).err()
        })
        .collect();
    differ.sort_by_key(String::len);
    if !differ.is_empty() {
        let few = differ[..differ.len().min(5)].join("\n");
        panic!(
            "{} of {SCENARIOS} scenarios differ, these in the fewest words:\n{few}",
            differ.len()
        );
    }
}

#[test]
#[ignore = "needs Python; run by `just oracle`"]
fn fresh_scenarios_agree() {
    let python = RefCell::new(Python::start());
    let config = Config {
        cases: 4000,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..Config::default()
    };
    let bytes = vec(any::<u8>(), 0..250);
    let result = TestRunner::new(config).run(&bytes, |bytes| {
        let scenario = generate::from_bytes(&bytes);
        let verdict = python.borrow_mut().run(&scenario);
        compare(&scenario, &verdict).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
