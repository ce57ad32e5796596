//! Models of the primitives' waiter protocols. (Mutex, read-write lock and semaphore are permits: see divisi-task's
//! `loom_permits`.)
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-sync --release --test 'loom_*'
//! ```
#![cfg(divisi_loom)]

use std::pin::pin;
use std::task::{Context, Waker};

use divisi_sync::{Barrier, Condvar, Event, Mutex, Notify, OnceCell};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

/// Loom's own advice: most bugs show with two, three leave little to be found.
const PREEMPTIONS: usize = 2;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(f);
}

fn poll_once<F: Future>(future: F) -> bool {
    pin!(future)
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

/// Two wait while one sets: both go on, whether they came before or after, and see what was done before.
#[test]
fn event_set_against_wait() {
    model(|| {
        let shared = Arc::new((Event::new(), UnsafeCell::new(0)));
        let waits = {
            let shared = shared.clone();
            move || {
                block_on(shared.0.wait());
                // SAFETY: written before the event was set. That is what loom checks here.
                assert_eq!(shared.1.with(|written| unsafe { *written }), 1);
            }
        };
        let other = thread::spawn(waits.clone());
        let sets = thread::spawn({
            let shared = shared.clone();
            move || {
                // SAFETY: read only after the event is set.
                shared.1.with_mut(|written| unsafe { *written = 1 });
                shared.0.set();
            }
        });
        waits();
        other.join().unwrap();
        sets.join().unwrap();
    });
}

/// Who waited when the event was set goes on, even if it is cleared at once.
#[test]
fn event_clear_after_set() {
    model(|| {
        let event = Arc::new(Event::new());
        let mut waits = Box::pin({
            let event = event.clone();
            async move { event.wait().await }
        });
        assert!(
            waits
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        let sets = thread::spawn({
            let event = event.clone();
            move || {
                event.set();
                event.clear();
            }
        });
        block_on(waits);
        sets.join().unwrap();
        assert!(!event.is_set());
    });
}

/// Two wait, two notifications: one of those who wait is dropped meanwhile, and its notification is not lost.
#[test]
fn notify_dropped_waiter_passes_on() {
    model(|| {
        let notify = Arc::new(Notify::new());
        let drops = thread::spawn({
            let notify = notify.clone();
            move || poll_once(notify.notified())
        });
        let notifies = thread::spawn({
            let notify = notify.clone();
            move || notify.notify_one()
        });
        if drops.join().unwrap() {
            notify.notify_one();
        }
        block_on(notify.notified());
        notifies.join().unwrap();
        assert!(!poll_once(notify.notified()), "there was one notification");
    });
}

/// No change of the value is missed between unlocking and waiting.
#[test]
fn condvar_wait_against_notify() {
    model(|| {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let changes = thread::spawn({
            let shared = shared.clone();
            move || {
                *block_on(shared.0.lock()) = true;
                shared.1.notify_one();
            }
        });
        block_on(async {
            let guard = shared.0.lock().await;
            let guard = shared.1.wait_while(guard, |changed| !*changed).await;
            assert!(*guard);
        });
        changes.join().unwrap();
    });
}

/// One who was notified is dropped: before it ran, or while it waits for the lock. The other one gets the
/// notification.
#[test]
fn condvar_dropped_waiter_passes_on() {
    model(|| {
        let shared = Arc::new((Mutex::new(()), Condvar::new()));
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiters = [(); 2].map(|()| {
            let shared = shared.clone();
            Box::pin(async move {
                let guard = shared.0.lock().await;
                drop(shared.1.wait(guard).await);
            })
        });
        for waiter in &mut waiters {
            assert!(waiter.as_mut().poll(&mut cx).is_pending());
        }
        let [mut first, second] = waiters;
        let guard = shared.0.try_lock().unwrap();
        let drops = thread::spawn(move || {
            // It may have been notified by now, and wait for the lock.
            let polled = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            drop(first);
        });
        shared.1.notify_one();
        drops.join().unwrap();
        drop(guard);
        block_on(second);
    });
}

/// All come, at the same time: all go on, each with another index.
#[test]
fn barrier_meeting() {
    model(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = thread::spawn({
            let barrier = barrier.clone();
            move || block_on(barrier.wait()).unwrap()
        });
        let mine = block_on(barrier.wait()).unwrap();
        assert_eq!(mine + other.join().unwrap(), 1);
        assert_eq!(barrier.waiting(), 0);
    });
}

/// One leaves while another comes: they meet, or the one that stays waits for the next.
#[test]
fn barrier_leaving() {
    model(|| {
        let barrier = Arc::new(Barrier::new(2));
        let leaves = thread::spawn({
            let barrier = barrier.clone();
            move || poll_once(barrier.wait())
        });
        let mut stays = Box::pin({
            let barrier = barrier.clone();
            async move { barrier.wait().await }
        });
        let met_at_once = stays
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready();
        let met = leaves.join().unwrap();
        assert!(!(met && met_at_once), "only the last one need not wait");
        if met || met_at_once {
            // Whoever did not wait let the other one go, even if that one had left by then.
            assert_eq!(barrier.waiting(), 0);
        } else {
            assert_eq!(barrier.waiting(), 1);
        }
    });
}

/// A maker that gives up is followed by the next one.
#[test]
fn once_cell_dropped_maker() {
    model(|| {
        let cell = Arc::new(OnceCell::new());
        let gives_up = thread::spawn({
            let cell = cell.clone();
            move || {
                poll_once(cell.get_or_init(async || {
                    std::future::pending::<()>().await;
                    1
                }))
            }
        });
        let value = *block_on(cell.get_or_init(async || 2));
        gives_up.join().unwrap();
        assert_eq!(value, 2);
    });
}
