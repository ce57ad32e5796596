//! Tasks whose future must not leave its thread.
#![cfg(not(divisi_loom))]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;

use divisi_task::{CancelReason, Ran, Registry, SpawnOptions, TaskRef, spawn_local};
use support::{Manual, outcome, panic_of};

struct CountDrops(Rc<Cell<usize>>);

impl Drop for CountDrops {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Makes a leak that is meant known to leak checkers: what a static points to counts as in use.
fn expect_leak(task: &TaskRef) {
    static EXPECTED: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    // SAFETY: only copies the bits of a pointer-wide value, in order to keep them.
    let address = unsafe { std::mem::transmute_copy::<TaskRef, usize>(task) };
    EXPECTED.lock().unwrap().push(address);
}

#[test]
fn a_local_task_may_hold_what_cannot_be_sent() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let shared = Rc::new(Cell::new(1));
    let inner = shared.clone();
    let future = async move {
        inner.set(2);
        inner
    };
    let (task, handle) = spawn_local(future, scheduler, &registry, SpawnOptions::new()).unwrap();
    assert_eq!(task.run(), Ran::Completed);
    let given: Rc<Cell<i32>> = outcome(handle).unwrap();
    assert!(Rc::ptr_eq(&given, &shared));
    assert_eq!(shared.get(), 2);
}

#[test]
fn its_result_may_be_awaited_elsewhere_if_that_can_be_sent() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let local = Rc::new(7);
    let (task, handle) = spawn_local(
        async move { *local },
        scheduler,
        &registry,
        SpawnOptions::new(),
    )
    .unwrap();
    task.run();
    let value = thread::spawn(move || outcome(handle).unwrap())
        .join()
        .unwrap();
    assert_eq!(value, 7);
}

#[test]
fn run_on_another_thread_it_panics_and_never_touches_the_future() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let drops = Rc::new(Cell::new(0));
    let guard = CountDrops(drops.clone());
    let future = async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    };
    let (task, handle) =
        spawn_local(future, scheduler.clone(), &registry, SpawnOptions::new()).unwrap();
    expect_leak(&handle.task());
    let message = thread::spawn(move || {
        panic_of(|| {
            task.run();
        })
    })
    .join()
    .unwrap()
    .expect("refused");
    assert!(
        message.contains("is local to the thread that spawned it"),
        "{message}"
    );
    assert!(message.contains(file!()), "{message}");
    assert!(registry.is_empty());
    let error = outcome(handle).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(drops.get(), 0, "leaked");
    assert_eq!(
        Arc::strong_count(&scheduler),
        1,
        "though the scheduler is let go"
    );
}

#[test]
fn dropped_on_another_thread_its_future_is_leaked() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let drops = Rc::new(Cell::new(0));
    let guard = CountDrops(drops.clone());
    let future = async move {
        let _guard = guard;
    };
    let (task, handle) = spawn_local(future, scheduler, &registry, SpawnOptions::new()).unwrap();
    expect_leak(&handle.task());
    thread::spawn(move || drop(task)).join().unwrap();
    assert_eq!(drops.get(), 0);
    assert!(registry.is_empty());
    let error = outcome(handle).unwrap_err();
    assert!(
        error
            .reason()
            .unwrap()
            .text()
            .contains("dropped it before it could run")
    );
}

#[test]
fn shutdown_elsewhere_only_asks() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let drops = Rc::new(Cell::new(0));
    let guard = CountDrops(drops.clone());
    let future = async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    };
    let (task, handle) =
        spawn_local(future, scheduler.clone(), &registry, SpawnOptions::new()).unwrap();
    assert_eq!(task.run(), Ran::Pending);
    let listed = registry.list().remove(0);
    let ended = thread::spawn(move || listed.shutdown(CancelReason::new("closing")))
        .join()
        .unwrap();
    assert!(!ended);
    assert_eq!(drops.get(), 0);
    assert_eq!(scheduler.queued(), 1, "sent home to be dropped there");
    scheduler.run_all();
    assert_eq!(drops.get(), 1);
    assert_eq!(
        outcome(handle).unwrap_err().reason().unwrap().text(),
        "closing"
    );
}

#[test]
fn shutdown_at_home_drops_the_future() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let drops = Rc::new(Cell::new(0));
    let guard = CountDrops(drops.clone());
    let future = async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    };
    let (task, handle) =
        spawn_local(future, scheduler.clone(), &registry, SpawnOptions::new()).unwrap();
    assert_eq!(task.run(), Ran::Pending);
    assert!(handle.task().shutdown(CancelReason::new("closing")));
    assert_eq!(drops.get(), 1);
}

#[test]
fn a_handle_of_an_output_that_cannot_be_sent_stays_too() {
    /// Fails to compile if the type is `Send`: then both impls apply.
    trait NotSend<Marker> {
        fn assert() {}
    }
    struct IsSend;
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<IsSend> for T {}
    <divisi_task::JoinHandle<Rc<()>> as NotSend<_>>::assert();
}
