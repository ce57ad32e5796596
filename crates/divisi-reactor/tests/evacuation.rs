//! A reactor that gives up what is registered in it loses nobody.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use divisi_reactor::{Clock, Direction, Progress, Reactor, Scratch, Source, Timer, Wait};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counted() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), Waker::from(count))
}

fn poll_read(source: &Source<UnixStream>, waker: &Waker, home: &Reactor) -> Poll<u8> {
    let mut cx = Context::from_waker(waker);
    source
        .poll_io(
            &mut cx,
            Direction::Read,
            || Ok(home.clone()),
            |mut stream| {
                let mut byte = [0];
                stream.read(&mut byte).map(|_| Progress::full(byte[0]))
            },
        )
        .map(|result| result.expect("reading works"))
}

#[test]
fn a_waiting_source_is_woken_and_served_by_its_next_home() {
    let clock = Clock::real();
    let (old, new) = (
        Reactor::new(clock.clone()).unwrap(),
        Reactor::new(clock).unwrap(),
    );
    let (near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let source = Source::new(near);
    let (woken, waker) = counted();

    assert!(poll_read(&source, &waker, &old).is_pending());
    assert_eq!(source.home(), Some(old.id()));
    old.evacuate();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "the waiter tries again");
    assert_eq!((source.home(), old.metrics().sources), (None, 0));

    assert!(poll_read(&source, &waker, &new).is_pending());
    assert_eq!(source.home(), Some(new.id()));
    far.write_all(b"x").unwrap();
    let mut scratch = Scratch::new(8);
    while woken.0.load(Ordering::SeqCst) == 1 {
        new.turn(&mut scratch, Wait::Until(None)).unwrap();
    }
    assert_eq!(poll_read(&source, &waker, &new), Poll::Ready(b'x'));
    // And the old one can be its home again.
    old.evacuate();
    assert_eq!(source.home(), Some(new.id()));
    new.evacuate();
    assert!(poll_read(&source, &waker, &old).is_pending());
    assert_eq!(source.home(), Some(old.id()));
}

#[test]
fn a_timer_that_was_evacuated_is_armed_elsewhere_and_never_fires_early() {
    let clock = Clock::manual();
    let (old, new) = (
        Reactor::new(clock.clone()).unwrap(),
        Reactor::new(clock.clone()).unwrap(),
    );
    let (woken, waker) = counted();
    let mut cx = Context::from_waker(&waker);
    let mut timer = Timer::after(&clock, Duration::from_secs(1));
    let mut never = Timer::never();
    assert!(timer.poll_expired(&mut cx, || Ok(old.clone())).is_pending());
    assert!(never.poll_expired(&mut cx, || Ok(old.clone())).is_pending());
    old.evacuate();
    assert_eq!(woken.0.load(Ordering::SeqCst), 2);
    assert!(timer.poll_expired(&mut cx, || Ok(new.clone())).is_pending());
    assert!(never.poll_expired(&mut cx, || Ok(new.clone())).is_pending());
    assert_eq!((old.metrics().timers, new.metrics().timers), (0, 2));
    clock.advance(Duration::from_secs(1)).unwrap();
    new.turn(&mut Scratch::new(1), Wait::Poll).unwrap();
    assert!(timer.poll_expired(&mut cx, || Ok(new.clone())).is_ready());
    assert!(never.poll_expired(&mut cx, || Ok(new.clone())).is_pending());
}

#[test]
fn a_timer_that_was_due_when_it_was_evacuated_fires() {
    let clock = Clock::manual();
    let reactor = Reactor::new(clock.clone()).unwrap();
    let (_woken, waker) = counted();
    let mut cx = Context::from_waker(&waker);
    let mut timer = Timer::after(&clock, Duration::from_secs(1));
    assert!(
        timer
            .poll_expired(&mut cx, || Ok(reactor.clone()))
            .is_pending()
    );
    clock.advance(Duration::from_secs(2)).unwrap();
    reactor.evacuate();
    assert!(
        timer
            .poll_expired(&mut cx, || Ok(reactor.clone()))
            .is_ready()
    );
}

#[test]
fn an_evacuated_source_can_return_to_the_same_reactor() {
    let reactor = Reactor::new(Clock::real()).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let source = Source::new(near);
    let (woken, waker) = counted();
    assert!(poll_read(&source, &waker, &reactor).is_pending());
    reactor.evacuate();
    assert!(poll_read(&source, &waker, &reactor).is_pending());
    assert_eq!(source.home(), Some(reactor.id()));
    assert_eq!(source.migrations(), 0);
    far.write_all(b"y").unwrap();
    let mut scratch = Scratch::new(8);
    while woken.0.load(Ordering::SeqCst) == 1 {
        reactor.turn(&mut scratch, Wait::Until(None)).unwrap();
    }
    assert_eq!(poll_read(&source, &waker, &reactor), Poll::Ready(b'y'));
}

#[test]
fn data_whose_edge_went_to_the_evacuated_reactor_is_read_at_once() {
    let reactor = Reactor::new(Clock::real()).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let source = Source::new(near);
    let (_woken, waker) = counted();
    assert!(poll_read(&source, &waker, &reactor).is_pending());
    far.write_all(b"z").unwrap();
    reactor.evacuate();
    // Whatever the old reactor takes from the system now finds nobody.
    reactor.turn(&mut Scratch::new(8), Wait::Poll).unwrap();
    assert_eq!(reactor.metrics().events, 0);
    assert_eq!(poll_read(&source, &waker, &reactor), Poll::Ready(b'z'));
}

#[test]
fn a_source_that_is_dropped_after_its_evacuation_leaves_no_registration() {
    let reactor = Reactor::new(Clock::real()).unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    // The same descriptor, shared, so that a second registration would be refused.
    let near = Arc::new(near);
    let (_woken, waker) = counted();
    let wait = |source: &Source<Arc<UnixStream>>| {
        let mut cx = Context::from_waker(&waker);
        source.poll_io(
            &mut cx,
            Direction::Read,
            || Ok(reactor.clone()),
            |stream| {
                let mut stream = &**stream;
                stream.read(&mut [0]).map(Progress::full)
            },
        )
    };
    let first = Source::new(near.clone());
    assert!(wait(&first).is_pending());
    reactor.evacuate();
    drop(first);
    let second = Source::new(near);
    assert!(wait(&second).is_pending(), "refused: registered twice");
}
