//! The demonstration: how long `/health` takes while every core computes digests.
//!
//! Server and digests share a runtime, as they would in a service. The client has a runtime of its
//! own, on one thread, so that it is not slowed down by what it measures other than by having to
//! share the cores with it, as any client on this machine would.

mod client;
mod load;
mod report;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use divisi::sync::Event;
use divisi::{Runtime, Shutdown};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Args;
use crate::routes::App;
use crate::{Fatal, server};

use client::{Latencies, Plan};
use load::{Load, Work};
use report::Row;

/// How long each load is measured, after a while for it to settle.
const MEASURED: Duration = Duration::from_secs(5);
const SETTLING: Duration = Duration::from_millis(500);
/// Few enough requests that serving them needs a small part of one core: what is measured is
/// whether they get it.
const REQUESTS_PER_SECOND: u32 = 1000;
const CONNECTIONS: u32 = 250;
/// How long the last answers are waited for. Longer than that counts as never.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);

/// Runs the demonstration and prints its table.
pub(crate) fn run(args: &Args) -> Result<(), Fatal> {
    let reports = Reports::default();
    let runtime = Runtime::builder()
        .exception_handler({
            let reports = reports.clone();
            move |report| reports.lock().push(report.to_string())
        })
        .build()?;
    let app = Arc::new(App::new(&args.directory, args.limit)?);
    let stop = Arc::new(Event::new());
    let listener = runtime.block_on(crate::bind(&args.listen))?;
    let address = listener.local_addr()?;
    let accepting = runtime.spawn(server::accept_loop(listener, app.clone(), stop.clone()));

    let work = Arc::new(Work::prepare(app.root().path())?);
    let cores = thread::available_parallelism()?.get();
    println!(
        "serving {} on http://{address}, {cores} cores",
        app.root().path().display()
    );
    println!(
        "a digest: {:.1} MB of {}, {:.1} ms on one core",
        work.job_bytes() as f64 / 1e6,
        work.origin(),
        work.job_time().as_secs_f64() * 1e3,
    );
    println!(
        "a request: GET /health, {REQUESTS_PER_SECOND} a second over {CONNECTIONS} connections"
    );

    let progress = Progress::new();
    let mut rows = Vec::new();
    for load in [Load::Idle, Load::Offload, Load::Inline] {
        progress.begin(load.name());
        let running = load::start(&runtime, load, &work, load::JOBS_PER_CORE * cores);
        progress.sleep(SETTLING);
        let (digests, begin) = (running.digests(), Instant::now());
        let latencies = measure(address, &progress)?;
        let rate = (running.digests() - digests) as f64 / begin.elapsed().as_secs_f64();
        running.stop(&runtime)?;
        rows.push(Row {
            load,
            latencies,
            digests_per_second: rate,
        });
    }
    progress.end();

    println!();
    print!("{}", report::table(&rows));
    println!();
    print!("{}", report::histogram(&rows));
    let reports = std::mem::take(&mut *reports.lock());
    if let Some(first) = reports.first() {
        println!(
            "\nThe runtime gave {} reports meanwhile. The first:\n{first}",
            reports.len()
        );
    }

    stop.set();
    runtime.block_on(accepting)?;
    let report = runtime.shutdown(Shutdown::graceful(args.grace));
    println!("\n{report}");
    Ok(())
}

/// What the runtime tells its exception handler. Printed at once, it would go across the progress
/// bar.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures `/health` from a thread of its own.
fn measure(address: SocketAddr, progress: &Progress) -> Result<Latencies, Fatal> {
    let plan = Plan {
        address,
        connections: CONNECTIONS,
        requests_per_second: REQUESTS_PER_SECOND,
        duration: MEASURED,
        patience: PATIENCE,
    };
    let client = thread::Builder::new()
        .name("client".to_owned())
        .spawn(move || client::run(&plan))?;
    while !client.is_finished() {
        thread::sleep(TICK);
        progress.advance(TICK);
    }
    match client.join() {
        Ok(latencies) => latencies,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A bar on a terminal, a line for each load elsewhere.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Progress {
        let loads = 3;
        let bar = ProgressBar::new(millis(loads * (SETTLING + MEASURED)));
        let style =
            ProgressStyle::with_template("[{bar:40}] {msg}").expect("the template is well-formed");
        bar.set_style(style.progress_chars("=> "));
        Progress(bar)
    }

    fn begin(&self, load: &'static str) {
        if self.0.is_hidden() {
            println!("measuring for {MEASURED:?}: {load}");
        }
        self.0.set_message(load);
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
        self.advance(duration);
    }

    fn advance(&self, time: Duration) {
        // Waiting for late answers takes longer than planned; a bar beyond its end would look odd.
        let left = self
            .0
            .length()
            .unwrap_or(0)
            .saturating_sub(self.0.position());
        self.0.inc(millis(time).min(left));
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
