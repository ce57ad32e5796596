//! Models of the run slot and the inbox.
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-task --release --test 'loom_*'
//! ```
//!
//! No bound on the number of switches: these are small enough to be explored whole.
#![cfg(divisi_loom)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll};

use divisi_task::{
    Cause, Inbox, Ran, Registry, RunSlot, Runnable, Schedule, SpawnOptions, UnhandledPanic,
};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

struct Nowhere;

impl Schedule for Nowhere {
    fn schedule(&self, _: Runnable, _: Cause) {
        unreachable!("nothing is woken here");
    }

    fn unhandled_panic(&self, report: UnhandledPanic) {
        panic!("{report}");
    }
}

/// Writes without synchronisation to what its spawner wrote.
struct Writes(UnsafeCell<usize>);

impl Future for Writes {
    type Output = ();
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // SAFETY: a poll has the future to itself. That is what loom checks here.
        self.0.with_mut(|value| unsafe { *value += 1 });
        Poll::Ready(())
    }
}

fn spawn(registry: &Registry) -> Runnable {
    let future = Writes(UnsafeCell::new(0));
    let (task, handle) =
        divisi_task::spawn(future, StdArc::new(Nowhere), registry, SpawnOptions::new()).unwrap();
    drop(handle);
    task
}

/// The owner replaces while a thief takes: every task runs once, on a thread that sees what its spawner
/// wrote.
#[test]
fn run_slot() {
    loom::model(|| {
        let registry = Registry::new(1);
        let slot = Arc::new(RunSlot::new());
        let thief = thread::spawn({
            let slot = slot.clone();
            move || match slot.take() {
                Some(task) => {
                    assert_eq!(task.run(), Ran::Completed);
                    1
                }
                None => 0,
            }
        });
        let mut ran = 0;
        let mut run = |task: Option<Runnable>| {
            if let Some(task) = task {
                assert_eq!(task.run(), Ran::Completed);
                ran += 1;
            }
        };
        run(slot.replace(spawn(&registry)));
        run(slot.replace(spawn(&registry)));
        let stolen = thief.join().unwrap();
        run(slot.take());
        assert_eq!(ran + stolen, 2);
        assert!(slot.is_empty() && registry.is_empty());
    });
}

/// Two threads put a task in: whoever gets the other's out runs it, and sees what its spawner wrote.
#[test]
fn run_slot_of_two_owners() {
    loom::model(|| {
        let registry = Arc::new(Registry::new(1));
        let slot = Arc::new(RunSlot::new());
        fn put(slot: &RunSlot, registry: &Registry) -> usize {
            let before = slot.replace(spawn(registry));
            before.map_or(0, |task| {
                assert_eq!(task.run(), Ran::Completed);
                1
            })
        }
        let other = thread::spawn({
            let (slot, registry) = (slot.clone(), registry.clone());
            move || put(&slot, &registry)
        });
        let ran = put(&slot, &registry) + other.join().unwrap();
        assert_eq!(ran, 1);
        drop(slot.take());
        assert!(registry.is_empty());
    });
}

/// Two producers and a consumer: everything arrives once, each producer's in order, its contents visible; and
/// whoever pushed into an empty inbox knows it.
#[test]
fn inbox_push_against_take_all() {
    struct Item(usize, UnsafeCell<usize>);
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let other = thread::spawn({
            let inbox = inbox.clone();
            move || {
                let first = inbox.push(Item(0, UnsafeCell::new(7)));
                let second = inbox.push(Item(1, UnsafeCell::new(7)));
                usize::from(first) + usize::from(second)
            }
        });
        let mut first_pushes = usize::from(inbox.push(Item(2, UnsafeCell::new(7))));
        let mut batches = 0;
        let mut taken = Vec::new();
        let mut take = || {
            let mut any = false;
            for item in inbox.take_all() {
                // SAFETY: the item is ours. That is what loom checks here.
                item.1.with_mut(|value| unsafe { *value += 1 });
                taken.push(item.0);
                any = true;
            }
            batches += usize::from(any);
        };
        take();
        first_pushes += other.join().unwrap();
        take();
        assert_eq!(
            first_pushes, batches,
            "one push found it empty for each batch"
        );
        let position = |wanted| taken.iter().position(|item| *item == wanted).unwrap();
        assert!(position(0) < position(1));
        assert_eq!(taken.len(), 3);
    });
}
