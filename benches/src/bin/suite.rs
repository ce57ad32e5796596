//! The bench suite, unattended: `just bench`, `just bench-quick` and `just bench-report`.
//!
//! ```text
//! suite run [--quick | --full] [--only PART].. [--fresh] [--report]
//!     measures what has not been measured yet, then writes the page when asked to
//! suite report [--quick]
//!     writes the page again: what lies under target/bench takes the place of what it said of the same jobs
//! suite list [--quick | --full]
//!     prints the names of the jobs
//! ```
//!
//! `--only core-w2-spawn` does the jobs whose name contains that text, `--fresh` measures again what has been measured. An interrupted run is
//! continued by the same command.

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!(
        "the suite reads /proc and drives epoll: it runs on Linux only; `compare` runs everywhere"
    );
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        collections::BTreeMap,
        env, fs,
        process::{Command, ExitCode},
        time::Instant,
    };

    use divisi_benches::{
        record::Row,
        report::{
            self,
            machine::{Machine, Runs},
            results::{Measured, Results},
        },
        suite::{self, Extent, Job},
    };

    struct Options {
        command: String,
        extent: Extent,
        only: Vec<String>,
        fresh: bool,
        report: bool,
    }

    pub(super) fn main() -> ExitCode {
        let outcome =
            parse(env::args().skip(1)).and_then(|options| match options.command.as_str() {
                "run" => run(&options),
                "report" => write_report(options.extent),
                "list" => {
                    suite::plan(options.extent)
                        .iter()
                        .for_each(|job| println!("{}", job.id));
                    Ok(())
                }
                "job" => job(&options),
                "probe" => probe(&options),
                other => Err(format!(
                    "unknown command {other:?}: there are run, report and list"
                )),
            });
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        }
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            command: arguments
                .next()
                .ok_or("say what to do: run, report or list")?,
            extent: Extent::Default,
            only: Vec::new(),
            fresh: false,
            report: false,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.extent = Extent::Quick,
                "--full" => options.extent = Extent::Full,
                "--fresh" => options.fresh = true,
                "--report" => options.report = true,
                "--only" => options.only.push(
                    arguments
                        .next()
                        .ok_or("--only needs a part of a job's name")?,
                ),
                other => {
                    return Err(format!(
                        "unknown option {other}: there are --quick, --full, --only PART, --fresh and --report"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Measures one runtime's memory in this process, which has done nothing else.
    fn probe(options: &Options) -> Result<(), String> {
        let contender = options.only.first().ok_or("a probe is named by --only")?;
        println!("{}", suite::memory::probe(contender)?);
        Ok(())
    }

    /// Runs one job in this process and prints its rows.
    fn job(options: &Options) -> Result<(), String> {
        let [id] = &options.only[..] else {
            return Err("a job is named by one --only".to_owned());
        };
        let plan = suite::plan(options.extent);
        let job = plan
            .iter()
            .find(|job| job.id == *id)
            .ok_or_else(|| format!("there is no job {id}"))?;
        let rows = job.run(options.extent)?;
        println!(
            "{}",
            serde_json::to_string(&rows).expect("rows can be written as JSON")
        );
        Ok(())
    }

    fn run(options: &Options) -> Result<(), String> {
        let directory = suite::results(options.extent);
        let chosen: Vec<_> = suite::plan(options.extent)
            .into_iter()
            .filter(|job| {
                options.only.is_empty() || options.only.iter().any(|part| job.id.contains(part))
            })
            .collect();
        if chosen.is_empty() {
            return Err(format!(
                "no job's name contains {:?}: `suite list` shows them",
                options.only
            ));
        }
        let anew = options.fresh && options.only.is_empty();
        if anew && directory.exists() {
            // What is interrupted must not be continued among older results.
            fs::remove_dir_all(&directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let missing =
            |job: &&Job| options.fresh || !directory.join(format!("{}.json", job.id)).exists();
        let todo: Vec<_> = chosen.iter().filter(missing).collect();
        eprintln!(
            "{} jobs, {} of them to do; results in {}",
            chosen.len(),
            todo.len(),
            directory.display()
        );
        let path = directory.join("runs.json");
        let mut runs: Runs = suite::load(&path).unwrap_or_default();
        let run = runs.0.len();
        if !todo.is_empty() {
            runs.0.push(Machine::look(env::args().skip(1).collect()));
            suite::store(&path, &runs)?;
        }
        let start = Instant::now();
        let mut failed = Vec::new();
        for (index, job) in todo.iter().enumerate() {
            eprintln!(
                "[{:>4} s] {}/{} {}",
                start.elapsed().as_secs(),
                index + 1,
                todo.len(),
                job.id
            );
            let result = in_a_process(job, options.extent).and_then(|rows| {
                let path = directory.join(format!("{}.json", job.id));
                suite::store(&path, &Measured { run, rows })
            });
            if let Err(message) = result {
                eprintln!("    failed: {message}");
                failed.push(job.id.as_str());
            }
        }
        eprintln!("measured in {} s", start.elapsed().as_secs());
        if options.report {
            write_report(options.extent)?;
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{} jobs failed (run again to retry them): {}",
                failed.len(),
                failed.join(", ")
            )),
        }
    }

    fn in_a_process(job: &Job, extent: Extent) -> Result<Vec<Row>, String> {
        let program =
            env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
        let mut command = Command::new(program);
        command.args(["job", "--only", &job.id]);
        match extent {
            Extent::Quick => drop(command.arg("--quick")),
            Extent::Default => {}
            Extent::Full => drop(command.arg("--full")),
        }
        if let suite::Work::Core(core) = &job.work {
            command.env("DIVISI_BENCH_WORKERS", core.workers().to_string());
        }
        let text = suite::output(&mut command, job.limit)?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", job.id))
    }

    /// Reads what the plan's jobs have left, puts it in place of what the page said of them, and writes the page.
    fn write_report(extent: Extent) -> Result<(), String> {
        let directory = suite::results(extent);
        let runs: Runs = suite::load(&directory.join("runs.json"))
            .map_err(|error| format!("{error}: nothing has been measured yet, `suite run` does"))?;
        // The full matrix too, as far as it is there.
        let plan = match extent {
            Extent::Quick => suite::plan(Extent::Quick),
            Extent::Default | Extent::Full => suite::plan(Extent::Full),
        };
        let plan: Vec<_> = plan.into_iter().map(|job| job.id).collect();
        let mut measured = BTreeMap::new();
        for job in &plan {
            let path = directory.join(format!("{job}.json"));
            if path.exists() {
                let of_job = suite::load::<Measured>(&path)
                    .map_err(|error| format!("{error}: measure it with --fresh"))?;
                measured.insert(job.clone(), of_job);
            }
        }
        // Only the whole suite makes the page of the guide, and has older results.
        let (place, mut results) = match extent {
            Extent::Quick => (directory, Results::default()),
            Extent::Default | Extent::Full => {
                let place = suite::workspace().join("docs/src");
                let results = Results::load(&report::results_beside(&place))?;
                (place, results)
            }
        };
        results.replace(&runs, measured)?;
        results.keep(&plan);
        let rows = results.rows(&plan);
        let expected = suite::plan(extent).into_iter().map(|job| job.id);
        let missing: Vec<_> = expected.filter(|job| !results.has(job)).collect();
        let path = report::write(&results.runs, &rows, &missing, &place)?;
        results.store(&report::results_beside(&place))?;
        eprintln!(
            "{} rows, {} jobs without results: {}",
            rows.len(),
            missing.len(),
            path.display()
        );
        if extent == Extent::Quick {
            let page = fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            println!("{page}");
        }
        Ok(())
    }
}
