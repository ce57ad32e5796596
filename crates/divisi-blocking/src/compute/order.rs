//! The order in which waiting jobs are taken: by priority, then by age, and never starved.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How urgent an offloaded job is, compared with the others that wait.
///
/// The most urgent job is taken first, and among equals the oldest. So that less urgent ones are not starved, a job that
/// has waited for 500 ms is *aged*, and every fourth job taken is the oldest aged one, whatever its priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody waits for the result right now.
    High,
    /// The default.
    #[default]
    Normal,
    /// It may wait for everything else.
    Low,
}

impl Priority {
    /// All priorities, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// After how long a wait a job counts as aged. Ours: long against a job (milliseconds), short against a user's patience.
pub(super) const AGED_AFTER: Duration = Duration::from_millis(500);
/// Of so many jobs taken one after the other, one is the oldest aged job. Ours: urgent jobs keep three quarters of the
/// pool even against an endless backlog of aged ones, and such a backlog still moves at a quarter of the full speed.
pub(super) const AGED_SHARE: u32 = 4;

/// The jobs that wait, each with the time of its submission.
#[derive(Debug)]
pub(super) struct Order<J> {
    /// One first-in-first-out queue a priority.
    lines: [VecDeque<(Instant, J)>; Priority::ALL.len()],
    len: usize,
    /// Jobs taken by priority since the last one that was taken for its age.
    since_aged: u32,
}

impl<J> Order<J> {
    pub(super) fn new() -> Self {
        Self {
            lines: std::array::from_fn(|_| VecDeque::new()),
            len: 0,
            since_aged: 0,
        }
    }

    pub(super) fn push(&mut self, priority: Priority, submitted: Instant, job: J) {
        self.lines[priority.index()].push_back((submitted, job));
        self.len += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes the job whose turn it is.
    pub(super) fn pop(&mut self, now: Instant) -> Option<J> {
        let urgent = self.lines.iter().position(|line| !line.is_empty())?;
        let line = match self.oldest_aged(now) {
            Some(aged) if aged == urgent || self.since_aged + 1 >= AGED_SHARE => {
                self.since_aged = 0;
                aged
            }
            _ => {
                self.since_aged = self.since_aged.saturating_add(1);
                urgent
            }
        };
        let (_, job) = self.lines[line].pop_front()?;
        self.len -= 1;
        Some(job)
    }

    /// Takes all jobs, in no particular order.
    pub(super) fn drain(&mut self) -> Vec<J> {
        self.len = 0;
        self.lines
            .iter_mut()
            .flat_map(|line| line.drain(..))
            .map(|(_, job)| job)
            .collect()
    }

    /// The line whose head has waited longest, if that head is aged.
    fn oldest_aged(&self, now: Instant) -> Option<usize> {
        self.lines
            .iter()
            .enumerate()
            .filter_map(|(line, jobs)| Some((jobs.front()?.0, line)))
            .min()
            .filter(|(submitted, _)| now.saturating_duration_since(*submitted) >= AGED_AFTER)
            .map(|(_, line)| line)
    }
}

#[cfg(test)]
mod tests;
