//! Models of handing a value over: giving against taking, against another waker, against leaving and closing; and
//! waiting for the taker to leave.
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-task --release --test 'loom_*'
//! ```
//!
//! No bound on the number of switches: these are small enough to be explored whole.
#![cfg(divisi_loom)]

use std::future::poll_fn;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Waker};

use divisi_task::hand_over::{self, Taker};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::thread;

/// Written by who gives without synchronisation, read by who takes.
fn value() -> UnsafeCell<usize> {
    let value = UnsafeCell::new(0);
    // SAFETY: nobody else has it. Loom checks later accesses against this one.
    value.with_mut(|value| unsafe { *value = 7 });
    value
}

fn read(value: &UnsafeCell<usize>) -> usize {
    // SAFETY: written before it was given. That is what loom checks here.
    value.with(|value| unsafe { *value })
}

fn take<T>(mut taker: Taker<T>) -> Option<T> {
    block_on(poll_fn(|cx| taker.poll_take(cx)))
}

#[test]
fn hand_over_give_against_take() {
    loom::model(|| {
        let (giver, taker) = hand_over::pair();
        let gives = thread::spawn(move || assert!(giver.give(value()).is_ok()));
        assert_eq!(read(&take(taker).unwrap()), 7);
        gives.join().unwrap();
    });
}

#[test]
fn hand_over_nothing_against_take() {
    loom::model(|| {
        let (giver, taker) = hand_over::pair::<()>();
        let drops = thread::spawn(move || drop(giver));
        assert_eq!(take(taker), None);
        drops.join().unwrap();
    });
}

/// The waker is replaced while the value comes: the new one is woken, or the poll that replaces it has the value.
#[test]
fn hand_over_give_against_a_new_waker() {
    loom::model(|| {
        let (giver, mut taker) = hand_over::pair();
        let gives = thread::spawn(move || assert!(giver.give(value()).is_ok()));
        let outcome = match taker.poll_take(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            // Hangs if only the first waker was woken.
            Poll::Pending => take(taker),
        };
        assert_eq!(read(&outcome.unwrap()), 7);
        gives.join().unwrap();
    });
}

/// The taker, which waits, goes while the value comes: it comes back to the giver, or is dropped, once.
#[test]
fn hand_over_give_against_leaving() {
    loom::model(|| {
        let counted = StdArc::new(());
        let (giver, mut taker) = hand_over::pair();
        let gives = thread::spawn({
            let counted = counted.clone();
            move || {
                giver
                    .give((counted, value()))
                    .is_err_and(|(_, back)| read(&back) == 7)
            }
        });
        let polled = taker.poll_take(&mut Context::from_waker(Waker::noop()));
        let taken = matches!(&polled, Poll::Ready(Some((_, given))) if read(given) == 7);
        drop((polled, taker));
        let came_back = gives.join().unwrap();
        assert!(!(taken && came_back));
        assert_eq!(StdArc::strong_count(&counted), 1);
    });
}

/// The taker closes while the value comes: it takes it all the same, or it comes back to the giver.
#[test]
fn hand_over_give_against_closing() {
    loom::model(|| {
        let (giver, mut taker) = hand_over::pair();
        let gives = thread::spawn(move || giver.give(value()).is_err_and(|back| read(&back) == 7));
        let polled = taker.poll_take(&mut Context::from_waker(Waker::noop()));
        taker.close();
        let taken = match polled {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => taker.try_take().expect("after a close, it is known"),
        };
        let taken = taken.is_some_and(|given| read(&given) == 7);
        let came_back = gives.join().unwrap();
        assert!(taken != came_back);
    });
}

/// The giver waits for the taker to go, with another waker in its second poll, while it goes: it is not left waiting.
#[test]
fn hand_over_waiting_against_leaving() {
    for close in [true, false] {
        loom::model(move || {
            let (mut giver, mut taker) = hand_over::pair::<()>();
            let leaves = thread::spawn(move || {
                if close {
                    taker.close();
                }
                drop(taker);
            });
            let polled = giver.poll_unwanted(&mut Context::from_waker(Waker::noop()));
            if polled.is_pending() {
                // Hangs if only the first waker was woken.
                block_on(poll_fn(|cx| giver.poll_unwanted(cx)));
            }
            assert!(giver.is_unwanted() && giver.give(()).is_err());
            leaves.join().unwrap();
        });
    }
}

/// The giver, whose waker is in place, gives while the taker, whose waker is in place too, closes.
#[test]
fn hand_over_both_wait() {
    loom::model(|| {
        let (mut giver, mut taker) = hand_over::pair();
        let noop = &mut Context::from_waker(Waker::noop());
        assert!(taker.poll_take(noop).is_pending());
        let gives = thread::spawn(move || {
            let noop = &mut Context::from_waker(Waker::noop());
            let unwanted = giver.poll_unwanted(noop).is_ready();
            let came_back = giver.give(value()).is_err_and(|back| read(&back) == 7);
            assert!(came_back || !unwanted);
            came_back
        });
        taker.close();
        let taken = taker.try_take().flatten();
        let taken = taken.is_some_and(|given| read(&given) == 7);
        assert!(taken != gives.join().unwrap());
    });
}
