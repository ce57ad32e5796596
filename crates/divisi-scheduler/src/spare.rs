//! Spare workers: a worker that is stuck in one poll costs its own task only.
//!
//! When the monitor finds a worker stuck while something waits behind it and nobody sleeps who could look after that, it *sends a spare*:
//! a thread that holds a seat of its own, with a queue and a driver of its own. The stuck worker keeps its seat. Its queue is drained by thieves and
//! its driver polled by the lookout, as for any busy worker; the spare provides the idle time in which that happens. A spare that is busy itself
//! polls that driver as often as its own.
//!
//! * `wanted` is the number of seats marked `replaced`, `present` the number of spares that hold a seat.
//! * The monitor marks the stuck seat and raises both; the stuck worker, back from its poll, takes the mark off and lowers `wanted`
//!   ([`recall`]). Either may come first, and each mark is taken off once, by an atomic swap.
//! * A spare between two polls that finds `present > wanted` lowers `present` and retires, one per surplus. What is registered with its driver is
//!   evacuated: those who wait are woken and register with the worker that runs them next. What is queued goes to the injector.
//!
//! So at most one spare runs for each stuck worker, and after the last stuck poll has returned every spare is gone after its own current poll.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Duration;

use divisi_task::TaskRef;

use crate::context;
use crate::shared::{Phase, Shared};
use crate::threads::Threads;
use crate::worker::Worker;

/// A poll that kept its worker for longer than the threshold while work or events waited behind it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stall {
    /// The task that is polled; `None` for the root future of a `block_on`, or if the poll ended just now.
    pub task: Option<TaskRef>,
    /// How long the poll has lasted, at least.
    pub lasted: Duration,
    /// What was done about it.
    pub outcome: StallOutcome,
    /// Stalls since the last report that were not reported, to keep reports few.
    pub unreported: u64,
}

/// What was done about a [`Stall`].
#[derive(Debug)]
#[non_exhaustive]
pub enum StallOutcome {
    /// A spare worker runs in place of the stuck one.
    SpareSent,
    /// All spares run already, so work may have to wait.
    NoSpareLeft,
    /// The operating system refused a thread or a poller for a spare.
    Refused(io::Error),
}

/// How many spares there should be and are.
#[derive(Debug, Default)]
pub(crate) struct Muster {
    wanted: AtomicUsize,
    present: AtomicUsize,
}

impl Muster {
    /// Takes one of the surplus away, if there is any: the caller retires.
    fn take_surplus(&self) -> bool {
        let wanted = self.wanted.load(Ordering::Acquire);
        self.present
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |present| {
                (present > wanted).then(|| present - 1)
            })
            .is_ok()
    }

    fn has_surplus(&self) -> bool {
        self.present.load(Ordering::Acquire) > self.wanted.load(Ordering::Acquire)
    }
}

/// Sends a spare for the worker of `stuck`. Called by the monitor alone.
pub(crate) fn send(shared: &Arc<Shared>, stuck: usize) -> StallOutcome {
    let Some(spares) = &shared.spares else {
        return StallOutcome::NoSpareLeft;
    };
    let free = (shared.workers..shared.seats.len()).find(|&index| shared.idle.is_absent(index));
    let Some(index) = free else {
        return StallOutcome::NoSpareLeft;
    };
    if let Err(error) = shared.seats[index].equip(|| (spares.driver)(index)) {
        return StallOutcome::Refused(error);
    }
    shared.idle.arrive(index);
    shared.muster.wanted.fetch_add(1, Ordering::AcqRel);
    shared.muster.present.fetch_add(1, Ordering::AcqRel);
    let polls = shared.seats[stuck].counters.all_polls();
    shared.seats[stuck].replaced.store(true, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if shared.idle.is_resting(stuck) || shared.seats[stuck].counters.all_polls() != polls {
        // It came back meanwhile, and may have passed its own recall.
        recall(shared, stuck);
    }
    if let Err(error) = Threads::start(shared, index, move |shared| work(shared, index)) {
        shared.muster.present.fetch_sub(1, Ordering::AcqRel);
        recall(shared, stuck);
        vacate(shared, index);
        return StallOutcome::Refused(error);
    }
    StallOutcome::SpareSent
}

/// The worker of `seat` has returned from its poll: its spare is not needed any more.
#[inline]
pub(crate) fn recall(shared: &Shared, seat: usize) {
    let replaced = &shared.seats[seat].replaced;
    if replaced.load(Ordering::Relaxed) && replaced.swap(false, Ordering::AcqRel) {
        recall_one(shared);
    }
}

#[cold]
fn recall_one(shared: &Shared) {
    shared.muster.wanted.fetch_sub(1, Ordering::AcqRel);
    for index in shared.workers..shared.seats.len() {
        if let Some(driver) = shared.seats[index].existing_driver() {
            driver.unpark();
        }
    }
}

/// The life of a spare.
fn work(shared: &Arc<Shared>, index: usize) {
    let _entered_hook = (shared.enter)(index);
    let seat = &shared.seats[index];
    let Some(core) = seat.take_now() else {
        unreachable!("an absent seat has its core in the chair");
    };
    let entered = context::enter(shared, index, core);
    let worker = Worker::new(entered.context.clone());
    let leave = || shared.phase() != Phase::Running || shared.muster.has_surplus();
    loop {
        if shared.phase() != Phase::Running || shared.muster.take_surplus() {
            break;
        }
        if !worker.step() {
            worker.sleep(leave);
        }
    }
    worker.hand_over();
    drop(entered);
    vacate(shared, index);
}

/// Nobody holds the seat any more. If all others went to sleep meanwhile, none of them saw everybody at rest, so one looks at the census again.
fn vacate(shared: &Shared, index: usize) {
    shared.idle.leave(index);
    if shared.census.is_virtual() {
        shared.wake_any();
    }
}
