//! Models of the channels.
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-sync --release --test 'loom_*'
//! ```
#![cfg(divisi_loom)]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divisi_sync::broadcast::RecvError;
use divisi_sync::{broadcast, mpsc, oneshot, watch};
use loom::future::block_on;
use loom::thread;

/// Loom's own advice: most bugs show with two, three leave little to be found.
const PREEMPTIONS: usize = 2;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(f);
}

#[test]
fn oneshot_send_against_receive() {
    model(|| {
        let (sender, receiver) = oneshot::channel();
        let sends = thread::spawn(move || sender.send(Box::new(5)).unwrap());
        assert_eq!(*block_on(receiver).unwrap(), 5);
        sends.join().unwrap();
    });
}

/// The receiver is dropped while the value is sent: it comes back, or is dropped, once.
#[test]
fn oneshot_send_against_drop() {
    model(|| {
        let value = Arc::new(());
        let (sender, mut receiver) = oneshot::channel();
        let sends = thread::spawn({
            let value = value.clone();
            move || drop(sender.send(value))
        });
        let polled = pin!(&mut receiver).poll(&mut Context::from_waker(Waker::noop()));
        assert!(!matches!(polled, Poll::Ready(Err(_))));
        drop((polled, receiver));
        sends.join().unwrap();
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

/// Both ends are dropped at the same time, one of them waiting.
#[test]
fn oneshot_drop_against_receive() {
    model(|| {
        let (sender, receiver) = oneshot::channel::<()>();
        let drops = thread::spawn(move || drop(sender));
        assert!(block_on(receiver).is_err());
        drops.join().unwrap();
    });
}

/// Two senders that have to wait for the one slot: everything arrives, and the end is seen.
#[test]
fn mpsc_bounded() {
    model(|| {
        let (sender, mut receiver) = mpsc::bounded(1);
        let sends = [1, 2].map(|number| {
            let sender = sender.clone();
            thread::spawn(move || block_on(sender.send(Box::new(number))).unwrap())
        });
        drop(sender);
        let mut sum = 0;
        while let Some(number) = block_on(receiver.recv()) {
            sum += *number;
        }
        assert_eq!(sum, 3);
        let _: [(); 2] = sends.map(|send| send.join().unwrap());
    });
}

/// A sender that waits is dropped while a slot becomes free: the other one gets it.
#[test]
fn mpsc_dropped_send() {
    model(|| {
        let (sender, mut receiver) = mpsc::bounded(1);
        sender.try_send(0).unwrap();
        let gives_up = thread::spawn({
            let sender = sender.clone();
            move || {
                let sent = pin!(sender.send(1)).poll(&mut Context::from_waker(Waker::noop()));
                sent.is_ready()
            }
        });
        let sends = thread::spawn(move || block_on(sender.send(2)).unwrap());
        assert_eq!(block_on(receiver.recv()), Some(0));
        let mut rest = Vec::new();
        while let Some(number) = block_on(receiver.recv()) {
            rest.push(number);
        }
        sends.join().unwrap();
        rest.sort_unstable();
        let expected: &[i32] = if gives_up.join().unwrap() {
            &[1, 2]
        } else {
            &[2]
        };
        assert_eq!(rest, expected);
    });
}

/// The receiver goes while one waits to send and one sends: nobody waits for ever.
#[test]
fn mpsc_receiver_goes() {
    model(|| {
        let (sender, receiver) = mpsc::bounded(1);
        let sends = thread::spawn({
            let sender = sender.clone();
            move || {
                let first = block_on(sender.send(1)).is_ok();
                let second = block_on(sender.send(2)).is_ok();
                assert!(!second, "there is one slot, and nobody receives");
                first
            }
        });
        drop(receiver);
        block_on(sender.closed());
        sends.join().unwrap();
        assert!(sender.try_send(3).is_err());
    });
}

/// Changes against waiting for them: the latest is seen, and then the end.
#[test]
fn watch_changes() {
    model(|| {
        let (sender, mut receiver) = watch::channel(0);
        let sends = thread::spawn(move || {
            sender.send(1).unwrap();
            sender.send(2).unwrap();
        });
        let mut latest = 0;
        while block_on(receiver.changed()).is_ok() {
            let value = *receiver.get();
            assert!(value >= latest);
            latest = value;
        }
        assert_eq!(latest, 2);
        sends.join().unwrap();
    });
}

/// Two receivers go while a sender waits for that.
#[test]
fn watch_is_closed() {
    model(|| {
        let (sender, receiver) = watch::channel(0);
        let other = receiver.clone();
        let drops = thread::spawn(move || drop(receiver));
        let drops_other = thread::spawn(move || drop(other));
        block_on(sender.closed());
        assert!(sender.is_closed());
        drops.join().unwrap();
        drops_other.join().unwrap();
    });
}

/// A channel ends by itself or by a close, and who waits for that is told either way.
#[test]
fn broadcast_is_closed() {
    model(|| {
        let (sender, receiver) = broadcast::channel::<u8>(1);
        let closer = sender.clone();
        let drops = thread::spawn(move || drop(receiver));
        let closes = thread::spawn(move || closer.close());
        block_on(sender.closed());
        assert!(sender.send(1).is_err());
        drops.join().unwrap();
        closes.join().unwrap();
    });
}

/// Two receivers, one of which is dropped early: the other one sees everything, in order.
#[test]
fn broadcast_to_two() {
    model(|| {
        let (sender, mut receiver) = broadcast::channel(2);
        let dropped = sender.subscribe();
        let sends = thread::spawn(move || {
            sender.send(1).unwrap();
            sender.send(2).unwrap();
        });
        let drops = thread::spawn(move || drop(dropped));
        assert_eq!(block_on(receiver.recv()), Ok(1));
        assert_eq!(block_on(receiver.recv()), Ok(2));
        assert_eq!(block_on(receiver.recv()), Err(RecvError::Closed));
        sends.join().unwrap();
        drops.join().unwrap();
    });
}

/// A receiver that is too slow is told exactly what it has missed.
#[test]
fn broadcast_lag() {
    model(|| {
        let (sender, mut receiver) = broadcast::channel(1);
        let sends = thread::spawn(move || {
            sender.send(0).unwrap();
            sender.send(1).unwrap();
        });
        let mut seen = 0;
        loop {
            match block_on(receiver.recv()) {
                Ok(number) => {
                    assert_eq!(number, seen);
                    seen += 1;
                }
                Err(RecvError::Lagged(missed)) => seen += missed,
                Err(RecvError::Closed) => break,
            }
        }
        assert_eq!(seen, 2);
        sends.join().unwrap();
    });
}
