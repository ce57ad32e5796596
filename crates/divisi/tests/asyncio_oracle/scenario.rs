//! The scenario language: what both runners understand, and its text for the Python one.

use std::fmt::{self, Write};

/// Names a statement; numbers are given in the order of the text, so a task's number is lower than those of the tasks that it spawns.
pub(crate) type Id = u16;

/// Virtual nanoseconds since the scenario began.
pub(crate) type Time = u64;

/// The task that runs the scenario's outermost block.
pub(crate) const ROOT: Id = 0;

/// Statements that take time have a bit of their own below this one in their duration, so no two chains of such statements end at the same instant:
/// what happens in one instant, happens because of one thing. (`Meet` and equal deadlines make ties on purpose.)
pub(crate) const MARK_BITS: u32 = 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) body: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) id: Id,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Writes a line into the trace.
    Log,
    Sleep(Time),
    /// Sleeps until this instant, which other statements may name as well.
    Meet(Time),
    /// Ends the block, and what is around it, with an error.
    Raise,
    /// Panics; stands at the end of a group's body only, and that group catches it. (`SystemExit` in Python, the error that a `TaskGroup` leaves bare.)
    Panic,
    /// Spawns a task in a group: one around this statement, or any that was opened earlier in the text.
    Spawn {
        group: Id,
        body: Vec<Statement>,
    },
    /// Asks a task to stop: any one, ended or not, this one included.
    Cancel {
        task: Id,
    },
    /// Cancels a group: its children and its body.
    CancelGroup {
        group: Id,
    },
    /// Waits until a task has ended and notes how.
    Join {
        task: Id,
    },
    /// A task group around a body. What comes out of it is noted, and stopped if `catch`.
    Group {
        catch: bool,
        body: Vec<Statement>,
    },
    /// A limited time for a body.
    Timeout {
        limit: Limit,
        catch: bool,
        body: Vec<Statement>,
    },
    /// Gives the nearest time limit around, in the same task, this much time from now.
    Reschedule {
        timeout: Id,
        after: Time,
    },
    /// Lets a body go on when what is around it is cancelled.
    Shield {
        body: Vec<Statement>,
    },
    /// Runs a clean-up after a body, however that ended.
    Finally {
        body: Vec<Statement>,
        cleanup: Vec<Statement>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    After(Time),
    At(Time),
}

/// As JSON, which is what `runner.py` reads.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&block(&self.body))
    }
}

fn block(statements: &[Statement]) -> String {
    let mut text = String::from("[");
    for (index, Statement { id, what }) in statements.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let _ = write!(text, "[{id},");
        let _ = match what {
            What::Log => write!(text, r#""log""#),
            What::Sleep(time) => write!(text, r#""sleep",{time}"#),
            What::Meet(time) => write!(text, r#""meet",{time}"#),
            What::Raise => write!(text, r#""raise""#),
            What::Panic => write!(text, r#""panic""#),
            What::Spawn { group, body } => write!(text, r#""spawn",{group},{}"#, block(body)),
            What::Cancel { task } => write!(text, r#""cancel",{task}"#),
            What::CancelGroup { group } => write!(text, r#""cancel_group",{group}"#),
            What::Join { task } => write!(text, r#""join",{task}"#),
            What::Group { catch, body } => write!(text, r#""group",{catch},{}"#, block(body)),
            What::Timeout { limit, catch, body } => {
                let (kind, time) = match limit {
                    Limit::After(time) => ("after", time),
                    Limit::At(time) => ("at", time),
                };
                write!(text, r#""timeout","{kind}",{time},{catch},{}"#, block(body))
            }
            What::Reschedule { timeout, after } => {
                write!(text, r#""reschedule",{timeout},{after}"#)
            }
            What::Shield { body } => write!(text, r#""shield",{}"#, block(body)),
            What::Finally { body, cleanup } => {
                write!(text, r#""finally",{},{}"#, block(body), block(cleanup))
            }
        };
        text.push(']');
    }
    text.push(']');
    text
}
