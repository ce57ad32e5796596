//! Models of readiness and waiting: `RUSTFLAGS='--cfg divisi_loom' cargo test --release --test loom_io`.
//!
//! They compile the shipped `readiness` and `waiters` modules. A counter stands for the bytes in a
//! socket; an event is delivered after the bytes have arrived, as the kernel does.

#![cfg(divisi_loom)]

#[path = "../src/direction.rs"]
#[allow(dead_code, unreachable_pub)]
mod direction;
#[path = "../src/loom.rs"]
mod loom;
#[path = "../src/readiness.rs"]
#[allow(dead_code)]
mod readiness;
#[path = "../src/waiters.rs"]
#[allow(dead_code)]
mod waiters;

use ::loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use ::loom::sync::{Arc, Condvar, Mutex};
use ::loom::thread;
use direction::Direction::Read;
use readiness::{Clear, Readiness, Ready};
use std::task::{Context, Poll, Wake, Waker};
use waiters::{Place, Waiters};

struct Socket {
    bytes: Mutex<usize>,
    readiness: Readiness,
    waiters: Waiters,
}

impl Socket {
    fn new() -> Arc<Socket> {
        Arc::new(Socket {
            bytes: Mutex::new(0),
            readiness: Readiness::new(),
            waiters: Waiters::new(),
        })
    }

    /// Bytes arrive, and the reactor is told.
    fn arrive(&self) {
        *self.bytes.lock().unwrap() += 1;
        self.event(Ready::READABLE);
    }

    fn event(&self, ready: Ready) {
        self.readiness.deliver(ready);
        let mut wakers = Vec::new();
        self.waiters.take(true, false, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// As `Source::poll_io`: reads all there is; with `short`, a read that finds something says that
    /// nothing is left.
    fn poll_read(&self, cx: &mut Context<'_>, place: &mut Place<'_>, short: bool) -> Poll<usize> {
        loop {
            if let Some(n) = self.attempt(short) {
                return Poll::Ready(n);
            }
            self.waiters.wait(Read, place, cx.waker(), 1);
            if !self.readiness.load().allows(Read) {
                return Poll::Pending;
            }
        }
    }

    fn attempt(&self, short: bool) -> Option<usize> {
        loop {
            let seen = self.readiness.load();
            if !seen.allows(Read) {
                return None;
            }
            let n = std::mem::take(&mut *self.bytes.lock().unwrap());
            if n > 0 {
                if short && seen.short_means_drained(Read) {
                    let _ = self.readiness.clear(Read, seen);
                }
                return Some(n);
            }
            if self.readiness.clear(Read, seen) == Clear::Done {
                return None;
            }
        }
    }

    fn read(&self, mut place: Place<'_>, short: bool) -> usize {
        let task = std::sync::Arc::new(Task::default());
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(n) = self.poll_read(&mut cx, &mut place, short) {
                return n;
            }
            task.sleep();
        }
    }
}

/// A task with a thread of its own.
#[derive(Default)]
struct Task {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Task {
    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

impl Wake for Task {
    fn wake(self: std::sync::Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// loom reports a deadlock if the reader is never woken.
#[test]
fn a_reader_sees_every_arrival() {
    ::loom::model(|| {
        let socket = Socket::new();
        let sender = {
            let socket = socket.clone();
            thread::spawn(move || socket.arrive())
        };
        assert_eq!(socket.read(Place::Slot, false), 1);
        sender.join().unwrap();
    });
}

#[test]
fn a_short_read_does_not_swallow_the_edge_of_the_next_arrival() {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let socket = Socket::new();
        let sender = {
            let socket = socket.clone();
            thread::spawn(move || {
                socket.arrive();
                socket.arrive();
            })
        };
        let mut got = 0;
        while got < 2 {
            got += socket.read(Place::Slot, true);
        }
        sender.join().unwrap();
    });
}

#[test]
fn two_readers_with_a_node_each_share_two_arrivals() {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let socket = Socket::new();
        let got = Arc::new(AtomicUsize::new(0));
        let reader = {
            let (socket, got) = (socket.clone(), got.clone());
            thread::spawn(move || {
                let mut key = None;
                let n = socket.read(Place::Node(&mut key), false);
                got.fetch_add(n, Relaxed);
                // Whoever took both bytes leaves the other waiting: give one back.
                if n > 1 {
                    socket.arrive();
                }
            })
        };
        let sender = {
            let socket = socket.clone();
            thread::spawn(move || {
                socket.arrive();
                socket.arrive();
            })
        };
        let mut key = None;
        let n = socket.read(Place::Node(&mut key), false);
        if n > 1 {
            socket.arrive();
        }
        got.fetch_add(n, Relaxed);
        reader.join().unwrap();
        sender.join().unwrap();
        assert!(got.load(Relaxed) >= 2);
    });
}

#[test]
fn a_waiter_that_leaves_does_not_keep_the_other_asleep() {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let socket = Socket::new();
        let quitter = {
            let socket = socket.clone();
            thread::spawn(move || {
                let mut key = None;
                let waker = Waker::noop();
                let mut place = Place::Node(&mut key);
                socket.waiters.wait(Read, &mut place, waker, 1);
                socket.waiters.leave(Read, key.unwrap());
            })
        };
        let sender = {
            let socket = socket.clone();
            thread::spawn(move || socket.arrive())
        };
        let mut key = None;
        assert_eq!(socket.read(Place::Node(&mut key), false), 1);
        quitter.join().unwrap();
        sender.join().unwrap();
    });
}
