use proptest::prelude::*;

use super::*;

const FRESH: Duration = Duration::ZERO;

fn at(start: Instant, millis: u64) -> Instant {
    start + Duration::from_millis(millis)
}

#[test]
fn the_most_urgent_goes_first_and_equals_by_age() {
    let now = Instant::now();
    let mut order = Order::new();
    order.push(Priority::Low, 0, now, 'a');
    order.push(Priority::High, 0, now, 'b');
    order.push(Priority::Normal, 0, now, 'c');
    order.push(Priority::High, 0, now, 'd');
    let taken: String = std::iter::from_fn(|| order.pop(now + FRESH)).collect();
    assert_eq!(taken, "bdca");
    assert_eq!(order.len(), 0);
}

#[test]
fn every_fourth_job_is_the_oldest_aged_one() {
    let start = Instant::now();
    let mut order = Order::new();
    for _ in 0..3 {
        order.push(Priority::Low, 0, start, 'l');
    }
    for _ in 0..20 {
        order.push(Priority::High, 0, at(start, 600), 'h');
    }
    let now = at(start, 700);
    let taken: String = (0..14).map_while(|_| order.pop(now)).collect();
    assert_eq!(taken, "hhhlhhhlhhhlhh");
}

#[test]
fn what_has_not_aged_waits_for_all_that_is_more_urgent() {
    let start = Instant::now();
    let mut order = Order::new();
    order.push(Priority::Low, 0, start, 'l');
    for _ in 0..10 {
        order.push(Priority::High, 0, start, 'h');
    }
    let taken: String = (0..11).map_while(|_| order.pop(at(start, 499))).collect();
    assert_eq!(taken, "hhhhhhhhhhl");
}

#[test]
fn callers_take_turns_and_each_keeps_its_order() {
    let now = Instant::now();
    let mut order = Order::new();
    for n in 0..10_000 {
        order.push(Priority::Normal, "many", now, ("many", n));
    }
    order.push(Priority::Normal, "one", now, ("one", 0));
    order.push(Priority::Normal, "two", now, ("two", 0));
    order.push(Priority::Normal, "two", now, ("two", 1));
    let taken: Vec<_> = (0..7).map_while(|_| order.pop(now)).collect();
    assert_eq!(
        taken,
        [
            ("many", 0),
            ("one", 0),
            ("two", 0),
            ("many", 1),
            ("two", 1),
            ("many", 2),
            ("many", 3)
        ]
    );
}

/// A backlog that is old as a whole does not keep a new caller out.
#[test]
fn a_new_caller_has_its_turn_beside_an_aged_backlog() {
    let start = Instant::now();
    let mut order = Order::new();
    for _ in 0..10_000 {
        order.push(Priority::Normal, 'm', start, 'm');
    }
    let now = at(start, 5_000);
    order.push(Priority::Normal, 'n', now, 'n');
    let place = (0..10_000).position(|_| order.pop(now) == Some('n'));
    assert!(place.is_some_and(|place| place < 4), "{place:?}");
}

#[test]
fn turns_do_not_cross_priorities() {
    let now = Instant::now();
    let mut order = Order::new();
    order.push(Priority::Low, 'x', now, 1);
    order.push(Priority::High, 'y', now, 2);
    order.push(Priority::High, 'y', now, 3);
    let taken: Vec<_> = std::iter::from_fn(|| order.pop(now)).collect();
    assert_eq!(taken, [2, 3, 1]);
}

#[test]
fn a_caller_whose_jobs_went_for_their_age_gets_one_turn_when_it_comes_back() {
    let start = Instant::now();
    let mut order = Order::new();
    order.push(Priority::Normal, 'a', start, 1);
    order.since_aged = AGED_SHARE;
    assert_eq!(order.pop(at(start, 500)), Some(1), "for its age");
    let now = at(start, 501);
    order.push(Priority::Normal, 'a', now, 2);
    order.push(Priority::Normal, 'a', now, 3);
    order.push(Priority::Normal, 'b', now, 4);
    let taken: Vec<_> = std::iter::from_fn(|| order.pop(now)).collect();
    assert_eq!(taken, [2, 4, 3]);
}

proptest! {
    /// With `callers` that wait, nobody waits for more than that many jobs of others between two of its own.
    #[test]
    fn nobody_waits_longer_than_a_round(jobs in proptest::collection::vec(0_usize..5, 1..200)) {
        let now = Instant::now();
        let mut order = Order::new();
        let mut left = [0_usize; 5];
        for &caller in &jobs {
            order.push(Priority::Normal, caller, now, caller);
            left[caller] += 1;
        }
        let mut waited = [0_usize; 5];
        while let Some(taken) = order.pop(now) {
            left[taken] -= 1;
            waited[taken] = 0;
            for other in (0..5).filter(|&other| other != taken && left[other] > 0) {
                waited[other] += 1;
                prop_assert!(waited[other] < 5);
            }
        }
        prop_assert_eq!(left, [0; 5]);
    }

    /// However many urgent jobs keep coming, a job with `ahead` older ones before it is taken within four times as many
    /// takes, once it has aged.
    #[test]
    fn an_aged_job_is_taken_in_time(
        ahead in 0_usize..20,
        priorities in proptest::collection::vec(0_usize..3, 20),
        flood in 0_usize..3,
    ) {
        let start = Instant::now();
        let mut order = Order::new();
        for &priority in &priorities[..ahead] {
            order.push(Priority::ALL[priority], 0, start, false);
        }
        order.push(Priority::Low, 0, start + Duration::from_nanos(1), true);
        let limit = AGED_SHARE as usize * (ahead + 1);
        let mut taken_at = None;
        for take in 0..limit {
            let now = at(start, 501 + take as u64);
            order.push(Priority::ALL[flood], 0, now, false);
            if order.pop(now) == Some(true) {
                taken_at = Some(take);
                break;
            }
        }
        prop_assert!(taken_at.is_some());
    }

    /// Nothing is lost, and nothing is made up.
    #[test]
    fn what_goes_in_comes_out(pushes in proptest::collection::vec((0_usize..3, 0_u8..4, 0_u64..2_000), 0..50), drain_after in 0_usize..60) {
        let start = Instant::now();
        let mut order = Order::new();
        for (n, &(priority, caller, millis)) in pushes.iter().enumerate() {
            order.push(Priority::ALL[priority], caller, at(start, millis), n);
        }
        let now = at(start, 2_000);
        let mut out: Vec<_> = (0..drain_after).map_while(|_| order.pop(now)).collect();
        prop_assert_eq!(order.len(), pushes.len() - out.len());
        out.extend(order.drain());
        out.sort_unstable();
        prop_assert_eq!(out, Vec::from_iter(0..pushes.len()));
        prop_assert_eq!(order.pop(now), None);
    }
}

#[test]
fn callers_whose_jobs_all_went_for_their_age_are_forgotten_before_they_are_many() {
    let start = Instant::now();
    let mut order = Order::new();
    // The urgent line is never empty, so the turns of the other never come.
    order.push(Priority::High, 0, at(start, 1_000_000), 0);
    for caller in 1..1_000 {
        order.push(Priority::Low, caller, at(start, caller), caller);
        order.since_aged = AGED_SHARE;
        assert_eq!(
            order.pop(at(start, caller + 500)),
            Some(caller),
            "for its age"
        );
    }
    let line = &order.lines[Priority::Low.index()];
    assert!(line.turns.len() <= MOST_IDLE_CALLERS + 1);
    assert_eq!(line.callers.len(), line.turns.len());
}
