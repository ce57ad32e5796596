//! `runner.py` as a child process: one line in, one line out.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::scenario::{Scenario, Time};
use super::trace::Trace;

pub(crate) struct Python {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What asyncio did with a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) rules: Vec<String>,
    pub(crate) cancelled_cleanup: bool,
    /// From when on, and because of which row of the table, the two differ on purpose.
    pub(crate) exempt: Option<(Time, String)>,
    pub(crate) trace: Trace,
}

impl Python {
    /// Starts the interpreter that `PYTHON` names, `python3` by default.
    pub(crate) fn start() -> Python {
        let interpreter = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/asyncio_oracle/runner.py");
        let mut child = Command::new(&interpreter)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{interpreter} does not start ({error}): name a Python 3.11 or later in PYTHON"
                )
            });
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        Python {
            child,
            input,
            output,
        }
    }

    pub(crate) fn run(&mut self, scenario: &Scenario) -> Verdict {
        let input = self.input.as_mut().expect("it is open until the end");
        writeln!(input, "{scenario}").expect("the interpreter reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes text");
        let fields: Vec<_> = line.trim_end_matches('\n').split('\t').collect();
        let &[rules, cancelled_cleanup, exempt, trace] = fields.as_slice() else {
            panic!("runner.py failed at {scenario}");
        };
        Verdict {
            rules: rules
                .split("; ")
                .filter(|rule| !rule.is_empty())
                .map(str::to_owned)
                .collect(),
            cancelled_cleanup: cancelled_cleanup == "yes",
            exempt: exempt
                .split_once(' ')
                .map(|(time, row)| (time.parse().expect("an instant"), row.to_owned())),
            trace: Trace::parse(trace),
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
