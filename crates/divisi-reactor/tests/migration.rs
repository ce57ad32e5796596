//! A source that is waited for from changing reactors: it follows, and loses nothing on the way.

mod support;

use divisi_reactor::{Direction, Progress, Reactor, Scratch, Source, Wait};
use proptest::prelude::*;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;
use support::*;

/// One wait for reading that finds nothing.
fn wait_in_vain(source: &Source<std::os::unix::net::UnixStream>, l: &Loop) {
    let mut cx = Context::from_waker(Waker::noop());
    let polled = source.poll_io(&mut cx, Direction::Read, l.home(), |mut io| {
        io.read(&mut [0]).map(Progress::full)
    });
    assert!(polled.is_pending());
}

#[test]
fn a_source_moves_to_the_reactor_from_which_it_is_waited_for_again_and_again() {
    let (a, mut b) = (Loop::new(), Loop::new());
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    wait_in_vain(&near, &a);
    assert_eq!(near.home(), Some(a.reactor.id()));
    for _ in 0..8 {
        wait_in_vain(&near, &b);
    }
    assert_eq!(near.home(), Some(b.reactor.id()));
    assert_eq!(near.migrations(), 1);
    assert_eq!(a.reactor.metrics().sources, 0);
    assert_eq!(b.reactor.metrics().sources, 1);
    far.write_all(b"x").unwrap();
    b.turn_until(|| near.is_ready(Direction::Read));
}

#[test]
fn a_source_moves_at_once_to_a_reactor_that_adopts_until_that_is_turned() {
    let (a, b) = (Loop::new(), Loop::new());
    let (adopted, _far) = unix_pair();
    let (left, _far_left) = unix_pair();
    let (adopted, left) = (Source::new(adopted), Source::new(left));
    wait_in_vain(&adopted, &a);
    wait_in_vain(&left, &a);
    b.reactor.adopt();
    wait_in_vain(&adopted, &b);
    b.reactor.turn(&mut Scratch::new(8), Wait::Poll).unwrap();
    wait_in_vain(&left, &b);
    assert_eq!(adopted.home(), Some(b.reactor.id()));
    assert_eq!(adopted.migrations(), 1);
    assert_eq!(left.home(), Some(a.reactor.id()));
}

#[test]
fn a_source_stays_where_it_is_when_its_waiters_alternate() {
    let (a, b) = (Loop::new(), Loop::new());
    let (near, _far) = unix_pair();
    let near = Source::new(near);
    for _ in 0..50 {
        wait_in_vain(&near, &a);
        wait_in_vain(&near, &b);
    }
    assert_eq!(near.home(), Some(a.reactor.id()));
    assert_eq!(near.migrations(), 0);
}

#[test]
fn a_source_stays_when_the_other_reactor_is_closed() {
    let (mut a, b) = (Loop::new(), Loop::new());
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    wait_in_vain(&near, &a);
    b.reactor.close();
    for _ in 0..20 {
        wait_in_vain(&near, &b);
    }
    assert_eq!(near.home(), Some(a.reactor.id()));
    far.write_all(b"x").unwrap();
    a.turn_until(|| near.is_ready(Direction::Read));
}

#[test]
fn what_arrived_before_a_source_moved_is_reported_by_its_new_reactor() {
    // The old reactor has the edge of the data but is never turned.
    let (a, mut b) = (Loop::new(), Loop::new());
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    wait_in_vain(&near, &a);
    far.write_all(b"x").unwrap();
    let count = Count::new();
    let waker = Waker::from(count.clone());
    let mut cx = Context::from_waker(&waker);
    let mut waits = 0;
    while near.migrations() == 0 {
        // Readiness is cleared already, so the data is not tried for.
        let polled = near.poll_io(&mut cx, Direction::Read, b.home(), |_| {
            Ok(Progress::full(()))
        });
        assert!(polled.is_pending());
        waits += 1;
        assert!(waits < 100, "it does not move");
    }
    b.turn_until(|| count.wakes() > 0);
    assert!(near.is_ready(Direction::Read));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One byte goes back and forth; each wait names a reactor of the test's choice. Both
    /// reactors are turned all the time, as two workers would.
    #[test]
    fn a_ping_pong_with_arbitrary_homes_loses_nothing(
        homes in prop::collection::vec(any::<bool>(), 1..200),
        stickiness in 1usize..12,
    ) {
        let (mut a, mut b) = (Loop::new(), Loop::new());
        let (near, far) = unix_pair();
        let ends = [Source::new(near), Source::new(far)];
        for (round, &home) in homes.iter().enumerate() {
            let home = homes[round / stickiness] ^ (home && stickiness == 1);
            let (from, to) = (&ends[round % 2], &ends[(round + 1) % 2]);
            let count = Count::new();
            let waker = Waker::from(count.clone());
            let mut cx = Context::from_waker(&waker);
            let reactor = if home { &a.reactor } else { &b.reactor }.clone();
            let mut receive = || {
                to.poll_io(&mut cx, Direction::Read, || Ok(reactor.clone()), |mut io| {
                    let mut buffer = [0; 4];
                    io.read(&mut buffer).map(|n| Progress::of(n, 4))
                })
            };
            // Half the rounds wait first, half find the byte there.
            let early = round % 3 == 0;
            if early {
                prop_assert!(receive().is_pending());
            }
            prop_assert_eq!(from.get_ref().write(b"x").unwrap(), 1);
            let limit = Instant::now() + LIMIT;
            let mut seen = if early { 0 } else { usize::MAX };
            loop {
                if count.wakes() != seen {
                    seen = count.wakes();
                    match receive() {
                        Poll::Ready(n) => {
                            prop_assert_eq!(n.unwrap(), 1);
                            break;
                        }
                        Poll::Pending => {}
                    }
                }
                a.poll();
                b.poll();
                prop_assert!(Instant::now() < limit, "round {} is lost", round);
            }
        }
    }
}

#[test]
fn connections_that_are_bounced_between_two_threads_lose_no_message() {
    let migrations = bounce(2_000, |_| {});
    assert!(migrations > 0, "nothing ever moved");
}

#[test]
fn connections_of_reactors_that_are_evacuated_all_the_time_lose_no_message() {
    bounce(1_000, |reactors| {
        reactors.iter().for_each(Reactor::evacuate);
        thread::yield_now();
    });
}

/// Passes messages over connections that are waited for from changing reactors, which two threads
/// turn, while another one goes on to `disturb` them. Returns how often a source moved.
fn bounce(messages: usize, disturb: fn(&[Reactor])) -> u64 {
    const CONNECTIONS: usize = 8;
    let reactors = [Loop::new().reactor, Loop::new().reactor];
    let stop = Arc::new(AtomicBool::new(false));
    let turners: Vec<_> = reactors
        .iter()
        .cloned()
        .map(|reactor| {
            let stop = stop.clone();
            thread::spawn(move || {
                let mut scratch = Scratch::new(4);
                while !stop.load(Ordering::Relaxed) {
                    reactor.turn(&mut scratch, Wait::Until(None)).unwrap();
                }
            })
        })
        .collect();

    let disturber = {
        let (reactors, stop) = (reactors.clone(), stop.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                disturb(&reactors);
                thread::yield_now();
            }
        })
    };
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let reactors = reactors.clone();
            thread::spawn(move || {
                let (near, far) = unix_pair();
                let ends = [Source::new(near), Source::new(far)];
                let mut random = connection as u64 + 1;
                for message in 0..messages {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    // Runs of one home, so that sources really move.
                    let home = &reactors[(message / 6 + (random % 5 == 0) as usize) % 2];
                    let (from, to) = (&ends[message % 2], &ends[(message + 1) % 2]);
                    let mut receive = Box::pin(read(to, 4, || Ok(home.clone())));
                    let count = Arc::new(Unpark(thread::current(), AtomicBool::new(true)));
                    let waker = Waker::from(count.clone());
                    if random % 2 == 0 {
                        assert_eq!(from.get_ref().write(b"m").unwrap(), 1);
                    }
                    let mut sent = random % 2 == 0;
                    let limit = Instant::now() + LIMIT;
                    loop {
                        if count.1.swap(false, Ordering::SeqCst) {
                            let mut cx = Context::from_waker(&waker);
                            if let Poll::Ready(data) =
                                std::future::Future::poll(receive.as_mut(), &mut cx)
                            {
                                assert_eq!(data.unwrap(), b"m");
                                break;
                            }
                        }
                        if !sent {
                            assert_eq!(from.get_ref().write(b"m").unwrap(), 1);
                            sent = true;
                        }
                        thread::park_timeout(LIMIT);
                        assert!(Instant::now() < limit, "message {message} is lost");
                    }
                }
                ends[0].migrations() + ends[1].migrations()
            })
        })
        .collect();
    let migrations: u64 = workers
        .into_iter()
        .map(|worker| worker.join().unwrap())
        .sum();
    stop.store(true, Ordering::Relaxed);
    reactors.iter().for_each(Reactor::notify);
    turners
        .into_iter()
        .for_each(|turner| turner.join().unwrap());
    disturber.join().unwrap();
    for reactor in &reactors {
        assert_eq!(reactor.metrics().sources, 0);
    }
    migrations
}

struct Unpark(thread::Thread, AtomicBool);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::SeqCst);
        self.0.unpark();
    }
}
