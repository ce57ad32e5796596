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
            Self::Window(window) => window.charge(now, weight),
        }
    }
}

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
    /// Since when the arrival time has been ahead of the clock: what was charged since then is still in it.
    busy_since: u64,
    /// Since when all charges are known one by one.
    known_since: u64,
}

impl Gcra {
    pub(super) fn new(scale: u64, unit: u64, burst: Option<u64>) -> Self {
        Self {
            scale,
            unit,
            burst,
            arrival: 0,
            before: 0,
            busy_since: 0,
            known_since: 0,
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

    pub(super) fn set_arrival(&mut self, arrival: u128) {
        self.arrival = arrival;
    }

    /// Takes over the arrival time that others have moved by now, if they have.
    pub(super) fn take_over(&mut self, arrival: u128, now: u64) {
        if self.arrival != arrival {
            self.arrival = arrival;
            self.busy_since = now;
            self.known_since = now;
        }
    }

    fn cost(&self, weight: u64) -> u128 {
        u128::from(weight) * u128::from(self.unit)
    }

    fn earliest(&self, from: u64, weight: u64) -> u64 {
        let ahead = self.cost(self.burst.unwrap_or(weight));
        let due = (self.arrival + self.cost(weight)).saturating_sub(ahead);
        let due = due.div_ceil(u128::from(self.scale));
        u64::try_from(due).unwrap_or(u64::MAX).max(from)
    }

    fn charge(&mut self, at: u64, weight: u64) {
        let now = u128::from(at) * u128::from(self.scale);
        self.before = self.arrival;
        if self.arrival < now {
            self.arrival = now;
            self.busy_since = at;
        }
        self.arrival += self.cost(weight);
    }

    /// Takes back the last charge.
    pub(super) fn undo(&mut self) {
        self.arrival = self.before;
    }

    /// Takes back an earlier charge, if it still counts. `recent`: it is no older than a timer may be late.
    pub(super) fn refund(&mut self, due: u64, weight: u64, recent: bool) {
        let unknown = due < self.known_since && self.busy_since == self.known_since;
        let counts = match self.burst {
            // A place in time that has passed is of no use to anybody.
            None => recent,
            Some(_) => due >= self.busy_since || unknown && recent,
        };
        if counts {
            self.arrival = self.arrival.saturating_sub(self.cost(weight));
        }
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
    /// When, and how much; oldest first, each time once.
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
        for &(at, passed) in &self.passes {
            let end = at.saturating_add(self.period);
            if end > from && left + weight <= self.amount {
                break;
            }
            left -= passed;
            due = due.max(end);
        }
        due
    }

    fn charge(&mut self, now: u64, weight: u64) {
        // The clock of another core may be behind.
        let now = self.passes.back().map_or(now, |&(last, _)| last.max(now));
        while let Some(&(at, passed)) = self.passes.front() {
            if at.saturating_add(self.period) > now {
                break;
            }
            self.passed -= passed;
            self.passes.pop_front();
        }
        self.passed += weight;
        match self.passes.back_mut() {
            Some((at, passed)) if *at == now => *passed += weight,
            _ => self.passes.push_back((now, weight)),
        }
    }

    /// Takes back a charge.
    pub(super) fn refund(&mut self, now: u64, weight: u64) {
        if let Ok(index) = self.passes.binary_search_by_key(&now, |&(at, _)| at) {
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
