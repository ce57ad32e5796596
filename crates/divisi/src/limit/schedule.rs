//! The meters of a limiter, and the passes that were reserved ahead.

use std::collections::VecDeque;

use super::meter::{Gcra, Meter};

/// How late a timer may be, in nanoseconds, so that a pass still counts as made when it was due, and a pass that is given back as not made. A
/// thousand times what a timer usually is late, and a thousandth of the usual period.
pub(super) const LATENESS: u64 = 1_000_000;

/// How many gaps between reservations are looked at for an earlier place.
const GAPS_LOOKED_AT: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// What has passed.
    meters: Box<[Meter]>,
    /// What will pass, in the order of time: none is due yet.
    reserved: VecDeque<Reserved>,
    /// The meters when all of `reserved` will have passed; made when it is needed.
    tail: Option<Box<[Meter]>>,
    /// There may be room between the reservations: one was taken back, or was made behind others who wait.
    gaps: bool,
    next_id: u64,
    /// How often the meters were changed.
    changes: u64,
    /// How late those who wait are taken to be, of whom only the order is known yet.
    lateness: u64,
}

#[derive(Clone, Debug)]
struct Reserved {
    at: u64,
    weight: u64,
    id: u64,
}

/// A pass that was charged, to be taken back if it is not made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    pub(super) weight: u64,
    pub(super) due: u64,
    pub(super) now: u64,
    /// The change of the meters that it was; `None` if it passed without them.
    pub(super) change: Option<u64>,
    /// The number that it has for meters that have an arrival time.
    pub(super) number: Option<u64>,
    /// The arrival time before and after, if there is but one meter and it has one.
    pub(super) arrival: Option<(u128, u128)>,
}

fn earliest(meters: &[Meter], from: u64, weight: u64) -> u64 {
    let each = meters.iter().map(|meter| meter.earliest(from, weight));
    each.max().unwrap_or(from)
}

fn charge(meters: &mut [Meter], due: u64, now: u64, weight: u64) {
    for meter in meters {
        meter.charge(due, now, weight);
    }
}

/// The meters when those will have passed.
fn after<'a>(meters: &[Meter], reserved: impl Iterator<Item = &'a Reserved>) -> Box<[Meter]> {
    let mut meters: Box<[Meter]> = meters.into();
    for next in reserved {
        charge(&mut meters, next.at, next.at, next.weight);
    }
    meters
}

impl Schedule {
    pub(super) fn new(meters: Box<[Meter]>) -> Self {
        Self {
            meters,
            reserved: VecDeque::new(),
            tail: None,
            gaps: false,
            next_id: 0,
            changes: 0,
            lateness: 0,
        }
    }

    /// A copy, to find out when those who wait will pass: what is reserved behind them stays good if they are as late as a timer may be.
    pub(super) fn rehearsal(&self) -> Self {
        Self {
            lateness: LATENESS,
            ..self.clone()
        }
    }

    /// The meter, if there is but one and it has an arrival time.
    pub(super) fn only_gcra(&mut self) -> Option<&mut Gcra> {
        match &mut *self.meters {
            [Meter::Gcra(gcra)] => Some(gcra),
            _ => None,
        }
    }

    /// The number of the last charge: the same for all meters that have an arrival time.
    fn number(&self) -> Option<u64> {
        self.meters.iter().find_map(|meter| match meter {
            Meter::Gcra(gcra) => Some(gcra.charges()),
            Meter::Window(_) => None,
        })
    }

    pub(super) fn has_reservations(&self) -> bool {
        !self.reserved.is_empty()
    }

    /// Charges the reservations that are due, and says whether there were any.
    pub(super) fn settle(&mut self, now: u64) -> bool {
        let mut any = false;
        while let Some(first) = self.reserved.front() {
            if first.at > now {
                return any;
            }
            charge(&mut self.meters, first.at, first.at, first.weight);
            self.changes += 1;
            self.reserved.pop_front();
            any = true;
        }
        self.tail = None;
        self.gaps = false;
        any
    }

    /// When that much may pass, at `from` or later, so that every reservation stays good. `settle` was called for a time up to `from`, or
    /// shortly after it.
    pub(super) fn due(&mut self, from: u64, weight: u64) -> u64 {
        let Some(last) = self.reserved.back().map(|last| last.at) else {
            return earliest(&self.meters, from, weight);
        };
        if self.gaps {
            if let Some(due) = self.due_in_gap(from, weight) {
                return due;
            }
        }
        earliest(self.tail(), from.max(last), weight)
    }

    /// Lets one pass who comes now, or tells when that may be.
    pub(super) fn pass(&mut self, now: u64, weight: u64) -> Result<Charge, u64> {
        let due = self.due(now, weight);
        if due > now {
            return Err(due);
        }
        Ok(self.charge(due, now, weight))
    }

    /// Lets one pass who has waited as the first since `since`, or tells when that may be. It may be late: reservations whose time has come, but which come
    /// after the moment when this one was due, count after it.
    pub(super) fn pass_waiting(
        &mut self,
        since: u64,
        now: u64,
        weight: u64,
    ) -> Result<Charge, u64> {
        // If it is later than that, what was reserved may have passed already, and counts first.
        let from = since.max(now.saturating_sub(LATENESS));
        self.settle(from);
        let mut due = self.due(from, weight);
        if due < now && !self.is_good_late(due, now, weight) {
            self.settle(now);
            due = self.due(now, weight);
        }
        if due > now {
            return Err(due);
        }
        self.settle(due);
        Ok(self.charge(due, now, weight))
    }

    /// In a rehearsal, charges one who waits as the first since `since`, and returns when it is due.
    pub(super) fn rehearse(&mut self, since: u64, weight: u64) -> u64 {
        let due = self.due(since, weight);
        self.settle(due);
        self.charge(due, due.saturating_add(self.lateness), weight);
        due
    }

    /// When to look again, for one who is due at `due`: not all gaps between the reservations were looked at.
    pub(super) fn look_again(&self, due: u64) -> u64 {
        match self.reserved.get(GAPS_LOOKED_AT - 1) {
            Some(last_looked_at) if self.gaps => due.min(last_looked_at.at),
            _ => due,
        }
    }

    /// The first of the gaps between the reservations in which that much may pass. The earliest moment of a gap is the best: what passes later
    /// stays a burden longer.
    fn due_in_gap(&self, from: u64, weight: u64) -> Option<u64> {
        let mut before = self.meters.clone();
        let mut from = from;
        for (index, next) in self.reserved.iter().enumerate().take(GAPS_LOOKED_AT) {
            let due = earliest(&before, from, weight);
            let late = due.saturating_add(self.lateness);
            if due < next.at && self.fits(before.clone(), index, (due, late), weight) {
                return Some(due);
            }
            charge(&mut before, next.at, next.at, next.weight);
            from = from.max(next.at);
        }
        None
    }

    /// Whether the reservations stay good if that much, which was due at `due`, passes only now. A window counts it from now on; to the other
    /// meters it makes no difference.
    fn is_good_late(&self, due: u64, now: u64, weight: u64) -> bool {
        let index = self.reserved.partition_point(|next| next.at <= due);
        let has_window = self.meters.iter().any(|m| matches!(m, Meter::Window(_)));
        if index == self.reserved.len() || !has_window {
            return true;
        }
        let before = after(&self.meters, self.reserved.range(..index));
        self.fits(before, index, (due, now), weight)
    }

    /// Whether the reservations from the one of that index on stay good if that much, which is due at the first time, passes at the second,
    /// with the meters as they are before it.
    fn fits(
        &self,
        mut meters: Box<[Meter]>,
        index: usize,
        (due, now): (u64, u64),
        weight: u64,
    ) -> bool {
        charge(&mut meters, due, now, weight);
        self.reserved.range(index..).all(|next| {
            let good = earliest(&meters, next.at, next.weight) == next.at;
            charge(&mut meters, next.at, next.at, next.weight);
            good
        })
    }

    fn tail(&mut self) -> &mut [Meter] {
        let (meters, reserved) = (&self.meters, &self.reserved);
        self.tail
            .get_or_insert_with(|| after(meters, reserved.iter()))
    }

    /// Charges a pass that was due at `due`. Reservations up to `now` are settled.
    pub(super) fn charge(&mut self, due: u64, now: u64, weight: u64) -> Charge {
        let before = self.only_gcra().map(|gcra| gcra.arrival());
        charge(&mut self.meters, due, now, weight);
        self.changes += 1;
        if self.has_reservations() {
            self.tail = None;
        }
        let after = self.only_gcra().map(|gcra| gcra.arrival());
        Charge {
            weight,
            due,
            now,
            change: Some(self.changes),
            number: self.number(),
            arrival: before.zip(after),
        }
    }

    /// Takes back a pass that was not made.
    ///
    /// By the generic cell rate algorithm with a burst it is taken back as far as the bucket would not have been full since then without it: the rest would have
    /// been lost anyhow. Without a burst, and if others have passed since, its place in time is gone once it is older than a timer may be late.
    pub(super) fn refund(&mut self, made: Charge, now: u64) {
        let recent = now.saturating_sub(made.now) <= LATENESS;
        let is_last = made.change == Some(self.changes);
        let only = self.meters.len() == 1;
        for meter in &mut self.meters {
            match (meter, made.arrival) {
                (Meter::Window(window), _) => window.refund(made.now, made.weight),
                (Meter::Gcra(gcra), Some((before, after)))
                    if only && (gcra.is_last(after) || is_last && gcra.arrival() == after) =>
                {
                    gcra.set_back(before);
                }
                (Meter::Gcra(gcra), _) if is_last && !only => gcra.undo(),
                (Meter::Gcra(gcra), _) => gcra.refund(made.number, made.weight, recent),
            }
        }
        self.changes += 1;
        self.tail = None;
        self.gaps = self.has_reservations();
    }

    /// Reserves a pass at a time that `due` returned. `behind` others who wait it may have left room.
    pub(super) fn reserve(&mut self, at: u64, weight: u64, behind: bool) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let index = self.reserved.partition_point(|other| other.at <= at);
        if index == self.reserved.len() && !behind {
            charge(self.tail(), at, at, weight);
        } else {
            self.tail = None;
        }
        self.gaps |= behind;
        self.reserved.insert(index, Reserved { at, weight, id });
        id
    }

    /// Takes a reservation back, unless it is due.
    pub(super) fn take_back(&mut self, at: u64, id: u64) {
        let index = self.reserved.partition_point(|other| other.at < at);
        let found = self
            .reserved
            .range(index..)
            .position(|other| other.id == id);
        if let Some(offset) = found {
            self.reserved.remove(index + offset);
            self.tail = None;
            self.gaps = !self.reserved.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::meter::{Gcra, Meter, Window};
    use super::{LATENESS, Schedule};

    const MICRO: u64 = 1_000;
    const MILLI: u64 = 1_000 * MICRO;

    fn bucket(unit: u64, burst: u64) -> Meter {
        Meter::Gcra(Gcra::new(1, unit, Some(burst)))
    }

    fn paced(unit: u64) -> Meter {
        Meter::Gcra(Gcra::new(1, unit, None))
    }

    fn schedule(meters: impl Into<Box<[Meter]>>) -> Schedule {
        Schedule::new(meters.into())
    }

    #[test]
    fn a_reservation_does_not_overtake_who_is_served_late() {
        let mut schedule = schedule([bucket(200 * MICRO, 1)]);
        schedule.charge(0, 0, 1);
        schedule.reserve(400 * MICRO, 1, true);
        let passed = schedule.pass_waiting(0, 500 * MICRO, 1).unwrap();
        assert_eq!(passed.due, 200 * MICRO);
        // The reservation counts behind it.
        assert_eq!(
            schedule.pass_waiting(0, 500 * MICRO, 1).unwrap_err(),
            600 * MICRO
        );
    }

    #[test]
    fn what_was_reserved_counts_first_for_who_is_served_much_too_late() {
        let mut schedule = schedule([paced(10 * MILLI)]);
        schedule.charge(0, 0, 1);
        schedule.reserve(20 * MILLI, 1, true);
        assert_eq!(
            schedule.pass_waiting(0, 25 * MILLI, 1).unwrap_err(),
            30 * MILLI
        );
    }

    #[test]
    fn a_pass_that_is_late_in_a_window_does_not_spoil_what_was_reserved() {
        let mut schedule = schedule([Meter::Window(Window::new(3, 10 * MILLI))]);
        schedule.reserve(15 * MILLI, 1, false);
        schedule.reserve(20 * MILLI, 2, true);
        // At 10 ms there is room beside the first reservation, and a moment later no more: the window would reach the second.
        let mut on_time = schedule.clone();
        assert!(on_time.pass_waiting(10 * MILLI, 10 * MILLI, 1).is_ok());
        assert_eq!(
            schedule
                .pass_waiting(10 * MILLI, 10 * MILLI + 1, 1)
                .unwrap_err(),
            25 * MILLI
        );
    }

    #[test]
    fn who_is_a_little_late_in_a_window_is_not_overtaken_by_a_reservation_behind_it() {
        let mut schedule = schedule([Meter::Window(Window::new(1, 10 * MILLI))]);
        schedule.charge(0, 0, 1);
        let mut rehearsal = schedule.rehearsal();
        let due = rehearsal.rehearse(0, 1);
        assert_eq!(due, 10 * MILLI);
        let behind = rehearsal.due(due, 1);
        schedule.reserve(behind, 1, true);
        let late = 10 * MILLI + LATENESS / 2;
        assert_eq!(schedule.pass_waiting(0, late, 1).unwrap().due, due);
        assert!(late + 10 * MILLI <= behind);
    }

    #[test]
    fn a_pass_given_back_to_a_bucket_that_was_never_full_is_not_lost() {
        let mut schedule = schedule([bucket(10 * MILLI, 3)]);
        let first = schedule.charge(0, 0, 1);
        schedule.charge(0, 0, 1);
        assert_eq!(schedule.due(5 * MILLI, 2), 10 * MILLI);
        schedule.refund(first, 5 * MILLI);
        assert_eq!(schedule.due(5 * MILLI, 2), 5 * MILLI);
    }

    #[test]
    fn a_pass_given_back_to_a_bucket_that_was_full_since_is_no_credit() {
        let mut schedule = schedule([bucket(100 * MICRO, 3)]);
        let first = schedule.charge(0, 0, 1);
        schedule.charge(200 * MICRO, 200 * MICRO, 1);
        schedule.refund(first, 200 * MICRO);
        assert_eq!(schedule.due(200 * MICRO, 3), 300 * MICRO);
    }

    #[test]
    fn a_pass_given_back_is_no_more_credit_than_the_bucket_would_have_held() {
        let mut schedule = schedule([bucket(MILLI, 100), bucket(1, 1_000_000)]);
        schedule.charge(0, 0, 100);
        let given_back = schedule.charge(100 * MILLI, 100 * MILLI, 100);
        // Without it the bucket would be full here, to the last but one.
        schedule.charge(199 * MILLI, 199 * MILLI, 99);
        schedule.refund(given_back, 199 * MILLI);
        assert_eq!(schedule.due(199 * MILLI, 1), 199 * MILLI);
        assert_eq!(schedule.due(199 * MILLI, 2), 200 * MILLI);
    }

    #[test]
    fn a_pass_given_back_counts_as_far_as_those_after_it_were_ahead_of_it() {
        let mut schedule = schedule([bucket(MILLI, 3)]);
        schedule.charge(0, 0, 3);
        schedule.charge(MILLI, MILLI, 1);
        let given_back = schedule.charge(3 * MILLI, 3 * MILLI, 2);
        schedule.charge(4 * MILLI, 4 * MILLI, 1);
        assert_eq!(schedule.due(4 * MILLI, 2), 6 * MILLI);
        schedule.refund(given_back, 4 * MILLI);
        assert_eq!(schedule.due(4 * MILLI, 2), 4 * MILLI);
    }

    #[test]
    fn what_is_given_back_between_reservations_is_found() {
        let mut schedule = schedule([Meter::Window(Window::new(2, 10 * MILLI))]);
        let given_back = schedule.charge(0, 0, 2);
        schedule.reserve(10 * MILLI, 1, false);
        schedule.refund(given_back, 0);
        assert_eq!(schedule.due(0, 1), 0);
    }

    #[test]
    fn who_was_a_little_late_does_not_keep_a_reservation_longer() {
        let mut schedule = schedule([Meter::Window(Window::new(2, 10 * MILLI))]);
        schedule.reserve(20 * MILLI, 1, false);
        let late = schedule.pass_waiting(19 * MILLI, 20 * MILLI + LATENESS / 2, 1);
        assert!(late.is_ok());
        schedule.settle(25 * MILLI);
        assert_eq!(schedule.due(25 * MILLI, 1), 30 * MILLI);
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let mut schedule = schedule([bucket(u64::MAX, u64::MAX)]);
        for _ in 0..3 {
            schedule.charge(u64::MAX, u64::MAX, u64::MAX);
        }
        assert_eq!(schedule.due(0, 1), u64::MAX);
    }

    #[test]
    fn a_pass_given_back_to_several_rates_is_not_lost() {
        let mut schedule = schedule([bucket(10 * MILLI, 1), paced(8 * MILLI)]);
        let made = schedule.charge(0, 0, 1);
        assert_eq!(schedule.due(5 * MILLI, 1), 10 * MILLI);
        schedule.refund(made, 5 * MILLI);
        assert_eq!(schedule.due(5 * MILLI, 1), 5 * MILLI);
    }
}
