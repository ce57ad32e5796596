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
    pub(super) now: u64,
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

    /// Charges the reservations that are due.
    pub(super) fn settle(&mut self, now: u64) {
        while let Some(first) = self.reserved.front() {
            if first.at > now {
                return;
            }
            charge(&mut self.meters, first.at, first.at, first.weight);
            self.reserved.pop_front();
        }
        self.tail = None;
        self.gaps = false;
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
        if self.has_reservations() {
            self.tail = None;
        }
        let after = self.only_gcra().map(|gcra| gcra.arrival());
        Charge {
            weight,
            now,
            arrival: before.zip(after),
        }
    }

    /// Takes back a pass that was not made.
    ///
    /// If others have passed since by the generic cell rate algorithm, its place in time is gone once it is older than a timer may be late.
    pub(super) fn refund(&mut self, made: Charge, now: u64) {
        let recent = now.saturating_sub(made.now) <= LATENESS;
        let only = self.meters.len() == 1;
        for meter in &mut self.meters {
            match (meter, made.arrival) {
                (Meter::Window(window), _) => window.refund(made.now, made.weight),
                (Meter::Gcra(gcra), Some((before, after))) if only && gcra.arrival() == after => {
                    gcra.set_arrival(before);
                }
                (Meter::Gcra(gcra), _) if recent => gcra.refund(made.weight),
                (Meter::Gcra(_), _) => {}
            }
        }
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
