//! A worker that does not return from a poll costs its own task only.

mod support;

use std::sync::mpsc;

use divisi_task::SpawnOptions;
use support::{LONG, gate, scheduler};

#[test]
fn a_task_queued_behind_a_stuck_poll_runs_elsewhere() {
    let fixture = scheduler(2);
    fixture
        .drivers
        .iter()
        .for_each(|driver| driver.wait_asleep());
    let scheduler = fixture.scheduler.clone();
    let (open, closed) = gate();
    let (done, finished) = mpsc::channel();
    drop(fixture.spawn(async move {
        // One short of what makes the queue long: nobody is woken for it at once.
        drop(
            scheduler
                .spawn(async move { done.send(()).unwrap() }, SpawnOptions::new())
                .unwrap(),
        );
        closed();
    }));
    finished.recv_timeout(LONG).unwrap();
    drop(open);
}

#[test]
fn a_task_in_the_run_slot_behind_a_stuck_poll_runs_elsewhere() {
    let fixture = scheduler(2);
    let (open, closed) = gate();
    let (waker_out, waker_in) = mpsc::channel();
    let (done, finished) = mpsc::channel();
    let mut polled = false;
    drop(fixture.spawn(std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            done.send(()).unwrap();
            return std::task::Poll::Ready(());
        }
        waker_out.send(cx.waker().clone()).unwrap();
        std::task::Poll::Pending
    })));
    let waker = waker_in.recv_timeout(LONG).unwrap();
    fixture
        .drivers
        .iter()
        .for_each(|driver| driver.wait_asleep());
    drop(fixture.spawn(async move {
        waker.wake();
        closed();
    }));
    finished.recv_timeout(LONG).unwrap();
    drop(open);
}

/// tokio's `deadlocks_consistently`: a worker blocks for ever while the others are parked.
#[test]
fn events_of_a_stuck_worker_are_handled_by_another_that_was_asleep() {
    let fixture = scheduler(2);
    let (waker_out, waker_in) = mpsc::channel();
    let (done, finished) = mpsc::channel();
    let mut polled = false;
    drop(fixture.spawn(std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            done.send(()).unwrap();
            return std::task::Poll::Ready(());
        }
        waker_out.send(cx.waker().clone()).unwrap();
        std::task::Poll::Pending
    })));
    let waker = waker_in.recv_timeout(LONG).unwrap();
    // Everybody sleeps without limit before one worker gets stuck with nothing queued behind it.
    fixture
        .drivers
        .iter()
        .for_each(|driver| driver.wait_asleep());
    let (open, closed) = gate();
    let (entered, is_inside) = mpsc::channel();
    let scheduler = fixture.scheduler.clone();
    drop(fixture.spawn(async move {
        entered.send(scheduler.current_seat().unwrap()).unwrap();
        closed();
    }));
    let stuck = is_inside.recv_timeout(LONG).unwrap();
    fixture.drivers[stuck].event(waker);
    finished.recv_timeout(LONG).unwrap();
    drop(open);
}

#[test]
fn an_idle_scheduler_sleeps_without_limit() {
    let fixture = scheduler(4);
    let task = fixture.spawn(async {});
    fixture.scheduler.block_on(task).unwrap().unwrap();
    // The lookout stays for some looks and then leaves; the last park of every driver has no limit.
    fixture
        .drivers
        .iter()
        .for_each(|driver| driver.wait_asleep());
}
