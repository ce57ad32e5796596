//! What the page says of a row: small enough to be kept beside it, so that a part of the suite can be measured again on its own.

use serde::{Deserialize, Serialize};

use super::LIMIT;
use crate::{
    record::{Lane, OURS, OURS_AGAIN, Row, Rule, Unit},
    sample::Sorted,
    verdict::{Ratio, Verdict, band, ratio, verdict},
};

/// A row without its samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The section of the page it belongs to.
    pub group: String,
    /// What was done.
    pub name: String,
    /// Workers of each runtime; zero where that says nothing.
    pub workers: usize,
    /// What the samples counted.
    pub unit: Unit,
    /// How the lanes were compared.
    pub rule: Rule,
    /// How far divisi seems to be from itself.
    pub band: Option<f64>,
    /// One entry a contender, without divisi's second lane.
    pub lanes: Vec<Standing>,
    /// What a reader must know of this row.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// How one contender did in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its name in tables.
    pub contender: String,
    /// The median of its rounds.
    pub median: f64,
    /// The least and the most of them, where that is what decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// How many times better divisi is; not for divisi itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// Not for divisi used otherwise and for bounds, nor where the rounds are too few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Summary {
    /// Sums a row up.
    pub fn of(row: &Row) -> Self {
        let lanes = row.lanes.iter().filter(|lane| lane.contender != OURS_AGAIN);
        Self {
            group: row.group.clone(),
            name: row.name.clone(),
            workers: row.workers,
            unit: row.unit,
            rule: row.rule,
            band: band(row).map(rounded),
            lanes: lanes.map(|lane| Standing::of(row, lane)).collect(),
            note: row.note.clone(),
        }
    }

    /// The standing of a contender.
    pub fn standing(&self, contender: &str) -> Option<&Standing> {
        self.lanes
            .iter()
            .find(|standing| standing.contender == contender)
    }

    /// The peers.
    pub fn peers(&self) -> impl Iterator<Item = &Standing> {
        self.lanes
            .iter()
            .filter(|standing| is_peer(&standing.contender))
    }
}

impl Standing {
    fn of(row: &Row, lane: &Lane) -> Self {
        let sorted = Sorted::new(lane.samples.iter().copied());
        let is_spread = row.rule == Rule::Ranges && lane.samples.len() > 1;
        let ours = row.lane(OURS).filter(|_| lane.contender != OURS);
        let ratio = ours.map(|ours| ratio(row.unit, &ours.samples, &lane.samples));
        Self {
            contender: lane.contender.clone(),
            median: rounded(sorted.median()),
            range: is_spread.then(|| [sorted.min(), sorted.max()].map(rounded)),
            ratio: ratio.map(|Ratio { low, median, high }| Ratio {
                low: rounded(low),
                median: rounded(median),
                high: rounded(high),
            }),
            verdict: is_peer(&lane.contender)
                .then(|| verdict(row, &lane.contender))
                .flatten(),
            detail: lane.detail.clone(),
        }
    }
}

/// Who is neither divisi, however it is used, nor a bound.
fn is_peer(contender: &str) -> bool {
    !contender.starts_with(OURS) && !contender.starts_with(LIMIT)
}

/// To five digits: one more than any table shows.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}")
        .parse()
        .expect("what a number is written as is one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_its_row_said() {
        let mut row = Row::new("group", "name", 2, Unit::Nanoseconds, Rule::Ranges);
        for round in 1..=3 {
            row.push(OURS, f64::from(round));
            row.push(OURS_AGAIN, f64::from(round));
            row.push("peer", f64::from(round) * 10.0);
            row.push("limit: by hand", f64::from(round) / 2.0);
        }
        let summary = Summary::of(&row);
        let ours = summary.standing(OURS).unwrap();
        assert_eq!((ours.median, ours.range), (2.0, Some([1.0, 3.0])));
        assert_eq!((ours.ratio, ours.verdict), (None, None));
        let peer = summary.standing("peer").unwrap();
        assert_eq!(peer.ratio.map(|ratio| ratio.median), Some(10.0));
        assert_eq!(peer.verdict, Some(Verdict::Win));
        let bound = summary.standing("limit: by hand").unwrap();
        assert_eq!(bound.ratio.map(|ratio| ratio.median), Some(0.5));
        assert_eq!(bound.verdict, None, "a bound is no peer");
        assert_eq!(summary.standing(OURS_AGAIN), None);
        assert_eq!(summary.peers().count(), 1);
    }

    #[test]
    fn numbers_keep_five_digits() {
        assert_eq!(rounded(123_456_789.0), 123_460_000.0);
        assert_eq!(rounded(0.000_123_456), 0.000_123_46);
        assert_eq!(rounded(0.0), 0.0);
    }
}
