//! Models of permits and of the value cell: acquiring against releasing, leaving, closing.
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-task --release --test 'loom_*'
//! ```
#![cfg(divisi_loom)]

use std::panic::Location;
use std::pin::pin;
use std::task::{Context, Waker};

use divisi_task::permits::{Acquire, Closed, Grant, Permits};
use divisi_task::value_cell::{Exclusive, Shared, ValueCell};
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

/// Loom's own advice: most bugs show with two, three leave little to be found.
const PREEMPTIONS: usize = 3;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(f);
}

fn acquire(permits: &Permits, wanted: usize) -> Acquire<&Permits> {
    Acquire::new(permits, wanted, Location::caller())
}

fn lock<T>(cell: &ValueCell<T>, wanted: usize) -> Acquire<&ValueCell<T>> {
    Acquire::new(cell, wanted, Location::caller())
}

/// Three threads change a value in turn. Loom checks that no two overlap, and that each sees the one before.
#[test]
fn permits_exclude_each_other() {
    model(|| {
        let cell = Arc::new(ValueCell::new(0, 1));
        let add = |cell: &ValueCell<i32>| {
            let grant = block_on(lock(cell, 1)).unwrap();
            *Exclusive::new(grant) += 1;
        };
        let others = [(); 2].map(|()| {
            let cell = cell.clone();
            thread::spawn(move || add(&cell))
        });
        add(&cell);
        for other in others {
            other.join().unwrap();
        }
        let grant = Grant::try_acquire(&*cell, 1).unwrap();
        assert_eq!(*Exclusive::new(grant), 3);
    });
}

/// A writer, a reader that becomes one by downgrading, and another reader.
#[test]
fn permits_shared_and_exclusive() {
    model(|| {
        let cell = Arc::new(ValueCell::new(0, 2));
        let reads = thread::spawn({
            let cell = cell.clone();
            move || {
                let grant = block_on(lock(&cell, 1)).unwrap();
                *Shared::new(grant)
            }
        });
        let mut writes = Exclusive::new(block_on(lock(&cell, 2)).unwrap());
        *writes += 1;
        let stays = writes.downgrade();
        assert_eq!(*stays, 1);
        assert!(reads.join().unwrap() <= 1);
        drop(stays);
        assert_eq!(cell.available(), 2);
    });
}

/// One who waits leaves while the permit is given back: it goes to the next one, who may have come after the queue was
/// empty again, and who sees what was done under it.
#[test]
fn permits_leaving_passes_the_turn_on() {
    model(|| {
        let cell = Arc::new(ValueCell::new(0, 1));
        let mut writes = Exclusive::new(Grant::try_acquire(&*cell, 1).unwrap());
        let leaves = thread::spawn({
            let cell = cell.clone();
            move || {
                let mut waits = pin!(lock(&cell, 1));
                let _ = waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        });
        let stays = thread::spawn({
            let cell = cell.clone();
            move || {
                let mut value = Exclusive::new(block_on(lock(&cell, 1)).unwrap());
                *value += 1;
                assert_eq!(*value, 2);
            }
        });
        *writes += 1;
        drop(writes);
        leaves.join().unwrap();
        stays.join().unwrap();
        assert_eq!((cell.available(), cell.has_waiters()), (1, false));
    });
}

/// One who wants much and is in front leaves: the one behind it, for whom there is enough, gets it.
#[test]
fn permits_leaving_lets_the_next_come_to_the_front() {
    model(|| {
        let permits = Arc::new(Permits::new(1));
        let mut much = Box::pin({
            let permits = permits.clone();
            async move { acquire(&permits, 2).await.map(Grant::forget) }
        });
        let polled = much.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let leaves = thread::spawn(move || drop(much));
        block_on(acquire(&permits, 1)).unwrap().forget();
        leaves.join().unwrap();
        assert!(!permits.has_waiters());
    });
}

/// Permits come from two sides while one waits for both.
#[test]
fn permits_add_up_for_one_who_wants_many() {
    model(|| {
        let permits = Arc::new(Permits::new(0));
        let others = [(); 2].map(|()| {
            let permits = permits.clone();
            thread::spawn(move || permits.add(1))
        });
        block_on(acquire(&permits, 2)).unwrap().forget();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!((permits.available(), permits.has_waiters()), (0, false));
    });
}

/// Closing against waiting and against giving back: who waits is told, whichever comes first, and no permit is lost.
#[test]
fn permits_closing_tells_who_waits() {
    model(|| {
        let permits = Arc::new(Permits::new(1));
        let held = Grant::try_acquire(&*permits, 1).unwrap();
        let waits = thread::spawn({
            let permits = permits.clone();
            move || block_on(acquire(&permits, 1)).map(drop)
        });
        let closes = thread::spawn({
            let permits = permits.clone();
            move || permits.close()
        });
        drop(held);
        let outcome = waits.join().unwrap();
        closes.join().unwrap();
        assert!(matches!(outcome, Ok(()) | Err(Closed)));
        assert_eq!((permits.available(), permits.has_waiters()), (1, false));
    });
}

/// Doing away with permits against taking and giving them back.
#[test]
fn permits_are_removed_or_had() {
    model(|| {
        let permits = Arc::new(Permits::new(1));
        let takes = thread::spawn({
            let permits = permits.clone();
            move || usize::from(Grant::try_acquire(&*permits, 1).map(Grant::forget).is_ok())
        });
        let removed = permits.remove(1);
        assert_eq!(removed + takes.join().unwrap() + permits.available(), 1);
    });
}
