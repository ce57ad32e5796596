//! All that has been measured: the page's own numbers, kept in a file beside it, and what newer runs put in their place.
//!
//! So a part of the suite can be measured again, on a machine that has none of the older samples, and the rest of the page stays; every row
//! names the run that it comes from, and the page says where and when each run was.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    machine::{Machine, Runs},
    summary::Summary,
};
use crate::record::Row;

/// What one job of the suite has left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// The place of the run in the list of runs beside this file.
    pub run: usize,
    /// With all samples.
    pub rows: Vec<Row>,
}

/// What is on the page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    /// Where and when: each is the origin of at least one row.
    pub runs: Runs,
    jobs: BTreeMap<String, Job>,
}

/// A job's part of the page.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    run: usize,
    rows: Vec<Summary>,
}

impl Results {
    /// Reads the file; nothing at all if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not such a file.
    pub fn load(path: &Path) -> Result<Self, String> {
        if !path.exists() {
            return Ok(Self::default());
        }
        crate::suite::load(path)
    }

    /// Puts results in place of those of the same jobs, unless those are of a later day. `runs` is the list that they name their run by.
    ///
    /// # Errors
    ///
    /// When a run that is named is not in the list.
    pub fn replace(
        &mut self,
        runs: &Runs,
        measured: BTreeMap<String, Measured>,
    ) -> Result<(), String> {
        for (job, Measured { run, rows }) in measured {
            let run = runs.0.get(run).ok_or_else(|| {
                format!("nobody knows which run {job} is of: measure it with --fresh")
            })?;
            let known = self.jobs.get(&job).map(|job| &self.runs.0[job.run]);
            if known.is_some_and(|known| known.is_newer_than(run)) {
                continue;
            }
            let run = self.place_of(run);
            let rows = rows.iter().map(Summary::of).collect();
            self.jobs.insert(job, Job { run, rows });
        }
        Ok(())
    }

    fn place_of(&mut self, run: &Machine) -> usize {
        let known = self.runs.0.iter().position(|known| known == run);
        known.unwrap_or_else(|| {
            self.runs.0.push(run.clone());
            self.runs.0.len() - 1
        })
    }

    /// Forgets jobs that are not in the plan any more, then runs from which no row comes.
    pub fn keep(&mut self, plan: &[String]) {
        self.jobs.retain(|job, _| plan.contains(job));
        let old = std::mem::take(&mut self.runs.0);
        for (index, run) in old.into_iter().enumerate() {
            let mut used = false;
            for job in self.jobs.values_mut().filter(|job| job.run == index) {
                job.run = self.runs.0.len();
                used = true;
            }
            if used {
                self.runs.0.push(run);
            }
        }
    }

    /// Whether there are rows of that job.
    pub fn has(&self, job: &str) -> bool {
        self.jobs.contains_key(job)
    }

    /// The rows in the order of the plan.
    pub fn rows(&self, plan: &[String]) -> Vec<Summary> {
        let jobs = plan.iter().filter_map(|job| self.jobs.get(job));
        jobs.flat_map(|job| job.rows.iter().cloned()).collect()
    }

    /// Writes the file, a line a row: what a change of the page changed can be read.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn store(&self, path: &Path) -> Result<(), String> {
        let mut text = "{\"runs\": [\n".to_owned();
        text.push_str(&lines(self.runs.0.iter().map(json)));
        text.push_str("\n], \"jobs\": {\n");
        text.push_str(&lines(self.jobs.iter().map(|(name, job)| {
            let rows = lines(job.rows.iter().map(json));
            format!(
                "{}: {{\"run\": {}, \"rows\": [\n{rows}\n]}}",
                json(name),
                job.run,
            )
        })));
        text.push_str("\n}}\n");
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("results can be written as JSON")
}

fn lines(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{OURS, Rule, Unit};

    fn measured(run: usize, name: &str, value: f64) -> Measured {
        let mut row = Row::new("group", name, 1, Unit::Count, Rule::Exact);
        row.push(OURS, value);
        Measured {
            run,
            rows: vec![row],
        }
    }

    fn a_run(name: &str) -> Machine {
        Machine::look(vec![name.to_owned()])
    }

    #[test]
    fn a_job_measured_again_replaces_its_rows_and_the_others_stay() {
        let plan = ["first", "second"].map(str::to_owned);
        let mut results = Results::default();
        let older = Runs(vec![a_run("older")]);
        let job = |name: &str, run, value| (name.to_owned(), measured(run, name, value));
        results
            .replace(
                &older,
                BTreeMap::from([job("second", 0, 2.0), job("first", 0, 1.0)]),
            )
            .unwrap();
        results.keep(&plan);

        let newer = Runs(vec![a_run("in vain"), a_run("newer")]);
        results
            .replace(&newer, BTreeMap::from([job("second", 1, 20.0)]))
            .unwrap();
        results.keep(&plan);

        let path = std::env::temp_dir().join(format!("divisi-results-{}", std::process::id()));
        results.store(&path).unwrap();
        let read = Results::load(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let values: Vec<_> = read
            .rows(&plan)
            .iter()
            .map(|row| (row.name.clone(), row.lanes[0].median))
            .collect();
        assert_eq!(
            values,
            [("first".to_owned(), 1.0), ("second".to_owned(), 20.0)]
        );
        assert_eq!(
            read.runs,
            Runs(vec![older.0[0].clone(), newer.0[1].clone()])
        );
        assert!(read.has("first") && !read.has("third"));
    }

    #[test]
    fn a_result_of_an_unknown_run_is_refused() {
        let measured = BTreeMap::from([("job".to_owned(), measured(1, "row", 1.0))]);
        let refused = Results::default().replace(&Runs(vec![a_run("the first")]), measured);
        assert!(refused.unwrap_err().contains("--fresh"));
    }

    #[test]
    fn what_is_not_planned_any_more_is_forgotten_with_its_run() {
        let mut results = Results::default();
        let runs = Runs(vec![a_run("a"), a_run("b")]);
        results
            .replace(
                &runs,
                BTreeMap::from([
                    ("gone".to_owned(), measured(0, "gone", 1.0)),
                    ("stays".to_owned(), measured(1, "stays", 2.0)),
                ]),
            )
            .unwrap();
        let plan = ["stays".to_owned()];
        results.keep(&plan);
        assert_eq!(results.runs, Runs(vec![runs.0[1].clone()]));
        assert_eq!(results.rows(&plan).len(), 1);
        assert!(!results.has("gone"));
    }
}
