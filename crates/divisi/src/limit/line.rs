//! The line in front of a rate limit: who waits, and the timers.
//!
//! # The protocol
//!
//! A limiter of one rate by the generic cell rate algorithm keeps its arrival time in an atomic *word*, next to a flag SLOW. All else, and the
//! truth about every other limiter, is behind the lock of the list of those who wait.
//!
//! * Without SLOW nobody waits and nothing is reserved: a pass is one compare-and-exchange of the word.
//! * SLOW is set under the lock, and the arrival time goes over to the meter there. It is cleared under the lock, with the meter's arrival time, when
//!   nobody waits and nothing is reserved. As long as it is set the word is not changed without the lock. So every pass is charged once.
//! * Who must wait goes to the end of the list, and nothing is charged for that. The first of the list is *due* at a time that is known; the
//!   [alarms](super::alarms) are set to it. When one fires, its waker serves the list: it charges those who are due and tells them, and sets the alarms
//!   for the next. So the order is that of arrival, whoever is polled when; and one who leaves has taken nothing from anybody.
//! * Whoever was told but is dropped before it has heard gives its charge back, and the list is served again.
//! * Whatever else changes the meters serves the list first: an alarm that is late costs those who wait nothing.
//!
//! **Nobody waits for ever.** While the list is not empty, there is an alarm in every runtime in which one of the list was polled last, and all are
//! set for the first: by `join`, which puts in the first under the lock, by `at_home`, and by every `serve` after that. If no runtime is left, all
//! who wait are told to begin anew, each in its own task, where there is one.

use std::fmt;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

use divisi_reactor::ReactorId;
use divisi_task::current;
use divisi_task::stable::Stable;
use divisi_task::wait_list::{Locked, Queue, Turn, WaitList, Waiter, Wakers};

use super::alarms::Alarms;
use super::meter::Fast;
use super::rate::Rate;
use super::schedule::{Charge, LATENESS, Schedule};
use crate::context;

const LANE: usize = 0;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// The flag of the word; the arrival time is in the bits above.
const SLOW: u64 = 1;

pub(crate) struct Line {
    word: AtomicU64,
    /// How to pass by the word alone, if that is possible.
    fast: Option<Fast>,
    max_weight: u64,
    /// Time zero: when the limiter was first used, by the clock of whoever used it.
    start: OnceLock<Instant>,
    list: WaitList<State, Ticket>,
    alarm: Waker,
}

pub(crate) struct State {
    schedule: Schedule,
    /// Since when the first one waits as the first: it was not due before.
    since: u64,
    /// The weight of all who wait.
    queued: u64,
    alarms: Alarms,
}

impl State {
    /// Since when the first may pass, if something has changed now: not before the moment for which it has waited.
    fn changed(&mut self, now: u64) {
        let waited_for = self.alarms.armed_for().map_or(now, |due| due.min(now));
        self.since = self.since.max(waited_for);
    }
}

/// What is to be done without the lock: to wake, and to drop.
#[derive(Default)]
struct After {
    wakers: Wakers,
    alarms: Vec<Alarms>,
}

#[derive(Debug)]
pub(crate) struct Ticket {
    weight: u64,
    outcome: Outcome,
}

/// What one who was chosen is told.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It may pass.
    Pass(Charge),
    /// The timer is no more: begin anew.
    Again,
}

/// A pass that was not made yet. Dropping it gives it back.
pub(crate) struct Pass<H: Stable<Target = Line>> {
    line: H,
    charge: Option<Charge>,
}

/// Serves the line when its timer fires.
struct Alarm(Weak<Line>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(line) = self.0.upgrade() {
            let mut after = After::default();
            let mut locked = line.list.lock();
            // It has fired, or its runtime has ended.
            locked.alarms.must_be_armed();
            line.serve(&mut locked, &mut after);
        }
    }
}

impl Line {
    pub(super) fn new(rates: &[Rate]) -> Arc<Self> {
        let meters = rates.iter().map(Rate::meter).collect();
        let mut schedule = Schedule::new(meters);
        let fast = schedule.only_gcra().and_then(|gcra| gcra.fast());
        let max_weight = rates.iter().map(Rate::max_weight).min();
        Arc::new_cyclic(|line| Self {
            word: AtomicU64::new(if fast.is_some() { 0 } else { SLOW }),
            fast,
            max_weight: max_weight.unwrap_or(u64::MAX),
            start: OnceLock::new(),
            list: WaitList::new(State {
                schedule,
                since: 0,
                queued: 0,
                alarms: Alarms::default(),
            }),
            alarm: Waker::from(Arc::new(Alarm(line.clone()))),
        })
    }

    pub(super) fn max_weight(&self) -> u64 {
        self.max_weight
    }

    pub(super) fn waiting(&self) -> usize {
        self.list.lock().waiting(LANE)
    }

    fn now(&self) -> u64 {
        let now = context::now();
        let start = *self.start.get_or_init(|| now);
        let since = now.saturating_duration_since(start);
        // On the path of every pass: no 128-bit arithmetic.
        let nanos = since.as_secs().saturating_mul(NANOS_PER_SEC);
        nanos
            .saturating_add(since.subsec_nanos().into())
            .min(u64::MAX >> 1)
    }

    pub(super) fn instant(&self, at: u64) -> crate::time::Instant {
        let start = *self.start.get_or_init(context::now);
        crate::time::Instant::from_std(start) + Duration::from_nanos(at)
    }

    /// Passes without the lock, or tells when that may be: the arrival times before and after. `None`: the lock must be taken.
    #[inline]
    fn pass_fast(&self, now: u64, weight: u64) -> Option<Result<(u64, u64), u64>> {
        let fast = self.fast?;
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & SLOW != 0 {
                return None;
            }
            let before = word >> 1;
            let after = match fast.pass(before, now, weight) {
                Ok(after) => after,
                Err(due) => return Some(Err(due)),
            };
            // The word guards nothing but itself; what it counts goes over to the meter by `enter`.
            let swapped = self.word.compare_exchange_weak(
                word,
                after << 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return Some(Ok((before, after))),
                Err(actual) => word = actual,
            }
        }
    }

    /// Takes the arrival time over from the word, for as long as the lock is held or somebody waits.
    fn enter(&self, state: &mut State) {
        if self.fast.is_none() {
            return;
        }
        let word = self.word.fetch_or(SLOW, Ordering::AcqRel);
        if word & SLOW == 0 {
            if let Some(gcra) = state.schedule.only_gcra() {
                gcra.take_over((word >> 1).into());
            }
        }
    }

    /// Gives the arrival time back to the word, if nobody waits and nothing is reserved.
    fn leave(&self, locked: &mut Locked<'_, State, Ticket>) {
        if self.fast.is_none() || locked.waiting(LANE) != 0 || locked.schedule.has_reservations() {
            return;
        }
        if let Some(gcra) = locked.schedule.only_gcra() {
            let arrival = u64::try_from(gcra.arrival()).unwrap_or(u64::MAX);
            let arrival = arrival.min(u64::MAX >> 1);
            self.word.store(arrival << 1, Ordering::Release);
        }
    }

    /// Sets the alarms for one who is due then. Ready if it is time already to look again.
    fn arm(&self, state: &mut State, due: u64) -> Poll<io::Result<()>> {
        let deadline = self.instant(due).into_std();
        state.alarms.arm(due, deadline, &self.alarm)
    }

    /// Lets those pass who are due, in order, and sets the alarms for the next. Reservations up to now are settled.
    fn serve(&self, locked: &mut Locked<'_, State, Ticket>, after: &mut After) {
        let mut now = self.now();
        self.enter(locked);
        while let Some((state, ticket)) = locked.oldest(LANE) {
            let weight = ticket.weight;
            let due = match state.schedule.pass_waiting(state.since, now, weight) {
                Ok(charge) => {
                    state.since = charge.due;
                    state.queued = state.queued.saturating_sub(weight);
                    ticket.outcome = Outcome::Pass(charge);
                    locked.choose(LANE, &mut after.wakers);
                    continue;
                }
                Err(due) => due,
            };
            if state.schedule.settle(now) {
                // There may be gaps that were not looked at.
                continue;
            }
            let look_again = state.schedule.look_again(due);
            match self.arm(state, look_again) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => now = self.now().max(look_again),
                Poll::Ready(Err(_)) => {
                    while let Some((state, ticket)) = locked.oldest(LANE) {
                        ticket.outcome = Outcome::Again;
                        state.queued = state.queued.saturating_sub(ticket.weight);
                        locked.choose(LANE, &mut after.wakers);
                    }
                }
            }
        }
        locked.schedule.settle(now);
        self.rest(locked, after);
    }

    /// Nobody waits any more. An alarm for nobody would hold a virtual clock back.
    fn rest(&self, locked: &mut Locked<'_, State, Ticket>, after: &mut After) {
        locked.queued = 0;
        if !locked.alarms.is_empty() {
            after.alarms.push(std::mem::take(&mut locked.alarms));
        }
        self.leave(locked);
    }

    /// Brings the meters up to now: who waits and is due passes first.
    fn catch_up(&self, locked: &mut Locked<'_, State, Ticket>, now: u64, after: &mut After) {
        if locked.waiting(LANE) != 0 {
            self.serve(locked, after);
        }
        self.enter(locked);
        locked.schedule.settle(now);
    }

    /// Sees to it that there is an alarm in the runtime of a waiter that is polled there now.
    fn at_home(&self, home: &mut Option<ReactorId>) {
        let Ok((runtime, reactor)) = context::timer_place() else {
            return;
        };
        if home.replace(runtime) == Some(runtime) {
            return;
        }
        let mut after = After::default();
        let mut locked = self.list.lock();
        if locked.waiting(LANE) != 0 && locked.alarms.add(runtime, reactor) {
            self.serve(&mut locked, &mut after);
        }
    }

    /// Passes if that is possible now and nobody waits; otherwise tells when it may be, at the earliest.
    pub(super) fn try_pass(&self, weight: u64) -> Result<(), Duration> {
        let now = self.now();
        let outcome = match self.pass_fast(now, weight) {
            Some(outcome) => outcome.map(|_| ()),
            None => self.try_pass_locked(now, weight),
        };
        outcome.map_err(|due| Duration::from_nanos(due - now))
    }

    /// As `try_pass`, under the lock; says when, not after what time.
    fn try_pass_locked(&self, now: u64, weight: u64) -> Result<(), u64> {
        let mut after = After::default();
        let mut locked = self.list.lock();
        self.catch_up(&mut locked, now, &mut after);
        let outcome = if locked.waiting(LANE) == 0 {
            locked.schedule.pass(now, weight).map(|_| ())
        } else {
            // Whoever comes now passes after all of them.
            let all = locked.queued.saturating_add(weight).min(self.max_weight);
            Err(locked.schedule.due(now, all).max(now + 1))
        };
        self.leave(&mut locked);
        outcome
    }

    /// As `try_pass`, under the lock and for one who then waits: `None`.
    fn pass_or_wait(
        &self,
        locked: &mut Locked<'_, State, Ticket>,
        weight: u64,
        home: &mut Option<ReactorId>,
        after: &mut After,
    ) -> Option<io::Result<Charge>> {
        let place = context::timer_place();
        *home = place.as_ref().ok().map(|(runtime, _)| *runtime);
        if locked.waiting(LANE) != 0 {
            if let Ok((runtime, reactor)) = &place {
                if locked.alarms.add(*runtime, reactor.clone()) {
                    self.serve(locked, after);
                }
            }
        }
        if locked.waiting(LANE) != 0 {
            locked.queued = locked.queued.saturating_add(weight);
            return None;
        }
        let mut now = self.now();
        self.enter(locked);
        locked.since = now;
        loop {
            let since = locked.since;
            let due = match locked.schedule.pass_waiting(since, now, weight) {
                Ok(charge) => {
                    locked.schedule.settle(now);
                    self.rest(locked, after);
                    return Some(Ok(charge));
                }
                Err(due) => due,
            };
            if locked.schedule.settle(now) {
                // There may be gaps that were not looked at.
                continue;
            }
            match &place {
                Ok((runtime, reactor)) => locked.alarms.add(*runtime, reactor.clone()),
                Err(error) => {
                    self.rest(locked, after);
                    return Some(Err(io::Error::new(error.kind(), error.to_string())));
                }
            };
            let look_again = locked.schedule.look_again(due);
            match self.arm(locked, look_again) {
                Poll::Pending => {
                    locked.queued = locked.queued.saturating_add(weight);
                    return None;
                }
                Poll::Ready(Ok(())) => now = self.now().max(look_again),
                Poll::Ready(Err(error)) => {
                    self.rest(locked, after);
                    return Some(Err(error));
                }
            }
        }
    }

    pub(super) fn refund(&self, charge: Charge) {
        let mut after = After::default();
        let now = self.now();
        let mut locked = self.list.lock();
        self.catch_up(&mut locked, now, &mut after);
        locked.schedule.refund(charge, now);
        locked.changed(now);
        self.serve(&mut locked, &mut after);
    }

    /// Charges what has passed without being asked for, now and whoever waits: they wait the longer.
    pub(super) fn overdraw(&self, weight: u64) {
        let mut after = After::default();
        let now = self.now();
        let mut locked = self.list.lock();
        self.catch_up(&mut locked, now, &mut after);
        locked.schedule.charge(now, now, weight);
        // The alarms may fire too early now, which `serve` bears.
        self.leave(&mut locked);
    }

    /// Reserves the first pass after all who wait: when it may be made, and what `take_back` needs unless that is now.
    pub(super) fn reserve(&self, weight: u64) -> (u64, Option<u64>) {
        let mut after = After::default();
        let now = self.now();
        let mut locked = self.list.lock();
        self.catch_up(&mut locked, now, &mut after);
        let reserved = if locked.waiting(LANE) == 0 {
            match locked.schedule.pass(now, weight) {
                Ok(_) => (now, None),
                Err(due) => (due, Some(locked.schedule.reserve(due, weight, false))),
            }
        } else {
            let mut rehearsal = locked.schedule.rehearsal();
            let mut since = locked.since.max(now.saturating_sub(LATENESS));
            locked.each(LANE, |ticket| {
                since = rehearsal.rehearse(since, ticket.weight)
            });
            let due = rehearsal.due(since, weight).max(now);
            (due, Some(locked.schedule.reserve(due, weight, true)))
        };
        self.leave(&mut locked);
        reserved
    }

    /// Takes back what `reserve` has given, unless its time has come.
    pub(super) fn take_back(&self, at: u64, id: u64) {
        let mut after = After::default();
        let now = self.now();
        let mut locked = self.list.lock();
        self.catch_up(&mut locked, now, &mut after);
        locked.schedule.take_back(at, id);
        locked.changed(now);
        self.serve(&mut locked, &mut after);
    }
}

impl Queue for Line {
    type State = State;
    type Ticket = Ticket;

    fn waiters(&self) -> &WaitList<State, Ticket> {
        &self.list
    }

    fn give_up(&self, ticket: &mut Ticket, chosen: bool) {
        match (chosen, ticket.outcome) {
            (true, Outcome::Pass(charge)) => self.refund(charge),
            // It was told to begin anew, and does not.
            (true, Outcome::Again) => {}
            (false, _) => {
                let mut after = After::default();
                let now = self.now();
                let mut locked = self.list.lock();
                locked.queued = locked.queued.saturating_sub(ticket.weight);
                locked.changed(now);
                self.serve(&mut locked, &mut after);
            }
        }
    }
}

impl<H: Stable<Target = Line>> Pass<H> {
    pub(crate) fn make(mut self) {
        self.charge = None;
    }
}

impl<H: Stable<Target = Line>> Drop for Pass<H> {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            self.line.refund(charge);
        }
    }
}

pin_project_lite::pin_project! {
    /// Waits for a [`Pass`].
    pub(crate) struct Wait<H>
    where
        H: Stable<Target = Line>,
    {
        #[pin]
        waiter: Waiter<H>,
        weight: u64,
        // The runtime in which it was polled last as one who waits.
        home: Option<ReactorId>,
        awaited_at: &'static Location<'static>,
    }
}

impl<H: Stable<Target = Line>> Wait<H> {
    pub(super) fn new(line: H, weight: u64, awaited_at: &'static Location<'static>) -> Self {
        let ticket = Ticket {
            weight,
            outcome: Outcome::Again,
        };
        Self {
            waiter: Waiter::new(line, ticket),
            weight,
            home: None,
            awaited_at,
        }
    }
}

impl<H: Stable<Target = Line>> Future for Wait<H> {
    type Output = Pass<H>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Pass<H>> {
        let this = self.project();
        let (mut waiter, weight) = (this.waiter, *this.weight);
        let budget = ready!(waiter.as_mut().poll_proceed(cx));
        let outcome = loop {
            match waiter.as_mut().poll_turn(cx) {
                Turn::Waiting => {
                    waiter.handle().clone().at_home(this.home);
                    break None;
                }
                Turn::Chosen => match waiter.as_mut().accept().outcome {
                    Outcome::Pass(charge) => break Some(Ok(charge)),
                    Outcome::Again => {}
                },
                Turn::Free => {
                    let line = waiter.handle().clone();
                    let now = line.now();
                    if let Some(Ok((before, after))) = line.pass_fast(now, weight) {
                        break Some(Ok(Charge {
                            weight,
                            due: now,
                            now,
                            change: None,
                            number: None,
                            arrival: Some((before.into(), after.into())),
                        }));
                    }
                    let home = &mut *this.home;
                    let mut after = After::default();
                    let outcome = waiter.as_mut().join(LANE, cx, |locked, _| {
                        line.pass_or_wait(locked, weight, home, &mut after)
                    });
                    break outcome;
                }
            }
        };
        match outcome {
            None => {
                current::note_wait(this.awaited_at);
                Poll::Pending
            }
            Some(Ok(charge)) => {
                budget.made_progress();
                Poll::Ready(Pass {
                    line: waiter.handle().clone(),
                    charge: Some(charge),
                })
            }
            Some(Err(error)) => panic!(
                "a wait for a rate limiter at {} is not possible: {error}",
                this.awaited_at
            ),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("max_weight", &self.max_weight)
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
