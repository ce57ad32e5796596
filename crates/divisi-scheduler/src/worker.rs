//! The worker: what a thread does while it holds a seat.
//!
//! [`Worker::step`] runs one task. It looks, in this order, into the run slot (at most [`SLOT_STREAK`] times in a row), the run
//! queue, the injector and the queues of others. Every [`TICKS_PER_MAINTENANCE`] polls, or as many as fit into
//! [`MAINTENANCE_PERIOD`] (and whenever the lookout or the monitor looked), it handles ready events and takes a batch from the injector first. The run queue is first in, first out, and both events
//! and injected tasks join it at the end; so a task that became ready is run after at most one pass of the queue plus one maintenance interval,
//! whatever the others do.
//!
//! [`Worker::sleep`] is the worker's half of the parking protocol in `idle`.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_deque::Steal;
use divisi_task::{Runnable, TaskId};

use crate::config::{
    EVENTS_PER_BUSY_LOOK, INJECTED_SHARE, LONG_POLL, LONG_QUEUE, MAINTENANCE_PERIOD, SLOT_STREAK,
    SLOW_TURN, STEAL_BATCH, TICKS_PER_MAINTENANCE, TIMED_POLLS,
};
use crate::context::Context;
use crate::lookout;
use crate::monitor;
use crate::seat::{Core, Seat};
use crate::settled::settled;
use crate::shared::Shared;
use crate::slow_lane::TimedPoll;
use crate::spare;

#[derive(Debug)]
pub(crate) struct Worker {
    context: Rc<Context>,
}

impl Worker {
    pub(crate) fn new(context: Rc<Context>) -> Worker {
        Worker { context }
    }

    fn shared(&self) -> &Shared {
        &self.context.shared
    }

    fn seat(&self) -> &Seat {
        self.context.seat()
    }

    /// Uses the core; the borrow ends before any task runs.
    fn core<R>(&self, f: impl FnOnce(&mut Core) -> R) -> R {
        f(self
            .context
            .core
            .borrow_mut()
            .as_mut()
            .expect("the core stays with its thread while the thread holds the seat"))
    }

    /// Runs one task. Returns false if there is none to run.
    pub(crate) fn step(&self) -> bool {
        let (due, task) = self.core(|core| {
            let looks = self.shared().looks.load(Ordering::Relaxed);
            if core.ticks >= core.next_maintenance || core.looks_seen != looks {
                core.looks_seen = looks;
                return (true, None);
            }
            core.ticks += 1;
            (false, self.local_task(core))
        });
        let task = if due {
            self.maintain();
            self.core(|core| self.local_task(core))
        } else {
            task
        };
        match task.or_else(|| self.find_elsewhere()) {
            Some(task) => {
                self.run(task);
                true
            }
            None => false,
        }
    }

    fn local_task(&self, core: &mut Core) -> Option<Runnable> {
        let slot = &self.seat().slot;
        if core.slot_streak < SLOT_STREAK {
            if let Some(task) = slot.take() {
                core.slot_streak += 1;
                return Some(task);
            }
        } else if let Some(task) = slot.take() {
            core.queue.push(task);
        }
        core.slot_streak = 0;
        core.queue.pop()
    }

    /// This worker has something to do and does not search any more.
    #[inline]
    pub(crate) fn end_search(&self) {
        if self.core(|core| std::mem::take(&mut core.searching)) {
            self.pass_search_on();
        }
    }

    #[cold]
    fn pass_search_on(&self) {
        let shared = self.shared();
        if shared.idle.end_search() && shared.work_visible(self.context.seat) {
            // As the last searcher it owes the wake-ups that others left out because it searched.
            shared.wake_for_work();
        }
        // It may have been woken for a task of the slow lane, which a spare that still searches does not take.
        if !shared.slow_lane.is_empty() {
            shared.wake_worker();
        }
    }

    fn run(&self, task: Runnable) {
        self.end_search();
        let seat = self.seat();
        seat.counters.polls.add(1);
        let id = task.id();
        seat.polling.store(id.as_u64(), Ordering::Relaxed);
        self.begin_timing(id);
        match &self.shared().long_polls {
            None => drop(task.run()),
            Some(long_polls) => long_polls.watch(task),
        }
        seat.polling.store(0, Ordering::Relaxed);
        self.context.judge(id);
        spare::recall(self.shared(), self.context.seat);
    }

    /// Notes the time, if the poll that follows is to be timed.
    fn begin_timing(&self, task: TaskId) {
        let left = self.context.timed_polls.get();
        if left > 0 || self.shared().slow_lane.is_for(task) {
            self.context.timed_polls.set(left.saturating_sub(1));
            self.context.timed_poll.set(Some(TimedPoll::begin()));
        }
    }

    /// Whether some of the last polls were long.
    fn polls_are_long(&self) -> bool {
        self.context.timed_polls.get() > 0
    }

    /// Handles ready events and takes a share of the injector although there are tasks to run.
    fn maintain(&self) {
        self.poll_driver();
        self.poll_drivers_of_replaced();
        let offer = self.core(|core| {
            let now = Instant::now();
            let passed = now.duration_since(core.last_maintenance);
            let polls = core.ticks.max(1);
            // With polls as long as the last ones were, this many fit into the period.
            let fit = MAINTENANCE_PERIOD.as_nanos() * u128::from(polls) / passed.as_nanos().max(1);
            core.next_maintenance = u32::try_from(fit)
                .unwrap_or(u32::MAX)
                .clamp(1, TICKS_PER_MAINTENANCE);
            core.last_maintenance = now;
            core.ticks = 0;
            if passed >= LONG_POLL {
                self.context.timed_polls.set(TIMED_POLLS);
            }
            self.queue_lowered(core);
            self.share_injected(core, polls);
            self.share_slow(core, now);
            core.queue.len() >= LONG_QUEUE
        });
        if offer {
            self.context.offer_work();
        }
    }

    /// Takes this worker's part of what is injected, in as many steals as that needs: one ends with a block of the injector. While polls are long,
    /// takes no more than there were `polls` since the last time.
    fn share_injected(&self, core: &mut Core, polls: u32) {
        let shared = self.shared();
        if shared.injector.is_empty() {
            return;
        }
        let before = core.queue.len();
        let share = shared.injector.len().div_ceil(shared.idle.present().max(1));
        let mut left = share.min(if self.polls_are_long() {
            polls as usize
        } else {
            INJECTED_SHARE
        });
        while left > 0 {
            let queued = core.queue.len();
            match shared.injector.steal_batch_with_limit(&core.queue, left) {
                Steal::Success(()) => {
                    left = left.saturating_sub(core.queue.len().saturating_sub(queued).max(1))
                }
                // Somebody else takes from it now.
                Steal::Empty | Steal::Retry => break,
            }
        }
        self.seat()
            .counters
            .injector_pops
            .add(core.queue.len().saturating_sub(before) as u64);
    }

    /// Lets a task of the slow lane join the queue if none has had its turn on this worker for long.
    fn share_slow(&self, core: &mut Core, now: Instant) {
        let lane = &self.shared().slow_lane;
        if std::mem::take(&mut core.ran_slow) {
            core.last_slow = now;
        }
        let is_worker = self.shared().is_worker(self.context.seat);
        if is_worker && !lane.is_empty() && now.duration_since(core.last_slow) >= SLOW_TURN {
            if let Some(task) = lane.take() {
                core.ran_slow = true;
                core.queue.push(task);
            }
        }
    }

    /// A task of the slow lane, for a worker that has nothing else to do.
    fn take_slow(&self) -> Option<Runnable> {
        let lane = &self.shared().slow_lane;
        if !self.shared().is_worker(self.context.seat) || lane.is_empty() {
            return None;
        }
        let task = lane.take()?;
        self.core(|core| {
            core.ran_slow = true;
            // Whatever comes meanwhile goes before the next one from there.
            core.next_maintenance = 1;
            core.ticks = 1;
        });
        Some(task)
    }

    /// Handles what is ready in this seat's driver, without waiting. Returns whether anything was.
    pub(crate) fn poll_driver(&self) -> bool {
        let poll = || self.seat().driver().poll(EVENTS_PER_BUSY_LOOK);
        self.context.in_driver(poll) > 0
    }

    /// A spare that is always busy never looks out. Whoever waits with the worker in whose place it works must not wait for its end.
    fn poll_drivers_of_replaced(&self) {
        let shared = self.shared();
        if shared.is_worker(self.context.seat) {
            return;
        }
        for seat in &shared.seats[..shared.workers] {
            if seat.replaced.load(Ordering::Relaxed) {
                self.context.rescue(seat);
            }
        }
    }

    fn find_elsewhere(&self) -> Option<Runnable> {
        self.take_injected()
            .or_else(|| self.take_from_long_queues())
            .or_else(|| self.take_slow())
    }

    fn take_injected(&self) -> Option<Runnable> {
        let shared = self.shared();
        if !shared.has_injected() {
            return None;
        }
        let injector = &shared.injector;
        self.core(|core| {
            if self.queue_lowered(core) {
                return core.queue.pop();
            }
            let task = if self.polls_are_long() {
                settled(|| injector.steal())
            } else {
                settled(|| injector.steal_batch_with_limit_and_pop(&core.queue, STEAL_BATCH))
            }?;
            let pops = 1 + core.queue.len() as u64;
            self.seat().counters.injector_pops.add(pops);
            Some(task)
        })
    }

    /// Queues all that threads of lowered priority injected: an inbox is emptied whole. Returns whether there was anything.
    fn queue_lowered(&self, core: &mut Core) -> bool {
        let mut taken = 0;
        for task in self.shared().lowered.take_all() {
            core.queue.push(task);
            taken += 1;
        }
        if taken > 0 {
            monitor::start(&self.context.shared);
        }
        self.seat().counters.injector_pops.add(taken);
        taken > 0
    }

    fn take_from_long_queues(&self) -> Option<Runnable> {
        let seats = &self.shared().seats;
        if self.shared().idle.present() == 1 {
            return None;
        }
        let first = self.core(|core| {
            core.random ^= core.random << 13;
            core.random ^= core.random >> 17;
            core.random ^= core.random << 5;
            core.random as usize % seats.len()
        });
        (0..seats.len())
            .map(|n| (first + n) % seats.len())
            .find_map(|victim| {
                let seat = &seats[victim];
                if victim == self.context.seat
                    || seat.stealer.len() < LONG_QUEUE
                    || !lookout::rob(&self.context, seat, STEAL_BATCH)
                {
                    return None;
                }
                self.core(|core| core.queue.pop())
            })
    }

    /// One turn for a caller with an event loop of its own: handles events, runs at most `polls` tasks and
    /// announces the sleep that the caller is about to do on the driver's descriptor. If tasks are left, the descriptor is made ready. Returns how many ran.
    pub(crate) fn turn(&self, polls: usize) -> usize {
        /// A pending notification is used up by the first attempt, a timer or event by the poll before the next.
        const ATTEMPTS: usize = 64;
        let (shared, index) = (self.shared(), self.context.seat);
        let mut ran = 0;
        for _ in 0..ATTEMPTS {
            self.poll_driver();
            while ran < polls && self.step() {
                ran += 1;
            }
            // As `sleep` does, before the announcement: a seat that searches and sleeps would keep producers from waking anybody.
            let searched = self.core(|core| {
                core.announced = true;
                std::mem::take(&mut core.searching)
            });
            if searched {
                shared.idle.end_search();
            }
            shared.idle.park(index);
            if self.seat().driver().announce_sleep() {
                if shared.work_visible(index) {
                    self.seat().driver().unpark();
                }
                return ran;
            }
            let claimed = shared.idle.unpark(index);
            self.core(|core| {
                core.announced = false;
                core.searching = claimed;
            });
        }
        // Nothing was announced, so the descriptor has to be ready for the next turn.
        self.seat().driver().unpark();
        ran
    }

    /// Hands everything of this seat to the other workers: what is registered with its driver and what is queued.
    pub(crate) fn hand_over(&self) {
        self.context.in_driver(|| self.seat().driver().evacuate());
        if let Some(task) = self.seat().slot.take() {
            self.shared().inject(task);
        }
        while let Some(task) = self.core(|core| core.queue.pop()) {
            self.shared().inject(task);
        }
    }

    /// Sleeps until there may be something to do. `stay_awake` is asked after the sleep was announced, so whoever makes it true and
    /// then unparks this seat's driver is not missed.
    pub(crate) fn sleep(&self, stay_awake: impl Fn() -> bool) {
        let shared = self.shared();
        let (seat, index) = (self.seat(), self.context.seat);
        if self.core(|core| std::mem::take(&mut core.searching)) {
            seat.counters.futile_wakeups.add(1);
            shared.idle.end_search();
        }
        shared.idle.park(index);
        // Back from a poll that was taken for stuck, or from a seat that nobody held for a while. After the announcement: the monitor marks
        // the seat, fences and looks for it, so one of the two sees the other.
        spare::recall(shared, index);
        let mut bounded = None;
        let mut slept = false;
        let handled = if shared.work_visible(index) || stay_awake() {
            0
        } else if shared.census.is_virtual() && self.jump() {
            1
        } else {
            slept = true;
            let limit = lookout::sleep_limit(&self.context);
            bounded = limit.map(|limit| (Instant::now(), limit));
            seat.counters.parks.add(1);
            self.context.in_driver(|| seat.driver().park(limit))
        };
        let claimed = shared.idle.unpark(index);
        shared.monitor.stir();
        if let Some((from, limit)) = bounded {
            let due = self.core(|core| core.watch.slept(from, limit));
            if due || handled == 0 && !claimed {
                lookout::look(&self.context);
            }
        }
        self.core(|core| {
            core.searching = claimed;
            if slept {
                // The driver was polled, and time spent asleep is no measure of the polls to come.
                core.ticks = 0;
                core.last_maintenance = Instant::now();
                core.looks_seen = shared.looks.load(Ordering::Relaxed);
            }
        });
        if (handled > 0 || claimed) && self.core(|core| core.queue.len()) >= LONG_QUEUE {
            self.context.offer_work();
        }
    }

    /// With a virtual clock and nothing running anywhere: moves time. What comes due is woken on this worker.
    fn jump(&self) -> bool {
        let shared = self.shared();
        // Events that the kernel already has come before time.
        if self.poll_driver() {
            return true;
        }
        let jump = || shared.census.try_jump(|| shared.nothing_runs());
        self.context.in_driver(jump)
    }
}
