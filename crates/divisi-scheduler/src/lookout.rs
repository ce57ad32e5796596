//! The lookout: the one idle worker that looks after those that are busy.
//!
//! Tasks are not stolen the moment they are queued: a short queue is emptied by its owner sooner than a thief could move it,
//! and a connection that bounces between cores is slower than one that waits a little. What waits *too long* is found by the lookout.
//! An idle worker that goes to sleep while others are busy takes the role if nobody who sleeps has it, and bounds its sleep.
//! At every look it compares each busy worker with the look before:
//!
//! * fewer polls since then than tasks were queued: the head of that queue is older than the look, so half of the queue is stolen;
//! * several tasks queued at look after look: the owner has more to do than its core can, while this one idles, so half of the queue is
//!   stolen and what those tasks wait for moves over with them;
//! * no poll at all and the same task in the run slot: the owner is stuck in one poll, so the slot is stolen;
//! * its driver was polled by nobody: the lookout polls it in the owner's place, which handles its events and due timers.
//!
//! While all workers sleep, the lookout stays for a few milliseconds after the last activity and then sleeps without limit, so
//! an idle process makes no wake-ups. The role is taken again by the worker that the first queued task wakes (`want_lookout` in `context`),
//! or, if a worker gets stuck with nothing queued behind it, by the one that the `monitor` wakes.

use std::time::{Duration, Instant};

use crate::config::{
    BACKLOG, BACKLOG_LOOKS, BUSY_LOOK, FIRST_LOOK, IDLE_ENOUGH, QUIET_LOOK, STEAL_BATCH,
};
use crate::context::Context;
use crate::seat::{Core, Seat};
use crate::settled::settled;
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
    /// Looks that saw a backlog, less those that saw none.
    backlog: u32,
}

impl Look {
    fn at(seat: &Seat) -> Look {
        Look {
            fresh: true,
            polls: seat.counters.polls.get(),
            queued: seat.stealer.len(),
            slot: seat.slot.stamp(),
            turns: seat.driver().turns(),
            backlog: 0,
        }
    }
}

/// What a worker remembers from look to look.
pub(crate) struct Watch {
    looks: Vec<Look>,
    /// How long to wait for the next look while something is queued.
    wait: Duration,
    /// All polls of all workers at the last quiet look.
    quiet_since: Option<u64>,
    /// This worker's own polls at its last sleep with nobody to look after.
    own_polls: u64,
    last_look: Instant,
    /// How much of the time since then this worker has slept.
    slept: Duration,
}

impl Watch {
    pub(crate) fn new(seats: usize) -> Watch {
        Watch {
            looks: vec![Look::default(); seats],
            wait: FIRST_LOOK,
            quiet_since: None,
            own_polls: 0,
            last_look: Instant::now(),
            slept: Duration::ZERO,
        }
    }

    /// A bounded sleep has ended. Returns whether the next look is due even if the sleep ended early: a worker that is woken again and again
    /// would otherwise never look.
    pub(crate) fn slept(&mut self, from: Instant, limit: Duration) -> bool {
        let now = Instant::now();
        self.slept += now.duration_since(from);
        now.duration_since(self.last_look) >= limit
    }

    /// Begins the time to the next look. Returns the part of the time since the last that this worker slept, from 0 to 1.
    fn begin_look(&mut self) -> f32 {
        let now = Instant::now();
        let passed = now - std::mem::replace(&mut self.last_look, now);
        let slept = std::mem::take(&mut self.slept);
        slept.as_secs_f32() / passed.as_secs_f32().max(f32::MIN_POSITIVE)
    }
}

/// How long the worker, which has announced its sleep, may sleep: bounded if it is the lookout.
pub(crate) fn sleep_limit(context: &Context) -> Option<Duration> {
    let shared = &*context.shared;
    if shared.idle.present() == 1 || !shared.lookout.take(shared, context.seat) {
        return None;
    }
    let mut core = context.core.borrow_mut();
    let watch = &mut core.as_mut()?.watch;
    let mut busy = false;
    let mut queued = false;
    for (index, seat) in shared.seats.iter().enumerate() {
        let resting = index == context.seat || shared.idle.is_resting(index);
        let look = &mut watch.looks[index];
        if resting {
            look.fresh = false;
            continue;
        }
        busy = true;
        queued |= seat.queue_length() > 0;
        if !look.fresh {
            *look = Look {
                backlog: look.backlog,
                ..Look::at(seat)
            };
        }
    }
    if busy {
        watch.quiet_since = None;
        if !queued {
            watch.wait = FIRST_LOOK;
            return Some(BUSY_LOOK);
        }
        let wait = watch.wait;
        watch.wait = (wait * 2).min(BUSY_LOOK);
        return Some(wait);
    }
    watch.wait = FIRST_LOOK;
    // Who is about to be busy itself can look after nobody, and pays for each bounded sleep with a timer. The first task that it queues
    // behind a poll wakes somebody else for the role.
    let own_polls = context.seat().counters.all_polls();
    if std::mem::replace(&mut watch.own_polls, own_polls) != own_polls {
        watch.quiet_since = None;
        shared.lookout.resign(context.seat);
        return None;
    }
    let activity = shared.total_polls();
    if watch.quiet_since.replace(activity) == Some(activity) {
        watch.quiet_since = None;
        shared.lookout.resign(context.seat);
        return None;
    }
    Some(QUIET_LOOK)
}

/// One look. Returns whether it found work for this worker.
pub(crate) fn look(context: &Context) -> bool {
    let shared = &*context.shared;
    let mut found = false;
    let mut suspicious = false;
    context.seat().counters.looks.add(1);
    shared.count_look();
    let idle = match context.core.borrow_mut().as_mut() {
        Some(core) => core.watch.begin_look(),
        None => return false,
    };
    for (index, seat) in shared.seats.iter().enumerate() {
        if index == context.seat {
            continue;
        }
        let resting = shared.idle.is_resting(index);
        let (before, now) = {
            let mut core = context.core.borrow_mut();
            let Some(core) = core.as_mut() else {
                return found;
            };
            let look = &mut core.watch.looks[index];
            let less = look.backlog.saturating_sub(1);
            if resting {
                look.backlog = less;
                continue;
            }
            let mut now = Look::at(seat);
            let overloaded = idle >= IDLE_ENOUGH && now.queued >= BACKLOG;
            now.backlog = if overloaded { look.backlog + 1 } else { less };
            (std::mem::replace(look, now), now)
        };
        suspicious |= now.backlog > before.backlog;
        let polled = now.polls.wrapping_sub(before.polls);
        if now.backlog >= BACKLOG_LOOKS {
            found |= relieve(context, index, idle);
        } else if before.fresh && now.queued > 0 && polled < before.queued as u64 {
            found |= rob(context, seat, STEAL_BATCH);
        } else if before.fresh && polled == 0 && now.slot != 0 && now.slot == before.slot {
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
        if before.fresh && now.turns == before.turns {
            found |= context.rescue(seat);
        }
    }
    if found || suspicious {
        if let Some(core) = context.core.borrow_mut().as_mut() {
            core.watch.wait = FIRST_LOOK;
        }
    }
    found
}

/// Takes from the queue of a worker that has more to do than its core can, for good: half of it for a worker that has idled all the time,
/// less for one that has not. Returns whether there was anything to take.
fn relieve(context: &Context, victim: usize, idle: f32) -> bool {
    let seat = &context.shared.seats[victim];
    let share = seat.stealer.len() as f32 / 2.0 * idle;
    if let Some(core) = context.core.borrow_mut().as_mut() {
        core.watch.looks[victim].backlog = 0;
    }
    let relieved = rob(context, seat, (share as usize).clamp(1, STEAL_BATCH));
    if relieved {
        context.seat().driver().adopt();
    }
    relieved
}

/// Moves up to half of `victim`'s queue to this worker's, and no more than `most`.
pub(crate) fn rob(context: &Context, victim: &Seat, most: usize) -> bool {
    let core = context.core.borrow();
    let Some(core) = core.as_ref() else {
        return false;
    };
    let Some(stolen) = rob_into(core, victim, most) else {
        return false;
    };
    count_theft(context, stolen);
    true
}

fn rob_into(core: &Core, victim: &Seat, most: usize) -> Option<u64> {
    let before = core.queue.len();
    settled(|| victim.stealer.steal_batch_with_limit(&core.queue, most))?;
    Some(core.queue.len().saturating_sub(before) as u64)
}

fn count_theft(context: &Context, tasks: u64) {
    let counters = &context.seat().counters;
    counters.steals.add(1);
    counters.stolen_tasks.add(tasks);
}
