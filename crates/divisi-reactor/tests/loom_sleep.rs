//! Models of sleeping and notifying: `RUSTFLAGS='--cfg divisi_loom' cargo test --release --test loom_sleep`.
//!
//! They compile the shipped `sleep` module. The bell stands for the eventfd: an edge in the poller's
//! ready list that exactly one wait takes.

#![cfg(divisi_loom)]

#[path = "../src/loom.rs"]
#[allow(dead_code)]
mod loom;
#[path = "../src/sleep.rs"]
mod sleep;

use ::loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use ::loom::sync::{Arc, Condvar, Mutex};
use ::loom::thread;
use sleep::{Begin, SleepWord};

struct Reactor {
    word: SleepWord,
    edge: Mutex<bool>,
    rung: Condvar,
}

impl Reactor {
    fn new() -> Arc<Reactor> {
        Arc::new(Reactor {
            word: SleepWord::new(),
            edge: Mutex::new(false),
            rung: Condvar::new(),
        })
    }

    fn ring(&self) {
        *self.edge.lock().unwrap() = true;
        self.rung.notify_all();
    }

    fn notify(&self) {
        if self.word.notify() {
            self.ring();
        }
    }

    /// A turn that blocks.
    fn sleep(&self) {
        match self.word.begin() {
            Begin::Asleep => {
                let mut edge = self.edge.lock().unwrap();
                while !*edge {
                    edge = self.rung.wait(edge).unwrap();
                }
                *edge = false;
                drop(edge);
                self.word.end();
            }
            Begin::Notified => self.look(),
            Begin::Occupied => unreachable!("one sleeper"),
        }
    }

    /// A turn that only looks: it takes the edge if there is one.
    fn look(&self) {
        let taken = std::mem::take(&mut *self.edge.lock().unwrap());
        if taken && self.word.bell_was_taken_from_sleeper() {
            self.ring();
        }
    }
}

/// loom reports a deadlock if the sleeper is never woken.
#[test]
fn a_notification_ends_or_prevents_the_sleep_and_publishes_the_work() {
    ::loom::model(|| {
        let reactor = Reactor::new();
        let work = Arc::new(AtomicUsize::new(0));
        let notifier = {
            let (reactor, work) = (reactor.clone(), work.clone());
            thread::spawn(move || {
                work.store(1, Relaxed);
                reactor.notify();
            })
        };
        reactor.sleep();
        assert_eq!(work.load(Relaxed), 1);
        notifier.join().unwrap();
    });
}

#[test]
fn a_poller_that_takes_the_edge_gives_it_back() {
    ::loom::model(|| {
        let reactor = Reactor::new();
        let work = Arc::new(AtomicUsize::new(0));
        let notifier = {
            let (reactor, work) = (reactor.clone(), work.clone());
            thread::spawn(move || {
                work.store(1, Relaxed);
                reactor.notify();
            })
        };
        let poller = {
            let reactor = reactor.clone();
            thread::spawn(move || {
                reactor.look();
                reactor.look();
            })
        };
        reactor.sleep();
        assert_eq!(work.load(Relaxed), 1);
        notifier.join().unwrap();
        poller.join().unwrap();
    });
}

#[test]
fn every_one_of_several_notifiers_is_heard() {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let reactor = Reactor::new();
        let work = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let notifiers: Vec<_> = (0..2)
            .map(|n| {
                let (reactor, work) = (reactor.clone(), work.clone());
                thread::spawn(move || {
                    work[n].store(1, Relaxed);
                    reactor.notify();
                })
            })
            .collect();
        while work.iter().any(|work| work.load(Relaxed) == 0) {
            reactor.sleep();
        }
        notifiers.into_iter().for_each(|n| n.join().unwrap());
    });
}

#[test]
fn two_rounds_survive_stale_rings_and_a_poller() {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let reactor = Reactor::new();
        let work = Arc::new(AtomicUsize::new(0));
        let notifier = {
            let (reactor, work) = (reactor.clone(), work.clone());
            thread::spawn(move || {
                for round in 1..=2 {
                    work.store(round, Relaxed);
                    reactor.notify();
                }
            })
        };
        let poller = {
            let reactor = reactor.clone();
            thread::spawn(move || reactor.look())
        };
        while work.load(Relaxed) < 2 {
            reactor.sleep();
        }
        notifier.join().unwrap();
        poller.join().unwrap();
    });
}
