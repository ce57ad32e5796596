//! The slow lane: tasks whose polls take long wait apart from all others.
//!
//! A task that computes inside its polls costs whatever is queued behind it the whole of each poll, times the number of such tasks ahead.
//! So a task that computed through a whole long poll, or two of whose timed polls in a row were long, is *marked*, and from then on waits here. A worker takes from here when nothing else is ready, or when it
//! has not done so for [`SLOW_TURN`]. What answers events then waits for the polls that run at the moment, however many tasks compute.
//!
//! * Polls are timed while it is known that some are long: the next [`TIMED_POLLS`] after a maintenance interval that took as long as one long poll.
//!   Those of tasks from here always are. One short poll takes the mark off. One long poll alone proves nothing unless the thread used a core as long: the
//!   system may have taken it away in the middle.
//! * While polls are timed, a worker takes no more injected tasks than it makes polls: nobody knows them, and those that events wake need not wait behind
//!   all of them.
//! * A mark is a hint in a table of fixed size: of two tasks with the same place the later one has it. A task without its mark waits in a run queue.
//! * No task is lost: who pushes here does the producer's half of the parking protocol (see `idle`) among the workers, and a worker looks here before
//!   it sleeps. Spares take nothing from here: they stand in for the sake of what must not wait. Should all workers be stuck for longer than
//!   [`SLOW_PATIENCE`], the monitor moves what is here to the injector, so that spares take it after all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_deque::Injector;
use divisi_task::{Runnable, TaskId};

use crate::config::LONG_POLL;
use crate::settled::settled;
use crate::thread_state;

/// Tasks that can be marked at the same time, if they are lucky with their places: 16 KiB.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 10;

/// The beginning of a poll that is timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimedPoll {
    began: Instant,
    /// Processor time that the thread had used by then, if the system tells.
    used: Option<Duration>,
}

/// What a poll was, next to [`LONG_POLL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollLength {
    Short,
    /// By the clock on the wall.
    Long,
    /// By the processor's time as well.
    Computed,
}

impl TimedPoll {
    pub(crate) fn begin() -> TimedPoll {
        TimedPoll {
            began: Instant::now(),
            used: thread_state::processor_time(),
        }
    }

    /// To be called at the end of the poll, on the same thread.
    pub(crate) fn end(self) -> PollLength {
        if self.began.elapsed() < LONG_POLL {
            return PollLength::Short;
        }
        let used = || Some(thread_state::processor_time()?.saturating_sub(self.used?));
        if used().is_some_and(|used| used >= LONG_POLL) {
            PollLength::Computed
        } else {
            PollLength::Long
        }
    }
}

pub(crate) struct SlowLane {
    queue: Injector<Runnable>,
    /// Made at the first long poll: until then nobody pays for it.
    known: OnceLock<Known>,
    taken: AtomicU64,
}

/// What is known of tasks, by the places that their numbers have; zero is none.
struct Known {
    marks: Box<[AtomicU64]>,
    /// Those whose last timed poll was the first long one.
    suspects: Box<[AtomicU64]>,
}

impl Known {
    fn new() -> Known {
        let table = || (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Known {
            marks: table(),
            suspects: table(),
        }
    }

    fn place(task: TaskId) -> usize {
        // Neighbours in the registry get places apart (Fibonacci hashing).
        let hash = task.as_u64().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash >> (u64::BITS - PLACE_BITS)) as usize
    }

    fn is_marked(&self, task: TaskId) -> bool {
        self.marks[Self::place(task)].load(Ordering::Relaxed) == task.as_u64()
    }
}

impl SlowLane {
    pub(crate) fn new() -> SlowLane {
        SlowLane {
            queue: Injector::new(),
            known: OnceLock::new(),
            taken: AtomicU64::new(0),
        }
    }

    /// Whether the task is marked.
    pub(crate) fn is_for(&self, task: TaskId) -> bool {
        self.known.get().is_some_and(|known| known.is_marked(task))
    }

    /// Marks the task, suspects it, or takes both off, after a poll of that length.
    pub(crate) fn judge(&self, task: TaskId, length: PollLength) {
        let known = match self.known.get() {
            Some(known) => known,
            None if length == PollLength::Short => return,
            None => self.known.get_or_init(Known::new),
        };
        let (place, number) = (Known::place(task), task.as_u64());
        let (mark, suspect) = (&known.marks[place], &known.suspects[place]);
        let suspected = suspect.load(Ordering::Relaxed) == number;
        match length {
            PollLength::Short => {
                if suspected {
                    suspect.store(0, Ordering::Relaxed);
                }
                if known.is_marked(task) {
                    mark.store(0, Ordering::Relaxed);
                }
            }
            PollLength::Long if !suspected => suspect.store(number, Ordering::Relaxed),
            PollLength::Long | PollLength::Computed => mark.store(number, Ordering::Relaxed),
        }
    }

    /// The caller then wakes a worker.
    pub(crate) fn push(&self, task: Runnable) {
        self.queue.push(task);
    }

    pub(crate) fn take(&self) -> Option<Runnable> {
        let task = settled(|| self.queue.steal())?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(task)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Tasks that were taken from here so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    use divisi_task::{Cause, Registry, Schedule, SpawnOptions, UnhandledPanic};

    struct Nowhere;

    impl Schedule for Nowhere {
        fn schedule(&self, _: Runnable, _: Cause) {}
        fn unhandled_panic(&self, _: UnhandledPanic) {}
    }

    #[test]
    fn two_long_polls_in_a_row_mark_a_task_and_a_short_one_takes_the_mark_off() {
        let registry = Registry::new(1);
        let spawn = || {
            let nowhere = Arc::new(Nowhere);
            divisi_task::spawn(async {}, nowhere, &registry, SpawnOptions::new()).unwrap()
        };
        let ((slow, _slow), (quick, _quick)) = (spawn(), spawn());
        let lane = SlowLane::new();
        assert!(!lane.is_for(slow.id()));
        for task in [&slow, &quick] {
            lane.judge(task.id(), PollLength::Long);
            assert!(!lane.is_for(task.id()), "one long poll may be chance");
        }
        lane.judge(quick.id(), PollLength::Short);
        for task in [&slow, &quick] {
            lane.judge(task.id(), PollLength::Long);
        }
        assert!(lane.is_for(slow.id()) && !lane.is_for(quick.id()));
        lane.judge(slow.id(), PollLength::Short);
        assert!(!lane.is_for(slow.id()));
        lane.judge(slow.id(), PollLength::Computed);
        assert!(lane.is_for(slow.id()), "that was no chance");
    }

    #[test]
    fn a_poll_that_waits_is_long_and_one_that_works_has_computed() {
        // The system may take the core away in between.
        assert!((0..100).any(|_| TimedPoll::begin().end() == PollLength::Short));
        let ended = |used| {
            let began = Instant::now()
                .checked_sub(LONG_POLL)
                .expect("the system runs for longer");
            TimedPoll { began, used }.end()
        };
        assert!((0..100).any(|_| ended(thread_state::processor_time()) == PollLength::Long));
        assert_eq!(ended(None), PollLength::Long);
        if cfg!(target_os = "linux") {
            while thread_state::processor_time().unwrap() < LONG_POLL {
                std::hint::black_box((0..1000).sum::<u64>());
            }
            assert_eq!(ended(Some(Duration::ZERO)), PollLength::Computed);
        }
    }
}
