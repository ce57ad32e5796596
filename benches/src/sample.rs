//! Numbers drawn from samples.

use std::fmt;

/// Samples in ascending order.
#[derive(Debug, Clone)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts them.
    ///
    /// # Panics
    ///
    /// When there are none, or one is not a number.
    pub fn new(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<_> = samples.into_iter().collect();
        assert!(!samples.is_empty(), "there is nothing to summarize");
        samples.sort_by(|left, right| left.partial_cmp(right).expect("a sample is a number"));
        Self(samples)
    }

    /// The sample that a share of all (0 to 1) does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The interval that holds the true median with 95 %: from one sample to another, as far around the middle as the binomial distribution
    /// asks for. With five samples or fewer it is the whole range, which then has to do.
    pub fn median_interval(&self) -> (f64, f64) {
        /// The normal quantile for 95 %, halved: the standard deviation of the rank is half the root of the number of samples.
        const REACH: f64 = 0.98;
        let count = self.0.len() as f64;
        let rank = (count / 2.0 - REACH * count.sqrt()).max(0.0) as usize;
        (self.0[rank], self.0[self.0.len() - 1 - rank])
    }

    /// The least one.
    pub fn min(&self) -> f64 {
        self.0[0]
    }

    /// The greatest one.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

/// A number of nanoseconds with three digits and a unit.
#[derive(Debug, Clone, Copy)]
pub struct Nanoseconds(pub f64);

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            ns if ns < 1_000.0 => (ns, "ns"),
            ns if ns < 1_000_000.0 => (ns / 1_000.0, "us"),
            ns => (ns / 1_000_000.0, "ms"),
        };
        let decimals = match value {
            value if value < 10.0 => 2,
            value if value < 100.0 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.decimals$} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let sorted = Sorted::new([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(sorted.min(), 1.0);
        assert_eq!(sorted.median(), 2.0);
        assert_eq!(sorted.quantile(0.75), 3.0);
        assert_eq!(sorted.quantile(0.99), 4.0);
        assert_eq!(sorted.max(), 4.0);
    }

    #[test]
    fn of_one_sample_all_quantiles_are_that_one() {
        let sorted = Sorted::new([7.0]);
        assert_eq!(
            (sorted.quantile(0.0), sorted.median(), sorted.max()),
            (7.0, 7.0, 7.0)
        );
    }

    #[test]
    fn the_median_interval_narrows_with_more_samples() {
        let interval = |count: usize| Sorted::new((1..=count).map(|n| n as f64)).median_interval();
        assert_eq!(interval(5), (1.0, 5.0));
        assert_eq!(interval(15), (4.0, 12.0));
        let (low, high) = interval(101);
        assert!(low > 40.0 && high < 62.0 && low + high == 102.0);
    }

    #[test]
    fn times_are_shown_with_three_digits() {
        let shown = |ns| Nanoseconds(ns).to_string();
        assert_eq!(shown(1.234), "1.23 ns");
        assert_eq!(shown(85.3), "85.3 ns");
        assert_eq!(shown(654.4), "654 ns");
        assert_eq!(shown(10_070.0), "10.1 us");
        assert_eq!(shown(1_070_000.0), "1.07 ms");
        assert_eq!(format!("{:>9}", Nanoseconds(1.0)), "  1.00 ns");
    }
}
