//! Notification, and turns of one reactor from several threads.

mod support;

use divisi_reactor::{Clock, Direction, Reactor, Scratch, Source, Timer, Wait};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

#[test]
fn a_notification_before_the_turn_makes_it_return_at_once_and_is_used_up() {
    let mut l = Loop::new();
    l.reactor.notify();
    let turn = l.reactor.turn(&mut l.scratch, Wait::Until(None)).unwrap();
    assert!(turn.notified);
    let soon = Instant::now() + Duration::from_millis(5);
    let turn = l
        .reactor
        .turn(&mut l.scratch, Wait::Until(Some(soon)))
        .unwrap();
    assert!(!turn.notified);
    assert!(Instant::now() >= soon);
}

#[test]
fn looking_does_not_use_up_a_notification() {
    let mut l = Loop::new();
    l.reactor.notify();
    assert!(!l.poll().notified);
    let turn = l.reactor.turn(&mut l.scratch, Wait::Until(None)).unwrap();
    assert!(turn.notified);
}

#[test]
fn nothing_is_written_when_nobody_sleeps() {
    let l = Loop::new();
    for _ in 0..100 {
        l.reactor.notify();
    }
    assert_eq!(l.reactor.metrics().notifies_written, 0);
}

/// A thread that sleeps in the reactor again and again, until told to stop.
fn sleeper(
    reactor: &Reactor,
    seen: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> thread::JoinHandle<()> {
    let (reactor, seen, stop) = (reactor.clone(), seen.clone(), stop.clone());
    thread::spawn(move || {
        let mut scratch = Scratch::new(8);
        // It turns before it looks, so that it sees a notification even if it begins after all of them.
        loop {
            let turn = reactor.turn(&mut scratch, Wait::Until(None)).unwrap();
            if turn.notified {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    })
}

#[test]
fn no_notification_is_lost_while_other_threads_look() {
    const ROUNDS: u64 = 20_000;
    // Enough of them for a machine that others keep busy.
    let enough = Instant::now() + Duration::from_secs(20);
    let reactor = Reactor::new(Clock::real()).unwrap();
    // Work is a number; the sleeper passes on the latest it can see after each turn.
    let work = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (done, results) = mpsc::channel();
    let asleep = {
        let (reactor, work, stop) = (reactor.clone(), work.clone(), stop.clone());
        thread::spawn(move || {
            let mut scratch = Scratch::new(8);
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                reactor.turn(&mut scratch, Wait::Until(None)).unwrap();
                let now = work.load(Ordering::Relaxed);
                if now != last {
                    last = now;
                    if done.send(now).is_err() {
                        return;
                    }
                }
            }
        })
    };
    // It takes edges of the bell away from the sleeper.
    let looker = {
        let (reactor, stop) = (reactor.clone(), stop.clone());
        thread::spawn(move || {
            let mut scratch = Scratch::new(8);
            while !stop.load(Ordering::Relaxed) {
                reactor.turn(&mut scratch, Wait::Poll).unwrap();
            }
        })
    };
    for round in (1..=ROUNDS).take_while(|_| Instant::now() < enough) {
        work.store(round, Ordering::Relaxed);
        reactor.notify();
        let seen = results.recv_timeout(LIMIT).expect("a notification is lost");
        assert_eq!(seen, round);
    }
    stop.store(true, Ordering::Relaxed);
    reactor.notify();
    asleep.join().unwrap();
    looker.join().unwrap();
}

#[test]
fn many_notifiers_cost_at_most_one_write_a_sleep() {
    let reactor = Reactor::new(Clock::real()).unwrap();
    let (seen, stop) = (Arc::default(), Arc::default());
    let asleep = sleeper(&reactor, &seen, &stop);
    let start = Arc::new(Barrier::new(4));
    let notifiers: Vec<_> = (0..4)
        .map(|_| {
            let (reactor, start) = (reactor.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                for _ in 0..10_000 {
                    reactor.notify();
                }
            })
        })
        .collect();
    notifiers.into_iter().for_each(|n| n.join().unwrap());
    stop.store(true, Ordering::Relaxed);
    reactor.notify();
    asleep.join().unwrap();
    let metrics = reactor.metrics();
    assert!(metrics.notifies_written <= metrics.turns + 1, "{metrics:?}");
    assert!(seen.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_second_thread_that_would_sleep_looks_once_and_returns() {
    let reactor = Reactor::new(Clock::real()).unwrap();
    let outside = reactor.sleep_outside().unwrap();
    let mut scratch = Scratch::new(8);
    let turn = reactor.turn(&mut scratch, Wait::Until(None)).unwrap();
    assert!(!turn.notified);
    drop(outside);
}

#[test]
fn two_threads_that_turn_one_reactor_deliver_every_event_once() {
    const SOURCES: usize = 200;
    let reactor = Reactor::new(Clock::real()).unwrap();
    let pairs: Vec<_> = (0..SOURCES).map(|_| unix_pair()).collect();
    let (sources, mut far): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .map(|(near, far)| (Source::new(near), far))
        .unzip();
    let stop = Arc::new(AtomicBool::new(false));
    let turners: Vec<_> = [Wait::Until(None), Wait::Poll]
        .into_iter()
        .map(|wait| {
            let (reactor, stop) = (reactor.clone(), stop.clone());
            thread::spawn(move || {
                let mut scratch = Scratch::new(3);
                while !stop.load(Ordering::Relaxed) {
                    reactor.turn(&mut scratch, wait).unwrap();
                }
            })
        })
        .collect();
    for round in 0..20 {
        let woken = Arc::new(AtomicUsize::new(0));
        let (all, finished) = mpsc::channel();
        let wakers: Vec<_> = sources
            .iter()
            .map(|source| {
                let waker = Waker::from(Arc::new(Last {
                    woken: woken.clone(),
                    once: AtomicBool::new(false),
                    all: all.clone(),
                }));
                let mut cx = Context::from_waker(&waker);
                let home = || Ok(reactor.clone());
                // Clears the readiness of the round before.
                let polled = source.poll_io(&mut cx, Direction::Read, home, |mut io| {
                    std::io::Read::read(&mut io, &mut [0; 8])
                        .map(|n| divisi_reactor::Progress::of(n, 8))
                });
                (waker.clone(), polled)
            })
            .collect();
        assert!(
            wakers.iter().all(|(_, polled)| polled.is_pending()),
            "round {round}"
        );
        for far in &mut far {
            far.write_all(b"x").unwrap();
        }
        finished.recv_timeout(LIMIT).expect("an event is lost");
        // Read what came, so that the next round waits.
        for source in &sources {
            let mut near = source.get_ref();
            assert_eq!(std::io::Read::read(&mut near, &mut [0; 8]).unwrap(), 1);
        }
    }
    stop.store(true, Ordering::Relaxed);
    reactor.notify();
    turners.into_iter().for_each(|t| t.join().unwrap());
}

/// Counts sources that were woken; the last one tells.
struct Last {
    woken: Arc<AtomicUsize>,
    once: AtomicBool,
    all: mpsc::Sender<()>,
}

impl Wake for Last {
    fn wake(self: Arc<Self>) {
        if !self.once.swap(true, Ordering::SeqCst)
            && self.woken.fetch_add(1, Ordering::SeqCst) + 1 == 200
        {
            self.all.send(()).unwrap();
        }
    }
}

#[test]
fn turns_are_counted_whoever_makes_them() {
    let mut l = Loop::new();
    let before = l.reactor.turns();
    l.poll();
    let reactor = l.reactor.clone();
    thread::spawn(move || {
        reactor.turn(&mut Scratch::new(1), Wait::Poll).unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(l.reactor.turns(), before + 2);
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[test]
fn a_turn_takes_at_most_as_many_events_as_it_is_told() {
    let mut l = Loop::new();
    let pairs: Vec<_> = (0..10)
        .map(|_| {
            let (near, far) = unix_pair();
            (Source::new(near), far)
        })
        .collect();
    for (near, _) in &pairs {
        assert!(poll_once(&mut Box::pin(read(near, 1, l.home()))).is_pending());
    }
    l.settle();
    for (_, far) in &pairs {
        let mut far = far;
        far.write_all(b"x").unwrap();
    }
    l.scratch.set_max_events(4);
    let mut total = 0;
    l.turn_until(|| pairs.iter().any(|(near, _)| near.is_ready(Direction::Read)));
    let first = pairs
        .iter()
        .filter(|(near, _)| near.is_ready(Direction::Read))
        .count();
    assert!(first <= 4, "{first}");
    total += first;
    while total < 10 {
        let turn = l.poll();
        assert!(turn.events <= 4);
        total += turn.events;
    }
    l.scratch.set_max_events(0);
    assert!(format!("{:?}", l.scratch).contains("max_events: 1"));
}

#[test]
fn a_waker_that_panics_stops_neither_the_turn_nor_the_others() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("boom");
        }
    }
    let clock = Clock::manual();
    let mut l = Loop::with_clock(clock.clone());
    let home = l.home();
    let count = Count::new();
    let mut timers: Vec<_> = (0..40)
        .map(|_| Timer::after(&clock, Duration::from_secs(1)))
        .collect();
    for (n, timer) in timers.iter_mut().enumerate() {
        let waker = if n % 2 == 0 {
            Waker::from(Arc::new(Bomb))
        } else {
            Waker::from(count.clone())
        };
        let polled = timer.poll_expired(&mut Context::from_waker(&waker), &home);
        assert!(polled.is_pending());
    }
    clock.advance(Duration::from_secs(1)).unwrap();
    let turn = l.poll();
    assert_eq!((turn.timers, turn.panics), (40, 20));
    assert_eq!(count.wakes(), 20);
    let payloads = l.scratch.take_panics();
    assert_eq!(payloads.len(), 16, "the rest is only counted");
    assert_eq!(payloads[0].downcast_ref::<&str>(), Some(&"boom"));
    assert!(l.scratch.take_panics().is_empty());
}

#[test]
fn close_ends_a_sleep_and_no_later_turn_sleeps() {
    let reactor = Reactor::new(Clock::real()).unwrap();
    let (entered, started) = mpsc::channel();
    let asleep = {
        let reactor = reactor.clone();
        thread::spawn(move || {
            let mut scratch = Scratch::new(8);
            entered.send(()).unwrap();
            reactor.turn(&mut scratch, Wait::Until(None)).unwrap();
            reactor.turn(&mut scratch, Wait::Until(None)).unwrap();
        })
    };
    started.recv_timeout(LIMIT).unwrap();
    reactor.close();
    asleep.join().unwrap();
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[test]
fn another_event_loop_can_sleep_for_the_reactor() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let reactor = Reactor::new(Clock::real()).unwrap();
    let mut scratch = Scratch::new(8);
    let readable = |limit: i64| {
        let mut fds = [PollFd::new(&reactor, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: limit,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&limit)).unwrap() == 1
    };

    let sleep = reactor.sleep_outside().unwrap();
    assert_eq!(sleep.time_left(), None);
    assert!(!readable(0));
    reactor.notify();
    assert!(readable(20));
    drop(sleep);
    reactor.turn(&mut scratch, Wait::Poll).unwrap();
    assert!(!readable(0));
    assert!(
        reactor.sleep_outside().is_none(),
        "the notification is not used up yet"
    );
    assert!(reactor.sleep_outside().is_some());

    let mut timer = Timer::after(reactor.clock(), Duration::from_secs(3600));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(
        timer
            .poll_expired(&mut cx, || Ok(reactor.clone()))
            .is_pending()
    );
    let sleep = reactor.sleep_outside().unwrap();
    assert!(sleep.time_left().unwrap() <= Duration::from_secs(3600));
    let mut earlier = Timer::after(reactor.clock(), Duration::from_secs(60));
    assert!(
        earlier
            .poll_expired(&mut cx, || Ok(reactor.clone()))
            .is_pending()
    );
    assert!(readable(20), "an earlier timer ends the sleep");
    drop(sleep);
}
