//! Names to addresses, by the system's resolver on threads of its own.
//!
//! A resolver that hangs takes many seconds for each name, so it must not hold up the blocking pool's files and drivers, nor they it: look-ups have a small pool to
//! themselves, made at the first name. Look-ups of one name that overlap are one job (single flight); each asker gets the result. An asker that goes away
//! leaves the job alone, which is skipped if nobody is left when its turn comes.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use divisi_blocking::BlockingPool;
use divisi_sync::Event;
use parking_lot::Mutex;

use crate::context;
use crate::runtime::{Inner, Report, pool_hooks};
use crate::task::spawn::{SHUT_DOWN, spawn_options};

/// Look-ups that run at a time. asyncio's share of its default executor on two cores is six; a resolver's own limit of requests in flight is rarely higher.
const THREADS: usize = 8;

/// Idle threads end soon: names come in bursts.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// One job, and those who wait for it.
struct Flight {
    found: OnceLock<Found>,
    landed: Event,
}

/// A runtime's look-ups.
#[derive(Default)]
pub(crate) struct Resolver {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pool: Option<Arc<BlockingPool>>,
    closed: bool,
    flights: HashMap<String, Arc<Flight>>,
}

impl Resolver {
    /// Look-ups that run or wait for a thread.
    pub(crate) fn in_flight(&self) -> usize {
        let pool = self.state.lock().pool.clone();
        pool.map_or(0, |pool| pool.in_flight())
    }

    pub(crate) fn shutdown(&self, end: Instant) {
        let pool = {
            let mut state = self.state.lock();
            state.closed = true;
            state.pool.clone()
        };
        if let Some(pool) = pool {
            pool.shutdown(end.saturating_duration_since(Instant::now()));
        }
    }
}

/// The addresses of `host` with `port`.
pub(super) async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let flight = context::with_runtime(|runtime| board(runtime, &host))
        .unwrap_or_else(|| Err(io::Error::other(context::NO_RUNTIME)))?;
    flight.landed.wait().await;
    match flight.found.get().expect("set before `landed`") {
        Ok(found) => Ok(found
            .iter()
            .map(|address| {
                let mut address = *address;
                address.set_port(port);
                address
            })
            .collect()),
        Err(source) => Err(io::Error::new(
            source.kind(),
            LookupError {
                host,
                source: source.clone(),
            },
        )),
    }
}

/// The flight for `host`: one that is under way, or a new one.
fn board(runtime: &Arc<Inner>, host: &str) -> io::Result<Arc<Flight>> {
    let (pool, flight) = {
        let mut state = runtime.resolver().state.lock();
        if let Some(flight) = state.flights.get(host) {
            return Ok(flight.clone());
        }
        if state.closed {
            return Err(io::Error::other(SHUT_DOWN));
        }
        let pool = state.pool.get_or_insert_with(|| Arc::new(pool(runtime)));
        let pool = pool.clone();
        let flight = Arc::new(Flight {
            found: OnceLock::new(),
            landed: Event::new(),
        });
        state.flights.insert(host.to_owned(), flight.clone());
        (pool, flight)
    };
    let landing = Landing {
        runtime: runtime.clone(),
        host: host.to_owned(),
        flight: flight.clone(),
    };
    let job = move || {
        if let Some(host) = landing.still_wanted() {
            let found = (host, 0).to_socket_addrs().map(Iterator::collect);
            landing.flight.land(found.map_err(Arc::new));
        }
    };
    // A job that is refused, or dropped by a shutdown, lands its flight with an error. That happens here or on another thread, so outside of the lock.
    let options = spawn_options().shard(runtime.job_shard());
    drop(pool.spawn_with(options, job));
    Ok(flight)
}

fn pool(runtime: &Arc<Inner>) -> BlockingPool {
    let weak = Arc::downgrade(runtime);
    let (start, stop) = pool_hooks(weak.clone());
    let handler = runtime.handler().clone();
    BlockingPool::builder()
        .max_threads(THREADS)
        .keep_alive(KEEP_ALIVE)
        .thread_name("divisi-dns")
        .registry(runtime.shared_registry())
        .on_thread_start(move || start())
        .on_thread_stop(move || stop())
        .unhandled_panic(move |panic| handler.handle(&Report::from(panic)))
        .on_quiet(move || {
            if let Some(inner) = weak.upgrade() {
                inner.scheduler().job_ended();
            }
        })
        .build()
        .expect("the numbers above are valid")
}

impl Flight {
    fn land(&self, found: Found) {
        // Only the first counts.
        let _ = self.found.set(found);
        self.landed.set();
    }
}

/// Ends a flight, whatever becomes of its job.
struct Landing {
    runtime: Arc<Inner>,
    host: String,
    flight: Arc<Flight>,
}

impl Landing {
    /// The name, unless everybody who asked for it has gone.
    fn still_wanted(&self) -> Option<&str> {
        let mut state = self.runtime.resolver().state.lock();
        // Askers clone under this lock. What is left is the table's and this one.
        if Arc::strong_count(&self.flight) > 2 {
            return Some(&self.host);
        }
        state.flights.remove(&self.host);
        None
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut state = self.runtime.resolver().state.lock();
        // Another flight for the name may have begun after this one was given up.
        let is_ours = |flight: &Arc<Flight>| Arc::ptr_eq(flight, &self.flight);
        if state.flights.get(&self.host).is_some_and(is_ours) {
            state.flights.remove(&self.host);
        }
        drop(state);
        self.flight.land(Err(Arc::new(io::Error::other(SHUT_DOWN))));
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

/// A name could not be resolved: inside the [`io::Error`] of [`lookup_host`](super::lookup_host) and of what takes names.
#[derive(Clone, Debug)]
pub struct LookupError {
    host: String,
    source: Arc<io::Error>,
}

impl LookupError {
    /// The name.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot resolve `{}`: {}", self.host, self.source)
    }
}

impl Error for LookupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
