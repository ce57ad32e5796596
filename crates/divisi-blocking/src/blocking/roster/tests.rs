//! Histories of a roster: whatever threads do, no job is stranded, and jobs start in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crossbeam_channel::Receiver;
use divisi_task::{Registry, SpawnOptions};
use proptest::prelude::*;

use super::*;

#[derive(Debug)]
struct Numbered(u64, Running);

impl Job for Numbered {
    fn begin(&self, _now: Instant) -> Running {
        self.1
    }
}

/// A job's report needs the id of a task; any will do.
fn some_running() -> Running {
    struct Nowhere;
    impl divisi_task::Schedule for Nowhere {
        fn schedule(&self, _: Runnable, _: divisi_task::Cause) {}
        fn unhandled_panic(&self, _: divisi_task::UnhandledPanic) {}
    }
    let (job, _handle) = divisi_task::spawn(
        std::future::ready(()),
        std::sync::Arc::new(Nowhere),
        &Registry::new(1),
        SpawnOptions::new(),
    )
    .expect("the registry is open");
    job.begin(Instant::now())
}

#[derive(Clone, Debug)]
enum Event {
    Submit,
    /// A summoned thread reaches the roster.
    Arrive(usize),
    /// A job ends.
    Finish(usize),
    /// A waiting thread's keep-alive runs out, whether or not it has been claimed meanwhile.
    TimeOut(usize),
    /// A thread that was to be started cannot be.
    StartFails(usize),
    Close,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        30 => Just(Event::Submit),
        30 => any::<usize>().prop_map(Event::Arrive),
        30 => any::<usize>().prop_map(Event::Finish),
        10 => any::<usize>().prop_map(Event::TimeOut),
        5 => any::<usize>().prop_map(Event::StartFails),
        1 => Just(Event::Close),
    ];
    proptest::collection::vec(event, 1..200)
}

/// What the threads of the history are doing.
struct History {
    roster: Roster<Numbered>,
    max: usize,
    running_stub: Running,
    /// Asked for, and not begun.
    starting: BTreeSet<SeatId>,
    /// Waiting at the doorbell, claimed or not; each wakes up only if its doorbell rings or its time runs out.
    waiting: BTreeSet<SeatId>,
    running: BTreeSet<SeatId>,
    bells: BTreeMap<SeatId, Receiver<()>>,
    submitted: u64,
    started: Vec<u64>,
    failed: Vec<u64>,
    closed: bool,
    start_failed: bool,
}

impl History {
    fn new(max: usize, running_stub: Running) -> Self {
        Self {
            roster: Roster::new(max),
            max,
            running_stub,
            starting: BTreeSet::new(),
            waiting: BTreeSet::new(),
            running: BTreeSet::new(),
            bells: BTreeMap::new(),
            submitted: 0,
            started: Vec::new(),
            failed: Vec::new(),
            closed: false,
            start_failed: false,
        }
    }

    fn answer(&mut self, summons: Summons) {
        match summons {
            Summons::Nobody => {}
            Summons::Ring(bell) => drop(bell.try_send(())),
            Summons::Start(seat, doorbell) => {
                assert!(self.starting.insert(seat));
                self.bells.insert(seat, doorbell);
            }
        }
    }

    fn duty(&mut self, seat: SeatId, duty: Duty<Numbered>) {
        self.starting.remove(&seat);
        self.waiting.remove(&seat);
        self.running.remove(&seat);
        match duty {
            Duty::Run(job, summons) => {
                self.started.push(job.0);
                self.running.insert(seat);
                self.answer(summons);
            }
            Duty::Rest => {
                self.waiting.insert(seat);
            }
            Duty::Leave => {
                self.roster.left();
            }
        }
    }

    /// Threads that can come to the roster now: new ones, and those whose doorbell has rung.
    fn can_arrive(&self) -> Vec<SeatId> {
        let rung = |seat: &SeatId| !self.bells[seat].is_empty();
        self.starting
            .iter()
            .copied()
            .chain(self.waiting.iter().copied().filter(rung))
            .collect()
    }

    fn happen(&mut self, event: &Event) {
        let now = self.running_stub.since;
        match *event {
            Event::Submit => {
                self.submitted += 1;
                match self
                    .roster
                    .submit(Numbered(self.submitted, self.running_stub))
                {
                    Ok(summons) => {
                        assert!(!self.closed);
                        // The caller starts or wakes a thread later; here, at once.
                        self.answer(summons);
                    }
                    Err(Refused(job)) => {
                        assert!(self.closed);
                        self.failed.push(job.0);
                    }
                }
            }
            Event::Arrive(nth) => {
                if let Some(seat) = pick(&self.can_arrive(), nth) {
                    let _ = self.bells[&seat].try_recv();
                    let duty = self.roster.arrive(seat, now);
                    self.duty(seat, duty);
                }
            }
            Event::Finish(nth) => {
                let running: Vec<_> = self.running.iter().copied().collect();
                if let Some(seat) = pick(&running, nth) {
                    let duty = self.roster.next(seat, now);
                    self.duty(seat, duty);
                }
            }
            Event::TimeOut(nth) => {
                let waiting: Vec<_> = self.waiting.iter().copied().collect();
                if let Some(seat) = pick(&waiting, nth) {
                    let duty = self.roster.time_out(seat, now);
                    self.duty(seat, duty);
                }
            }
            Event::StartFails(nth) => {
                let starting: Vec<_> = self.starting.iter().copied().collect();
                if let Some(seat) = pick(&starting, nth) {
                    self.start_failed = true;
                    self.starting.remove(&seat);
                    let (orphans, instead) = self.roster.start_failed(seat);
                    self.failed.extend(orphans.into_iter().map(|job| job.0));
                    self.answer(instead);
                }
            }
            Event::Close => {
                self.closed = true;
                let (jobs, bells) = self.roster.close();
                self.failed.extend(jobs.into_iter().map(|job| job.0));
                for bell in bells {
                    let _ = bell.try_send(());
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        let count = self.roster.headcount();
        assert!(count.threads <= self.max);
        assert_eq!(count.running, self.running.len());
        assert_eq!(
            count.threads,
            self.starting.len() + self.waiting.len() + self.running.len()
        );
        if count.queued > 0 {
            let on_their_way = self.can_arrive().len();
            let all_run = count.running == self.max;
            let below_the_cap = self.start_failed && count.running > 0;
            assert!(
                on_their_way > 0 || all_run || below_the_cap,
                "stranded: {count:?}"
            );
            assert!(on_their_way > 0 || count.idle == 0, "{count:?}");
        }
        assert!(
            self.started.is_sorted(),
            "jobs started out of order: {:?}",
            self.started
        );
    }

    /// Lets everything that can happen happen; every job must have been started or failed then.
    fn settle(&mut self) {
        while !self.can_arrive().is_empty() || !self.running.is_empty() {
            self.happen(&Event::Arrive(0));
            self.happen(&Event::Finish(0));
        }
        assert_eq!(self.roster.headcount().queued, 0);
        assert_eq!(
            self.started.len() + self.failed.len(),
            usize::try_from(self.submitted).unwrap()
        );
        while !self.waiting.is_empty() {
            self.happen(&Event::TimeOut(0));
        }
        assert!(
            self.roster.is_down_to(0),
            "threads are left: {:?}",
            self.roster
        );
    }
}

fn pick(seats: &[SeatId], nth: usize) -> Option<SeatId> {
    (!seats.is_empty()).then(|| seats[nth % seats.len()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_history_strands_a_job(events in events(), max in 1_usize..5) {
        let mut history = History::new(max, some_running());
        for event in &events {
            history.happen(event);
        }
        history.settle();
    }
}

#[test]
fn a_thread_that_times_out_after_it_was_claimed_stays() {
    let mut history = History::new(1, some_running());
    history.happen(&Event::Submit);
    history.happen(&Event::Arrive(0));
    history.happen(&Event::Finish(0));
    assert_eq!(history.roster.headcount().idle, 1);
    history.happen(&Event::Submit);
    history.happen(&Event::TimeOut(0));
    assert_eq!(history.started, [1, 2]);
    assert_eq!(history.running.len(), 1);
}

#[test]
fn a_thread_that_is_leaving_takes_no_place_under_the_cap() {
    let mut roster = Roster::new(1);
    let now = Instant::now();
    let stub = some_running();
    let Ok(Summons::Start(seat, _bell)) = roster.submit(Numbered(1, stub)) else {
        panic!("the first job starts a thread");
    };
    assert!(matches!(roster.arrive(seat, now), Duty::Run(..)));
    assert!(matches!(roster.next(seat, now), Duty::Rest));
    assert!(matches!(roster.time_out(seat, now), Duty::Leave));
    // Its stop hook has not returned yet.
    assert!(!roster.is_down_to(0));
    assert!(matches!(
        roster.submit(Numbered(2, stub)),
        Ok(Summons::Start(..))
    ));
    roster.left();
    assert!(roster.is_down_to(1) && !roster.is_down_to(0));
}

#[test]
fn a_burst_summons_one_thread_at_a_time() {
    let mut roster = Roster::new(8);
    let stub = some_running();
    assert!(matches!(
        roster.submit(Numbered(1, stub)),
        Ok(Summons::Start(..))
    ));
    for _ in 0..10 {
        let Ok(Summons::Nobody) = roster.submit(Numbered(2, stub)) else {
            panic!("a thread is on its way already");
        };
    }
    let Duty::Run(_, Summons::Start(..)) = roster.arrive(0, Instant::now()) else {
        panic!("whoever arrives summons the next");
    };
}

#[test]
fn a_late_ring_is_not_taken_for_a_claim() {
    let mut history = History::new(1, some_running());
    history.happen(&Event::Submit);
    history.happen(&Event::Arrive(0));
    history.happen(&Event::Finish(0));
    history.happen(&Event::Submit);
    // The claim is answered by the time-out; the ring stays in the doorbell.
    history.happen(&Event::TimeOut(0));
    history.happen(&Event::Finish(0));
    assert_eq!(history.roster.headcount().idle, 1);
    assert_eq!(history.can_arrive().len(), 1);
    history.happen(&Event::Arrive(0));
    assert_eq!(history.roster.headcount().idle, 1);
}
