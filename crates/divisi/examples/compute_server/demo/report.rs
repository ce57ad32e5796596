//! The table and the histogram.

use std::fmt::Write;
use std::time::Duration;

use super::client::Latencies;
use super::load::Load;

/// What was measured under one load.
pub(super) struct Row {
    pub(super) load: Load,
    pub(super) latencies: Latencies,
    pub(super) digests_per_second: f64,
}

/// The upper ends of the histogram's classes, in microseconds: 1, 2 and 5 of each magnitude, where
/// the ear hears the difference.
const CLASSES: [u64; 13] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    u64::MAX,
];
/// The width of a bar that stands for all requests.
const BAR: usize = 20;

pub(super) fn table(rows: &[Row]) -> String {
    let mut table = format!(
        "{:<24}{:>10}{:>10}{:>10}{:>10}{:>14}{:>11}\n",
        "GET /health while", "p50", "p99", "p99.9", "max", "answered", "digests/s"
    );
    for row in rows {
        let Latencies {
            micros,
            due,
            answered,
        } = &row.latencies;
        let _ = write!(table, "{:<24}", row.load.name());
        for value in [
            micros.value_at_quantile(0.5),
            micros.value_at_quantile(0.99),
            micros.value_at_quantile(0.999),
            micros.max(),
        ] {
            let _ = write!(table, "{:>10}", time(value));
        }
        let _ = writeln!(
            table,
            "{:>14}{:>11.1}",
            format!("{answered}/{due}"),
            row.digests_per_second
        );
    }
    table
}

pub(super) fn histogram(rows: &[Row]) -> String {
    let mut text = format!("{:<12}", "answered in");
    for row in rows {
        let _ = write!(text, "{:<28}", row.load.name());
    }
    text.push('\n');

    let slowest = rows
        .iter()
        .map(|row| row.latencies.micros.max())
        .max()
        .unwrap_or(0);
    let mut low = 0;
    for high in CLASSES {
        let class = if high == u64::MAX {
            "more".to_owned()
        } else {
            format!("<= {}", time(high))
        };
        let _ = write!(text, "{class:<12}");
        for row in rows {
            let micros = &row.latencies.micros;
            let count = micros.count_between(low, high);
            let _ = write!(text, "{:<28}", bar(count, row.latencies.due));
        }
        trim_end(&mut text);
        text.push('\n');
        if slowest <= high {
            break;
        }
        low = high + 1;
    }
    text
}

/// `count` out of `all`, as a bar with its share beside it; something is never nothing.
fn bar(count: u64, all: u64) -> String {
    if count == 0 {
        return String::new();
    }
    let share = count as f64 / all as f64;
    let length = ((share * BAR as f64).round() as usize).max(1);
    format!("{} {:.1}%", "#".repeat(length), share * 100.0)
}

fn trim_end(text: &mut String) {
    text.truncate(text.trim_end().len());
}

fn time(micros: u64) -> String {
    let time = Duration::from_micros(micros);
    if micros < 1_000 {
        format!("{micros} us")
    } else if micros < 10_000 {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else if micros < 1_000_000 {
        format!("{:.0} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
