//! The roster: which threads the pool has, what each is doing, and which jobs wait. One short lock guards all of it.
//!
//! # The claim protocol
//!
//! A thread is *idle* (on the idle stack, waiting at its doorbell), *summoned* (claimed, and on its way to the roster:
//! an idle thread that is being woken, or a new one that is being started), or *running* a job. Every change of these
//! happens under the lock, in one of the transitions below. The doorbell is only a hint: a thread that wakes up, for
//! whatever reason, learns from the roster what it is.
//!
//! | transition | by | effect |
//! |---|---|---|
//! | [`submit`](Roster::submit) | a submitter | queues the job, summons a thread if too few are on their way |
//! | [`arrive`](Roster::arrive) | a summoned thread | takes the oldest job, or goes idle; summons another if jobs are left |
//! | [`next`](Roster::next) | a running thread | takes the oldest job, or goes idle |
//! | [`time_out`](Roster::time_out) | a thread after its keep-alive | leaves, if it is still idle |
//! | [`start_failed`](Roster::start_failed) | who could not start a thread | takes the summons back and finds another way |
//!
//! **No job is lost.** The invariant is: *while a job is queued, a thread is summoned, or every thread that the cap
//! allows is running.* `submit` establishes it: it claims an idle thread or starts one unless threads are on their way
//! already or the cap is reached with nobody idle. `arrive` gives up one summons, and makes another if it leaves a job
//! behind. A running thread looks at the queue before it goes idle, and goes idle only if nothing is queued. A
//! thread that times out is taken off the idle stack under the same lock under which a submitter would have claimed
//! it; so either it was claimed, and then it stays, or it is gone before the submitter looks. It counts no longer
//! towards the cap from that moment, however long its stop hook takes. If a thread cannot be started, `start_failed`
//! gives the summons to an idle thread; failing that, running threads find the job when they finish (the one
//! exception to the invariant: below the cap, and nobody summoned, but somebody running; the next submit tries to
//! start a thread again); and if there is no thread at all, the queued jobs are handed back to be failed.
//!
//! **Jobs start in the order in which they were submitted**: there is one queue and each taker takes its head.
//!
//! **Few wake-ups.** At most [`SUMMONED_MAX`] threads are on their way at a time, each of which summons the next on
//! arrival. So a burst costs its submitter that many wake-ups at most, and a burst of short jobs is eaten by a few
//! warm threads instead of waking one thread per job. Idle threads are claimed last in, first out: warm ones work,
//! and cold ones reach their keep-alive.

use std::collections::VecDeque;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use divisi_task::Runnable;

use crate::stuck::Running;

/// How many threads may be on their way to the roster at a time.
pub(super) const SUMMONED_MAX: usize = 1;

/// Which seat a thread sits on; seats are reused.
pub(super) type SeatId = usize;

/// A job as far as the roster is concerned.
pub(super) trait Job {
    /// What to report of it from now on.
    fn begin(&self, now: Instant) -> Running;
}

impl Job for Runnable {
    fn begin(&self, now: Instant) -> Running {
        Running {
            id: self.id(),
            since: now,
        }
    }
}

/// What the caller of a transition has to do once it has let go of the lock.
#[derive(Debug)]
#[must_use = "a thread was claimed: it has to be woken or started"]
pub(super) enum Summons {
    Nobody,
    /// Wake an idle thread.
    Ring(Sender<()>),
    /// Start a thread on the seat, with this doorbell.
    Start(SeatId, Receiver<()>),
}

/// What a thread does next.
#[derive(Debug)]
pub(super) enum Duty<J> {
    /// Run the job, after having answered the summons.
    Run(J, Summons),
    /// Wait at the doorbell.
    Rest,
    /// End: the seat is no longer the thread's.
    Leave,
}

#[derive(Debug)]
enum Seat {
    Vacant,
    Idle(Sender<()>),
    Summoned(Sender<()>),
    Running(Sender<()>, Option<Running>),
}

#[derive(Debug)]
pub(super) struct Roster<J> {
    queue: VecDeque<J>,
    seats: Vec<Seat>,
    vacant: Vec<SeatId>,
    /// Seats of idle threads, the one that went idle last on top.
    idle: Vec<SeatId>,
    max_threads: usize,
    /// Threads that count towards the cap: idle, summoned and running ones.
    threads: usize,
    summoned: usize,
    /// Threads that have left but have not run their stop hook to its end.
    leaving: usize,
    closed: bool,
    peak: usize,
}

/// A count of everything on the roster.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Headcount {
    pub(super) threads: usize,
    pub(super) idle: usize,
    pub(super) running: usize,
    pub(super) queued: usize,
    pub(super) peak: usize,
}

/// The pool takes no more jobs; here is the job again.
#[derive(Debug)]
pub(super) struct Refused<J>(pub(super) J);

impl<J: Job> Roster<J> {
    pub(super) fn new(max_threads: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            seats: Vec::new(),
            vacant: Vec::new(),
            idle: Vec::new(),
            max_threads,
            threads: 0,
            summoned: 0,
            leaving: 0,
            closed: false,
            peak: 0,
        }
    }

    pub(super) fn submit(&mut self, job: J) -> Result<Summons, Refused<J>> {
        if self.closed {
            return Err(Refused(job));
        }
        self.queue.push_back(job);
        Ok(self.summon())
    }

    /// A thread that is not idle (any more) reports for work.
    pub(super) fn arrive(&mut self, seat: SeatId, now: Instant) -> Duty<J> {
        match std::mem::replace(&mut self.seats[seat], Seat::Vacant) {
            Seat::Summoned(bell) => {
                self.summoned -= 1;
                self.seats[seat] = Seat::Running(bell, None);
                self.take(seat, now, true)
            }
            // The doorbell rang for an earlier claim that a time-out had already answered.
            idle @ Seat::Idle(_) => {
                self.seats[seat] = idle;
                Duty::Rest
            }
            other => unreachable!("a thread arrived that is {other:?}"),
        }
    }

    /// A thread has finished its job.
    pub(super) fn next(&mut self, seat: SeatId, now: Instant) -> Duty<J> {
        self.take(seat, now, false)
    }

    /// A thread has waited at its doorbell for the whole keep-alive.
    pub(super) fn time_out(&mut self, seat: SeatId, now: Instant) -> Duty<J> {
        if let Seat::Summoned(_) = self.seats[seat] {
            return self.arrive(seat, now);
        }
        // The threads that have been idle for longest are at the bottom, and it is those that time out.
        let place = self
            .idle
            .iter()
            .position(|&idle| idle == seat)
            .expect("a thread that nobody summoned is on the idle stack");
        self.idle.remove(place);
        self.vacate(seat);
        Duty::Leave
    }

    /// The thread that was to start on the seat cannot start. Returns the jobs that nobody will ever run, if the pool
    /// has no thread left, and whom to wake instead.
    pub(super) fn start_failed(&mut self, seat: SeatId) -> (Vec<J>, Summons) {
        self.summoned -= 1;
        self.seats[seat] = Seat::Vacant;
        self.vacant.push(seat);
        self.threads -= 1;
        if self.threads == 0 {
            return (self.queue.drain(..).collect(), Summons::Nobody);
        }
        let instead = if self.summoned < self.wanted() {
            self.claim_idle()
        } else {
            None
        };
        (Vec::new(), instead.unwrap_or(Summons::Nobody))
    }

    /// A thread that had left has run its stop hook. Returns whether somebody may wait for what is so now: that the pool is empty, or that the only
    /// thread left is the one that waits.
    pub(super) fn left(&mut self) -> bool {
        self.leaving -= 1;
        self.is_down_to(1)
    }

    /// Takes no more jobs. Returns the jobs that have not started, and the doorbells of all idle threads, which leave
    /// when they wake up.
    pub(super) fn close(&mut self) -> (VecDeque<J>, Vec<Sender<()>>) {
        self.closed = true;
        let mut bells = Vec::with_capacity(self.idle.len());
        while let Some(Summons::Ring(bell)) = self.claim_idle() {
            bells.push(bell);
        }
        (std::mem::take(&mut self.queue), bells)
    }

    /// No more than this many threads are on the roster, or on their way out.
    pub(super) fn is_down_to(&self, threads: usize) -> bool {
        self.threads + self.leaving <= threads
    }

    pub(super) fn running(&self) -> impl Iterator<Item = Running> + '_ {
        self.seats.iter().filter_map(|seat| match seat {
            Seat::Running(_, running) => *running,
            _ => None,
        })
    }

    /// The counts of everything.
    pub(super) fn headcount(&self) -> Headcount {
        Headcount {
            threads: self.threads,
            idle: self.idle.len(),
            running: self.threads - self.idle.len() - self.summoned,
            queued: self.queue.len(),
            peak: self.peak,
        }
    }

    fn take(&mut self, seat: SeatId, now: Instant, summon: bool) -> Duty<J> {
        let Seat::Running(bell, running) = &mut self.seats[seat] else {
            unreachable!("only a running thread takes a job");
        };
        if let Some(job) = self.queue.pop_front() {
            *running = Some(job.begin(now));
            let summons = if summon {
                self.summon()
            } else {
                Summons::Nobody
            };
            return Duty::Run(job, summons);
        }
        if self.closed {
            self.vacate(seat);
            return Duty::Leave;
        }
        self.seats[seat] = Seat::Idle(bell.clone());
        self.idle.push(seat);
        Duty::Rest
    }

    /// How many threads should be on their way for the jobs that are queued.
    fn wanted(&self) -> usize {
        self.queue.len().min(SUMMONED_MAX)
    }

    /// Claims one more thread if one is wanted and to be had.
    fn summon(&mut self) -> Summons {
        if self.summoned >= self.wanted() {
            return Summons::Nobody;
        }
        if let Some(ring) = self.claim_idle() {
            return ring;
        }
        if self.threads == self.max_threads {
            return Summons::Nobody;
        }
        self.threads += 1;
        self.peak = self.peak.max(self.threads);
        self.summoned += 1;
        let (ring, doorbell) = bounded(1);
        let seat = self.vacant.pop().unwrap_or_else(|| {
            self.seats.push(Seat::Vacant);
            self.seats.len() - 1
        });
        self.seats[seat] = Seat::Summoned(ring);
        Summons::Start(seat, doorbell)
    }

    fn claim_idle(&mut self) -> Option<Summons> {
        let seat = self.idle.pop()?;
        let Seat::Idle(bell) = std::mem::replace(&mut self.seats[seat], Seat::Vacant) else {
            unreachable!("the idle stack holds idle threads");
        };
        self.seats[seat] = Seat::Summoned(bell.clone());
        self.summoned += 1;
        Some(Summons::Ring(bell))
    }

    fn vacate(&mut self, seat: SeatId) {
        self.seats[seat] = Seat::Vacant;
        self.vacant.push(seat);
        self.threads -= 1;
        self.leaving += 1;
    }
}

#[cfg(test)]
mod tests;
