//! Models of the queue: promises against leaving, closing and joining.
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-sync --release --test 'loom_*'
//! ```
#![cfg(divisi_loom)]

use std::pin::pin;
use std::task::{Context, Waker};

use divisi_sync::queue;
use loom::future::block_on;
use loom::thread;

/// Loom's own advice: most bugs show with two, three leave little to be found.
const PREEMPTIONS: usize = 2;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(f);
}

/// A receiver that waits is dropped while a value is sent: the other one gets it.
#[test]
fn queue_dropped_receive() {
    model(|| {
        let (sender, receiver) = queue::bounded(1);
        let other = receiver.clone();
        let gives_up = thread::spawn(move || {
            let received = pin!(other.recv()).poll(&mut Context::from_waker(Waker::noop()));
            received.is_ready()
        });
        let sends = thread::spawn(move || {
            block_on(sender.send(1)).unwrap();
            sender
        });
        let received = gives_up.join().unwrap();
        let sender = sends.join().unwrap();
        if received {
            sender.try_send(2).unwrap();
        }
        assert!(block_on(receiver.recv()).is_some());
    });
}

/// A sender that waits is dropped while the slot becomes free: the other one gets it.
#[test]
fn queue_dropped_send() {
    model(|| {
        let (sender, receiver) = queue::bounded(1);
        sender.try_send(0).unwrap();
        let gives_up = thread::spawn({
            let sender = sender.clone();
            move || {
                let sent = pin!(sender.send(1)).poll(&mut Context::from_waker(Waker::noop()));
                sent.is_ready()
            }
        });
        let sends = thread::spawn(move || block_on(sender.send(2)).unwrap());
        let mut sum = 0;
        while let Some(number) = block_on(receiver.recv()) {
            sum += number;
        }
        sends.join().unwrap();
        let expected = if gives_up.join().unwrap() { 3 } else { 2 };
        assert_eq!(sum, expected);
    });
}

/// Closing against receiving: what was sent is received once, and then everybody sees the end.
#[test]
fn queue_close_against_receive() {
    model(|| {
        let (sender, receiver) = queue::bounded(2);
        sender.try_send(1).unwrap();
        let others = receiver.clone();
        let other = thread::spawn(move || {
            let first = block_on(others.recv()).is_some();
            usize::from(first) + usize::from(block_on(others.recv()).is_some())
        });
        let closes = thread::spawn(move || sender.close_now().len());
        let mine = usize::from(block_on(receiver.recv()).is_some());
        assert_eq!(mine + other.join().unwrap() + closes.join().unwrap(), 1);
    });
}

/// Who joins goes on when the last guard is dropped, and not before.
#[test]
fn queue_join_against_done() {
    model(|| {
        let (sender, receiver) = queue::bounded(2);
        sender.try_send(1).unwrap();
        let works = thread::spawn(move || {
            let job = block_on(receiver.recv_tracked()).unwrap();
            drop(job);
            receiver
        });
        block_on(sender.join());
        assert_eq!((sender.len(), sender.undone()), (0, 0));
        works.join().unwrap();
    });
}
