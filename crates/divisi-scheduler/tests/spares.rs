//! Spare workers take the place of stuck ones, and leave again.

mod support;

use std::sync::mpsc;
use std::time::Instant;

use divisi_scheduler::StallOutcome;
use divisi_task::SpawnOptions;
use support::{Fixture, LONG, with_spares};

/// Keeps every worker inside a poll until the returned sender is dropped.
fn stick_all(fixture: &Fixture, workers: usize) -> mpsc::Sender<()> {
    let (open, closed) = mpsc::channel::<()>();
    let closed = std::sync::Arc::new(std::sync::Mutex::new(closed));
    let (stuck, is_stuck) = mpsc::channel();
    for _ in 0..workers {
        let (stuck, closed) = (stuck.clone(), closed.clone());
        drop(fixture.spawn(async move {
            stuck.send(()).unwrap();
            // The first one waits in `recv`, the others for the lock that it holds; all until the sender is dropped.
            let _ = closed.lock().map(|closed| closed.recv());
        }));
    }
    for _ in 0..workers {
        is_stuck.recv_timeout(LONG).unwrap();
    }
    open
}

#[test]
fn tasks_run_although_every_worker_is_stuck() {
    for workers in [1, 2, 3] {
        let fixture = with_spares(workers);
        let open = stick_all(&fixture, workers);
        for n in 0..100 {
            let (done, finished) = mpsc::channel();
            drop(fixture.spawn(async move { done.send(n).unwrap() }));
            assert_eq!(finished.recv_timeout(LONG), Ok(n));
        }
        assert!(fixture.scheduler.metrics().spares_running >= 1);
        drop(open);
    }
}

#[test]
fn twice_as_many_stuck_tasks_as_workers_leave_one_report_and_a_clean_stop() {
    let fixture = with_spares(2);
    let first = stick_all(&fixture, 2);
    // These two stick the spares.
    let second = stick_all(&fixture, 2);
    let end = Instant::now() + LONG;
    while fixture.scheduler.metrics().stalls < 3 {
        assert!(Instant::now() < end, "the stuck spares are seen as well");
        std::thread::yield_now();
    }
    drop((first, second));
    assert!(fixture.scheduler.wait_empty(Instant::now() + LONG));
    let stalls = fixture.stalls.lock().unwrap();
    assert!(!stalls.is_empty());
    assert!(matches!(stalls[0].outcome, StallOutcome::SpareSent));
    let task = stalls[0].task.as_ref().expect("the report names the task");
    assert!(task.spawned_at().file().ends_with("spares.rs"));
}

#[test]
fn a_spare_leaves_when_the_stuck_worker_is_back_and_its_tasks_go_on() {
    let fixture = with_spares(1);
    let open = stick_all(&fixture, 1);
    // A task that lives on the spare and is woken after the spare has left.
    let (waker_out, waker_in) = mpsc::channel();
    let mut polled = false;
    let task = fixture.spawn(std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return std::task::Poll::Ready(7);
        }
        waker_out.send(cx.waker().clone()).unwrap();
        std::task::Poll::Pending
    }));
    let waker = waker_in.recv_timeout(LONG).unwrap();
    assert_eq!(fixture.scheduler.metrics().spares_running, 1);
    drop(open);
    let end = Instant::now() + LONG;
    while fixture.scheduler.metrics().spares_running > 0 {
        assert!(Instant::now() < end, "the spare must leave");
        std::thread::yield_now();
    }
    waker.wake();
    assert_eq!(fixture.scheduler.block_on(task).unwrap().unwrap(), 7);
}

#[test]
fn spares_come_and_go_many_times() {
    let fixture = with_spares(2);
    for round in 0..10 {
        let open = stick_all(&fixture, 2);
        let (done, finished) = mpsc::channel();
        drop(fixture.spawn(async move { done.send(round).unwrap() }));
        assert_eq!(finished.recv_timeout(LONG), Ok(round));
        drop(open);
        assert!(fixture.scheduler.wait_empty(Instant::now() + LONG));
    }
}

#[test]
fn a_root_that_blocks_its_thread_is_replaced_too() {
    let fixture = with_spares(1);
    let scheduler = fixture.scheduler.clone();
    let answer = fixture.scheduler.block_on(async move {
        let (done, finished) = mpsc::channel();
        drop(
            scheduler
                .spawn(async move { done.send(5).unwrap() }, SpawnOptions::new())
                .unwrap(),
        );
        // The only worker waits here with its whole thread.
        finished.recv_timeout(LONG)
    });
    assert_eq!(answer.unwrap(), Ok(5));
}

#[test]
fn stopping_ends_although_workers_and_spares_are_stuck() {
    let fixture = with_spares(1);
    let first = stick_all(&fixture, 1);
    let second = stick_all(&fixture, 1);
    let stopped = fixture.scheduler.stop(Instant::now());
    assert_eq!(stopped.stuck_seats.len(), 2);
    drop((first, second));
    assert!(
        fixture
            .scheduler
            .stop(Instant::now() + LONG)
            .stuck_seats
            .is_empty()
    );
}

#[test]
fn the_first_task_of_a_lowered_thread_runs_though_the_root_blocks_the_only_worker() {
    /// The thread spawns while the root sleeps, and mostly wakes it before the root's thread is awake for the task.
    const ATTEMPTS: usize = 20;
    for _ in 0..ATTEMPTS {
        let fixture = with_spares(1);
        let (done, finished) = mpsc::channel();
        let mut lowered = Some((done, fixture.scheduler.clone(), fixture.drivers[0].clone()));
        let root = std::future::poll_fn(|cx| {
            let Some((done, scheduler, driver)) = lowered.take() else {
                finished.recv_timeout(LONG).unwrap();
                return std::task::Poll::Ready(());
            };
            let waker = cx.waker().clone();
            std::thread::spawn(move || {
                divisi_scheduler::mark_lowered();
                driver.wait_asleep();
                let task = async move { done.send(()).unwrap() };
                drop(scheduler.spawn(task, SpawnOptions::new()).unwrap());
                waker.wake();
            });
            std::task::Poll::Pending
        });
        fixture.scheduler.block_on(root).unwrap();
    }
}
