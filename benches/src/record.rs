//! What a measurement leaves behind: rows of samples, as JSON, from which the report can be made again at any time.

use serde::{Deserialize, Serialize};

/// The lane that all others are compared with.
pub const OURS: &str = "divisi";

/// divisi once more, measured like a peer: how far it seems to be from itself is the noise of a row.
pub const OURS_AGAIN: &str = "divisi (again)";

/// One thing measured on several contenders, in interleaved rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// The section of the report it belongs to.
    pub group: String,
    /// What was done: `theme/name`.
    pub name: String,
    /// Workers of each runtime; zero where that says nothing.
    pub workers: usize,
    /// What the samples count.
    pub unit: Unit,
    /// How the lanes are compared.
    pub rule: Rule,
    /// One entry a contender.
    pub lanes: Vec<Lane>,
    /// What a reader must know of this row.
    #[serde(default)]
    pub note: String,
}

/// One contender's samples of a row, one a round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lane {
    /// Its name in tables.
    pub contender: String,
    /// One number a round.
    pub samples: Vec<f64>,
    /// What else is worth knowing, such as percentiles.
    #[serde(default)]
    pub detail: String,
}

/// What a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds; less is better.
    Nanoseconds,
    /// Events in a second; more is better.
    PerSecond,
    /// Bytes; less is better.
    Bytes,
    /// Things counted; fewer are better.
    Count,
}

/// How the lanes of a row are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// By the median of the rounds' ratios, against the noise band of divisi with itself.
    Band,
    /// By whether the ranges of all rounds overlap: for percentiles, whose noise is larger than any band.
    Ranges,
    /// By the number alone: it is the same each time.
    Exact,
}

impl Unit {
    /// Whether a smaller number is the better one.
    pub const fn less_is_better(self) -> bool {
        !matches!(self, Self::PerSecond)
    }

    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Nanoseconds => crate::sample::Nanoseconds(value).to_string(),
            Self::PerSecond if value >= 10_000.0 => format!("{:.1} k/s", value / 1_000.0),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Bytes if value >= 10_000.0 => format!("{:.1} KiB", value / 1_024.0),
            Self::Bytes => format!("{value:.0} B"),
            Self::Count if value >= 100.0 => format!("{value:.0}"),
            Self::Count => format!("{value:.2}"),
        }
    }
}

impl Row {
    /// A row without lanes.
    pub fn new(
        group: &str,
        name: impl Into<String>,
        workers: usize,
        unit: Unit,
        rule: Rule,
    ) -> Self {
        Self {
            group: group.to_owned(),
            name: name.into(),
            workers,
            unit,
            rule,
            lanes: Vec::new(),
            note: String::new(),
        }
    }

    /// The lane of a contender.
    pub fn lane(&self, contender: &str) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.contender == contender)
    }

    /// Adds a sample to a contender's lane, which is made when it is the first.
    pub fn push(&mut self, contender: &str, sample: f64) {
        match self
            .lanes
            .iter_mut()
            .find(|lane| lane.contender == contender)
        {
            Some(lane) => lane.samples.push(sample),
            None => self.lanes.push(Lane {
                contender: contender.to_owned(),
                samples: vec![sample],
                detail: String::new(),
            }),
        }
    }
}
