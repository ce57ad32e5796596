//! A server under load; see `divisi_benches::server`.
//!
//! ```text
//! bench-server CONTENDER [--workers N] [--http] [--buffer BYTES] [--request-steps N] [--tag]
//!     [--jobs N] [--job-steps N] [--checkpoints] [--timers]
//! ```
//!
//! Prints `listening PORT`, then a line of counters as JSON for each line on standard input, and ends with it.

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the servers drive epoll: they run on Linux only");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), String> {
    use std::env;

    use divisi_benches::server::{self, NAMES, Options};

    let mut arguments = env::args().skip(1);
    let Some(name) = arguments.next() else {
        let names: Vec<_> = NAMES
            .iter()
            .map(|(name, what)| format!("{name}: {what}"))
            .collect();
        return Err(format!("name a contender:\n{}", names.join("\n")));
    };
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments
                .next()
                .ok_or(format!("{argument} needs a number"))?;
            text.parse::<u64>()
                .map_err(|error| format!("{argument} {text}: {error}"))
        };
        match argument.as_str() {
            "--workers" => options.workers = number()?.max(1) as usize,
            "--http" => options.http = true,
            "--buffer" => options.buffer = number()?.max(1) as usize,
            "--request-steps" => options.steps_a_request = number()?,
            "--tag" => options.tag = true,
            "--jobs" => options.jobs = number()? as usize,
            "--job-steps" => options.steps_a_job = number()?,
            "--checkpoints" => options.checkpoints = true,
            "--timers" => options.timers = true,
            _ => return Err(format!("unknown option {argument}")),
        }
    }
    server::run(&name, &options).map_err(|error| error.to_string())
}
