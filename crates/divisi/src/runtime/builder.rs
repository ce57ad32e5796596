//! Choices and their checks.

use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use divisi_blocking::{BlockingPool, ComputePool, ComputePriority, ComputeYield};
use divisi_reactor::{Reactor, TimerSlack};
use divisi_scheduler::{Jump, LongPolls, Park, Quiet, Scheduler, Setup, Spares, Stall};
use divisi_task::Registry;
use parking_lot::{Condvar, Mutex};

use super::driver::Driver;
use super::inner::{End, Inner, ThreadHooks};
use super::report::{ExceptionHandler, Report};
#[cfg(feature = "tokio-compat")]
use super::tokio_compat::{TokioChoice, TokioCompat};
use super::unhandled::UnhandledPanics;
use super::{LocalRuntime, Runtime};
use crate::cleanup::orphan::Orphans;
use crate::compute::{self, NamedPools};
use crate::context;
use crate::net::Resolver;
use crate::pool::report_cpu_bound;
use crate::scope::roots::Roots;

/// Most workers that make sense to ask for; more is taken for a mistake.
const MOST_WORKERS: usize = 4096;
/// Threads that wait, at most. tokio's number.
const BLOCKING_THREADS: usize = 512;
/// How long an idle thread of the blocking pool stays. tokio's number.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A poll longer than this is worth a thread: Go's sysmon uses the same 10 ms.
const STALL_THRESHOLD: Duration = Duration::from_millis(10);
/// How long a cancelled scope waits for a clean-up: as long as a dropped runtime waits for what does not return.
pub(crate) const DEFAULT_CLEANUP_DEADLINE: Duration = Duration::from_secs(5);
/// Every reason for a pool to refuse its settings.
const CHECKED: &str = "the settings of the pools were checked before";
/// A poll longer than this is told of in debug mode: asyncio's `slow_callback_duration`.
const LONG_POLL: Duration = Duration::from_millis(100);
/// Set to anything but `0`: debug mode, unless the builder says otherwise.
const DEBUG_VARIABLE: &str = "DIVISI_DEBUG";
/// Set to anything but `0`: all sources of a runtime use one reactor, whatever the builder says.
const SHARED_REACTOR_VARIABLE: &str = "DIVISI_SHARED_REACTOR";

/// Which time a runtime lives in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The system's monotonic clock.
    #[default]
    Real,
    /// A clock that stands still while anything runs and jumps to the next deadline when nothing does: all workers asleep, all queues empty, no blocking
    /// or compute job out. For tests. [`time::advance`](crate::time::advance) moves it by hand.
    ///
    /// With sockets or child processes in flight the kernel's part is invisible, so time may jump while an answer is on its way;
    /// what happens then is unspecified.
    Virtual,
}

/// Why a runtime could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// `worker_threads(0)`, or more than 4096.
    WorkerThreads(usize),
    /// `compute_threads(0)`.
    ComputeThreads(usize),
    /// `max_blocking_threads(0)`.
    BlockingThreads(usize),
    /// `compute_queue_bound(0)`.
    ComputeQueue,
    /// A thread name with a zero byte in it.
    ThreadName,
    /// The operating system refused a poller.
    Reactor(io::Error),
    /// The operating system refused a thread.
    Thread(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::WorkerThreads(n) => {
                write!(f, "a runtime cannot have {n} worker threads: ask for 1 to {MOST_WORKERS}, or leave the default of one per core")
            }
            BuildError::ComputeThreads(n) => {
                write!(f, "a runtime cannot have {n} compute threads: ask for 1 or more, or leave the default of one per core")
            }
            BuildError::BlockingThreads(n) => {
                write!(f, "a runtime cannot have at most {n} blocking threads: ask for 1 or more, or leave the default of {BLOCKING_THREADS}")
            }
            BuildError::ComputeQueue => {
                f.write_str("a compute queue with room for no job would refuse every job: ask for 1 or more, or leave it unbounded")
            }
            BuildError::ThreadName => f.write_str("a thread name must not contain a zero byte: remove it from `thread_name`"),
            BuildError::Reactor(error) => {
                write!(f, "the operating system refused a poller (raise the limit of open files, or use fewer worker threads): {error}")
            }
            BuildError::Thread(error) => {
                write!(f, "the operating system refused a thread (raise the limit of processes, or use fewer worker threads): {error}")
            }
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BuildError::Reactor(error) | BuildError::Thread(error) => Some(error),
            _ => None,
        }
    }
}

/// Choices to build a [`Runtime`] or [`LocalRuntime`] with. Values are checked when it is built.
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    worker_threads: Option<usize>,
    compute_threads: Option<usize>,
    compute_priority: ComputePriority,
    compute_yield: ComputeYield,
    compute_ticker: bool,
    compute_starvation_guard: bool,
    compute_queue_bound: Option<usize>,
    max_blocking_threads: usize,
    blocking_keep_alive: Duration,
    thread_name: String,
    thread_stack_size: Option<usize>,
    clock: Clock,
    stall_threshold: Option<Duration>,
    spare_workers: Option<usize>,
    shared_reactor: bool,
    cleanup_deadline: Duration,
    ctrl_c: bool,
    debug: Option<bool>,
    unhandled_panics: UnhandledPanics,
    handler: ExceptionHandler,
    hooks: ThreadHooks,
    #[cfg(feature = "tokio-compat")]
    tokio: Option<TokioChoice>,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            worker_threads: None,
            compute_threads: None,
            compute_priority: ComputePriority::default(),
            compute_yield: ComputeYield::default(),
            compute_ticker: false,
            compute_starvation_guard: true,
            compute_queue_bound: None,
            max_blocking_threads: BLOCKING_THREADS,
            blocking_keep_alive: BLOCKING_KEEP_ALIVE,
            thread_name: "divisi".to_owned(),
            thread_stack_size: None,
            clock: Clock::Real,
            stall_threshold: Some(STALL_THRESHOLD),
            spare_workers: None,
            shared_reactor: false,
            cleanup_deadline: DEFAULT_CLEANUP_DEADLINE,
            ctrl_c: true,
            debug: None,
            unhandled_panics: UnhandledPanics::Report,
            handler: ExceptionHandler::default(),
            hooks: ThreadHooks::default(),
            #[cfg(feature = "tokio-compat")]
            tokio: None,
        }
    }

    /// The number of workers; the default is the number of cores that this process may use (affinity and cgroup quota respected).
    pub fn worker_threads(mut self, threads: usize) -> Self {
        self.worker_threads = Some(threads);
        self
    }

    /// The number of compute threads; the default is the number of cores that this process may use. They start with the first job.
    pub fn compute_threads(mut self, threads: usize) -> Self {
        self.compute_threads = Some(threads);
        self
    }

    /// How far compute threads stand back behind everything else; the default is [`ComputePriority::Low`]. Its documentation tells the price
    /// of each beside other programs that want the machine.
    pub fn compute_priority(mut self, priority: ComputePriority) -> Self {
        self.compute_priority = priority;
        self
    }

    /// When compute threads give their core away, between jobs and at [`checkpoint`](crate::compute::checkpoint)s; by default when this
    /// runtime has I/O or tasks that wait for a core. [`ComputeYield::Always`] is the best when the clients are on the same machine.
    pub fn compute_yield(mut self, when: ComputeYield) -> Self {
        self.compute_yield = when;
        self
    }

    /// Whether one thread per core wakes up every 0.5 ms while jobs run, so that I/O does not wait for the kernel's tick beside closures that
    /// run for long and have no checkpoint; off by default. It costs 0.5 % of the cores. Linux only.
    pub fn compute_ticker(mut self, on: bool) -> Self {
        self.compute_ticker = on;
        self
    }

    /// Whether a helper thread of ordinary priority runs a job when other programs leave the compute threads together less than a tenth of one
    /// core for 50 ms while jobs wait; on by default. Linux only.
    pub fn compute_starvation_guard(mut self, on: bool) -> Self {
        self.compute_starvation_guard = on;
        self
    }

    /// The most compute jobs that may wait before [`Builder::try_spawn`](crate::compute::Builder::try_spawn) refuses and
    /// [`offload_when_room`](crate::compute::offload_when_room) waits; no bound by default. [`offload`](crate::offload) itself always takes the job.
    pub fn compute_queue_bound(mut self, jobs: usize) -> Self {
        self.compute_queue_bound = Some(jobs);
        self
    }

    /// The most threads that `spawn_blocking` starts; 512 by default. Jobs beyond that wait in order.
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.max_blocking_threads = threads;
        self
    }

    /// How long a blocking thread stays without a job; 10 s by default.
    pub fn blocking_keep_alive(mut self, time: Duration) -> Self {
        self.blocking_keep_alive = time;
        self
    }

    /// The beginning of the names of all threads; `"divisi"` by default.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// The stack size in bytes of all threads of the runtime; the default is std's.
    pub fn thread_stack_size(mut self, bytes: usize) -> Self {
        self.thread_stack_size = Some(bytes);
        self
    }

    /// Which time the runtime lives in; [`Clock::Real`] by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How long a worker may stay in one poll, while work or events wait behind it that nobody else can look after, before a spare worker takes its
    /// place; 10 ms by default, never less than 1 ms. `None` turns spare workers off. Each such stall is reported to the
    /// [exception handler](Builder::exception_handler), at most once a second.
    pub fn stall_threshold(mut self, threshold: impl Into<Option<Duration>>) -> Self {
        self.stall_threshold = threshold.into();
        self
    }

    /// The most spare workers at a time; as many as there are workers by default.
    pub fn spare_workers(mut self, most: usize) -> Self {
        self.spare_workers = Some(most);
        self
    }

    /// Lets all sockets use the first worker's reactor instead of the one of the worker that handles them. For comparison: it costs
    /// a hand-over between cores for most events. The environment variable `DIVISI_SHARED_REACTOR=1` does the same.
    pub fn shared_reactor(mut self, shared: bool) -> Self {
        self.shared_reactor = shared;
        self
    }

    /// Receives every failure that nobody awaits; the default prints it to standard error. If it panics, the report and the panic are printed and
    /// the runtime goes on. It may run on any thread of the runtime, several at a time.
    /// With the feature `tracing`, each is an event [as well](crate#tracing).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (reports, received) = mpsc::channel();
    /// let reports = std::sync::Mutex::new(reports);
    /// let runtime = divisi::Runtime::builder()
    ///     .worker_threads(1)
    ///     .exception_handler(move |report| reports.lock().unwrap().send(report.message.clone()).unwrap())
    ///     .build()?;
    /// drop(runtime.spawn(async { panic!("nobody looks") }));
    /// assert!(received.recv().unwrap().contains("nobody looks"));
    /// # Ok::<(), divisi::BuildError>(())
    /// ```
    pub fn exception_handler(mut self, handler: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.handler = ExceptionHandler::new(handler);
        self
    }

    /// Debug mode: more is told to the exception handler. If not given, it is on if the environment variable `DIVISI_DEBUG` is set to anything
    /// but `0`, and in `#[divisi::test]`.
    ///
    /// - polls of tasks that took more than 100 ms, when they are over, with the task's name, where it was spawned, and the time;
    /// - tasks that are spawned into a [group](crate::group) that has ended, by a handle that outlived it;
    /// - [clean-ups](crate::cleanup) that lost their place and run at the root of the runtime;
    /// - how many sockets, pipes and child processes were left open when the runtime was shut down.
    ///
    /// Each poll is timed then, which costs some 50 ns.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    ///
    /// let told = Arc::new(Mutex::new(Vec::new()));
    /// let handler = told.clone();
    /// let runtime = divisi::Runtime::builder()
    ///     .debug(true)
    ///     .stall_threshold(None)
    ///     .exception_handler(move |report| handler.lock().unwrap().push(report.message.clone()))
    ///     .build()?;
    /// let task = runtime.spawn(async { std::thread::sleep(Duration::from_millis(101)) });
    /// runtime.block_on(task).unwrap();
    /// drop(runtime);
    /// assert!(told.lock().unwrap()[0].starts_with("a poll took"));
    /// # Ok::<(), divisi::BuildError>(())
    /// ```
    pub fn debug(mut self, on: bool) -> Self {
        self.debug = Some(on);
        self
    }

    /// What happens when a task panics and nobody awaits it, after the exception handler was told;
    /// [`UnhandledPanics::Report`] if not given.
    pub fn unhandled_panics(mut self, what: UnhandledPanics) -> Self {
        self.unhandled_panics = what;
        self
    }

    /// Whether [`Runtime::run`] takes Ctrl-C; it does if not given. [`Runtime::block_on`] and [`run`](crate::run) never do.
    pub fn ctrl_c(mut self, on: bool) -> Self {
        self.ctrl_c = on;
        self
    }

    /// How long a [clean-up](crate::cleanup) may take while a cancelled scope, or the shutdown, waits for it; 5 s if not given.
    /// [`Duration::MAX`] for no limit. What is over it is cut off and reported to the exception handler.
    pub fn cleanup_deadline(mut self, limit: Duration) -> Self {
        self.cleanup_deadline = limit;
        self
    }

    /// Runs on every thread that will poll tasks, run jobs or drive a root future, before it does.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.start = Some(Arc::new(hook));
        self
    }

    /// Runs on those threads when they end or leave the runtime.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.stop = Some(Arc::new(hook));
        self
    }

    /// Whether a runtime of tokio's runs beside this one, so that libraries which insist on tokio (reqwest, sqlx) work in its tasks unchanged; off by default.
    /// Needs the feature `tokio-compat`.
    ///
    /// It has two threads of its own, which serve the sockets and timers of such libraries and what they spawn. Every thread that polls tasks or runs jobs of
    /// this runtime is inside it (in tokio's words: holds its [`EnterGuard`](tokio::runtime::EnterGuard)) from its start, which costs nothing per poll. It
    /// ends last, after the tasks and pools of this runtime.
    ///
    /// What to know:
    /// - A task that such a library spawns by `tokio::spawn` is tokio's: task groups, cancellation, [`Handle::tasks`](crate::Handle::tasks) and
    ///   the shutdown's grace do not see it, and divisi's functions need a [`Handle`](crate::Handle) in it.
    /// - Sockets and timers of tokio's cost a hand-over between threads for each wake-up: prefer divisi's where there is a choice.
    /// - `tokio::task::block_in_place` blocks the worker, and a spare takes its place. `tokio::task::spawn_local` panics.
    /// - tokio's time is real, also beside a virtual clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = divisi::Runtime::builder().worker_threads(1).tokio_compat(true).build()?;
    /// runtime.block_on(async {
    ///     // Panics where there is no tokio runtime.
    ///     tokio::time::sleep(Duration::from_millis(1)).await;
    ///     assert_eq!(tokio::spawn(async { 6 * 7 }).await.unwrap(), 42);
    /// });
    /// # Ok::<(), divisi::BuildError>(())
    /// ```
    #[cfg(feature = "tokio-compat")]
    pub fn tokio_compat(mut self, on: bool) -> Self {
        self.tokio = on.then_some(TokioChoice::Own);
        self
    }

    /// As [`tokio_compat`](Builder::tokio_compat), with a runtime of tokio's that the program has already. It must live longer than this runtime, whose
    /// shutdown leaves it alone.
    #[cfg(feature = "tokio-compat")]
    pub fn tokio_handle(mut self, handle: tokio::runtime::Handle) -> Self {
        self.tokio = Some(TokioChoice::Given(handle));
        self
    }

    /// Builds a multi-threaded runtime and starts its workers.
    ///
    /// # Errors
    ///
    /// A number that makes no sense, or a refusal by the operating system; see [`BuildError`].
    pub fn build(self) -> Result<Runtime, BuildError> {
        let workers = self.worker_threads.unwrap_or_else(num_cpus::get);
        let inner = self.assemble(workers, false)?;
        inner.scheduler.start().map_err(BuildError::Thread)?;
        Ok(Runtime::from_inner(inner))
    }

    /// Builds a runtime that runs on the thread that drives it, and on no other. `worker_threads` is not asked.
    ///
    /// # Errors
    ///
    /// As [`build`](Builder::build).
    pub fn build_local(self) -> Result<LocalRuntime, BuildError> {
        Ok(LocalRuntime::from_inner(self.assemble(1, true)?))
    }

    fn assemble(self, workers: usize, local: bool) -> Result<Arc<Inner>, BuildError> {
        divisi_task::capture_panic_traces();
        if workers == 0 || workers > MOST_WORKERS {
            return Err(BuildError::WorkerThreads(workers));
        }
        let compute_threads = self.compute_threads.unwrap_or_else(num_cpus::get);
        if compute_threads == 0 {
            return Err(BuildError::ComputeThreads(compute_threads));
        }
        if self.max_blocking_threads == 0 {
            return Err(BuildError::BlockingThreads(self.max_blocking_threads));
        }
        if self.compute_queue_bound == Some(0) {
            return Err(BuildError::ComputeQueue);
        }
        if self.thread_name.contains('\0') {
            return Err(BuildError::ThreadName);
        }
        let clock = match self.clock {
            Clock::Real => divisi_reactor::Clock::real(),
            Clock::Virtual => divisi_reactor::Clock::manual(),
        };
        #[cfg(feature = "tokio-compat")]
        let tokio = self
            .tokio
            .map(|choice| TokioCompat::start(choice, &self.thread_name))
            .transpose()
            .map_err(BuildError::Reactor)?;
        let debug = self.debug.unwrap_or_else(|| switched_on(DEBUG_VARIABLE));
        let shared_reactor = self.shared_reactor || switched_on(SHARED_REACTOR_VARIABLE);
        let reactors: Box<[Reactor]> = (0..workers)
            .map(|_| Reactor::new(clock.clone()))
            .collect::<io::Result<_>>()
            .map_err(BuildError::Reactor)?;
        let spare_workers = self.spare_workers.unwrap_or(workers).min(MOST_WORKERS);
        // One shard a seat, one for spawns from elsewhere and one for the jobs of the pools.
        let registry = Arc::new(Registry::new(workers + spare_workers + 2));
        Ok(Arc::new_cyclic(|weak: &Weak<Inner>| {
            let drivers = reactors
                .iter()
                .map(|reactor| {
                    Box::new(Driver::new(reactor.clone(), self.handler.clone())) as Box<dyn Park>
                })
                .collect();
            let unhandled = {
                let handler = self.handler.clone();
                let (what, weak) = (self.unhandled_panics, weak.clone());
                Arc::new(move |panic: divisi_task::UnhandledPanic| {
                    handler.handle(&Report::from(panic));
                    what.follow(&weak);
                })
            };
            let spares = self
                .stall_threshold
                .filter(|_| !local)
                .map(|threshold| Spares {
                    most: spare_workers,
                    threshold,
                    driver: spare_driver(weak.clone()),
                    report: stall_report(self.handler.clone()),
                });
            let seats = workers + spares.as_ref().map_or(0, |spares| spares.most);
            let name = self.thread_name.clone();
            let scheduler = Scheduler::new(Setup {
                drivers,
                registry: registry.clone(),
                background: !local,
                thread_name: Arc::new(move |number| {
                    if number < workers {
                        format!("{name}-worker-{number}")
                    } else if !local && number < seats {
                        format!("{name}-spare-{}", number - workers)
                    } else {
                        format!("{name}-monitor")
                    }
                }),
                stack_size: self.thread_stack_size,
                enter: enter_hook(weak.clone()),
                unhandled_panic: unhandled.clone(),
                spares,
                long_polls: debug.then(|| long_polls(self.handler.clone())),
                jump: clock.is_virtual().then(|| {
                    let weak = weak.clone();
                    Box::new(move |nothing_runs: &dyn Fn() -> Option<Quiet>| {
                        weak.upgrade().is_some_and(|inner| inner.jump(nothing_runs))
                    }) as Jump
                }),
            });
            let (pool_start, pool_stop) = pool_hooks(weak.clone());
            let quiet = {
                let weak = weak.clone();
                Arc::new(move || {
                    if let Some(inner) = weak.upgrade() {
                        inner.scheduler.job_ended();
                    }
                })
            };
            let mut blocking = BlockingPool::builder()
                .max_threads(self.max_blocking_threads)
                .keep_alive(self.blocking_keep_alive)
                .thread_name(format!("{}-blocking", self.thread_name))
                .registry(registry.clone())
                .on_thread_start(move || pool_start())
                .on_thread_stop(move || pool_stop())
                .unhandled_panic(move |panic| unhandled(panic))
                .on_quiet(move || quiet());
            if cfg!(debug_assertions) {
                blocking = blocking.on_cpu_bound(report_cpu_bound(self.handler.clone()));
            }
            let mut compute = ComputePool::builder()
                .threads(compute_threads)
                .priority(self.compute_priority)
                .yields(self.compute_yield)
                .ticker(self.compute_ticker)
                .starvation_guard(self.compute_starvation_guard)
                .queue_bound(self.compute_queue_bound)
                .thread_name(format!("{}-compute", self.thread_name))
                .registry(registry.clone());
            compute = compute::for_runtime(compute, weak, &self.handler);
            if let Some(bytes) = self.thread_stack_size {
                blocking = blocking.stack_size(bytes);
                compute = compute.stack_size(bytes);
            }
            Inner {
                scheduler,
                reactors: reactors.clone(),
                spare_reactors: (0..spare_workers).map(|_| OnceLock::new()).collect(),
                shared_reactor,
                clock,
                registry,
                blocking: blocking.build().expect(CHECKED),
                compute: compute.build().expect(CHECKED),
                named_pools: NamedPools::default(),
                resolver: Resolver::default(),
                cleanup_deadline: self.cleanup_deadline,
                ctrl_c: self.ctrl_c,
                debug,
                orphans: Orphans::default(),
                roots: Roots::default(),
                handler: self.handler,
                hooks: self.hooks,
                #[cfg(feature = "tokio-compat")]
                tokio,
                local,
                accepting: AtomicBool::new(true),
                end: Mutex::new(End::Open),
                end_changed: Condvar::new(),
            }
        }))
    }
}

fn switched_on(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value != "0")
}

/// Tells the exception handler of polls that took long.
fn long_polls(handler: ExceptionHandler) -> LongPolls {
    LongPolls {
        threshold: LONG_POLL,
        report: Box::new(move |task, took| handler.handle(&Report::of_long_poll(task, took))),
    }
}

/// Makes the driver of a spare worker.
fn spare_driver(
    weak: Weak<Inner>,
) -> Box<dyn Fn(usize) -> io::Result<Box<dyn Park>> + Send + Sync> {
    Box::new(move |seat| {
        let inner = weak
            .upgrade()
            .ok_or_else(|| io::Error::other("the runtime is being shut down"))?;
        let reactor = inner.make_spare_reactor(seat)?;
        Ok(Box::new(Driver::new(reactor, inner.handler().clone())))
    })
}

/// Tells the exception handler of a worker that is stuck.
fn stall_report(handler: ExceptionHandler) -> Box<dyn Fn(Stall) + Send + Sync> {
    Box::new(move |stall| handler.handle(&Report::from(stall)))
}

/// What every thread does that takes a seat: it makes the runtime current, lowers its timer slack and runs the user's hook.
fn enter_hook(weak: Weak<Inner>) -> Arc<dyn Fn(usize) -> Box<dyn std::any::Any> + Send + Sync> {
    Arc::new(move |seat| match weak.upgrade() {
        None => Box::new(()),
        Some(inner) => {
            let (hooks, handler) = (inner.hooks.clone(), inner.handler.clone());
            let companions = inner.enter_companions();
            let current = context::enter(inner, seat);
            let slack = TimerSlack::lower();
            // Dropped in this order: the user's stop hook still sees the runtime.
            Box::new((hooks.enter(&handler), slack, current, companions))
        }
    })
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// The same for threads of the pools, whose hooks come in pairs without a guard.
pub(crate) fn pool_hooks(weak: Weak<Inner>) -> (Hook, Hook) {
    thread_local! {
        static ENTERED: std::cell::RefCell<Option<Box<dyn std::any::Any>>> = const { std::cell::RefCell::new(None) };
    }
    let start = Arc::new(move || {
        if let Some(inner) = weak.upgrade() {
            let (hooks, handler) = (inner.hooks.clone(), inner.handler.clone());
            let companions = inner.enter_companions();
            let current = context::enter(inner, 0);
            let guard: Box<dyn std::any::Any> =
                Box::new((hooks.enter(&handler), current, companions));
            ENTERED.with(|entered| *entered.borrow_mut() = Some(guard));
        }
    });
    let stop = Arc::new(|| {
        let guard = ENTERED.with(|entered| entered.borrow_mut().take());
        drop(guard);
    });
    (start, stop)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("worker_threads", &self.worker_threads)
            .field("compute_threads", &self.compute_threads)
            .field("compute_priority", &self.compute_priority)
            .field("compute_yield", &self.compute_yield)
            .field("max_blocking_threads", &self.max_blocking_threads)
            .field("thread_name", &self.thread_name)
            .field("clock", &self.clock)
            .field("shared_reactor", &self.shared_reactor)
            .field("exception_handler", &self.handler)
            .finish_non_exhaustive()
    }
}
