//! The load generator as a program; see `divisi_benches::load`. Prints its outcome as JSON.
//!
//! ```text
//! bench-load ADDRESS [--connections N] [--idle N] [--one-worker] [--bytes N | --http] [--rate R] [--warm-up MS] [--duration MS]
//! ```

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the load generator drives epoll: it runs on Linux only");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), String> {
    use std::{env, num::NonZero, time::Duration};

    use divisi_benches::load::{self, Message, Pace, Plan};

    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("give the server's address")?;
    let mut plan = Plan {
        address: address
            .parse()
            .map_err(|error| format!("{address}: {error}"))?,
        connections: 64,
        idle: 0,
        one_worker: false,
        message: Message::Echo(64),
        pace: Pace::Closed,
        warm_up: Duration::from_millis(200),
        duration: Duration::from_secs(1),
    };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments
                .next()
                .ok_or(format!("{argument} needs a number"))?;
            text.parse::<u64>()
                .map_err(|error| format!("{argument} {text}: {error}"))
        };
        match argument.as_str() {
            "--connections" => plan.connections = number()?.max(1) as usize,
            "--idle" => plan.idle = number()? as usize,
            "--one-worker" => plan.one_worker = true,
            "--bytes" => plan.message = Message::Echo(number()?.max(1) as usize),
            "--http" => plan.message = Message::Http,
            "--rate" => plan.pace = Pace::Open(number()?.max(1) as f64),
            "--warm-up" => plan.warm_up = Duration::from_millis(number()?),
            "--duration" => plan.duration = Duration::from_millis(number()?),
            _ => return Err(format!("unknown option {argument}")),
        }
    }
    // The kernel would round each wait up by 50 us.
    rustix::thread::set_current_timer_slack(NonZero::new(1)).map_err(|error| error.to_string())?;
    let outcome = load::run(&plan).map_err(|error| format!("{address}: {error}"))?;
    println!(
        "{}",
        serde_json::to_string(&outcome).expect("an outcome can be written as JSON")
    );
    Ok(())
}
