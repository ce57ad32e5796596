//! As many permits as can be counted.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use divisi_task::permits::{Acquire, Grant, MAX_PERMITS, Permits};

#[test]
fn permits_given_back_beyond_what_can_be_counted_are_done_away_with() {
    let permits = Permits::new(MAX_PERMITS);
    let grant = Grant::try_acquire(&permits, 2).unwrap();
    permits.add(1);
    drop(grant);
    assert_eq!(permits.available(), MAX_PERMITS);
}

#[test]
fn a_chosen_waiter_that_gives_back_too_many_does_not_panic() {
    let permits = Permits::new(0);
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiter = Box::pin(Acquire::new(&permits, 5, std::panic::Location::caller()));
    assert!(waiter.as_mut().poll(&mut cx).is_pending());
    permits.add(5);
    permits.add(MAX_PERMITS);
    drop(waiter);
    assert_eq!(permits.available(), MAX_PERMITS);
    let mut all = pin!(Acquire::new(
        &permits,
        MAX_PERMITS,
        std::panic::Location::caller()
    ));
    let Poll::Ready(Ok(mut all)) = all.as_mut().poll(&mut cx) else {
        panic!("they are there")
    };
    // Merging what cannot be counted together does not panic either.
    for _ in 0..5 {
        permits.add(MAX_PERMITS);
        all.merge(Grant::try_acquire(&permits, MAX_PERMITS).unwrap());
    }
    drop(all);
    assert_eq!(permits.available(), MAX_PERMITS);
}

#[test]
#[should_panic(expected = "more permits than can be counted")]
fn making_too_many_is_refused() {
    let permits = Permits::new(MAX_PERMITS);
    permits.add(1);
}
