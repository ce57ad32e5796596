//! Timers through a reactor: never early, in order, cancelled, re-armed, moved by a virtual clock.

mod support;

use divisi_reactor::{Clock, ReactorError, Scratch, Timer, Wait};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

const SECOND: Duration = Duration::from_secs(1);

fn poll(timer: &mut Timer, count: &std::sync::Arc<Count>, l: &Loop) -> bool {
    let waker = Waker::from(count.clone());
    match timer.poll_expired(&mut Context::from_waker(&waker), l.home()) {
        Poll::Ready(result) => {
            result.unwrap();
            true
        }
        Poll::Pending => false,
    }
}

/// A future of a timer.
async fn sleep(mut timer: Timer, l: impl Fn() -> std::io::Result<divisi_reactor::Reactor>) {
    std::future::poll_fn(|cx| timer.poll_expired(cx, &l))
        .await
        .unwrap();
}

#[test]
fn a_sleep_ends_after_its_time_and_never_before() {
    let mut l = Loop::new();
    for micros in [1, 100, 1_000, 3_333] {
        let start = Instant::now();
        let timer = Timer::after(l.reactor.clock(), Duration::from_micros(micros));
        let home = l.home();
        l.block_on(sleep(timer, home));
        assert!(start.elapsed() >= Duration::from_micros(micros));
    }
}

#[test]
fn a_timer_is_not_armed_before_it_is_polled() {
    let l = Loop::new();
    let timer = Timer::after(l.reactor.clock(), SECOND);
    assert_eq!(l.reactor.metrics().timers, 0);
    assert_eq!(l.reactor.next_deadline(), None);
    assert!(timer.deadline().is_some() && !timer.is_elapsed());
}

#[test]
fn a_virtual_timer_fires_when_the_clock_gets_there() {
    let clock = Clock::manual();
    let mut l = Loop::with_clock(clock.clone());
    let count = Count::new();
    let mut timer = Timer::after(&clock, SECOND);
    assert!(!poll(&mut timer, &count, &l));
    assert_eq!(l.reactor.next_deadline(), timer.deadline());
    clock.advance(SECOND - Duration::from_nanos(1)).unwrap();
    assert_eq!(l.poll().timers, 0);
    assert!(!poll(&mut timer, &count, &l));
    clock.advance(Duration::from_nanos(1)).unwrap();
    assert_eq!(l.poll().timers, 1);
    assert_eq!(count.wakes(), 1);
    assert!(poll(&mut timer, &count, &l));
    assert!(timer.is_elapsed());
    assert!(poll(&mut timer, &count, &l), "it stays elapsed");
    assert_eq!(l.reactor.metrics().timers, 0);
    assert_eq!(l.reactor.metrics().timers_fired, 1);
}

#[test]
fn a_cancelled_timer_never_fires() {
    let clock = Clock::manual();
    let mut l = Loop::with_clock(clock.clone());
    let count = Count::new();
    let mut timer = Timer::after(&clock, SECOND);
    assert!(!poll(&mut timer, &count, &l));
    drop(timer);
    assert_eq!(l.reactor.metrics().timers, 0);
    assert_eq!(l.reactor.next_deadline(), None);
    clock.advance(2 * SECOND).unwrap();
    assert_eq!(l.poll().timers, 0);
    assert_eq!(count.wakes(), 0);
}

#[test]
fn reset_moves_an_armed_timer_without_another_poll() {
    let clock = Clock::manual();
    let mut l = Loop::with_clock(clock.clone());
    let start = clock.now();
    let count = Count::new();
    let mut timer = Timer::at(start + SECOND);
    assert!(!poll(&mut timer, &count, &l));
    timer.reset(start + 3 * SECOND);
    clock.advance(SECOND).unwrap();
    assert_eq!(l.poll().timers, 0);
    timer.reset(start + 2 * SECOND);
    clock.advance(SECOND).unwrap();
    assert_eq!(l.poll().timers, 1);
    assert_eq!(count.wakes(), 1);
    assert!(poll(&mut timer, &count, &l));
    // And from the end.
    timer.reset(start + 5 * SECOND);
    assert!(!timer.is_elapsed());
    assert!(!poll(&mut timer, &count, &l));
    clock.advance(3 * SECOND).unwrap();
    assert_eq!(l.poll().timers, 1);
    // Fired, not looked at, and given a new deadline: it is armed again by the next poll.
    timer.reset(start + 7 * SECOND);
    assert_eq!(l.reactor.metrics().timers, 0);
    assert!(!poll(&mut timer, &count, &l));
    assert_eq!(l.reactor.metrics().timers, 1);
    timer.reset(None);
    assert_eq!(timer.deadline(), None);
    clock.advance(100 * SECOND).unwrap();
    assert_eq!(l.poll().timers, 0);
}

#[test]
fn a_deadline_that_has_passed_completes_at_the_first_poll_of_a_virtual_clock() {
    let clock = Clock::manual();
    let l = Loop::with_clock(clock.clone());
    let count = Count::new();
    assert!(poll(&mut Timer::at(clock.now()), &count, &l));
    assert!(poll(
        &mut Timer::at(clock.now() - Duration::from_nanos(1)),
        &count,
        &l
    ));
    assert_eq!(l.reactor.metrics().timers, 0);
}

#[test]
fn a_deadline_in_the_real_past_completes_at_the_latest_with_the_next_turn() {
    let mut l = Loop::new();
    let count = Count::new();
    let mut timer = Timer::at(Instant::now());
    if !poll(&mut timer, &count, &l) {
        let turn = l.reactor.turn(&mut l.scratch, Wait::Until(None)).unwrap();
        assert_eq!(turn.timers, 1);
        assert!(poll(&mut timer, &count, &l));
    }
}

#[test]
fn never_and_the_longest_durations_do_not_overflow_and_do_not_fire() {
    let clock = Clock::manual();
    let mut l = Loop::with_clock(clock.clone());
    let count = Count::new();
    let mut timers = [
        Timer::never(),
        Timer::after(&clock, Duration::MAX),
        Timer::after(&clock, Duration::from_secs(u64::MAX / 4)),
    ];
    for timer in &mut timers {
        assert!(!poll(timer, &count, &l));
    }
    assert_eq!(timers[1].deadline(), None);
    assert_eq!(l.reactor.next_deadline(), None);
    clock.advance(Duration::MAX).unwrap();
    assert_eq!(l.poll().timers, 0);
    assert_eq!(l.reactor.metrics().timers, 3);
}

#[test]
fn timers_of_one_turn_fire_in_the_order_of_their_deadlines_and_of_arming() {
    let clock = Clock::manual();
    let mut l = Loop::with_clock(clock.clone());
    let start = clock.now();
    let (log, order) = mpsc::channel();
    struct Note(u64, mpsc::Sender<u64>);
    impl std::task::Wake for Note {
        fn wake(self: std::sync::Arc<Self>) {
            self.1.send(self.0).unwrap();
        }
    }
    let millis = [30, 10, 20, 10, 0, 30, 4_000, 20];
    let mut timers = Vec::new();
    for (n, &ms) in millis.iter().enumerate() {
        let waker = Waker::from(std::sync::Arc::new(Note(n as u64, log.clone())));
        let mut timer = Timer::at(start + Duration::from_millis(ms + 1));
        let polled = timer.poll_expired(&mut Context::from_waker(&waker), l.home());
        assert!(polled.is_pending());
        timers.push(timer);
    }
    clock.advance(10 * SECOND).unwrap();
    assert_eq!(l.poll().timers, 8);
    assert_eq!(
        order.try_iter().collect::<Vec<_>>(),
        [4, 1, 3, 2, 7, 0, 5, 6]
    );
}

#[test]
fn more_due_timers_than_a_batch_fire_over_turns_that_do_not_wait() {
    let clock = Clock::manual();
    let mut l = Loop::with_clock(clock.clone());
    let count = Count::new();
    let mut timers: Vec<_> = (0..1_000).map(|_| Timer::after(&clock, SECOND)).collect();
    for timer in &mut timers {
        assert!(!poll(timer, &count, &l));
    }
    clock.advance(SECOND).unwrap();
    let mut turns = 0;
    while count.wakes() < 1_000 {
        let turn = l.reactor.turn(&mut l.scratch, Wait::Until(None)).unwrap();
        assert!(turn.timers < 1_000);
        turns += 1;
        assert!(turns < 1_000);
    }
    assert!(turns > 1);
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    let clock = Clock::manual();
    let mut l = Loop::with_clock(clock.clone());
    let (first, second) = (Count::new(), Count::new());
    let mut timer = Timer::after(&clock, SECOND);
    assert!(!poll(&mut timer, &first, &l));
    assert!(!poll(&mut timer, &second, &l));
    clock.advance(SECOND).unwrap();
    l.poll();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
}

/// Lets another thread sleep in the reactor until `expected` timers fired, while `act` runs here.
fn while_another_thread_sleeps(l: &Loop, act: impl FnOnce()) -> Duration {
    let reactor = l.reactor.clone();
    let start = Instant::now();
    let (entered, started) = mpsc::channel();
    let asleep = thread::spawn(move || {
        let mut scratch = Scratch::new(8);
        entered.send(()).unwrap();
        let limit = Instant::now() + LIMIT;
        loop {
            let wait = Wait::Until(Some(limit));
            if reactor.turn(&mut scratch, wait).unwrap().timers > 0 {
                return;
            }
            assert!(Instant::now() < limit, "the sleeper missed the timer");
        }
    });
    started.recv_timeout(LIMIT).unwrap();
    act();
    asleep.join().unwrap();
    start.elapsed()
}

#[test]
fn arming_an_earlier_timer_from_another_thread_wakes_the_sleeper() {
    for _ in 0..200 {
        let l = Loop::new();
        let count = Count::new();
        let mut late = Timer::after(l.reactor.clock(), 2 * LIMIT);
        assert!(!poll(&mut late, &count, &l));
        let mut timer = None;
        while_another_thread_sleeps(&l, || {
            let mut soon = Timer::after(l.reactor.clock(), Duration::from_micros(100));
            poll(&mut soon, &count, &l);
            timer = Some(soon);
        });
        assert!(poll(timer.as_mut().unwrap(), &count, &l));
    }
}

#[test]
fn moving_a_timer_forward_from_another_thread_wakes_the_sleeper() {
    for _ in 0..200 {
        let l = Loop::new();
        let count = Count::new();
        let mut timer = Timer::after(l.reactor.clock(), 2 * LIMIT);
        assert!(!poll(&mut timer, &count, &l));
        while_another_thread_sleeps(&l, || timer.reset(Instant::now()));
        assert!(poll(&mut timer, &count, &l));
    }
}

#[test]
fn arming_a_later_timer_leaves_the_sleeper_alone() {
    let l = Loop::new();
    let count = Count::new();
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut first = Timer::after(l.reactor.clock(), 2 * HOUR);
    assert!(!poll(&mut first, &count, &l));
    let sleep = l.reactor.sleep_outside().unwrap();
    let mut second = Timer::after(l.reactor.clock(), 4 * HOUR);
    assert!(!poll(&mut second, &count, &l));
    assert_eq!(l.reactor.metrics().notifies_written, 0);
    let mut third = Timer::after(l.reactor.clock(), HOUR);
    assert!(!poll(&mut third, &count, &l));
    assert_eq!(l.reactor.metrics().notifies_written, 1);
    drop(sleep);
}

#[test]
fn advancing_a_virtual_clock_wakes_a_sleeper_whose_timer_is_due() {
    for _ in 0..200 {
        let clock = Clock::manual();
        let l = Loop::with_clock(clock.clone());
        let count = Count::new();
        let mut timer = Timer::after(&clock, SECOND);
        assert!(!poll(&mut timer, &count, &l));
        while_another_thread_sleeps(&l, || {
            clock.advance(SECOND).unwrap();
        });
        assert!(poll(&mut timer, &count, &l));
    }
}

#[test]
fn advancing_a_virtual_clock_leaves_a_sleeper_alone_that_has_nothing_due() {
    let clock = Clock::manual();
    let l = Loop::with_clock(clock.clone());
    let count = Count::new();
    let mut timer = Timer::after(&clock, 2 * SECOND);
    assert!(!poll(&mut timer, &count, &l));
    let sleep = l.reactor.sleep_outside().unwrap();
    assert_eq!(sleep.time_left(), None, "virtual timers bound no sleep");
    clock.advance(SECOND).unwrap();
    assert_eq!(l.reactor.metrics().notifies_written, 0);
    clock.advance(SECOND).unwrap();
    assert_eq!(l.reactor.metrics().notifies_written, 1);
    drop(sleep);
    assert!(l.reactor.sleep_outside().is_none(), "the turn comes first");
}

#[test]
fn moving_a_virtual_timer_to_the_present_wakes_the_sleeper() {
    let clock = Clock::manual();
    let l = Loop::with_clock(clock.clone());
    let count = Count::new();
    let mut timer = Timer::after(&clock, SECOND);
    assert!(!poll(&mut timer, &count, &l));
    let sleep = l.reactor.sleep_outside().unwrap();
    timer.reset(clock.now() + SECOND / 2);
    assert_eq!(l.reactor.metrics().notifies_written, 0);
    timer.reset(clock.now());
    assert_eq!(l.reactor.metrics().notifies_written, 1);
    drop(sleep);
}

#[test]
fn arming_races_with_firing_and_dropping_without_losing_a_timer() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 2_000;
    let l = Loop::new();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let turner = {
        let (reactor, stop) = (l.reactor.clone(), stop.clone());
        thread::spawn(move || {
            let mut scratch = Scratch::new(8);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                reactor.turn(&mut scratch, Wait::Until(None)).unwrap();
            }
        })
    };
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let reactor = l.reactor.clone();
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    let micros = ((thread * 7 + round * 13) % 50) as u64;
                    let mut timer = Timer::after(reactor.clock(), Duration::from_micros(micros));
                    let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
                    let mut cx = Context::from_waker(&waker);
                    let limit = Instant::now() + LIMIT;
                    loop {
                        match timer.poll_expired(&mut cx, || Ok(reactor.clone())) {
                            Poll::Ready(result) => break result.unwrap(),
                            Poll::Pending if round % 3 == 0 => break,
                            Poll::Pending => thread::park_timeout(LIMIT),
                        }
                        assert!(Instant::now() < limit, "a timer is lost");
                    }
                    if round % 3 != 0 {
                        assert!(Instant::now() >= timer.deadline().unwrap());
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    l.reactor.notify();
    turner.join().unwrap();
    assert_eq!(l.reactor.metrics().timers, 0);
}

struct Unpark(thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn closing_wakes_every_timer_with_a_named_error() {
    let l = Loop::new();
    let count = Count::new();
    let mut timers = [Timer::never(), Timer::after(l.reactor.clock(), SECOND)];
    for timer in &mut timers {
        assert!(!poll(timer, &count, &l));
    }
    l.reactor.close();
    assert_eq!(count.wakes(), 2);
    let mut cx = Context::from_waker(Waker::noop());
    for timer in &mut timers {
        let Poll::Ready(Err(error)) = timer.poll_expired(&mut cx, l.home()) else {
            panic!("still waiting");
        };
        assert_eq!(ReactorError::of(&error), Some(ReactorError::ShutDown));
    }
    let mut late = Timer::after(l.reactor.clock(), SECOND);
    assert!(matches!(
        late.poll_expired(&mut cx, l.home()),
        Poll::Ready(Err(_))
    ));
}

#[test]
fn a_timer_outlives_the_turns_of_a_dropped_loop() {
    // The reactor lives as long as a timer needs it.
    let l = Loop::new();
    let count = Count::new();
    let mut timer = Timer::after(l.reactor.clock(), SECOND);
    assert!(!poll(&mut timer, &count, &l));
    drop(l);
    drop(timer);
}
