//! What a run of a scenario wrote down, and how two of them are compared.
//!
//! The order of events in one task counts, and the instant of each. What different tasks do in one instant has no order: asyncio's queue and divisi's are
//! not the same.

use std::collections::BTreeMap;
use std::fmt;

use super::scenario::{Id, Time};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace(BTreeMap<Id, Vec<(Time, String)>>);

impl Trace {
    pub(crate) fn push(&mut self, task: Id, time: Time, event: impl Into<String>) {
        self.0.entry(task).or_default().push((time, event.into()));
    }

    /// Reads what `Display` and `runner.py` write.
    pub(crate) fn parse(text: &str) -> Trace {
        let task = |text: &str| {
            let (task, events) = text.strip_prefix("task ")?.split_once(": ")?;
            let event = |event: &str| {
                let (time, text) = event.split_once(' ')?;
                Some((time.parse().ok()?, text.to_owned()))
            };
            let events = events.split(", ").map(event).collect::<Option<_>>()?;
            Some((task.parse().ok()?, events))
        };
        let tasks: Option<_> = text.split(" | ").map(task).collect();
        Trace(tasks.unwrap_or_else(|| panic!("not a trace: {text}")))
    }

    /// What happened before an instant.
    pub(crate) fn before(mut self, end: Time) -> Trace {
        for events in self.0.values_mut() {
            events.retain(|(time, _)| *time < end);
        }
        self.0.retain(|_, events| !events.is_empty());
        self
    }

    /// 48 bits that stand for the trace (FNV-1a): two traces in a hundred million million have the same.
    pub(crate) fn digest(&self) -> u64 {
        digest(self.to_string().as_bytes())
    }

    /// Where two traces part, in words; `None` if they are the same.
    pub(crate) fn difference(&self, asyncio: &Trace) -> Option<String> {
        let none = Vec::new();
        let mut text = String::new();
        let tasks = self.0.keys().chain(asyncio.0.keys());
        let tasks: std::collections::BTreeSet<_> = tasks.collect();
        for task in tasks {
            let ours = self.0.get(task).unwrap_or(&none);
            let theirs = asyncio.0.get(task).unwrap_or(&none);
            let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
            if (ours.len(), theirs.len()) != (same, same) {
                let show = |events: &[(Time, String)]| {
                    let rest = events.iter().skip(same.saturating_sub(1));
                    let rest: Vec<_> = rest
                        .map(|(time, event)| format!("{time} {event}"))
                        .collect();
                    rest.join(", ")
                };
                text += &format!(
                    "task {task} differs from event {same} on:\n  asyncio: {}\n  divisi:  {}\n",
                    show(theirs),
                    show(ours)
                );
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (task, events)) in self.0.iter().enumerate() {
            let divider = if index == 0 { "" } else { " | " };
            write!(f, "{divider}task {task}: ")?;
            for (index, (time, event)) in events.iter().enumerate() {
                let divider = if index == 0 { "" } else { ", " };
                write!(f, "{divider}{time} {event}")?;
            }
        }
        Ok(())
    }
}

pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 16
}
