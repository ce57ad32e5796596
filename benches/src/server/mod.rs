//! The servers under load: one program for all contenders, so that what differs is the runtime and where CPU-bound work goes.

mod contender;
mod raw;

use std::{
    io::{self, BufRead, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

pub use self::contender::{Contender, NAMES};
use crate::{
    job::{Job, spin},
    load::histogram,
    peer::{Http, Net, Peer, Remote, Time},
};

/// What a server does.
#[derive(Debug, Clone)]
pub struct Options {
    /// Workers of the runtime; threads of a raw server.
    pub workers: usize,
    /// HTTP instead of echo.
    pub http: bool,
    /// The size of the buffer that an echo connection reads into.
    pub buffer: usize,
    /// Steps of work for each request.
    pub steps_a_request: u64,
    /// Whether the first byte of each answer names the thread that wrote it.
    pub tag: bool,
    /// Jobs that are always out, and how large each is.
    pub jobs: usize,
    /// Steps of a job.
    pub steps_a_job: u64,
    /// Whether jobs call the contender's checkpoint, where it has one.
    pub checkpoints: bool,
    /// Whether a task sleeps for a millisecond over and over and notes how late it is.
    pub timers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: num_cpus::get(),
            http: false,
            buffer: 64,
            steps_a_request: 0,
            tag: false,
            jobs: 0,
            steps_a_job: 0,
            checkpoints: false,
            timers: false,
        }
    }
}

/// What a server says of itself when it is asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Jobs done since the start.
    pub jobs: u64,
    /// Lateness of `sleep(1 ms)` since the last time that it was asked, in nanoseconds: 50, 99, 99.9, 100 %. Empty without timers.
    #[serde(default)]
    pub lateness: Vec<u64>,
    /// Times that a worker went to sleep, and those after which it found nothing to run, where the runtime counts them.
    #[serde(default)]
    pub parks: Option<[u64; 2]>,
}

/// Counters that the tasks of a server share.
#[derive(Debug)]
struct Counters {
    jobs: AtomicU64,
    lateness: Mutex<Histogram<u64>>,
}

/// Serves until standard input ends: prints `listening PORT`, then a line of [`Stats`] for each line read.
///
/// # Errors
///
/// When there is no contender of that name, or no port.
pub fn run(name: &str, options: &Options) -> io::Result<()> {
    contender::serve(name, options)
}

fn serve_on<C: Contender>(options: &Options) -> io::Result<()> {
    let peer = C::start(options.workers);
    let counters = Arc::new(Counters {
        jobs: AtomicU64::new(0),
        lateness: Mutex::new(histogram()),
    });
    let mut background = Vec::new();
    let (port, ready) = std::sync::mpsc::channel();
    let serving = options.clone();
    background.push(peer.spawn_remote(async move {
        let (listener, address) = C::Peer::listen().await.expect("a free port");
        port.send(address.port()).expect("somebody waits");
        loop {
            match C::Peer::accept(&listener).await {
                Ok(stream) => {
                    C::Peer::spawn_detached(connection::<C::Peer>(stream, serving.clone()))
                }
                Err(error) => eprintln!("accept: {error}"),
            }
        }
    }));
    let port = ready.recv().expect("the task listens");
    for _ in 0..options.jobs {
        let counters = counters.clone();
        let job = Job {
            steps: options.steps_a_job,
            checkpoint: C::CHECKPOINT.filter(|_| options.checkpoints),
        };
        background.push(peer.spawn_remote(async move {
            loop {
                C::job(job).await;
                counters.jobs.fetch_add(1, Relaxed);
            }
        }));
    }
    if options.timers {
        background.push(peer.spawn_remote(lateness::<C::Peer>(counters.clone())));
    }
    let result = answer(port, || {
        let mut histogram = counters
            .lateness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lateness = match options.timers {
            true => [0.5, 0.99, 0.999, 1.0]
                .map(|share| histogram.value_at_quantile(share))
                .to_vec(),
            false => Vec::new(),
        };
        histogram.reset();
        Stats {
            jobs: counters.jobs.load(Relaxed),
            lateness,
            parks: C::parks(&peer),
        }
    });
    result?;
    // Nothing is to be waited for, least of all jobs that never end.
    std::process::exit(0)
}

/// Serves on runtimes of one worker each, pinned to a core each; connections are dealt out in turn and never move.
fn serve_pinned<P: Http + Remote>(options: &Options) -> io::Result<()> {
    let all = sched_getaffinity(None)?;
    let cores: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|core| all.is_set(*core))
        .collect();
    let mut peers = Vec::new();
    for index in 0..options.workers {
        let mut one = CpuSet::new();
        one.set(cores[index % cores.len()]);
        // The runtime's threads inherit it.
        sched_setaffinity(None, &one)?;
        peers.push(P::start(1));
    }
    sched_setaffinity(None, &all)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let options = options.clone();
    thread::spawn(move || {
        let mut tasks = Vec::new();
        for (index, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { continue };
            let options = options.clone();
            tasks.push(peers[index % peers.len()].spawn_remote(async move {
                let stream = P::adopt(stream).await.expect("a socket");
                connection::<P>(stream, options).await;
            }));
        }
    });
    answer(port, Stats::default)?;
    std::process::exit(0)
}

/// The conversation with who started this program.
fn answer(port: u16, stats: impl Fn() -> Stats) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening {port}")?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        line?;
        writeln!(out, "{}", serde_json::to_string(&stats())?)?;
        out.flush()?;
    }
    Ok(())
}

async fn connection<P: Http>(stream: P::Stream, options: Options) {
    if options.http {
        P::serve_http(stream, options.steps_a_request).await;
    } else {
        // A client that goes away in the middle of a message is no failure of the server.
        let _ = echo::<P>(stream, &options).await;
    }
}

async fn echo<P: Net>(mut stream: P::Stream, options: &Options) -> io::Result<()> {
    let mut buffer = vec![0; options.buffer];
    loop {
        let read = P::read(&mut stream, &mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        work(options.steps_a_request);
        if options.tag {
            buffer[0] = tag();
        }
        P::write_all(&mut stream, &buffer[..read]).await?;
    }
}

/// The work of a request.
pub(crate) fn work(steps: u64) {
    if steps > 0 {
        std::hint::black_box(spin(1, steps));
    }
}

/// A number for the calling thread.
fn tag() -> u8 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    thread_local!(static TAG: u8 = THREADS.fetch_add(1, Relaxed) as u8);
    TAG.with(|tag| *tag)
}

async fn lateness<P: Time>(counters: Arc<Counters>) {
    const SLEEP: Duration = Duration::from_millis(1);
    loop {
        let due = Instant::now() + SLEEP;
        P::sleep(SLEEP).await;
        let late = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut histogram = counters
            .lateness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(late);
    }
}
