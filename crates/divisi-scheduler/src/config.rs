//! What a scheduler is built from, and the numbers that steer it.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divisi_task::{Registry, Runnable, TaskRef, UnhandledPanic};

use crate::census::Jump;
use crate::park::Park;
use crate::spare::Stall;

/// Polls between two looks at the driver and the injector by a worker that always has something to run.
/// 61 is Go's and tokio's number: prime, so that it does not resonate with loops of user code.
pub(crate) const TICKS_PER_MAINTENANCE: u32 = 61;
/// The same interval in time: with long polls the worker looks more often than every 61 of them.
pub(crate) const MAINTENANCE_PERIOD: Duration = Duration::from_micros(100);
/// Events that a busy worker takes from its driver in one look; the rest waits for the next, so that a burst cannot
/// fill the run queue faster than it drains.
pub(crate) const EVENTS_PER_BUSY_LOOK: usize = 64;
/// Polls in a row that may come from the run slot before the run queue gets its turn.
pub(crate) const SLOT_STREAK: u32 = 3;
/// A run queue this long is worth a second core: its owner wakes a peer, and thieves take from it without waiting.
/// Below it the owner is done sooner than a peer is awake (a wake-up is 5 to 10 us, a short poll 0.1 us).
pub(crate) const LONG_QUEUE: usize = 8;
/// Most injected tasks that a busy worker takes over in one look. They are older than what it will queue itself until the next.
pub(crate) const INJECTED_SHARE: usize = 256;
/// Most tasks that one theft moves.
pub(crate) const STEAL_BATCH: usize = 32;
/// The lookout's first wait while queued tasks of a busy worker might grow old, and the age from which they are stolen.
pub(crate) const FIRST_LOOK: Duration = Duration::from_micros(50);
/// After so many looks more that found at least [`BACKLOG`] tasks queued than that did not, a worker has more to do than its core can, and the
/// lookout moves up to half of it over for good. Queues of a worker with time to spare are empty at most looks, so that is chance only rarely.
pub(crate) const BACKLOG_LOOKS: u32 = 4;
/// Two tasks that wake each other in turn are never queued both, and gain nothing from a second core.
pub(crate) const BACKLOG: usize = 2;
/// A worker that has slept for less than this part of the time takes nothing over for good: two that are about equally busy would
/// hand the same tasks to and fro.
pub(crate) const IDLE_ENOUGH: f32 = 0.25;
/// The lookout's longest wait while another worker is inside a poll.
pub(crate) const BUSY_LOOK: Duration = Duration::from_millis(1);
/// The lookout's longest wait while all workers sleep but have run something lately; after one such wait without any
/// activity it sleeps without limit.
pub(crate) const QUIET_LOOK: Duration = Duration::from_millis(8);
/// A poll this long keeps others waiting that could be answered at once: ten times the period at which the reactor is polled.
pub(crate) const LONG_POLL: Duration = Duration::from_millis(1);
/// Polls that are timed after some poll was found to be long: a run queue's worth.
pub(crate) const TIMED_POLLS: u32 = 64;
/// A worker that always has something else to run takes a task from the slow lane that often, so those make progress at half of a core's speed or
/// so, with polls of ten milliseconds.
pub(crate) const SLOW_TURN: Duration = Duration::from_millis(10);
/// The looks of the monitor in a row without anybody taking from the slow lane after which what waits there goes to the injector: a second, with
/// the usual period.
pub(crate) const SLOW_PATIENCE: u32 = 100;
/// How often the monitor looks while anything runs.
pub(crate) const MONITOR_PERIOD: Duration = Duration::from_millis(10);
/// How long `block_on` waits for seat 0 to be handed over by a worker that is inside a poll before it does without.
pub(crate) const SEAT_PATIENCE: Duration = Duration::from_millis(10);
/// How long it waits for a worker that is not: until the system lets that thread run, or until wakers of others that it calls return.
pub(crate) const IDLE_SEAT_PATIENCE: Duration = Duration::from_secs(1);

/// Spare workers: threads that work in the place of workers that are stuck in one poll.
pub struct Spares {
    /// The most spares at a time.
    pub most: usize,
    /// A worker that stays in one poll for this long, while work or events wait behind it, is stuck.
    pub threshold: Duration,
    /// Makes the driver of a spare's seat, when it is needed for the first time.
    pub driver: Box<dyn Fn(usize) -> io::Result<Box<dyn Park>> + Send + Sync>,
    /// Told of every stall that needed a spare.
    pub report: Box<dyn Fn(Stall) + Send + Sync>,
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares")
            .field("most", &self.most)
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

/// Telling of polls that take long, for debugging: each poll is timed, which costs two looks at the clock.
pub struct LongPolls {
    /// A poll longer than this is told of, when it is over.
    pub threshold: Duration,
    /// Told the task and how long its poll took, on the worker.
    pub report: ReportLongPoll,
}

/// What is told of a long poll.
pub type ReportLongPoll = Box<dyn Fn(&TaskRef, Duration) + Send + Sync>;

impl LongPolls {
    pub(crate) fn watch(&self, task: Runnable) {
        let (polled, begin) = (task.task(), Instant::now());
        task.run();
        let took = begin.elapsed();
        if took > self.threshold {
            (self.report)(&polled, took);
        }
    }
}

impl fmt::Debug for LongPolls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongPolls")
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

/// Runs on a thread that takes a seat, with the seat's number; what it returns is dropped when the thread leaves the seat.
pub type EnterSeat = Arc<dyn Fn(usize) -> Box<dyn Any> + Send + Sync>;

/// The parts and choices that a [`Scheduler`](crate::Scheduler) is built from.
pub struct Setup {
    /// One driver a seat; their number is the number of workers.
    pub drivers: Vec<Box<dyn Park>>,
    /// Where all tasks are listed.
    pub registry: Arc<Registry>,
    /// Whether background threads hold the seats. Without them only `block_on` and `turn` run tasks.
    pub background: bool,
    /// The name of the background thread of a seat.
    pub thread_name: Arc<dyn Fn(usize) -> String + Send + Sync>,
    /// Stack size of background threads in bytes; `None` leaves std's default.
    pub stack_size: Option<usize>,
    /// Runs on every thread that takes a seat.
    pub enter: EnterSeat,
    /// Receives panics that no handle will see.
    pub unhandled_panic: Arc<dyn Fn(UnhandledPanic) + Send + Sync>,
    /// Spare workers, if there shall be any.
    pub spares: Option<Spares>,
    /// Whom to tell of long polls, if anybody.
    pub long_polls: Option<LongPolls>,
    /// With a virtual clock: if its argument says that nothing runs, moves time to the next deadline, fires what is due and says
    /// whether there was any. It must ask after it has made sure that no driver is handing out what came due before.
    pub jump: Option<Jump>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("workers", &self.drivers.len())
            .field("background", &self.background)
            .field("stack_size", &self.stack_size)
            .field("virtual_clock", &self.jump.is_some())
            .finish_non_exhaustive()
    }
}
