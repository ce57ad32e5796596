//! Counters, in Prometheus' text format.

use std::fmt::{self, Display, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use divisi::compute::Priority;
use divisi::runtime::RuntimeMetrics;
use hyper::StatusCode;

/// What the server counts itself. All relaxed: each number stands alone.
#[derive(Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    broken_connections: AtomicU64,
    accept_errors: AtomicU64,
    in_flight: AtomicUsize,
    /// By the first digit of the status, from 1.
    answers: [AtomicU64; 5],
}

impl Counters {
    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn broken_connection(&self) {
        self.broken_connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request as in flight until the guard is dropped, also when its client goes away.
    pub(crate) fn request(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.answers.get(class.wrapping_sub(1)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(crate) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The page for `/metrics`.
pub(crate) fn page(runtime: &RuntimeMetrics, server: &Counters) -> String {
    let mut page = Page(String::new());
    page.server(server);
    page.scheduler(runtime);
    page.reactors(runtime);
    page.pools(runtime);
    page.0
}

struct Page(String);

/// The two kinds of numbers here.
enum Kind {
    /// Only grows, until the process restarts.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Page {
    fn server(&mut self, server: &Counters) {
        use Kind::{Counter, Gauge};
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.one(
            "http_connections_total",
            Counter,
            "Connections accepted.",
            get(&server.connections),
        );
        self.one(
            "http_broken_connections_total",
            Counter,
            "Connections that ended in the middle of something.",
            get(&server.broken_connections),
        );
        self.one(
            "http_accept_errors_total",
            Counter,
            "Accepts that the system refused.",
            get(&server.accept_errors),
        );
        self.one(
            "http_requests_in_flight",
            Gauge,
            "Requests whose answer has not begun.",
            server.in_flight.load(Ordering::Relaxed),
        );
        let classes = server
            .answers
            .iter()
            .zip(1..)
            .map(|(counter, class)| (format!("{class}xx"), get(counter)));
        self.family(
            "http_responses_total",
            Counter,
            "Answers, by class of status.",
            "code",
            classes,
        );
    }

    fn scheduler(&mut self, runtime: &RuntimeMetrics) {
        use Kind::{Counter, Gauge};
        let scheduler = &runtime.scheduler;
        let by_worker = |get: fn(&_) -> u64| {
            scheduler
                .workers
                .iter()
                .map(get)
                .enumerate()
                .collect::<Vec<_>>()
        };
        self.one(
            "divisi_tasks",
            Gauge,
            "Tasks that have not ended.",
            scheduler.live_tasks,
        );
        self.one(
            "divisi_injector_length",
            Gauge,
            "Tasks that wait in the shared queue.",
            scheduler.injector_length,
        );
        self.family(
            "divisi_polls_total",
            Counter,
            "Polls of tasks.",
            "worker",
            by_worker(|w| w.polls),
        );
        self.family(
            "divisi_steals_total",
            Counter,
            "Thefts from other workers.",
            "worker",
            by_worker(|w| w.steals),
        );
        self.family(
            "divisi_parks_total",
            Counter,
            "Times the worker went to sleep.",
            "worker",
            by_worker(|w| w.parks),
        );
        self.family(
            "divisi_rescues_total",
            Counter,
            "Times the worker polled the reactor of a busy one.",
            "worker",
            by_worker(|w| w.rescued_drivers),
        );
        self.family(
            "divisi_queue_length",
            Gauge,
            "Tasks that wait in the worker's queue.",
            "worker",
            by_worker(|w| w.queue_length as u64),
        );
    }

    fn reactors(&mut self, runtime: &RuntimeMetrics) {
        use Kind::{Counter, Gauge};
        let by_reactor = |get: fn(&_) -> u64| {
            runtime
                .reactors
                .iter()
                .map(get)
                .enumerate()
                .collect::<Vec<_>>()
        };
        self.family(
            "divisi_reactor_turns_total",
            Counter,
            "Polls of the system.",
            "reactor",
            by_reactor(|r| r.turns),
        );
        self.family(
            "divisi_reactor_events_total",
            Counter,
            "Events of sockets.",
            "reactor",
            by_reactor(|r| r.events),
        );
        self.family(
            "divisi_reactor_timers_fired_total",
            Counter,
            "Timers that fired.",
            "reactor",
            by_reactor(|r| r.timers_fired),
        );
        self.family(
            "divisi_reactor_sources",
            Gauge,
            "Sockets registered.",
            "reactor",
            by_reactor(|r| r.sources as u64),
        );
        self.family(
            "divisi_reactor_timers",
            Gauge,
            "Timers armed.",
            "reactor",
            by_reactor(|r| r.timers as u64),
        );
    }

    fn pools(&mut self, runtime: &RuntimeMetrics) {
        use Kind::{Counter, Gauge};
        let compute = &runtime.compute;
        self.one(
            "divisi_compute_threads",
            Gauge,
            "Compute threads.",
            compute.threads,
        );
        self.one(
            "divisi_compute_running",
            Gauge,
            "Compute jobs that run.",
            compute.running,
        );
        let queued = Priority::ALL.map(|priority| {
            (
                format!("{priority:?}").to_lowercase(),
                compute.queued(priority),
            )
        });
        self.family(
            "divisi_compute_queued",
            Gauge,
            "Compute jobs that wait.",
            "priority",
            queued,
        );
        let ended = [
            ("completed", compute.completed),
            ("cancelled", compute.cancelled),
            ("panicked", compute.panicked),
        ];
        self.family(
            "divisi_compute_jobs_total",
            Counter,
            "Compute jobs that ended.",
            "how",
            ended,
        );
        self.one(
            "divisi_compute_seconds_total",
            Counter,
            "Time that compute jobs ran.",
            compute.run_time.as_secs_f64(),
        );
        self.one(
            "divisi_compute_wait_seconds_total",
            Counter,
            "Time that compute jobs waited.",
            compute.queue_wait.as_secs_f64(),
        );

        let blocking = &runtime.blocking;
        self.one(
            "divisi_blocking_threads",
            Gauge,
            "Blocking threads.",
            blocking.threads,
        );
        self.one(
            "divisi_blocking_running",
            Gauge,
            "Blocking jobs that run.",
            blocking.running,
        );
        self.one(
            "divisi_blocking_queued",
            Gauge,
            "Blocking jobs that wait.",
            blocking.queued,
        );
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    fn family<L: Display, V: Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(name, kind, help);
        for (value, sample) in samples {
            self.line(format_args!("{name}{{{label}=\"{value}\"}} {sample}"));
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }
}
