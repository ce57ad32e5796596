//! What asyncio did with the recorded scenarios, in a file beside this one, so that the comparison needs no Python.
//!
//! A line a scenario: the digest of the trace and, where the two systems differ on purpose, from when on and by which row of the table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use super::generate;
use super::python::Verdict;
use super::scenario::Time;
use super::trace::digest;

/// How many scenarios are recorded.
pub(crate) const SCENARIOS: u32 = 12_000;

const TEXT: &str = include_str!("recorded.txt");

#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    /// How many scenarios exercise each rule.
    pub(crate) rules: BTreeMap<String, u32>,
    pub(crate) cancelled_cleanups: u32,
    /// A digest of all scenarios: another generator makes others.
    scenarios: u64,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) digest: u64,
    pub(crate) exempt: Option<(Time, String)>,
}

impl Recorded {
    pub(crate) fn read() -> Recorded {
        let mut recorded = Recorded::default();
        for line in TEXT.lines() {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            let number = |text: &str| text.parse().expect("a number");
            match first {
                "#" => {}
                "scenarios" => {
                    recorded.scenarios = u64::from_str_radix(rest, 16).expect("hexadecimal")
                }
                "cancelled-clean-ups" => recorded.cancelled_cleanups = number(rest),
                "rule" => {
                    let (count, rule) = rest.split_once(' ').expect("a count and a rule");
                    recorded.rules.insert(rule.to_owned(), number(count));
                }
                digest => recorded.lines.push(Line {
                    digest: u64::from_str_radix(digest, 16).expect("hexadecimal"),
                    exempt: rest
                        .split_once(' ')
                        .map(|(time, row)| (time.parse().expect("an instant"), row.to_owned())),
                }),
            }
        }
        recorded
    }

    pub(crate) fn add(&mut self, verdict: Verdict) {
        for rule in verdict.rules {
            *self.rules.entry(rule).or_default() += 1;
        }
        self.cancelled_cleanups += u32::from(verdict.cancelled_cleanup);
        let trace = match verdict.exempt {
            Some((time, _)) => verdict.trace.before(time),
            None => verdict.trace,
        };
        self.lines.push(Line {
            digest: trace.digest(),
            exempt: verdict.exempt,
        });
    }

    pub(crate) fn write(mut self) {
        self.scenarios = scenarios_digest();
        let mut text = String::from("# Written by `just oracle-record`; see main.rs.\n");
        let _ = writeln!(text, "scenarios {:012x}", self.scenarios);
        let _ = writeln!(text, "cancelled-clean-ups {}", self.cancelled_cleanups);
        for (rule, count) in &self.rules {
            let _ = writeln!(text, "rule {count} {rule}");
        }
        for Line { digest, exempt } in &self.lines {
            let _ = write!(text, "{digest:012x}");
            if let Some((time, row)) = exempt {
                let _ = write!(text, " {time} {row}");
            }
            text.push('\n');
        }
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/asyncio_oracle/recorded.txt");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Whether the generator still makes the scenarios that were recorded.
    pub(crate) fn is_current(&self) -> bool {
        self.scenarios == scenarios_digest()
    }
}

fn scenarios_digest() -> u64 {
    let all: String = (0..SCENARIOS)
        .map(|number| generate::recorded(number).to_string())
        .collect();
    digest(all.as_bytes())
}
