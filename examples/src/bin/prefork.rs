//! `prefork ADDRESS PROCESSES`: a server of several processes, ended by Ctrl-C or SIGTERM. See the module `prefork`.

#![forbid(unsafe_code)]

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use divisi::process::Command;
use divisi::signal::{self, Signal};
use divisi::sync::Event;
use divisi_examples::Error;
use divisi_examples::prefork::{Port, Settings, supervise, work};

/// The first argument of a worker.
const WORKER: &str = "--worker";

/// How long a worker's connections may go on once it is told to stop.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    // The processes are what is parallel here: one thread in each.
    let runtime = divisi::Runtime::builder().worker_threads(1).build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [WORKER, address] => Ok(runtime.block_on(work(address.parse()?, GRACE))?),
        [address, processes] => runtime.block_on(serve(address.parse()?, processes.parse()?)),
        _ => Err(
            "say where to listen and how many processes to use: prefork 127.0.0.1:8000 4".into(),
        ),
    }
}

async fn serve(address: SocketAddr, processes: usize) -> Result<(), Error> {
    let port = Port::hold(address)?;
    let program = env::current_exe()?;
    let worker = || {
        let mut command = Command::new(&program);
        command.args([WORKER, &port.address().to_string()]);
        command
    };
    let settings = Settings {
        processes,
        ..Settings::default()
    };
    let asked = signal::receiver([Signal::INT, Signal::TERM])?;
    let stop = Event::new();
    let workers = supervise(settings, worker, &stop, |change| eprintln!("{change:?}"));
    let stopper = async {
        asked.recv().await?;
        stop.set();
        Ok(())
    };
    divisi::try_join!(workers, stopper)?;
    Ok(())
}
