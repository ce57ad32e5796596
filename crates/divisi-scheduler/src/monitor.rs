//! The monitor thread: sees that a worker is stuck in one poll while nobody looks after what waits behind it.
//!
//! The lookout covers that as long as there is one. There is none when all workers slept without limit and the first that woke
//! got stuck at once. The monitor looks every 10 ms while anything runs and then wakes a sleeping worker, which takes the role.
//! If nobody sleeps, it sends a spare (see `spare`).
//!
//! # It starts with the first task
//!
//! Without tasks there is nobody whom a stuck worker could keep waiting, but for a root future without a seat, and threads outside that wait with a
//! driver. So the first spawn starts the monitor, or the first of those, and a runtime that lives for a moment pays for no thread that watches it.
//! If the system refuses the thread, the next spawn tries again.
//!
//! A thread inherits the priority of who starts it. So one of lowered priority leaves that to the worker that takes its task, if there is one to take it;
//! and a worker that finds such a task when it polls its root, which may block it, starts the monitor before that.
//!
//! # It sleeps when all sleep
//!
//! The monitor stores [`ASLEEP`], fences, and looks whether all seats are parked; a worker clears its own parked bit,
//! fences, and loads the state. One of the two comes first, so either the monitor sees the worker and stays awake,
//! or the worker sees the monitor asleep and wakes it. Model: `loom_tests` below.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use divisi_task::TaskState;

use crate::config::{MONITOR_PERIOD, SLOW_PATIENCE};
use crate::lowered;
use crate::metrics::Counter;
use crate::shared::{Phase, Shared};
use crate::spare::{self, Stall, StallOutcome};
use crate::sync::{AtomicUsize, Ordering, fence};
use crate::thread_state::{Sample, ThreadNumber};
use crate::threads::Threads;

/// Looks without any activity after which the monitor sleeps until it is stirred.
const QUIET_LOOKS: u32 = 2;
/// The monitor does not look more often than this, however low the stall threshold.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);
/// At most one stall a second is reported; the next report counts the others.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

const AWAKE: usize = 0;
const ASLEEP: usize = 1;
const NOT_STARTED: usize = 2;

#[derive(Debug)]
pub(crate) struct Monitor {
    thread: OnceLock<Thread>,
    /// [`AWAKE`], [`ASLEEP`] or [`NOT_STARTED`].
    state: AtomicUsize,
    pub(crate) wakeups: Counter,
    /// Polls that were taken for stuck.
    pub(crate) stalls: Counter,
}

impl Monitor {
    /// A monitor for those who have `helpers`. Without any there is nothing that it could do, and it never starts.
    pub(crate) fn new(helpers: bool) -> Monitor {
        Monitor {
            thread: OnceLock::new(),
            state: AtomicUsize::new(if helpers { NOT_STARTED } else { AWAKE }),
            wakeups: Counter::default(),
            stalls: Counter::default(),
        }
    }

    /// A worker has left its sleep for something to do.
    pub(crate) fn stir(&self) {
        // Pairs with the fence in `fall_asleep`.
        fence(Ordering::SeqCst);
        if self.is_asleep() && self.rouse() {
            self.wake();
        }
    }

    fn rouse(&self) -> bool {
        self.state
            .compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Whether it is to be started with the next task.
    #[inline]
    pub(crate) fn is_missing(&self) -> bool {
        self.state.load(Ordering::Relaxed) == NOT_STARTED
    }

    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Announces the sleep. Returns false, with the announcement taken back, if somebody is not parked.
    fn fall_asleep(&self, all_resting: impl Fn() -> bool) -> bool {
        self.state.store(ASLEEP, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if all_resting() {
            return true;
        }
        self.state.store(AWAKE, Ordering::SeqCst);
        false
    }

    fn is_asleep(&self) -> bool {
        self.state.load(Ordering::SeqCst) == ASLEEP
    }
}

/// A task is spawned, or one of those others comes, and the monitor [is missing](Monitor::is_missing).
#[cold]
pub(crate) fn start_for_spawn(shared: &Arc<Shared>) {
    if !(lowered::is_marked() && shared.idle.any_parked()) {
        start(shared);
    }
}

/// Starts the monitor thread, once. While the scheduler is being stopped the thread may outlive the stop, for as long as it takes to see that.
pub(crate) fn start(shared: &Arc<Shared>) {
    if !shared.monitor.is_missing() || shared.phase() != Phase::Running {
        return;
    }
    let state = &shared.monitor.state;
    let first = state.compare_exchange(NOT_STARTED, AWAKE, Ordering::SeqCst, Ordering::SeqCst);
    if first.is_ok() && Threads::start(shared, shared.seats.len(), run).is_err() {
        state.store(NOT_STARTED, Ordering::SeqCst);
    }
}

/// What the monitor knows of a worker that was not resting at the last look.
#[derive(Clone, Copy)]
struct Watched {
    polls: u64,
    /// When this number of polls was first seen.
    since: Instant,
    /// What the thread was doing when the number was seen for the second time.
    sample: Option<Sample>,
    sampled: Instant,
    reported: bool,
}

/// The body of the monitor thread.
fn run(shared: &Arc<Shared>) {
    let monitor = &shared.monitor;
    let _ = monitor.thread.set(thread::current());
    let threshold = shared.spares.as_ref().map(|spares| spares.threshold);
    let period = threshold.map_or(MONITOR_PERIOD, |threshold| {
        (threshold / 2).clamp(SHORTEST_PERIOD, MONITOR_PERIOD)
    });
    let mut watched: Vec<Option<Watched>> = vec![None; shared.seats.len()];
    let mut reporter = Reporter::default();
    let mut polls_before = None;
    let mut quiet = 0;
    let mut slow = (0, 0);
    while shared.phase() == Phase::Running {
        monitor.wakeups.add(1);
        let polls = shared.total_polls();
        if shared.idle.all_resting() && polls_before == Some(polls) {
            quiet += 1;
        } else {
            quiet = 0;
        }
        polls_before = Some(polls);
        if quiet >= QUIET_LOOKS && monitor.fall_asleep(|| shared.idle.all_resting()) {
            while monitor.is_asleep() && shared.phase() == Phase::Running {
                thread::park();
            }
            quiet = 0;
            watched.fill(None);
        }
        thread::park_timeout(period);
        let now = Instant::now();
        shared.count_look();
        slow = relieve_slow_lane(shared, slow);
        for index in 0..shared.seats.len() {
            let stuck_for = watch(shared, index, &mut watched[index], now);
            let Some(stuck_for) = stuck_for.filter(|time| *time >= period) else {
                continue;
            };
            if shared.idle.any_parked() {
                if !shared.lookout.is_on_duty(shared) {
                    shared.wake_any();
                }
            } else if threshold.is_some_and(|threshold| stuck_for >= threshold)
                && !shared.seats[index].replaced.load(Ordering::Relaxed)
                && something_waits(shared, index)
                && watched[index]
                    .as_mut()
                    .is_some_and(|watched| is_stuck(shared, index, watched, now))
            {
                let outcome = spare::send(shared, index);
                let first = watched[index]
                    .as_mut()
                    .is_some_and(|watched| !std::mem::replace(&mut watched.reported, true));
                if first {
                    monitor.stalls.add(1);
                    reporter.report(shared, index, stuck_for, outcome);
                }
            }
        }
    }
}

/// Moves what waits in the slow lane to the injector if no worker has taken anything from it for long. Takes and returns how many
/// tasks were taken so far, and at how many looks in a row there was no change.
fn relieve_slow_lane(shared: &Shared, (taken, looks): (u64, u32)) -> (u64, u32) {
    let now = shared.slow_lane.taken();
    if now != taken || shared.slow_lane.is_empty() {
        return (now, 0);
    }
    if looks < SLOW_PATIENCE {
        return (now, looks + 1);
    }
    while let Some(task) = shared.slow_lane.take() {
        shared.injector.push(task);
    }
    // Contains the fence that the module doc of `shared` asks for.
    shared.wake_for_work();
    shared.drop_if_stopped();
    (shared.slow_lane.taken(), 0)
}

/// How long the worker of a seat has been in the same poll.
fn watch(
    shared: &Shared,
    index: usize,
    watched: &mut Option<Watched>,
    now: Instant,
) -> Option<Duration> {
    if shared.idle.is_resting(index) {
        *watched = None;
        return None;
    }
    let polls = shared.seats[index].counters.all_polls();
    match watched {
        Some(watched) if watched.polls == polls => Some(now - watched.since),
        _ => {
            *watched = Some(Watched {
                polls,
                since: now,
                sample: None,
                sampled: now,
                reported: false,
            });
            None
        }
    }
}

/// Whether a poll that has lasted long is blocked or computes, rather than waits for a core. One that does wait begins anew.
fn is_stuck(shared: &Shared, index: usize, watched: &mut Watched, now: Instant) -> bool {
    let thread = ThreadNumber::from_raw(shared.seats[index].thread.load(Ordering::Relaxed));
    if thread == ThreadNumber::default() {
        // The seat is changing hands: its next holder waits for a core.
        return false;
    }
    let Some(sample) = Sample::of(thread) else {
        return true;
    };
    if sample.blocked {
        return true;
    }
    let Some(before) = watched.sample.replace(sample) else {
        watched.sampled = now;
        return false;
    };
    let passed = now - std::mem::replace(&mut watched.sampled, now);
    let used = Duration::from_nanos(sample.used.saturating_sub(before.used));
    if used * 2 >= passed {
        return true;
    }
    watched.since = now;
    false
}

/// Whether a spare would find anything to do that the stuck worker keeps waiting.
fn something_waits(shared: &Shared, stuck: usize) -> bool {
    shared.has_injected()
        || shared.seats.iter().any(|seat| seat.queue_length() > 0)
        || shared.seats[stuck].driver().has_interest()
}

/// Keeps reports few.
#[derive(Default)]
struct Reporter {
    last: Option<Instant>,
    unreported: u64,
}

impl Reporter {
    fn report(&mut self, shared: &Shared, seat: usize, lasted: Duration, outcome: StallOutcome) {
        let Some(spares) = &shared.spares else { return };
        if self.last.is_some_and(|last| last.elapsed() < REPORT_PAUSE) {
            self.unreported += 1;
            return;
        }
        self.last = Some(Instant::now());
        let number = shared.seats[seat].polling.load(Ordering::Relaxed);
        let task = shared
            .registry
            .list()
            .into_iter()
            .find(|task| task.id().as_u64() == number && task.state() == TaskState::Running);
        let unreported = std::mem::take(&mut self.unreported);
        let stall = Stall {
            task,
            lasted,
            outcome,
            unreported,
        };
        // A panic of the user's handler must not end the monitor; the panic hook has told of it.
        let _ = catch_unwind(AssertUnwindSafe(|| (spares.report)(stall)));
    }
}

/// `RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-scheduler --release --lib loom`
#[cfg(all(test, divisi_loom))]
mod loom_tests {
    use super::*;
    use crate::idle::Idle;
    use loom::sync::Arc;

    #[test]
    fn loom_a_worker_that_wakes_is_seen_or_stirs_the_monitor() {
        loom::model(|| {
            let idle = Arc::new(Idle::new(1, 1));
            let monitor = Arc::new(Monitor::new(true));
            // As `start` leaves it.
            monitor.state.store(AWAKE, Ordering::SeqCst);
            idle.park(0);
            let worker = loom::thread::spawn({
                let (idle, monitor) = (idle.clone(), monitor.clone());
                move || {
                    idle.unpark(0);
                    monitor.stir();
                }
            });
            let slept = monitor.fall_asleep(|| idle.all_resting());
            worker.join().unwrap();
            assert!(
                !slept || !monitor.is_asleep(),
                "the monitor sleeps while a worker runs"
            );
        });
    }
}
