//! The lookout: the one idle worker that looks after those that are busy.
//!
//! Tasks are not stolen the moment they are queued: a short queue is emptied by its owner sooner than a thief could move it,
//! and a connection that bounces between cores is slower than one that waits a little. What waits *too long* is found by the lookout.
//! An idle worker that goes to sleep while others are busy takes the role if nobody who sleeps has it, and bounds its sleep.
//! At every look it compares each busy worker with the look before:
//!
//! * fewer polls since then than tasks were queued: the head of that queue is older than the look, so half of the queue is stolen;
//! * no poll at all and the same task in the run slot: the owner is stuck in one poll, so the slot is stolen;
//! * its driver was polled by nobody: the lookout polls it in the owner's place, which handles its events and due timers.
//!
//! While all workers sleep, the lookout stays for a few milliseconds after the last activity and then sleeps without limit, so
//! an idle process makes no wake-ups. The role is taken again by the worker that the first queued task wakes (`want_lookout` in `context`),
//! or, if a worker gets stuck with nothing queued behind it, by the one that the `monitor` wakes.

use std::time::Duration;

use crossbeam_deque::Steal;

use crate::config::{BUSY_LOOK, EVENTS_PER_BUSY_LOOK, FIRST_LOOK, QUIET_LOOK, STEAL_BATCH};
use crate::context::Context;
use crate::seat::{Core, Seat};
use crate::shared::Shared;
use crate::sync::{AtomicUsize, Ordering};

/// Who has the role: 0 for nobody, else the seat + 1. Only a hint: two lookouts for a moment do no harm, and the lack of one is
/// bounded by the monitor.
#[derive(Debug)]
pub(crate) struct Lookout {
    holder: AtomicUsize,
}

impl Default for Lookout {
    fn default() -> Self {
        Lookout {
            holder: AtomicUsize::new(0),
        }
    }
}

impl Lookout {
    pub(crate) fn is_vacant(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == 0
    }

    /// Whether a worker that sleeps, and so will look, has the role.
    pub(crate) fn is_on_duty(&self, shared: &Shared) -> bool {
        let holder = self.holder.load(Ordering::SeqCst);
        holder > 0 && shared.idle.is_parked(holder - 1)
    }

    fn take(&self, shared: &Shared, seat: usize) -> bool {
        let holder = self.holder.load(Ordering::SeqCst);
        if holder == seat + 1 {
            return true;
        }
        if holder > 0 && shared.idle.is_parked(holder - 1) {
            return false;
        }
        self.holder
            .compare_exchange(holder, seat + 1, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    fn resign(&self, seat: usize) {
        let _ = self
            .holder
            .compare_exchange(seat + 1, 0, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// What the lookout saw of one seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether this was seen in the current watch, that is, may be compared with.
    fresh: bool,
    polls: u64,
    queued: usize,
    slot: usize,
    turns: u64,
}

impl Look {
    fn at(seat: &Seat) -> Look {
        Look {
            fresh: true,
            polls: seat.counters.polls.get(),
            queued: seat.stealer.len(),
            slot: seat.slot.stamp(),
            turns: seat.driver().turns(),
        }
    }
}

/// How long the worker, which has announced its sleep, may sleep: bounded if it is the lookout.
pub(crate) fn sleep_limit(context: &Context) -> Option<Duration> {
    let shared = &*context.shared;
    if shared.idle.present() == 1 || !shared.lookout.take(shared, context.seat) {
        return None;
    }
    let mut core = context.core.borrow_mut();
    let core = core.as_mut()?;
    let mut busy = false;
    let mut queued = false;
    for (index, seat) in shared.seats.iter().enumerate() {
        let resting = index == context.seat || shared.idle.is_resting(index);
        if resting {
            core.looks[index].fresh = false;
            continue;
        }
        busy = true;
        queued |= seat.queue_length() > 0;
        if !core.looks[index].fresh {
            core.looks[index] = Look::at(seat);
        }
    }
    if busy {
        core.quiet_since = None;
        if !queued {
            core.look_wait = FIRST_LOOK;
            return Some(BUSY_LOOK);
        }
        let wait = core.look_wait;
        core.look_wait = (wait * 2).min(BUSY_LOOK);
        return Some(wait);
    }
    core.look_wait = FIRST_LOOK;
    let activity = shared.total_polls();
    if core.quiet_since.replace(activity) == Some(activity) {
        core.quiet_since = None;
        shared.lookout.resign(context.seat);
        return None;
    }
    Some(QUIET_LOOK)
}

/// One look after a bounded sleep. Returns whether it found work for this worker.
pub(crate) fn look(context: &Context) -> bool {
    let shared = &*context.shared;
    let mut found = false;
    context.seat().counters.looks.add(1);
    shared.count_look();
    for (index, seat) in shared.seats.iter().enumerate() {
        if index == context.seat || shared.idle.is_resting(index) {
            continue;
        }
        let now = Look::at(seat);
        let before = {
            let mut core = context.core.borrow_mut();
            let Some(core) = core.as_mut() else {
                return found;
            };
            std::mem::replace(&mut core.looks[index], now)
        };
        if !before.fresh {
            continue;
        }
        let polled = now.polls.wrapping_sub(before.polls);
        if now.queued > 0 && polled < before.queued as u64 {
            found |= rob(context, seat);
        } else if polled == 0 && now.slot != 0 && now.slot == before.slot {
            if let Some(task) = seat.slot.take() {
                let core = context.core.borrow();
                let Some(core) = core.as_ref() else {
                    shared.inject(task);
                    return true;
                };
                core.queue.push(task);
                count_theft(context, 1);
                found = true;
            }
        }
        if now.turns == before.turns {
            context.in_driver.set(true);
            let handled = seat.driver().poll(EVENTS_PER_BUSY_LOOK);
            context.in_driver.set(false);
            context.seat().counters.rescued_drivers.add(1);
            found |= handled > 0;
        }
    }
    if found {
        if let Some(core) = context.core.borrow_mut().as_mut() {
            core.look_wait = FIRST_LOOK;
        }
    }
    found
}

/// Moves up to half of `victim`'s queue to this worker's.
pub(crate) fn rob(context: &Context, victim: &Seat) -> bool {
    let core = context.core.borrow();
    let Some(core) = core.as_ref() else {
        return false;
    };
    let Some(stolen) = rob_into(core, victim) else {
        return false;
    };
    count_theft(context, stolen);
    true
}

fn rob_into(core: &Core, victim: &Seat) -> Option<u64> {
    let before = core.queue.len();
    loop {
        match victim
            .stealer
            .steal_batch_with_limit(&core.queue, STEAL_BATCH)
        {
            Steal::Success(()) => return Some((core.queue.len().saturating_sub(before)) as u64),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}

fn count_theft(context: &Context, tasks: u64) {
    let counters = &context.seat().counters;
    counters.steals.add(1);
    counters.stolen_tasks.add(tasks);
}
