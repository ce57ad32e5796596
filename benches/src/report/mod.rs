//! The page that a reader sees: tables of ratios with their spread, losses as plain as wins, and a plot for each group.

pub mod machine;
mod plot;
pub mod results;
pub mod summary;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use self::{
    machine::Runs,
    summary::{Standing, Summary},
};
use crate::{
    record::{OURS, Rule},
    verdict::{Ratio, Verdict, WIDEST_BAND},
};

/// Contenders with this in front of their name are no runtimes but bounds: what the kernel alone needs, what partitioning gives.
pub const LIMIT: &str = "limit: ";

/// Groups in the order of the page, with what a reader must know of each.
const GROUPS: [(&str, &str); 15] = [
    (
        "spawn",
        "Tasks started and awaited; an operation is one task.",
    ),
    ("yield", "An operation is one `yield_now`."),
    (
        "ping_pong",
        "An operation is a pair of tasks that meet over two oneshot channels: two spawns, four wakes.",
    ),
    (
        "timers",
        "A timeout made, armed and dropped; the lateness of `sleep(1 ms)`, one after the other; ten thousand timers due at once.",
    ),
    (
        "sync",
        "Primitives and channels; an operation is one lock, permit or message.",
    ),
    (
        "echo",
        "64 bytes there and back over TCP on the loopback interface, both ends in the runtime; an operation is one message.",
    ),
    (
        "blocking",
        "Closures that do nothing in the pool for blocking ones.",
    ),
    (
        "tasks",
        "100,000 sleeping tasks cancelled, or ended with their runtime; a runtime's start (to the first poll) and end.",
    ),
    (
        "tokio_set",
        "tokio's own benches, rebuilt from their parameters.",
    ),
    (
        "memory",
        "Resident memory of a process of its own, less what it was before, by the number of tasks or connections.",
    ),
    (
        "sockets",
        "A server under load from another process. *Requests a second*, CPU time, system calls and context switches a request come from a closed loop: each connection sends when \
         it has been answered. Percentiles come from an open loop at half the rate that the slowest runtime reached, counted from the moment when each \
         request was due.",
    ),
    (
        "http",
        "HTTP/1.1 hello by hyper on each runtime, measured as the sockets are.",
    ),
    (
        "hybrid",
        "An echo server whose process computes as well. Open loop, from the moment when each request was due. `io 2 %` says what part of the cores the requests \
         take, `64 x 10 ms` how many jobs are out and how long one is, `+` that jobs call `checkpoint` where there is one. Jobs a second stand beside the percentiles.",
    ),
    (
        "timers under load",
        "The lateness of `sleep(1 ms)` in the same servers while the jobs run.",
    ),
    (
        "hello world",
        "A program that starts the runtime and sleeps: its dependencies, and a build from nothing on all cores.",
    ),
];

/// Writes `performance.md` and its plots into a directory, and returns the page's path.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(
    runs: &Runs,
    rows: &[Summary],
    missing: &[String],
    directory: &Path,
) -> Result<PathBuf, String> {
    let plots = directory.join("performance");
    fs::create_dir_all(&plots).map_err(|error| format!("{}: {error}", plots.display()))?;
    let mut plotted = Vec::new();
    for group in groups(rows) {
        let rows = of_group(rows, &group);
        let file = format!("{}.svg", group.replace(' ', "_"));
        if plot::draw(&group, &rows, &plots.join(&file))? {
            plotted.push((group, file));
        }
    }
    let page = directory.join("performance.md");
    fs::write(&page, render(runs, rows, missing, &plotted))
        .map_err(|error| format!("{}: {error}", page.display()))?;
    Ok(page)
}

/// The file of the page's numbers.
pub fn results_beside(directory: &Path) -> PathBuf {
    directory.join("performance/results.json")
}

/// The groups that have rows: the known ones in their order, then others.
fn groups(rows: &[Summary]) -> Vec<String> {
    let mut groups: Vec<String> = GROUPS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for row in rows {
        if !groups.contains(&row.group) {
            groups.push(row.group.clone());
        }
    }
    groups.retain(|group| rows.iter().any(|row| row.group == *group));
    groups
}

fn of_group<'a>(rows: &'a [Summary], group: &str) -> Vec<&'a Summary> {
    rows.iter().filter(|row| row.group == group).collect()
}

/// What is in front of a row's name, where there are several numbers of workers.
fn title(row: &Summary) -> String {
    match row.workers {
        0 => row.name.clone(),
        1 => format!("{}, 1 worker", row.name),
        workers => format!("{}, {workers} workers", row.name),
    }
}

fn render(runs: &Runs, rows: &[Summary], missing: &[String], plots: &[(String, String)]) -> String {
    let mut page = String::new();
    let line = |page: &mut String, text: &str| {
        page.push_str(text);
        page.push('\n');
    };
    line(&mut page, "# Performance\n");
    line(
        &mut page,
        "divisi beside its peers, measured by [the suite](measuring.md) of this repository; this page is what it wrote.\n",
    );
    line(&mut page, &runs.to_string());
    line(&mut page, &summary(rows));
    line(
        &mut page,
        &format!(
            "How to read the tables. A ratio says how many times better divisi is: above 1 it wins, below 1 it loses. It is the median of the ratios of \
         interleaved rounds, with the interval that holds the true one (95 %). *Band* is how far divisi seems to be from itself, measured the same way: a \
         ratio inside is a tie, and with a band above {:.0} % the row counts as not measured. Percentiles are noisier than that and are told apart by \
         ranges: won or lost only when no round of one reaches into the rounds of the other. Rows of *limit* are no runtimes: the same work by hand.\n",
            WIDEST_BAND * 100.0
        ),
    );
    if !missing.is_empty() {
        line(
            &mut page,
            &format!(
                "Without results, so not on this page: {}.\n",
                families(missing).join(", ")
            ),
        );
    }
    for group in groups(rows) {
        let known = GROUPS.iter().find(|(name, _)| *name == group);
        line(&mut page, &format!("## {}\n", capital(&group)));
        if let Some((_, text)) = known {
            line(&mut page, &format!("{text}\n"));
        }
        if let Some((_, file)) = plots.iter().find(|(plotted, _)| *plotted == group) {
            line(
                &mut page,
                &format!("![How many times better divisi is: {group}](performance/{file})\n"),
            );
        }
        page.push_str(&table(&of_group(rows, &group)));
        page.push('\n');
    }
    page
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Wins, ties and losses against each peer, and every loss by name.
fn summary(rows: &[Summary]) -> String {
    let mut contenders: Vec<&str> = Vec::new();
    for lane in rows.iter().flat_map(Summary::peers) {
        if !contenders.contains(&lane.contender.as_str()) {
            contenders.push(&lane.contender);
        }
    }
    let mut text =
        "| divisi against | wins | ties | losses | not measured |\n|---|---|---|---|---|\n"
            .to_owned();
    let mut losses = String::new();
    for contender in contenders {
        let [mut wins, mut ties, mut lost, mut unknown] = [0; 4];
        for row in rows {
            let Some(standing) = row.standing(contender) else {
                continue;
            };
            match standing.verdict {
                Some(Verdict::Win) => wins += 1,
                Some(Verdict::Tie) => ties += 1,
                Some(Verdict::NotMeasured) => unknown += 1,
                Some(Verdict::Loss) => {
                    lost += 1;
                    let ratio = standing.ratio.map_or(f64::NAN, |ratio| ratio.median);
                    write!(losses, "\n- {} against {contender}: {ratio:.2}", title(row))
                        .expect("a string takes all");
                }
                None => {}
            }
        }
        writeln!(
            text,
            "| {contender} | {wins} | {ties} | {lost} | {unknown} |"
        )
        .expect("a string takes all");
    }
    match losses.is_empty() {
        true => format!("{text}\nNo losses.\n"),
        false => format!("{text}\nLosses:\n{losses}\n"),
    }
}

/// A line a row; a column a contender.
fn table(rows: &[&Summary]) -> String {
    let mut contenders: Vec<&str> = Vec::new();
    for lane in rows.iter().flat_map(|row| &row.lanes) {
        let name = lane.contender.as_str();
        if name != OURS && !contenders.contains(&name) {
            contenders.push(name);
        }
    }
    let mut text = "| | divisi | band |".to_owned();
    contenders
        .iter()
        .for_each(|contender| write!(text, " {contender} |").expect("a string takes all"));
    text.push_str("\n|---|---|---|");
    text.push_str(&"---|".repeat(contenders.len()));
    text.push('\n');
    let mut remarks = String::new();
    for row in rows {
        let ours = row
            .standing(OURS)
            .map_or_else(|| "-".to_owned(), |ours| value(row, ours));
        let band = match (row.rule, row.band) {
            (Rule::Band, Some(band)) => format!("{:.1} %", band * 100.0),
            (Rule::Band, None) => "unknown".to_owned(),
            (Rule::Ranges, _) => "ranges".to_owned(),
            (Rule::Exact, _) => "exact".to_owned(),
        };
        write!(text, "| {} | {ours} | {band} |", title(row)).expect("a string takes all");
        for contender in &contenders {
            write!(text, " {} |", cell(row, contender)).expect("a string takes all");
        }
        text.push('\n');
        for lane in row.lanes.iter().filter(|lane| !lane.detail.is_empty()) {
            writeln!(
                remarks,
                "- {}, {}: {}",
                title(row),
                lane.contender,
                lane.detail
            )
            .expect("a string takes all");
        }
        if !row.note.is_empty() {
            writeln!(remarks, "- {}: {}", title(row), row.note).expect("a string takes all");
        }
    }
    match remarks.is_empty() {
        true => text,
        false => format!("{text}\n{remarks}"),
    }
}

/// A median, with the range where that is what decides.
fn value(row: &Summary, standing: &Standing) -> String {
    let median = row.unit.show(standing.median);
    match standing.range {
        Some([least, most]) => {
            let [least, most] = [least, most].map(|end| row.unit.show(end));
            format!("{median} ({least} to {most})")
        }
        None => median,
    }
}

fn cell(row: &Summary, contender: &str) -> String {
    let Some(standing) = row.standing(contender) else {
        return "-".to_owned();
    };
    let value = value(row, standing);
    match (standing.verdict, standing.ratio) {
        (Some(verdict), Some(Ratio { low, median, high })) => {
            format!(
                "{value}, {} {median:.2} ({low:.2}..{high:.2})",
                verdict.word()
            )
        }
        (None, Some(Ratio { median, .. })) => format!("{value}, {median:.2}"),
        _ => value,
    }
}

/// The names of jobs, with one entry for those that begin alike: `core-w1-* (46)`.
fn families(jobs: &[String]) -> Vec<String> {
    let mut families: Vec<(String, Vec<&str>)> = Vec::new();
    for job in jobs {
        let parts: Vec<_> = job.splitn(3, '-').take(2).collect();
        let family = parts.join("-");
        match families.last_mut() {
            Some((last, members)) if *last == family => members.push(job),
            _ => families.push((family, vec![job])),
        }
    }
    families
        .into_iter()
        .map(|(family, members)| match members[..] {
            [one] => one.to_owned(),
            _ => format!("{family}-* ({})", members.len()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{machine::Machine, *};
    use crate::record::{OURS_AGAIN, Row, Unit};

    fn row(name: &str, peer: f64) -> Summary {
        let mut row = Row::new("spawn", name, 2, Unit::Nanoseconds, Rule::Band);
        for round in 0..9 {
            let mood = 1.0 + f64::from(round) / 10.0;
            row.push(OURS, 100.0 * mood);
            row.push(OURS_AGAIN, 100.0 * mood);
            row.push("tokio", peer * mood);
            row.push("limit: epoll", 50.0 * mood);
        }
        Summary::of(&row)
    }

    #[test]
    fn losses_are_counted_named_and_marked() {
        let rows = [
            row("spawn/won", 200.0),
            row("spawn/lost", 50.0),
            row("spawn/tied", 100.0),
        ];
        let text = summary(&rows);
        assert!(text.contains("| tokio | 1 | 1 | 1 | 0 |"), "{text}");
        assert!(
            text.contains("- spawn/lost, 2 workers against tokio: 0.50"),
            "{text}"
        );
        assert!(!text.contains("epoll"), "a bound is no peer: {text}");
        let table = table(&rows.iter().collect::<Vec<_>>());
        assert!(table.contains("**LOSS** 0.50"), "{table}");
        assert!(table.contains("win 2.00"), "{table}");
    }

    #[test]
    fn a_page_is_written_with_a_plot_for_each_group() {
        let directory =
            std::env::temp_dir().join(format!("divisi-bench-report-{}", std::process::id()));
        let runs = Runs(vec![Machine::look(vec!["run".to_owned()])]);
        let page = write(
            &runs,
            &[row("spawn/won", 200.0)],
            &["core-lost".to_owned()],
            &directory,
        )
        .unwrap();
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains("## Spawn"));
        assert!(text.contains("Without results, so not on this page: core-lost."));
        let plot = fs::read_to_string(directory.join("performance/spawn.svg")).unwrap();
        assert!(plot.contains("<svg") && plot.contains("spawn/won"));
        fs::remove_dir_all(directory).unwrap();
    }
}
