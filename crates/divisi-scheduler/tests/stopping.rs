//! Stopping loses nothing and keeps nothing.

mod support;

use std::sync::{Arc, Barrier, mpsc};
use std::time::Instant;

use divisi_scheduler::BlockOnError;
use divisi_task::SpawnOptions;
use support::{LONG, build, gate, scheduler};

/// Tells by its reference count whether the future that holds it was dropped.
fn witness() -> (Arc<()>, Arc<()>) {
    let witness = Arc::new(());
    (witness.clone(), witness)
}

#[test]
fn waiting_tasks_are_dropped_when_they_are_shut_down() {
    let fixture = scheduler(2);
    let (mine, theirs) = witness();
    for _ in 0..100 {
        let theirs = theirs.clone();
        drop(fixture.spawn(async move {
            std::future::pending::<()>().await;
            drop(theirs);
        }));
    }
    drop(theirs);
    fixture
        .drivers
        .iter()
        .for_each(|driver| driver.wait_asleep());
    for task in fixture.scheduler.registry().list() {
        task.shutdown(divisi_task::CancelReason::new("test"));
    }
    assert!(fixture.scheduler.wait_empty(Instant::now() + LONG));
    assert_eq!(Arc::strong_count(&mine), 1);
}

#[test]
fn queued_tasks_of_a_stopped_scheduler_are_cancelled() {
    let fixture = build(1, false, None);
    let (mine, theirs) = witness();
    let handle = fixture.spawn(async move { drop(theirs) });
    fixture.scheduler.stop(Instant::now() + LONG);
    assert!(handle.is_finished());
    assert_eq!(Arc::strong_count(&mine), 1);
    assert!(
        fixture
            .scheduler
            .spawn(async {}, SpawnOptions::new())
            .is_err()
    );
    assert_eq!(
        fixture.scheduler.block_on(async {}),
        Err(BlockOnError::Stopped)
    );
}

#[test]
fn a_task_woken_after_the_stop_is_dropped() {
    let fixture = scheduler(1);
    let (mine, theirs) = witness();
    let (waker_out, waker_in) = mpsc::channel();
    let handle = fixture.spawn(async move {
        std::future::poll_fn(|cx| {
            waker_out.send(cx.waker().clone()).unwrap();
            std::task::Poll::<()>::Pending
        })
        .await;
        drop(theirs);
    });
    let waker = waker_in.recv_timeout(LONG).unwrap();
    fixture.scheduler.stop(Instant::now() + LONG);
    waker.wake();
    assert!(handle.is_finished());
    assert_eq!(Arc::strong_count(&mine), 1);
}

#[test]
fn a_stuck_worker_is_reported_and_not_waited_for() {
    let fixture = scheduler(2);
    let (open, closed) = gate();
    let (entered, is_inside) = mpsc::channel();
    let scheduler = fixture.scheduler.clone();
    drop(fixture.spawn(async move {
        entered.send(scheduler.current_seat().unwrap()).unwrap();
        closed();
    }));
    let seat = is_inside.recv_timeout(LONG).unwrap();
    let stopped = fixture.scheduler.stop(Instant::now());
    assert!(stopped.stuck_seats.contains(&seat));
    drop(open);
    assert!(
        fixture
            .scheduler
            .stop(Instant::now() + LONG)
            .stuck_seats
            .is_empty()
    );
}

#[test]
fn stopping_from_a_worker_does_not_wait_for_itself() {
    let fixture = scheduler(2);
    let scheduler = fixture.scheduler.clone();
    let (done, finished) = mpsc::channel();
    drop(fixture.spawn(async move {
        done.send(scheduler.stop(Instant::now() + LONG).stuck_seats)
            .unwrap();
    }));
    assert_eq!(finished.recv_timeout(LONG).unwrap(), Vec::<usize>::new());
}

#[test]
fn spawning_from_sixteen_threads_while_stopping_loses_no_future() {
    for _ in 0..50 {
        let fixture = scheduler(2);
        let (mine, theirs) = witness();
        let start = Arc::new(Barrier::new(17));
        let threads: Vec<_> = (0..16)
            .map(|number| {
                let (scheduler, start, theirs) =
                    (fixture.scheduler.clone(), start.clone(), theirs.clone());
                std::thread::spawn(move || {
                    if number % 2 == 0 {
                        divisi_scheduler::mark_lowered();
                    }
                    start.wait();
                    for _ in 0..100 {
                        let theirs = theirs.clone();
                        let _ = scheduler.spawn(async move { drop(theirs) }, SpawnOptions::new());
                    }
                })
            })
            .collect();
        drop(theirs);
        start.wait();
        assert!(
            fixture
                .scheduler
                .stop(Instant::now() + LONG)
                .stuck_seats
                .is_empty()
        );
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(fixture.scheduler.registry().is_empty());
        assert_eq!(Arc::strong_count(&mine), 1, "a future was leaked");
    }
}

#[test]
fn a_root_ends_with_an_error_when_the_scheduler_stops() {
    let fixture = scheduler(1);
    let scheduler = fixture.scheduler.clone();
    let stopper = fixture.scheduler.clone();
    let result = scheduler.block_on(async move {
        std::thread::spawn(move || stopper.stop(Instant::now() + LONG));
        std::future::pending::<()>().await;
    });
    assert_eq!(result, Err(BlockOnError::Stopped));
}

#[test]
fn a_panic_that_nobody_sees_is_reported() {
    let fixture = scheduler(1);
    let (done, finished) = mpsc::channel::<()>();
    drop(fixture.spawn(async move {
        let _done = done;
        panic!("unseen");
    }));
    assert!(finished.recv_timeout(LONG).is_err());
    assert!(fixture.scheduler.wait_empty(Instant::now() + LONG));
    fixture.drivers[0].wait_asleep();
    let panics = fixture.panics.lock().unwrap();
    assert_eq!(panics.len(), 1);
    assert_eq!(panics[0].message(), "unseen");
}
