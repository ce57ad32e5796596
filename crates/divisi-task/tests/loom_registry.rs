//! Models of the registry: spawning, ending, listing, closing and dropping it at the same time.
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-task --release --test 'loom_*'
//! ```
//!
//! Bounds: two threads, one shard with chunks of 2, 4, ... slots, at most [`PREEMPTIONS`] forced switches.
#![cfg(divisi_loom)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll};

use divisi_task::{
    Cause, Closed, JoinHandle, Registry, Runnable, Schedule, SpawnOptions, TaskId, UnhandledPanic,
};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// Loom's own advice: most bugs show with two, three leave little to be found.
const PREEMPTIONS: usize = 3;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    // Setting up and looking at the outcome alone take some hundred.
    builder.max_branches = 10_000;
    builder.check(f);
}

struct Nowhere;

impl Schedule for Nowhere {
    fn schedule(&self, _: Runnable, _: Cause) {
        unreachable!("nothing is woken here");
    }

    fn unhandled_panic(&self, report: UnhandledPanic) {
        panic!("{report}");
    }
}

fn spawn(registry: &Registry) -> Result<(Runnable, JoinHandle<()>), Closed> {
    divisi_task::spawn(
        async {},
        StdArc::new(Nowhere),
        registry,
        SpawnOptions::new(),
    )
}

/// Spawns a task and runs it to its end.
fn come_and_go(registry: &Registry) -> TaskId {
    let (task, handle) = spawn(registry).unwrap();
    drop(handle);
    let id = task.id();
    task.run();
    id
}

/// Two threads enter and remove tasks in slots that were used before: no two tasks ever share a slot or an
/// id.
#[test]
fn registry_insert_and_remove() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        // Four slots that were returned: as many as are in use at once below.
        drop(
            (0..4)
                .map(|_| spawn(&registry).unwrap())
                .collect::<Vec<_>>(),
        );
        let other = thread::spawn({
            let registry = registry.clone();
            move || {
                let (task, _handle) = spawn(&registry).unwrap();
                let second = come_and_go(&registry);
                let id = task.id();
                assert_eq!(registry.get(id).unwrap().id(), id);
                drop(task);
                [id, second]
            }
        });
        let (task, _handle) = spawn(&registry).unwrap();
        let id = task.id();
        assert_eq!(registry.get(id).unwrap().id(), id);
        drop(task);
        let third = come_and_go(&registry);
        let [first, second] = other.join().unwrap();
        let mut ids = vec![first, second, id, third];
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 4);
        assert!(registry.is_empty() && registry.list().is_empty());
        no_slot_is_lost(&registry, ids.into_iter().map(slot).max().unwrap().max(3));
    });
}

/// Two threads take what was returned and make it the free list; between one's taking and making, the other does it all.
#[test]
fn registry_refill_against_refill() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        let two = |registry: &Registry| {
            let tasks = [(); 2].map(|()| spawn(registry).unwrap());
            let last = tasks.iter().map(|(task, _)| slot(task.id())).max();
            drop(tasks);
            last.unwrap()
        };
        two(&registry);
        let other = thread::spawn({
            let registry = registry.clone();
            move || two(&registry).max(slot(come_and_go(&registry)))
        });
        let own = slot(come_and_go(&registry));
        let last = own.max(other.join().unwrap());
        no_slot_is_lost(&registry, last.max(1));
    });
}

/// A pop is overtaken by one that takes the same slot and its successor, and by a refill that makes that slot the head again while its
/// successor is in use.
#[test]
fn registry_pop_against_refill() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        let tasks = [(); 3].map(|()| spawn(&registry).unwrap());
        drop(tasks);
        // Takes one of the three, so that the others are the free list.
        let _kept = spawn(&registry).unwrap();
        let other = thread::spawn({
            let registry = registry.clone();
            move || {
                let [head, successor, fresh] = [(); 3].map(|()| spawn(&registry).unwrap());
                drop(head);
                drop(fresh);
                [successor, spawn(&registry).unwrap()]
            }
        });
        let own = spawn(&registry).unwrap();
        let others = other.join().unwrap();
        let next = spawn(&registry).unwrap();
        let mut slots: Vec<_> = others
            .iter()
            .chain([&own, &next])
            .map(|(task, _)| slot(task.id()))
            .collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), 4, "each has a slot of its own");
    });
}

/// As many tasks as there are slots need no further one.
fn no_slot_is_lost(registry: &Registry, last: usize) {
    let all: Vec<_> = (0..=last).map(|_| spawn(registry).unwrap()).collect();
    for (task, _) in &all {
        assert!(slot(task.id()) <= last, "{}", task.id());
    }
}

/// The number of a task's slot.
fn slot(id: TaskId) -> usize {
    let id = id.to_string();
    let (slot, _generation) = id.split_once('.').unwrap();
    slot.parse().unwrap()
}

/// A list is made while tasks come and go: what it finds is alive as long as the list is.
#[test]
fn registry_list_against_remove() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        let (task, handle) = spawn(&registry).unwrap();
        let id = task.id();
        drop(handle);
        let other = thread::spawn({
            let registry = registry.clone();
            move || {
                task.run();
                come_and_go(&registry)
            }
        });
        let listed = registry.list();
        let next = other.join().unwrap();
        for task in listed {
            assert!(task.id() == id || task.id() == next);
            assert!(task.is_finished());
        }
        assert!(registry.list().is_empty());
    });
}

/// Two lists at once of a task that ends.
#[test]
fn registry_list_against_list() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        let (task, _handle) = spawn(&registry).unwrap();
        let other = thread::spawn({
            let registry = registry.clone();
            move || registry.list().len()
        });
        assert_eq!(registry.list().len(), 1);
        assert_eq!(other.join().unwrap(), 1);
        drop(task);
        assert!(registry.is_empty());
    });
}

/// A spawn that races with the closing is refused, or a list that is made after the closing has the task.
#[test]
fn registry_close_against_insert() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        let other = thread::spawn({
            let registry = registry.clone();
            move || spawn(&registry)
        });
        registry.close();
        // Not `list`, which looks at the population before.
        let mut listed = Vec::new();
        registry.for_each(|task| listed.push(task));
        let spawned = other.join().unwrap();
        match &spawned {
            Ok((task, _)) => assert_eq!(
                listed.iter().map(|task| task.id()).collect::<Vec<_>>(),
                [task.id()]
            ),
            Err(Closed) => {
                assert!(listed.is_empty());
                assert!(registry.is_empty());
            }
        }
        drop(spawned);
        assert!(registry.is_empty());
    });
}

/// The registry is dropped while its last task ends: the shard is freed by whoever is later (loom's
/// allocation tracking sees leaks).
#[test]
fn registry_drop_against_remove() {
    model(|| {
        let registry = Registry::new(1);
        let (task, handle) = spawn(&registry).unwrap();
        let other = thread::spawn(move || {
            task.run();
        });
        drop(registry);
        other.join().unwrap();
        assert!(handle.is_finished());
    });
}

/// A lookup pins a task that is not the one it looks for, while that is freed.
#[test]
fn registry_get_against_remove() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        let gone = come_and_go(&registry);
        let (task, handle) = spawn(&registry).unwrap();
        drop(handle);
        let other = thread::spawn(move || {
            task.run();
        });
        assert!(registry.get(gone).is_none());
        other.join().unwrap();
        assert!(registry.is_empty());
    });
}

/// Writes without synchronisation.
struct Writes(Arc<UnsafeCell<usize>>);

// SAFETY: the cell is read only once the task has ended. That is what loom checks here.
unsafe impl Send for Writes {}

impl Future for Writes {
    type Output = ();
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // SAFETY: as above.
        self.0.with_mut(|written| unsafe { *written = 1 });
        Poll::Ready(())
    }
}

/// Whoever finds the registry empty sees what the tasks did.
#[test]
fn registry_found_empty_orders_what_tasks_did() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        let written = Arc::new(UnsafeCell::new(0));
        let future = Writes(written.clone());
        let options = SpawnOptions::new();
        let (task, handle) =
            divisi_task::spawn(future, StdArc::new(Nowhere), &registry, options).unwrap();
        drop(handle);
        let other = thread::spawn(move || {
            task.run();
        });
        if registry.is_empty() {
            // SAFETY: the task has ended.
            assert_eq!(written.with(|written| unsafe { *written }), 1);
        }
        other.join().unwrap();
    });
}

/// Two threads need the first chunk at the same time.
#[test]
fn registry_grow_against_grow() {
    model(|| {
        let registry = Arc::new(Registry::new(1));
        let other = thread::spawn({
            let registry = registry.clone();
            move || spawn(&registry).unwrap()
        });
        let mine = spawn(&registry).unwrap();
        let theirs = other.join().unwrap();
        assert_ne!(mine.0.id(), theirs.0.id());
        assert_eq!(registry.len(), 2);
        drop((mine, theirs));
        assert!(registry.is_empty());
    });
}
