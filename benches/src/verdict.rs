//! Who was quicker, and whether that can be told.
//!
//! A round measures every contender once, so the rounds give pairs. Their ratios, one a round, are free of what changed between rounds;
//! their median is the result, and the confidence interval of that median (by order statistics, so without assumptions on the noise) says
//! how sure it is. The same is done for divisi against itself: how far that interval reaches from 1 is the *band* of the row. A
//! difference inside it is a tie; with a band above [`WIDEST_BAND`], nothing has been measured.

use serde::{Deserialize, Serialize};

use crate::{
    record::{OURS, OURS_AGAIN, Row, Rule, Unit},
    sample::Sorted,
};

/// Above this, a row is called not measured.
pub const WIDEST_BAND: f64 = 0.05;

/// With fewer rounds, ranges say nothing.
const LEAST_ROUNDS: usize = 3;

/// The median of the rounds' ratios, with the interval in which the true one lies (95 % where there are rounds enough for it).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The lower end of the interval.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// The outcome for one peer in one row, as seen by divisi.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// divisi is better.
    Win,
    /// divisi is worse.
    Loss,
    /// The difference is smaller than the noise.
    Tie,
    /// The noise is too large to say anything.
    NotMeasured,
}

impl Verdict {
    /// As it stands in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Win => "win",
            Self::Loss => "**LOSS**",
            Self::Tie => "tie",
            Self::NotMeasured => "not measured",
        }
    }
}

/// How many times better `ours` is than `theirs`, round by round.
///
/// # Panics
///
/// When a side has no samples.
pub fn ratio(unit: Unit, ours: &[f64], theirs: &[f64]) -> Ratio {
    let pairs = ours.iter().zip(theirs);
    let ratios = pairs.map(|(ours, theirs)| match unit.less_is_better() {
        true => quotient(*theirs, *ours),
        false => quotient(*ours, *theirs),
    });
    let sorted = Sorted::new(ratios);
    let (low, high) = sorted.median_interval();
    Ratio {
        low,
        median: sorted.median(),
        high,
    }
}

/// Two nothings are equal; something is far more than nothing, but not so far that it cannot be shown.
fn quotient(over: f64, under: f64) -> f64 {
    const SMALLEST: f64 = 1e-9;
    (over.max(SMALLEST) / under.max(SMALLEST)).min(1e6)
}

/// How far divisi seems to be from itself, as a part of one; `None` for a row without the second lane.
pub fn band(row: &Row) -> Option<f64> {
    let ours = row.lane(OURS)?;
    let again = row.lane(OURS_AGAIN)?;
    let Ratio { low, high, .. } = ratio(row.unit, &ours.samples, &again.samples);
    Some((high - 1.0).max(1.0 - low).max(0.0))
}

/// The outcome for one peer; `None` when one of the two is not in the row, or the rounds are too few to say anything.
pub fn verdict(row: &Row, peer: &str) -> Option<Verdict> {
    let ours = row.lane(OURS)?;
    let theirs = row.lane(peer)?;
    let ratio = ratio(row.unit, &ours.samples, &theirs.samples);
    let decided = |outside: bool| match outside {
        true if ratio.median > 1.0 => Verdict::Win,
        true if ratio.median < 1.0 => Verdict::Loss,
        _ => Verdict::Tie,
    };
    Some(match row.rule {
        Rule::Exact => decided(true),
        Rule::Band => match band(row) {
            Some(band) if band <= WIDEST_BAND => {
                let interval_excludes_one = ratio.low > 1.0 || ratio.high < 1.0;
                decided((ratio.median - 1.0).abs() > band && interval_excludes_one)
            }
            _ => Verdict::NotMeasured,
        },
        Rule::Ranges if ours.samples.len().min(theirs.samples.len()) < LEAST_ROUNDS => return None,
        Rule::Ranges => {
            let again = row.lane(OURS_AGAIN).map_or(&[][..], |lane| &lane.samples);
            let ours = Sorted::new(ours.samples.iter().chain(again).copied());
            let theirs = Sorted::new(theirs.samples.iter().copied());
            decided(ours.max() < theirs.min() || theirs.max() < ours.min())
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(unit: Unit, rule: Rule, lanes: &[(&str, &[f64])]) -> Row {
        let mut row = Row::new("group", "theme/name", 2, unit, rule);
        for (contender, samples) in lanes {
            samples
                .iter()
                .for_each(|sample| row.push(contender, *sample));
        }
        row
    }

    #[test]
    fn a_difference_beyond_the_band_is_won_or_lost() {
        let quiet = [100.0, 101.0, 99.0, 100.0, 100.5];
        let slow = quiet.map(|sample| sample * 1.5);
        let lanes = [(OURS, &quiet[..]), (OURS_AGAIN, &quiet), ("peer", &slow)];
        let times = row(Unit::Nanoseconds, Rule::Band, &lanes);
        assert_eq!(verdict(&times, "peer"), Some(Verdict::Win));
        let rates = row(Unit::PerSecond, Rule::Band, &lanes);
        assert_eq!(verdict(&rates, "peer"), Some(Verdict::Loss));
    }

    #[test]
    fn a_noisy_row_is_not_measured_however_large_the_difference() {
        let noisy = [100.0, 140.0, 80.0, 120.0, 100.0];
        let other = [130.0, 90.0, 120.0, 80.0, 100.0];
        let slow = [900.0; 5];
        let row = row(
            Unit::Nanoseconds,
            Rule::Band,
            &[(OURS, &noisy), (OURS_AGAIN, &other), ("peer", &slow)],
        );
        assert!(band(&row).unwrap() > WIDEST_BAND);
        assert_eq!(verdict(&row, "peer"), Some(Verdict::NotMeasured));
    }

    #[test]
    fn percentiles_are_decided_only_when_no_round_overlaps() {
        let ours = [1.0, 2.0, 3.0];
        let far = [4.0, 9.0, 5.0];
        let near = [2.5, 9.0, 5.0];
        let row = row(
            Unit::Nanoseconds,
            Rule::Ranges,
            &[(OURS, &ours), ("far", &far), ("near", &near)],
        );
        assert_eq!(verdict(&row, "far"), Some(Verdict::Win));
        assert_eq!(verdict(&row, "near"), Some(Verdict::Tie));
        let once = self::row(
            Unit::Count,
            Rule::Ranges,
            &[(OURS, &[1.0]), ("peer", &[9.0])],
        );
        assert_eq!(verdict(&once, "peer"), None, "one round has no range");
    }

    #[test]
    fn who_is_not_there_has_no_verdict() {
        let row = row(Unit::Count, Rule::Exact, &[(OURS, &[1.0])]);
        assert_eq!(verdict(&row, "peer"), None);
        assert_eq!(band(&row), None);
    }

    proptest! {
        #[test]
        fn a_factor_on_every_round_does_not_change_who_wins(
            ours in prop::collection::vec(1.0..1e6_f64, 5..30),
            mood in prop::collection::vec(0.5..2.0_f64, 30),
            factor in 1.2..5.0_f64,
        ) {
            let slowed: Vec<_> = ours.iter().zip(&mood).map(|(sample, mood)| sample * mood).collect();
            let peer: Vec<_> = slowed.iter().map(|sample| sample * factor).collect();
            let row = row(Unit::Nanoseconds, Rule::Band, &[(OURS, &slowed), (OURS_AGAIN, &slowed), ("peer", &peer)]);
            prop_assert_eq!(verdict(&row, "peer"), Some(Verdict::Win));
            prop_assert!((ratio(row.unit, &slowed, &peer).median - factor).abs() < 1e-6);
        }

        #[test]
        fn the_interval_holds_the_median(samples in prop::collection::vec(1.0..1e6_f64, 1..60)) {
            let ratio = ratio(Unit::Nanoseconds, &vec![1.0; samples.len()], &samples);
            prop_assert!(ratio.low <= ratio.median && ratio.median <= ratio.high);
        }
    }
}
