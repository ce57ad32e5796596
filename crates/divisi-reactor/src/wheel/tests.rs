use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::Wake;

/// Notes its name when it is woken, so that the order of firing can be seen.
struct Bell {
    name: u64,
    log: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.log.lock().unwrap().push(self.name);
    }
}

/// A wheel whose firings can be read.
struct Tower {
    wheel: Wheel,
    log: Arc<Mutex<Vec<u64>>>,
}

impl Tower {
    fn new() -> Tower {
        Tower {
            wheel: Wheel::new(),
            log: Arc::default(),
        }
    }

    fn arm(&mut self, name: u64, deadline: u64) -> Key {
        let log = self.log.clone();
        self.wheel
            .insert(deadline, Waker::from(Arc::new(Bell { name, log })))
    }

    fn advance(&mut self, now: u64, limit: usize) -> Vec<u64> {
        let mut wakers = Vec::new();
        let fired = self.wheel.advance(now, limit, &mut wakers);
        assert_eq!(fired, wakers.len());
        wakers.into_iter().for_each(Waker::wake);
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// Advances in batches until nothing is due.
    fn advance_fully(&mut self, now: u64, limit: usize) -> Vec<u64> {
        let mut fired = self.advance(now, limit);
        while self.wheel.next_deadline().is_some_and(|next| next <= now) {
            fired.extend(self.advance(now, limit));
        }
        fired
    }
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_timer_fires_at_its_nanosecond_and_not_before() {
    for deadline in [1, 1023, 1024, 70_000, SECOND, 3_600 * SECOND, NEVER - 1] {
        let mut tower = Tower::new();
        tower.arm(7, deadline);
        assert_eq!(tower.wheel.next_deadline(), Some(deadline));
        assert_eq!(tower.advance(deadline - 1, 8), []);
        assert_eq!(tower.wheel.next_deadline(), Some(deadline));
        assert_eq!(tower.advance(deadline, 8), [7]);
        assert_eq!(tower.wheel.next_deadline(), None);
        assert_eq!(tower.wheel.armed(), 0);
    }
}

#[test]
fn never_never_fires() {
    let mut tower = Tower::new();
    let key = tower.arm(1, NEVER);
    assert_eq!(tower.wheel.next_deadline(), None);
    assert_eq!(tower.wheel.armed(), 1);
    assert_eq!(tower.advance(NEVER, 8), []);
    assert!(!tower.wheel.has_fired(key));
    assert!(tower.wheel.remove(key).is_some());
    assert_eq!(tower.wheel.armed(), 0);
}

#[test]
fn timers_with_equal_deadlines_fire_in_the_order_of_arming() {
    let mut tower = Tower::new();
    for name in 0..100 {
        tower.arm(name, SECOND);
    }
    assert_eq!(
        tower.advance(2 * SECOND, 1000),
        (0..100).collect::<Vec<_>>()
    );
}

#[test]
fn a_batch_bounds_what_one_call_fires_and_the_rest_is_due_at_once() {
    let mut tower = Tower::new();
    for name in 0..10 {
        tower.arm(name, SECOND + name);
    }
    let now = 2 * SECOND;
    assert_eq!(tower.advance(now, 4), [0, 1, 2, 3]);
    assert_eq!(tower.wheel.next_deadline(), Some(now));
    assert_eq!(tower.advance(now, 4), [4, 5, 6, 7]);
    assert_eq!(tower.advance(now, 4), [8, 9]);
    assert_eq!(tower.wheel.next_deadline(), None);
}

#[test]
fn one_call_cascades_a_bounded_number_of_entries() {
    let mut tower = Tower::new();
    let count = 3 * CASCADE_BATCH as u64;
    for name in 0..count {
        tower.arm(name, SECOND + name * 5_000);
    }
    let now = 2 * SECOND;
    let mut calls = 0;
    let mut fired = Vec::new();
    while tower.wheel.next_deadline().is_some() {
        fired.extend(tower.advance(now, usize::MAX));
        calls += 1;
    }
    assert_eq!(fired, (0..count).collect::<Vec<_>>());
    assert!(calls > 1, "everything was moved in one call");
}

#[test]
fn a_timer_removed_while_it_waits_in_the_backlog_does_not_fire() {
    let mut tower = Tower::new();
    let keys: Vec<_> = (0..4).map(|name| tower.arm(name, SECOND)).collect();
    assert_eq!(tower.advance(SECOND, 2), [0, 1]);
    tower.wheel.remove(keys[2]).unwrap();
    // The freed key is reused by a timer that is not due.
    tower.arm(9, 5 * SECOND);
    assert_eq!(tower.advance(SECOND, 8), [3]);
    assert_eq!(tower.advance(5 * SECOND, 8), [9]);
}

#[test]
fn a_timer_armed_anew_in_the_backlog_fires_at_its_new_deadline() {
    let mut tower = Tower::new();
    let keys: Vec<_> = (0..3).map(|name| tower.arm(name, SECOND)).collect();
    assert_eq!(tower.advance(SECOND, 1), [0]);
    assert!(tower.wheel.rearm(keys[1], 3 * SECOND));
    assert_eq!(tower.advance(SECOND, 8), [2]);
    assert_eq!(tower.advance(3 * SECOND, 8), [1]);
    assert!(!tower.wheel.rearm(keys[1], 4 * SECOND), "it has fired");
}

#[test]
fn a_timer_does_not_fire_in_the_place_of_one_whose_room_it_took_over() {
    let mut tower = Tower::new();
    tower.arm(1, SECOND);
    let removed = tower.arm(2, SECOND + 1);
    tower.arm(3, SECOND + 2);
    assert_eq!(tower.advance(2 * SECOND, 1), [1]);
    tower.wheel.remove(removed);
    let reused = tower.arm(4, SECOND + 3);
    assert_eq!(reused, removed);
    // This one is earlier than the backlog, and its slot is the one of timer 4 too.
    tower.arm(5, 7);
    assert_eq!(tower.advance(2 * SECOND, 8), [5, 3, 4]);
}

#[test]
fn a_deadline_in_the_past_fires_in_the_next_call() {
    let mut tower = Tower::new();
    tower.arm(1, SECOND);
    assert_eq!(tower.advance(SECOND, 8), [1]);
    tower.arm(2, 5);
    assert_eq!(tower.wheel.next_deadline(), Some(5));
    assert_eq!(tower.advance(SECOND, 8), [2]);
}

#[test]
fn removing_the_earliest_makes_the_next_deadline_early_at_most_once() {
    let mut tower = Tower::new();
    let first = tower.arm(1, SECOND);
    tower.arm(2, SECOND + 100);
    tower.wheel.remove(first);
    let early = tower.wheel.next_deadline().unwrap();
    assert!(early <= SECOND + 100);
    assert_eq!(tower.advance(early, 8), []);
    assert_eq!(tower.wheel.next_deadline(), Some(SECOND + 100));
}

#[test]
fn arming_and_dropping_many_timers_reuses_their_room() {
    let mut wheel = Wheel::new();
    let round = |wheel: &mut Wheel| {
        let keys: Vec<_> = (0..100_000u64)
            .map(|n| wheel.insert(n * 7_919, Waker::noop().clone()))
            .collect();
        for key in keys {
            wheel.remove(key);
        }
    };
    round(&mut wheel);
    let capacity = wheel.entries.capacity();
    for _ in 0..3 {
        round(&mut wheel);
    }
    assert_eq!(wheel.entries.len(), 0);
    assert_eq!(wheel.entries.capacity(), capacity);
    assert_eq!(wheel.next_deadline(), None);
    assert!(wheel.levels.iter().all(|level| level.occupied == 0));
}

#[test]
fn fire_all_ends_every_timer_wherever_it_is() {
    let mut tower = Tower::new();
    let keys: Vec<_> = [SECOND, SECOND, 5, NEVER, 3_000 * SECOND]
        .into_iter()
        .enumerate()
        .map(|(name, deadline)| tower.arm(name as u64, deadline))
        .collect();
    assert_eq!(tower.advance(SECOND, 1), [2]);
    let mut wakers = Vec::new();
    tower.wheel.fire_all(&mut wakers);
    assert_eq!(wakers.len(), 4);
    assert_eq!(tower.wheel.armed(), 0);
    for key in keys {
        assert!(tower.wheel.has_fired(key));
        assert!(tower.wheel.remove(key).is_none());
    }
    assert_eq!(tower.advance(NEVER, 8), []);
}

/// What a user may do to a wheel.
#[derive(Clone, Debug)]
enum Step {
    Arm { after: u64 },
    ArmAt { deadline: u64 },
    Remove { which: usize },
    Rearm { which: usize, after: u64 },
    Advance { by: u64, limit: usize },
    AdvanceToNext,
}

/// Spans of every magnitude, with many collisions.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..4,
        0u64..3_000,
        (0u64..200).prop_map(|n| n * 512),
        0u64..10_000_000,
        (0u32..64).prop_map(|shift| 1 << shift),
        (0u32..64).prop_map(|shift| (1 << shift) - 1),
        Just(u64::MAX),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => span().prop_map(|after| Step::Arm { after }),
        1 => span().prop_map(|deadline| Step::ArmAt { deadline }),
        2 => any::<usize>().prop_map(|which| Step::Remove { which }),
        2 => (any::<usize>(), span()).prop_map(|(which, after)| Step::Rearm { which, after }),
        3 => (span(), 1usize..6).prop_map(|(by, limit)| Step::Advance { by, limit }),
        2 => Just(Step::AdvanceToNext),
    ]
}

/// The specification: a list of what is armed.
#[derive(Default)]
struct Model {
    armed: HashMap<u64, (u64, u64)>, // name -> (deadline, order of arming)
    order: u64,
}

impl Model {
    fn arm(&mut self, name: u64, deadline: u64) {
        self.order += 1;
        self.armed.insert(name, (deadline, self.order));
    }

    fn due(&self, now: u64) -> usize {
        let fires = |&&(deadline, _): &&(u64, u64)| deadline <= now && deadline != NEVER;
        self.armed.values().filter(fires).count()
    }

    fn next(&self) -> Option<u64> {
        let deadlines = self.armed.values().map(|&(deadline, _)| deadline);
        deadlines.filter(|&deadline| deadline != NEVER).min()
    }

    /// Checks a batch against the specification and forgets it.
    fn fire(&mut self, now: u64, batch: &[u64]) {
        let mut last = (0, 0);
        for name in batch {
            let timer = self.armed.remove(name).expect("fired once and while armed");
            assert!(timer.0 <= now, "early");
            assert_ne!(timer.0, NEVER, "never fired");
            assert!(last < timer, "out of order");
            last = timer;
        }
        // Whatever fired came before everything that is left, so order holds across batches too.
        let earliest = self.armed.values().filter(|t| t.0 <= now).min();
        if let Some(&left) = earliest {
            assert!(batch.is_empty() || last < left, "a later timer overtook");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_wheel_does_what_a_sorted_list_does(steps in prop::collection::vec(step(), 1..120)) {
        let mut tower = Tower::new();
        let mut model = Model::default();
        let mut keys: Vec<(u64, Key)> = Vec::new();
        let mut now = 0u64;
        let mut names = 0..;
        for step in steps {
            match step {
                Step::Arm { after } => {
                    let name = names.next().unwrap();
                    let deadline = now.saturating_add(after);
                    keys.push((name, tower.arm(name, deadline)));
                    model.arm(name, deadline);
                }
                Step::ArmAt { deadline } => {
                    let name = names.next().unwrap();
                    keys.push((name, tower.arm(name, deadline)));
                    model.arm(name, deadline);
                }
                Step::Remove { which } if !keys.is_empty() => {
                    let (name, key) = keys.swap_remove(which % keys.len());
                    let armed = model.armed.remove(&name).is_some();
                    prop_assert_eq!(tower.wheel.remove(key).is_some(), armed);
                }
                Step::Rearm { which, after } if !keys.is_empty() => {
                    let (name, key) = keys[which % keys.len()];
                    let deadline = now.saturating_add(after);
                    let armed = model.armed.contains_key(&name);
                    prop_assert_eq!(tower.wheel.rearm(key, deadline), armed);
                    if armed {
                        model.arm(name, deadline);
                    }
                }
                Step::Remove { .. } | Step::Rearm { .. } => {}
                Step::Advance { by, limit } => {
                    now = now.saturating_add(by);
                    let due = model.due(now);
                    let fired = tower.advance(now, limit);
                    prop_assert_eq!(fired.len(), due.min(limit));
                    model.fire(now, &fired);
                }
                Step::AdvanceToNext => {
                    if let Some(next) = tower.wheel.next_deadline() {
                        now = now.max(next);
                        let fired = tower.advance_fully(now, 3);
                        prop_assert_eq!(model.due(now), fired.len());
                        for name in fired {
                            model.fire(now, &[name]);
                        }
                    }
                }
            }
            prop_assert_eq!(tower.wheel.armed(), model.armed.len());
            // Never late; a backlog counts as "now".
            match (tower.wheel.next_deadline(), model.next()) {
                (None, next) => prop_assert_eq!(next, None),
                (Some(next), Some(exact)) => prop_assert!(next <= exact.max(now)),
                (Some(_), None) => {}
            }
        }
        // Follow the wheel's own announcements to the end of time: everything fires.
        let mut looks = 0;
        while let Some(next) = tower.wheel.next_deadline() {
            now = now.max(next);
            model.fire(now, &tower.advance(now, 5));
            looks += 1;
            prop_assert!(looks < 10_000, "the wheel announces deadlines without end");
        }
        prop_assert_eq!(model.next(), None);
    }
}
