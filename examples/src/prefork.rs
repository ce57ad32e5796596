//! One server, several processes: each listens on the same port (`SO_REUSEPORT`), and one that dies is started again.
//!
//! ```text
//!   supervisor: holds the port, does not listen
//!     |-- stdin, stdout -- worker 0: listens, serves
//!     |-- stdin, stdout -- worker 1: listens, serves      the system spreads the connections over those that listen
//! ```
//!
//! A worker writes a line when it listens, and stops in order when its standard input ends: when it is told to, and also when the supervisor was killed.
//!
//! divisi uses all cores from one process. Several are for isolation: a crash takes one share of the connections, and a leak ends with its process. A connection that still waits in the
//! queue of a process that ends is reset, so clients must be ready to try again.

use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use divisi::io::{AsyncReadExt, StreamReader};
use divisi::net::{Server, Stopping, TcpSocket, TcpStream};
use divisi::process::{Child, Command, Stdio};
use divisi::sync::Event;
use divisi::time::{Instant, sleep, timeout};
use divisi::try_join_all;

/// How workers are kept.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many processes there are.
    pub processes: usize,
    /// How long to wait before a worker is started again. Doubled each time, so that a worker which cannot live does not use the machine up.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// A worker that lived this long was well: the next pause is the first again.
    pub steady: Duration,
    /// How long a worker that is told to stop may take. It is killed then.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            processes: 2,
            pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
            steady: Duration::from_secs(30),
            grace: Duration::from_secs(30),
        }
    }
}

/// What happens to the workers.
#[derive(Debug)]
pub enum Change {
    /// A process was started.
    Started {
        /// Tells the workers apart; the process in a place changes.
        place: usize,
        /// The number of the process.
        process: u32,
    },
    /// A worker listens.
    Ready {
        /// Which one.
        place: usize,
        /// The number of its process.
        process: u32,
    },
    /// A worker ended without having been told to.
    Ended {
        /// Which one.
        place: usize,
        /// How.
        status: ExitStatus,
    },
    /// A worker could not be started again; another try follows.
    NotStarted {
        /// Which one.
        place: usize,
        /// Why.
        error: io::Error,
    },
}

/// A port that is held for workers. Peers are refused as long as no worker listens.
#[derive(Debug)]
pub struct Port {
    _socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    /// Holds `address`; port 0 is any free one.
    pub fn hold(address: SocketAddr) -> io::Result<Port> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Port {
            _socket: socket,
            address,
        })
    }

    /// Where the workers are to listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Keeps workers running until `stop` is set, and ends when all have ended. Dropping the future kills them.
///
/// # Errors
///
/// Those of starting a worker for the first time, and of waiting for one.
pub async fn supervise(
    settings: Settings,
    worker: impl Fn() -> Command,
    stop: &Event,
    changed: impl Fn(Change),
) -> io::Result<()> {
    let places = (0..settings.processes).map(|place| {
        let (worker, changed) = (&worker, &changed);
        async move { keep(place, &settings, worker, stop, changed).await }
    });
    try_join_all(places).await.map(drop)
}

async fn keep(
    place: usize,
    settings: &Settings,
    worker: impl Fn() -> Command,
    stop: &Event,
    changed: impl Fn(Change),
) -> io::Result<()> {
    let mut pause = settings.pause;
    let mut child = start(&worker)?;
    loop {
        let begun = Instant::now();
        let process = child.id();
        // Taken out, because `wait` closes what is left in the child.
        let stdin = child.stdin.take();
        changed(Change::Started { place, process });
        let ended = divisi::select! {
            status = live(&mut child, || changed(Change::Ready { place, process })) => Some(status?),
            () = stop.wait() => None,
        };
        let Some(status) = ended else {
            drop(stdin);
            return end(child, settings.grace).await;
        };
        changed(Change::Ended { place, status });
        if begun.elapsed() >= settings.steady {
            pause = settings.pause;
        }
        child = loop {
            divisi::select! {
                () = sleep(pause) => {}
                () = stop.wait() => return Ok(()),
            }
            pause = settings.longest_pause.min(pause * 2);
            match start(&worker) {
                Ok(child) => break child,
                // Memory or processes may be scarce for a while.
                Err(error) => changed(Change::NotStarted { place, error }),
            }
        };
    }
}

fn start(worker: impl Fn() -> Command) -> io::Result<Child> {
    let mut command = worker();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // A group of its own: Ctrl-C is for the supervisor, which then stops the workers in order.
        .kill_tree(true);
    command.spawn()
}

async fn live(child: &mut Child, ready: impl FnOnce()) -> io::Result<ExitStatus> {
    if let Some(stdout) = &mut child.stdout {
        // The end, if it dies before it listens.
        if StreamReader::new(stdout).read_line().await?.is_some() {
            ready();
        }
    }
    child.wait().await
}

async fn end(mut child: Child, grace: Duration) -> io::Result<()> {
    if timeout(grace, child.wait()).await.is_err() {
        child.kill()?;
        child.wait().await?;
    }
    Ok(())
}

/// A worker: serves until standard input ends, then gives the connections `grace`.
///
/// Here it answers each line with the number of its process.
pub async fn work(address: SocketAddr, grace: Duration) -> io::Result<()> {
    let bound = Server::builder().reuse_port(true).bind(address).await?;
    let stopping = bound.stopping();
    let server = bound.serve(move |stream, _peer| answer(stream, stopping.clone()));
    println!("listening");
    let mut rest = Vec::new();
    divisi::io::stdin().read_to_end(&mut rest).await?;
    server.shutdown(grace).await;
    Ok(())
}

async fn answer(stream: TcpStream, stopping: Stopping) -> io::Result<()> {
    let mut stream = StreamReader::new(stream);
    let answer = format!("{}\n", std::process::id());
    loop {
        let line = divisi::select! {
            line = stream.read_line() => line?,
            () = stopping.wait() => None,
        };
        if line.is_none() {
            return Ok(());
        }
        stream.get_ref().write_all(answer.as_bytes()).await?;
    }
}
