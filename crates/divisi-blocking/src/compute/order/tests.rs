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
    order.push(Priority::Low, now, 'a');
    order.push(Priority::High, now, 'b');
    order.push(Priority::Normal, now, 'c');
    order.push(Priority::High, now, 'd');
    let taken: String = std::iter::from_fn(|| order.pop(now + FRESH)).collect();
    assert_eq!(taken, "bdca");
    assert_eq!(order.len(), 0);
}

#[test]
fn every_fourth_job_is_the_oldest_aged_one() {
    let start = Instant::now();
    let mut order = Order::new();
    for _ in 0..3 {
        order.push(Priority::Low, start, 'l');
    }
    for _ in 0..20 {
        order.push(Priority::High, at(start, 600), 'h');
    }
    let now = at(start, 700);
    let taken: String = (0..14).map_while(|_| order.pop(now)).collect();
    assert_eq!(taken, "hhhlhhhlhhhlhh");
}

#[test]
fn what_has_not_aged_waits_for_all_that_is_more_urgent() {
    let start = Instant::now();
    let mut order = Order::new();
    order.push(Priority::Low, start, 'l');
    for _ in 0..10 {
        order.push(Priority::High, start, 'h');
    }
    let taken: String = (0..11).map_while(|_| order.pop(at(start, 499))).collect();
    assert_eq!(taken, "hhhhhhhhhhl");
}

proptest! {
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
            order.push(Priority::ALL[priority], start, false);
        }
        order.push(Priority::Low, start + Duration::from_nanos(1), true);
        let limit = AGED_SHARE as usize * (ahead + 1);
        let mut taken_at = None;
        for take in 0..limit {
            let now = at(start, 501 + take as u64);
            order.push(Priority::ALL[flood], now, false);
            if order.pop(now) == Some(true) {
                taken_at = Some(take);
                break;
            }
        }
        prop_assert!(taken_at.is_some());
    }

    /// Nothing is lost, and nothing is made up.
    #[test]
    fn what_goes_in_comes_out(pushes in proptest::collection::vec((0_usize..3, 0_u64..2_000), 0..50), drain_after in 0_usize..60) {
        let start = Instant::now();
        let mut order = Order::new();
        for (n, &(priority, millis)) in pushes.iter().enumerate() {
            order.push(Priority::ALL[priority], at(start, millis), n);
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
