//! The order in which waiting jobs are taken: by priority, callers in turn, and never starved.

use std::collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry};
use std::time::{Duration, Instant};

use divisi_task::TaskId;

/// How urgent an offloaded job is, compared with the others that wait.
///
/// The most urgent job is taken first. Among equals the tasks that submitted them take turns, so that one with ten thousand jobs
/// does not keep another's first one waiting; and each task's jobs are taken in order (threads outside any task count as one).
/// So that less urgent ones are not starved, a job that has waited for 500 ms is *aged*, and every fourth job taken is
/// the oldest aged one, whatever its priority.
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

/// So many callers without jobs a line remembers, beside as many as it has jobs. Ours: some kilobytes.
const MOST_IDLE_CALLERS: usize = 64;

/// Who submitted a job: a task, or whoever is none.
pub(super) type Caller = Option<TaskId>;

/// The jobs that wait, each with the time of its submission.
#[derive(Debug)]
pub(super) struct Order<J, C = Caller> {
    lines: [Line<J, C>; Priority::ALL.len()],
    len: usize,
    /// Jobs taken by priority since the last one that was taken for its age.
    since_aged: u32,
}

impl<J, C: Copy + Eq + std::hash::Hash> Order<J, C> {
    pub(super) fn new() -> Self {
        Self {
            lines: std::array::from_fn(|_| Line::default()),
            len: 0,
            since_aged: 0,
        }
    }

    pub(super) fn push(&mut self, priority: Priority, caller: C, submitted: Instant, job: J) {
        self.lines[priority.index()].push(caller, submitted, job);
        self.len += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes the job whose turn it is.
    pub(super) fn pop(&mut self, now: Instant) -> Option<J> {
        let urgent = self.lines.iter().position(|line| !line.is_empty())?;
        let aged = self
            .oldest_aged(now)
            .filter(|_| self.since_aged + 1 >= AGED_SHARE);
        let job = if let Some(aged) = aged {
            self.since_aged = 0;
            self.lines[aged].take_oldest()
        } else {
            self.since_aged = self.since_aged.saturating_add(1).min(AGED_SHARE);
            self.lines[urgent].take_next()
        };
        debug_assert!(job.is_some(), "a line that is not empty has a job to take");
        self.len -= 1;
        job
    }

    /// Takes all jobs, in no particular order.
    pub(super) fn drain(&mut self) -> Vec<J> {
        self.len = 0;
        std::mem::replace(&mut self.lines, std::array::from_fn(|_| Line::default()))
            .into_iter()
            .flat_map(Line::into_jobs)
            .collect()
    }

    /// The line whose oldest job has waited longest, if that is aged.
    fn oldest_aged(&self, now: Instant) -> Option<usize> {
        self.lines
            .iter()
            .enumerate()
            .filter_map(|(line, jobs)| Some((jobs.oldest()?, line)))
            .min()
            .filter(|(submitted, _)| now.saturating_duration_since(*submitted) >= AGED_AFTER)
            .map(|(_, line)| line)
    }
}

/// The jobs of one priority.
///
/// Each caller that waits is in `turns` once; a caller whose jobs were all taken for their age stays there until its turn
/// comes, so that it cannot get two turns by coming back; or until there are [`MOST_IDLE_CALLERS`] of them, for then the turn may never come.
#[derive(Debug)]
struct Line<J, C> {
    /// By age. Jobs are numbered as they come in.
    jobs: BTreeMap<u64, Waiting<J, C>>,
    next_number: u64,
    callers: HashMap<C, VecDeque<u64>>,
    turns: VecDeque<C>,
}

#[derive(Debug)]
struct Waiting<J, C> {
    caller: C,
    submitted: Instant,
    job: J,
}

impl<J, C> Default for Line<J, C> {
    fn default() -> Self {
        Self {
            jobs: BTreeMap::new(),
            next_number: 0,
            callers: HashMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<J, C: Copy + Eq + std::hash::Hash> Line<J, C> {
    fn push(&mut self, caller: C, submitted: Instant, job: J) {
        let number = self.next_number;
        self.next_number += 1;
        let waiting = Waiting {
            caller,
            submitted,
            job,
        };
        self.jobs.insert(number, waiting);
        match self.callers.entry(caller) {
            Entry::Occupied(mut own) => own.get_mut().push_back(number),
            Entry::Vacant(new) => {
                new.insert(VecDeque::from([number]));
                self.turns.push_back(caller);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn oldest(&self) -> Option<Instant> {
        self.jobs
            .first_key_value()
            .map(|(_, waiting)| waiting.submitted)
    }

    fn take_oldest(&mut self) -> Option<J> {
        let (number, waiting) = self.jobs.pop_first()?;
        let own = self.callers.get_mut(&waiting.caller);
        // The oldest of all is the oldest of its caller.
        let taken = own.and_then(VecDeque::pop_front);
        debug_assert_eq!(taken, Some(number));
        if self.turns.len() > 2 * self.jobs.len() + MOST_IDLE_CALLERS {
            self.forget_idle_callers();
        }
        Some(waiting.job)
    }

    /// Forgets callers whose jobs were all taken.
    fn forget_idle_callers(&mut self) {
        self.callers.retain(|_, own| !own.is_empty());
        let callers = &self.callers;
        self.turns.retain(|caller| callers.contains_key(caller));
    }

    /// Takes the first job of the caller whose turn it is.
    fn take_next(&mut self) -> Option<J> {
        loop {
            let caller = self.turns.pop_front()?;
            let Entry::Occupied(mut own) = self.callers.entry(caller) else {
                unreachable!("who has a turn is known");
            };
            let Some(number) = own.get_mut().pop_front() else {
                own.remove();
                continue;
            };
            if own.get().is_empty() {
                own.remove();
            } else {
                self.turns.push_back(caller);
            }
            return self.jobs.remove(&number).map(|waiting| waiting.job);
        }
    }

    fn into_jobs(self) -> impl Iterator<Item = J> {
        self.jobs.into_values().map(|waiting| waiting.job)
    }
}

#[cfg(test)]
mod tests;
