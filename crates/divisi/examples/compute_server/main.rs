//! An HTTP/1.1 server that streams files and computes digests, and stays quick while every core
//! computes.
//!
//! ```sh
//! cargo run --release --example compute_server -- --demo     # see it
//! cargo run --release --example compute_server -- DIRECTORY  # use it
//! curl http://127.0.0.1:8080/sha256/                         # digests of the whole tree
//! ```
//!
//! Where to read:
//!
//! | file | shows |
//! |---|---|
//! | `server.rs` | the accept loop: running out of descriptors, draining; hyper on divisi's sockets |
//! | `routes.rs` | what belongs to a request: its time limit, and errors that become answers |
//! | `files.rs` | `spawn_blocking` for what waits: opening and reading files |
//! | `digest.rs` | `offload` for what computes: rayon inside, pushing back, stopping half-way |
//! | `signals.rs` | a signal handler that wakes a task |
//! | `metrics.rs` | the runtime's counters as Prometheus text |
//! | `demo/` | a load generator on a second runtime, and the table it prints |

#![forbid(unsafe_code)]

mod args;
mod demo;
mod digest;
mod failure;
mod files;
mod metrics;
mod routes;
mod server;
mod signals;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use divisi::net::TcpListener;
use divisi::sync::Event;
use divisi::{Runtime, Shutdown};

use args::{Action, Args};
use routes::App;

/// Digests that may wait for a core. More than that are answered with "try again", at once: to
/// queue them would only make all of them late.
const WAITING_DIGESTS: usize = 64;

/// Whatever ends the program: it is printed, nobody looks into it.
type Fatal = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let result = match args::parse() {
        Ok(Action::Help) => {
            print!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(Action::Serve(args)) => serve(&args),
        Ok(Action::Demo(args)) => demo::run(&args).map(|()| ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("compute_server: {error}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("compute_server: {error}");
        ExitCode::FAILURE
    })
}

/// Serves until a signal comes, then lets requests in flight end.
///
/// The exit code tells whether all of them did.
fn serve(args: &Args) -> Result<ExitCode, Fatal> {
    let runtime = Runtime::builder()
        .compute_queue_bound(WAITING_DIGESTS)
        .build()?;
    let signals = signals::install()?;
    let app = Arc::new(App::new(&args.directory, args.limit)?);

    runtime.block_on(async {
        let listener = bind(&args.listen).await?;
        println!(
            "serving {} on http://{}",
            app.root().path().display(),
            listener.local_addr()?
        );
        let stop = Arc::new(Event::new());
        let accepting = divisi::spawn(server::accept_loop(listener, app, stop.clone()));
        signals.received().await?;
        eprintln!(
            "stopping: no new connections; requests in flight have {:?}",
            args.grace
        );
        stop.set();
        accepting.await?;
        Ok::<(), Fatal>(())
    })?;

    // Every connection is a task, so "let requests in flight end" is what the runtime does anyway.
    let report = runtime.shutdown(Shutdown::graceful(args.grace));
    eprintln!("{report}");
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Binds, with an error that says what to do.
async fn bind(listen: &str) -> Result<TcpListener, String> {
    TcpListener::bind(listen).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => ": stop who uses it, or give another --listen",
            std::io::ErrorKind::PermissionDenied => {
                ": ports below 1024 are reserved, give another --listen"
            }
            _ => "",
        };
        format!("cannot listen on {listen}: {error}{advice}")
    })
}
