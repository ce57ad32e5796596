//! How a runtime ends.
//!
//! 1. *Stop accepting*: spawns from threads outside the runtime are refused.
//! 2. *Cancel groups*, if there is a grace: tasks that are inside a [group](crate::group) or [scope](crate::scope), or come to one, clean up
//!    and end.
//! 3. *Grace*: the tasks that live may end by themselves; they may still spawn, block and compute.
//! 4. *Abort*: every spawn is refused; tasks that still live are cancelled, which drops their futures at once unless they are inside a poll.
//!    Then the clean-ups that the dropped futures left behind run here, up to their limit; see [`cleanup`](crate::cleanup). Polls that go on get
//!    a part of the patience to return, so that theirs run too.
//! 5. *Pools*: jobs that have not started are cancelled; running ones get until the deadline.
//! 6. *Stop*: workers leave as soon as the poll they are in returns; those that have not by the deadline are reported and left alone.
//! 7. *Close*: the reactors wake whoever still waits, with an error.
//! 8. *Companions*: tokio's runtime beside this one, if there is one, ends last.

use std::fmt;
use std::time::{Duration, Instant};

use divisi_task::{CancelReason, TaskState};

use super::tasks::TaskInfo;
use super::{Inner, Report, cleanups};

/// How long a dropped runtime waits for polls and jobs that do not return.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// How a runtime shall end; see [`Runtime::shutdown`](crate::Runtime::shutdown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    grace: Duration,
    patience: Duration,
}

impl Shutdown {
    /// Lets tasks end by themselves for `grace`, then cancels what is left.
    ///
    /// Tasks that are inside a [task group](crate::task_group), a [cancel scope](crate::scope) or a limit of time around such are told at once: their scopes
    /// are cancelled, so that their clean-ups run, and then they end as cancelled, in the grace. So do those that come to one during the grace. What
    /// must not be cut short there needs a [`shield`](crate::scope::shield) around it. The root future of [`block_on`](crate::Runtime::block_on) is left alone.
    pub fn graceful(grace: Duration) -> Shutdown {
        Shutdown {
            grace,
            patience: DROP_PATIENCE,
        }
    }

    /// Cancels all tasks at once. This is what dropping a runtime does.
    pub fn now() -> Shutdown {
        Shutdown::graceful(Duration::ZERO)
    }

    /// How long to wait, after tasks were cancelled, for polls and blocking or compute jobs that cannot be interrupted; 5 s if not given.
    /// Whatever has not returned by then is reported and left behind.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Shutdown {
        self.patience = patience;
        self
    }
}

/// What a shutdown found; see [`Runtime::shutdown`](crate::Runtime::shutdown).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that had not ended when the grace was over, and were cancelled.
    pub cancelled: Vec<TaskInfo>,
    /// Tasks and jobs that were still inside a poll or a closure at the very end. Their threads were left behind.
    pub stuck: Vec<TaskInfo>,
    /// Clean-ups whose future had been dropped, so that they ran at the root of the runtime; see
    /// [`finally_owned`](crate::cleanup::finally_owned). Counted over the life of the runtime.
    pub cleanups_adopted: usize,
    /// Those of them that had not ended when their limit was over.
    pub cleanups_cut_off: usize,
    /// Sockets, pipes and descriptors of child processes that somebody still had when all tasks were gone, of those that ever waited here. They
    /// give errors from now on. [Debug mode](crate::runtime::Builder::debug) reports them.
    pub sources_left: usize,
    /// How long the shutdown took.
    pub took: Duration,
}

impl ShutdownReport {
    /// Whether everything ended by itself.
    pub fn is_clean(&self) -> bool {
        self.cancelled.is_empty() && self.stuck.is_empty() && self.cleanups_cut_off == 0
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "shut down in {:.3} s: {} cancelled, {} stuck",
            self.took.as_secs_f64(),
            self.cancelled.len(),
            self.stuck.len()
        )?;
        if self.cleanups_cut_off != 0 {
            write!(f, ", {} clean-ups cut off", self.cleanups_cut_off)?;
        }
        if self.sources_left != 0 {
            write!(f, ", {} sources left open", self.sources_left)?;
        }
        for task in &self.cancelled {
            write!(f, "\n  cancelled: {task}")?;
        }
        for task in &self.stuck {
            write!(f, "\n  stuck: {task}")?;
        }
        Ok(())
    }
}

/// `begin + wait`, or half a century on if that is beyond the clock.
pub(crate) fn deadline(begin: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(50 * 365 * 24 * 3600);
    begin.checked_add(wait).unwrap_or(begin + FAR)
}

/// Runs the clean-ups of the tasks that were aborted, also of those that are inside a poll yet and are dropped when that returns. Jobs of the pools are not
/// waited for. Returns how many clean-ups were cut off, and how long polls were waited for, which is part of the patience.
fn settle(inner: &Inner, patience: Duration) -> (usize, Duration) {
    /// How long a clean-up may have to wait while tasks are inside a poll yet.
    const RECHECK: Duration = Duration::from_millis(1);

    let own = divisi_task::current::id();
    let inside_a_poll = || {
        let tasks = inner.registry().list();
        let mut ids = tasks.iter().map(divisi_task::TaskRef::id);
        ids.any(|id| Some(id) != own && id.shard() as usize != inner.job_shard())
    };
    let limit = patience.min(inner.cleanup_deadline());
    let (mut cut_off, mut waited) = (0, Duration::ZERO);
    loop {
        // Before the clean-ups are taken: a task leaves its own behind before it is gone.
        let last = waited >= limit || !inside_a_poll();
        cut_off += cleanups::run(inner);
        if last {
            return (cut_off, waited);
        }
        let begin = Instant::now();
        inner.scheduler().wait_empty(deadline(begin, RECHECK));
        waited += begin.elapsed();
    }
}

/// Runs the phases. `wait_empty` blocks until no task lives or the deadline has passed.
pub(crate) fn run(
    inner: &Inner,
    how: Shutdown,
    wait_empty: impl FnOnce(Instant),
) -> ShutdownReport {
    let begin = Instant::now();
    inner.stop_accepting();
    if how.grace > Duration::ZERO {
        let why = CancelReason::new("its runtime is being shut down");
        inner.roots().cancel(why);
        wait_empty(deadline(begin, how.grace));
    }

    inner.scheduler().close();
    let mut alive = Vec::with_capacity(inner.registry().len());
    let mut cancelled = Vec::with_capacity(alive.capacity());
    inner.registry().for_each(|task| {
        if task.state() != TaskState::Finished && !inner.orphans().has(task.id()) {
            cancelled.push(TaskInfo::from(&task));
        }
        alive.push(task);
    });
    for task in alive {
        inner.abort(&task);
    }
    let (mut cleanups_cut_off, waited) = settle(inner, how.patience);

    let end = deadline(Instant::now(), how.patience.saturating_sub(waited));
    // Jobs that are still queued may have clean-ups, too.
    inner.close_pools();
    cleanups_cut_off += cleanups::run(inner);
    // Before the pools are waited for: a job that does not end must not use up the workers' share of the patience.
    inner.scheduler().begin_stop();
    inner.stop_pools(end);
    let stopped = inner.scheduler().stop(end);
    // Tasks that were inside a poll when they were cancelled, and whose worker left before it saw that.
    for task in inner.registry().list() {
        inner.abort(&task);
    }
    // Whoever shuts down from inside is still there, and not stuck.
    let own = divisi_task::current::id();
    let stuck = inner
        .registry()
        .list()
        .iter()
        .filter(|task| Some(task.id()) != own)
        .map(TaskInfo::from)
        .collect();
    cleanups_cut_off += cleanups::refuse(inner);
    drop(stopped);
    let reactors = inner.every_reactor();
    let sources_left = reactors.map(|reactor| reactor.metrics().sources).sum();
    if inner.debugs() && sources_left > 0 {
        inner.handler().handle(&Report::warning(format!(
            "{sources_left} sockets, pipes or child processes were left open when their runtime was shut down: drop them before it, or let its tasks own them"
        )));
    }
    inner.close_reactors();
    inner.stop_companions(end);
    ShutdownReport {
        cancelled,
        stuck,
        cleanups_adopted: inner.orphans().total(),
        cleanups_cut_off,
        sources_left,
        took: begin.elapsed(),
    }
}
