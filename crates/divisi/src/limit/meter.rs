//! What has passed, and when more may: one algorithm for one rate. Times are nanoseconds since the limiter was first used.

use std::collections::VecDeque;

/// What has passed of one rate.
///
/// Passes are charged in the order of time. Whatever has been charged, `earliest` is the first time at which the next may pass, and then it may
/// pass at any later time too.
#[derive(Clone, Debug)]
pub(super) enum Meter {
    Gcra(Gcra),
    Window(Window),
}

impl Meter {
    /// When that much may pass, at `from` or later.
    pub(super) fn earliest(&self, from: u64, weight: u64) -> u64 {
        match self {
            Self::Gcra(gcra) => gcra.earliest(from, weight),
            Self::Window(window) => window.earliest(from, weight),
        }
    }

    /// That much was due at `due`, and passes at `now`.
    pub(super) fn charge(&mut self, due: u64, now: u64, weight: u64) {
        match self {
            // By what was due: otherwise every lateness of a timer would lower the rate.
            Self::Gcra(gcra) => gcra.charge(due, weight),
            // By what happens: the window is exact.
            Self::Window(window) => window.charge(due, now, weight),
        }
    }
}

/// Ours: a dozen of bursts of waiters that come to one that is given back.
const MOST_AHEAD: usize = 12;

/// The generic cell rate algorithm: a *theoretical arrival time* runs ahead of the clock by the cost of what has passed, and may be ahead by no
/// more than the cost of a burst.
#[derive(Clone, Debug)]
pub(super) struct Gcra {
    /// Parts of a nanosecond that `unit` and `arrival` count, so that the cost of one is a whole number.
    scale: u64,
    /// What one costs.
    unit: u64,
    /// How much may pass at once. Without, the next may pass when the last is paid for, whatever its weight.
    burst: Option<u64>,
    arrival: u128,
    /// Before the last charge.
    before: u128,
    /// How many charges there were; each has the number that it made this.
    charges: u64,
    /// The first charge since the arrival time has been ahead of the clock, if all since then are known one by one.
    busy_from: u64,
    /// By how much the arrival time was ahead of later charges: had an earlier one been less, it would be earlier by no more than that, and the rest
    /// would have been lost to a full bucket. With the number of each charge that was less ahead than all after it, up to [`MOST_AHEAD`]; in doubt too little.
    ahead: VecDeque<(u64, u128)>,
    /// The latest arrival time from which it was taken back: above, it only grew.
    peak: u128,
}

impl Gcra {
    pub(super) fn new(scale: u64, unit: u64, burst: Option<u64>) -> Self {
        Self {
            scale,
            unit,
            burst,
            arrival: 0,
            before: 0,
            charges: 0,
            busy_from: 0,
            ahead: VecDeque::new(),
            peak: 0,
        }
    }

    /// What [`Fast`] needs, if its word is wide enough.
    pub(super) fn fast(&self) -> Option<Fast> {
        let most = self.burst.unwrap_or(1);
        let fits = self.scale == 1 && self.cost(most) < 1 << 62;
        fits.then_some(Fast {
            unit: self.unit,
            burst: self.burst,
        })
    }

    pub(super) fn arrival(&self) -> u128 {
        self.arrival
    }

    /// The number of the last charge.
    pub(super) fn charges(&self) -> u64 {
        self.charges
    }

    /// Whether no charge was made since the one that led to that arrival time.
    pub(super) fn is_last(&self, arrival: u128) -> bool {
        self.arrival == arrival && arrival > self.peak
    }

    /// Sets it to an earlier time.
    pub(super) fn set_back(&mut self, arrival: u128) {
        self.peak = self.peak.max(self.arrival);
        self.arrival = arrival;
    }

    /// Takes over the arrival time that others have moved, if they have.
    pub(super) fn take_over(&mut self, arrival: u128) {
        if self.arrival != arrival {
            self.arrival = arrival;
            self.busy_from = self.charges + 1;
            self.ahead.clear();
        }
    }

    fn cost(&self, weight: u64) -> u128 {
        u128::from(weight) * u128::from(self.unit)
    }

    fn earliest(&self, from: u64, weight: u64) -> u64 {
        let ahead = self.cost(self.burst.unwrap_or(weight));
        let due = self.arrival.saturating_add(self.cost(weight));
        let due = due.saturating_sub(ahead);
        let due = due.div_ceil(u128::from(self.scale));
        u64::try_from(due).unwrap_or(u64::MAX).max(from)
    }

    fn charge(&mut self, at: u64, weight: u64) {
        let now = u128::from(at) * u128::from(self.scale);
        self.before = self.arrival;
        self.charges += 1;
        if self.arrival <= now {
            self.arrival = now;
            self.busy_from = self.charges;
            self.ahead.clear();
        } else {
            self.note_ahead(self.arrival - now);
        }
        self.arrival = self.arrival.saturating_add(self.cost(weight));
    }

    /// Takes back the last charge.
    pub(super) fn undo(&mut self) {
        self.set_back(self.before);
    }

    fn note_ahead(&mut self, ahead: u128) {
        while self.ahead.back().is_some_and(|&(_, other)| other >= ahead) {
            self.ahead.pop_back();
        }
        self.ahead.push_back((self.charges, ahead));
        if self.ahead.len() > MOST_AHEAD {
            if let Some((number, _)) = self.ahead.remove(1) {
                self.ahead[0].0 = number;
            }
        }
    }

    /// Takes back an earlier charge, by its number if that is known, as far as it still counts. `recent`: it is no older than a timer may be late.
    pub(super) fn refund(&mut self, number: Option<u64>, weight: u64, recent: bool) {
        let cost = self.cost(weight);
        let counts = match (self.burst, number) {
            // A place in time that has passed is of no use to anybody.
            (None, _) if recent => cost,
            (Some(_), Some(number)) if number >= self.busy_from => self.counts(number, cost),
            _ => 0,
        };
        self.set_back(self.arrival.saturating_sub(counts));
    }

    /// How much of what that charge has cost is still in the arrival time, which is about to be less.
    fn counts(&mut self, number: u64, cost: u128) -> u128 {
        let mut later = self.ahead.partition_point(|&(other, _)| other <= number);
        let Some(&(_, least)) = self.ahead.get(later) else {
            return cost;
        };
        let counts = cost.min(least);
        for (_, ahead) in self.ahead.range_mut(later..) {
            *ahead -= counts;
        }
        while later > 0 && self.ahead[later - 1].1 >= self.ahead[later].1 {
            later -= 1;
            self.ahead.remove(later);
        }
        counts
    }
}

/// The [`Gcra`] on a plain number: for an atomic word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fast {
    unit: u64,
    burst: Option<u64>,
}

impl Fast {
    /// The arrival time after a pass at `now`, or when it may be.
    #[inline]
    pub(super) fn pass(self, arrival: u64, now: u64, weight: u64) -> Result<u64, u64> {
        // Weights and bursts are bounded so that no product overflows.
        let cost = self.unit.saturating_mul(weight);
        let ahead = self.burst.map_or(cost, |burst| self.unit * burst);
        let due = arrival.saturating_add(cost).saturating_sub(ahead);
        if due > now {
            return Err(due);
        }
        Ok(arrival.max(now).saturating_add(cost).min(u64::MAX >> 1))
    }
}

/// Every pass of the last period.
#[derive(Clone, Debug)]
pub(super) struct Window {
    amount: u64,
    period: u64,
    /// How much has passed, and when it no longer counts; the first to end first, each time once.
    passes: VecDeque<(u64, u64)>,
    /// The sum of `passes`.
    passed: u64,
}

impl Window {
    pub(super) fn new(amount: u64, period: u64) -> Self {
        Self {
            amount,
            period,
            passes: VecDeque::new(),
            passed: 0,
        }
    }

    fn earliest(&self, from: u64, weight: u64) -> u64 {
        let mut due = from;
        let mut left = self.passed;
        for &(end, passed) in &self.passes {
            if end > from && left + weight <= self.amount {
                break;
            }
            left -= passed;
            due = due.max(end);
        }
        due
    }

    /// That much was due at `due` and counts from `now`.
    fn charge(&mut self, due: u64, now: u64, weight: u64) {
        while let Some(&(end, passed)) = self.passes.front() {
            if end > due {
                break;
            }
            self.passed -= passed;
            self.passes.pop_front();
        }
        let end = now.saturating_add(self.period);
        self.passed += weight;
        // Mostly the last; not after one that was late, nor if the clock of another core is behind.
        let index = self.passes.partition_point(|&(other, _)| other < end);
        match self.passes.get_mut(index) {
            Some((other, passed)) if *other == end => *passed += weight,
            _ => self.passes.insert(index, (end, weight)),
        }
    }

    /// Takes back a charge.
    pub(super) fn refund(&mut self, now: u64, weight: u64) {
        let end = now.saturating_add(self.period);
        if let Ok(index) = self.passes.binary_search_by_key(&end, |&(end, _)| end) {
            let passed = &mut self.passes[index].1;
            let back = weight.min(*passed);
            *passed -= back;
            self.passed -= back;
            if self.passes[index].1 == 0 {
                self.passes.remove(index);
            }
        }
    }
}
