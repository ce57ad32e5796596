//! The README's demo on other runtimes as well: the same HTTP server that computes, under the same load, in turn.
//!
//! ```text
//! demo-compare [--seconds N] [--jobs N] [--job-ms N] [--rate N]
//! ```

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the load generator drives epoll: it runs on Linux only");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), String> {
    use std::{
        env,
        time::{Duration, Instant},
    };

    use divisi_benches::{
        job::steps_a_second, report::machine::fifo_is_allowed, sample::Nanoseconds,
        suite::process::Server,
    };

    const CONNECTIONS: u64 = 64;
    /// What is shown, the contender, and whether it computes.
    const TURNS: [(&str, &str, bool); 5] = [
        ("divisi, idle", "divisi", false),
        ("divisi: offload", "divisi", true),
        ("tokio + rayon", "tokio + rayon", true),
        ("tokio + spawn_blocking", "tokio + spawn_blocking", true),
        ("divisi: inline in tasks", "divisi inline", true),
    ];

    let [mut seconds, mut jobs, mut length, mut rate] = [5_u64, 64, 10, 1_000];
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = arguments
            .next()
            .and_then(|text| text.parse().ok())
            .filter(|number| *number > 0);
        let number = number.ok_or(format!("{argument} needs a number above zero"))?;
        match argument.as_str() {
            "--seconds" => seconds = number,
            "--jobs" => jobs = number,
            "--job-ms" => length = number,
            "--rate" => rate = number,
            _ => {
                return Err(format!(
                    "unknown option {argument}: there are --seconds, --jobs, --job-ms and --rate"
                ));
            }
        }
    }
    let speed = steps_a_second();
    println!(
        "GET /hello, {rate} a second over {CONNECTIONS} connections, while {jobs} jobs of {length} ms are always out; {seconds} s each, {} cores",
        num_cpus::get()
    );
    match fifo_is_allowed() {
        true => println!("the client runs at SCHED_FIFO: it stands for one on another machine"),
        false => println!(
            "the client runs on the same cores at normal priority: what computes delays it too"
        ),
    }
    println!(
        "{:<26} {:>9} {:>9} {:>9} {:>9} {:>12} {:>9}",
        "", "p50", "p99", "p99.9", "max", "answered", "jobs/s"
    );
    for (shown, contender, computes) in TURNS {
        let options = [
            ("--jobs", if computes { jobs } else { 0 }),
            ("--job-steps", (length as f64 / 1e3 * speed) as u64),
        ];
        let mut arguments: Vec<_> = options
            .iter()
            .flat_map(|(name, value)| [(*name).to_owned(), value.to_string()])
            .collect();
        arguments.extend(["--http".to_owned(), "--checkpoints".to_owned()]);
        let mut server = Server::start(contender, &arguments, None)?;
        let before = server.stats()?.jobs;
        let start = Instant::now();
        let load = [
            "--http",
            "--connections",
            &CONNECTIONS.to_string(),
            "--rate",
            &rate.to_string(),
            "--warm-up",
            "500",
        ];
        let outcome = server.load(&load.map(str::to_owned), Duration::from_secs(seconds), None)?;
        let done = (server.stats()?.jobs - before) as f64 / start.elapsed().as_secs_f64();
        let [p50, _, p99, p999, max] = outcome.percentiles.map(|value| Nanoseconds(value as f64));
        let answered = format!("{}/{}", outcome.due - outcome.unanswered, outcome.due);
        println!("{shown:<26} {p50:>9} {p99:>9} {p999:>9} {max:>9} {answered:>12} {done:>9.1}");
    }
    Ok(())
}
