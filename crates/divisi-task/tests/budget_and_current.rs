//! What a future knows about the task it is in.
#![cfg(not(divisi_loom))]

mod support;

use std::future::poll_fn;
use std::panic::Location;
use std::task::{Context, Poll, Waker};

use divisi_task::{Ran, Registry, budget, current};
use support::{CountingWaker, Manual, outcome, start};

/// How many operations proceed until the budget is spent, at most 1000.
fn spend(cx: &mut Context<'_>) -> usize {
    let mut done = 0;
    while done < 1000 {
        match budget::poll_proceed(cx) {
            Poll::Ready(charge) => charge.made_progress(),
            Poll::Pending => break,
        }
        done += 1;
    }
    done
}

#[test]
fn a_poll_has_a_budget_and_the_next_one_a_new_one() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let mut polls = Vec::new();
    let handle = start(
        poll_fn(move |cx| {
            assert!(budget::has_remaining());
            polls.push(spend(cx));
            assert!(!budget::has_remaining());
            if polls.len() < 3 {
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut polls))
        }),
        &scheduler,
        &registry,
    );
    assert_eq!(
        scheduler.run_one(),
        Some(Ran::Yielded),
        "the spent budget woke the task"
    );
    scheduler.run_all();
    assert_eq!(outcome(handle).unwrap(), [usize::from(budget::LIMIT); 3]);
}

#[test]
fn outside_any_task_there_is_no_budget() {
    let (counter, waker) = CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(spend(&mut cx), 1000);
    budget::reset();
    assert_eq!(spend(&mut cx), 1000);
    assert_eq!(counter.count(), 0);
}

#[test]
fn a_charge_without_progress_goes_back() {
    let mut cx = Context::from_waker(Waker::noop());
    budget::limited(|| {
        for _ in 0..1000 {
            assert!(budget::poll_proceed(&mut cx).is_ready());
        }
        assert_eq!(spend(&mut cx), usize::from(budget::LIMIT));
        budget::reset();
        assert_eq!(spend(&mut cx), usize::from(budget::LIMIT));
    });
    assert_eq!(spend(&mut cx), 1000);
}

#[test]
fn a_charge_that_outlives_its_poll_does_not_overfill_the_next() {
    let mut cx = Context::from_waker(Waker::noop());
    let kept = budget::limited(|| budget::poll_proceed(&mut cx));
    budget::limited(|| {
        drop(kept);
        assert_eq!(spend(&mut cx), usize::from(budget::LIMIT));
    });
    let kept = budget::limited(|| budget::poll_proceed(&mut cx));
    drop(kept);
    assert_eq!(
        spend(&mut cx),
        1000,
        "nor does it bring a budget where there is none"
    );
}

#[test]
fn unconstrained_work_is_not_stopped_and_costs_no_budget() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let handle = start(
        async {
            let inside = budget::unconstrained(poll_fn(|cx| Poll::Ready(spend(cx)))).await;
            let after = poll_fn(|cx| Poll::Ready(spend(cx))).await;
            (inside, after)
        },
        &scheduler,
        &registry,
    );
    scheduler.run_all();
    assert_eq!(outcome(handle).unwrap(), (1000, usize::from(budget::LIMIT)));
}

#[test]
fn a_task_inside_a_task_gives_the_outer_one_back() {
    let (outer, inner, registry) = (Manual::new(), Manual::new(), Registry::new(1));
    let nested = start(async { current::id().unwrap() }, &inner, &registry);
    let nested_id = nested.id();
    let runner = inner.clone();
    let handle = start(
        poll_fn(move |cx| {
            let before = current::id();
            assert!(
                budget::poll_proceed(cx)
                    .map(budget::Charge::made_progress)
                    .is_ready()
            );
            runner.run_all();
            assert_eq!(current::id(), before);
            Poll::Ready((before.unwrap(), spend(cx)))
        }),
        &outer,
        &registry,
    );
    outer.run_all();
    let handle_id = handle.id();
    let (outer_id, left) = outcome(handle).unwrap();
    assert_eq!(outer_id, handle_id);
    assert_eq!(outcome(nested).unwrap(), nested_id);
    assert_eq!(left, usize::from(budget::LIMIT) - 1);
    assert_eq!(current::id(), None);
    assert!(current::task().is_none());
}

#[test]
fn a_task_is_not_current_any_more_after_a_panic() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    drop(start(
        async { support::quiet_panic("boom") as () },
        &scheduler,
        &registry,
    ));
    scheduler.run_all();
    assert_eq!(current::id(), None);
    assert_eq!(spend(&mut Context::from_waker(Waker::noop())), 1000);
}

#[test]
fn where_a_task_waits_is_known_until_it_runs_again() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let mut noted = None;
    let handle = start(
        poll_fn(move |cx| {
            let me = current::task().unwrap();
            assert_eq!(me.waits_at(), None, "while it runs it does not wait");
            if noted.is_some() {
                return Poll::Ready(());
            }
            noted = Some(Location::caller());
            current::note_wait(Location::caller());
            let _ = cx;
            Poll::Pending
        }),
        &scheduler,
        &registry,
    );
    scheduler.run_all();
    let at = handle.task().waits_at().expect("noted");
    assert_eq!(at.file(), file!());
    current::note_wait(Location::caller());
    assert_eq!(
        handle.task().waits_at(),
        Some(at),
        "outside a task nothing is noted"
    );
    handle.cancel("done");
    scheduler.run_all();
}
