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

impl Schedule {
    pub(super) fn new(meters: Box<[Meter]>) -> Self {
        Self {
            meters,
            reserved: VecDeque::new(),
            tail: None,
            gaps: false,
            next_id: 0,
            changes: 0,
        }
    }

    /// The meter, if there is but one and it has an arrival time.
    pub(super) fn only_gcra(&mut self) -> Option<&mut Gcra> {
        match &mut *self.meters {
            [Meter::Gcra(gcra)] => Some(gcra),
            _ => None,
        }
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
        let due = self.due(from, weight);
        if due > now {
            return Err(due);
        }
        self.settle(due);
        Ok(self.charge(due, now, weight))
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
            if due < next.at && self.fits(&before, index, due, weight) {
                return Some(due);
            }
            charge(&mut before, next.at, next.at, next.weight);
            from = from.max(next.at);
        }
        None
    }

    /// Whether the reservations from the one of that index on stay good if that much passes before them.
    fn fits(&self, before: &[Meter], index: usize, due: u64, weight: u64) -> bool {
        let mut meters: Box<[Meter]> = before.into();
        charge(&mut meters, due, due, weight);
        self.reserved.range(index..).all(|next| {
            let good = earliest(&meters, next.at, next.weight) == next.at;
            charge(&mut meters, next.at, next.at, next.weight);
            good
        })
    }

    fn tail(&mut self) -> &mut [Meter] {
        let (meters, reserved) = (&self.meters, &self.reserved);
        self.tail.get_or_insert_with(|| {
            let mut meters = meters.clone();
            for next in reserved {
                charge(&mut meters, next.at, next.at, next.weight);
            }
            meters
        })
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
            arrival: before.zip(after),
        }
    }

    /// Takes back a pass that was not made.
    ///
    /// By the generic cell rate algorithm with a burst it is taken back if the bucket has not been full since: otherwise it would have been lost anyhow. Without
    /// a burst, and if others have passed since, its place in time is gone once it is older than a timer may be late.
    pub(super) fn refund(&mut self, made: Charge, now: u64) {
        let recent = now.saturating_sub(made.now) <= LATENESS;
        let is_last = made.change == Some(self.changes);
        let only = self.meters.len() == 1;
        for meter in &mut self.meters {
            match (meter, made.arrival) {
                (Meter::Window(window), _) => window.refund(made.now, made.weight),
                (Meter::Gcra(gcra), Some((before, after))) if only && gcra.arrival() == after => {
                    gcra.set_arrival(before);
                }
                (Meter::Gcra(gcra), _) if is_last && !only => gcra.undo(),
                (Meter::Gcra(gcra), _) => gcra.refund(made.due, made.weight, recent),
            }
        }
        self.changes += 1;
        self.tail = None;
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
    use super::super::meter::{Gcra, Meter};
    use super::Schedule;

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
    fn a_pass_given_back_to_several_rates_is_not_lost() {
        let mut schedule = schedule([bucket(10 * MILLI, 1), paced(8 * MILLI)]);
        let made = schedule.charge(0, 0, 1);
        assert_eq!(schedule.due(5 * MILLI, 1), 10 * MILLI);
        schedule.refund(made, 5 * MILLI);
        assert_eq!(schedule.due(5 * MILLI, 1), 5 * MILLI);
    }
}
