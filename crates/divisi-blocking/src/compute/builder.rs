//! How a compute pool is set up.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use divisi_task::{Registry, UnhandledPanic};

use super::checkpoint::YieldHook;
use super::nice::IdleClass;
use super::{ComputePool, ComputePriority, ComputeYield};
use crate::census::QuietHook;
use crate::error::{BuildError, check_name};
use crate::thread::{ThreadBody, ThreadConfig};

pub(super) type PanicHook = Arc<dyn Fn(UnhandledPanic) + Send + Sync>;
pub(super) type StrayPanicHook = Arc<dyn Fn(Box<dyn Any + Send>) + Send + Sync>;

/// Sets a [`ComputePool`] up. Made by [`ComputePool::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct ComputePoolBuilder {
    pub(super) limit: usize,
    pub(super) priority: ComputePriority,
    pub(super) queue_bound: Option<usize>,
    pub(super) threads: ThreadConfig,
    pub(super) registry: Option<Arc<Registry>>,
    pub(super) unhandled_panic: Option<PanicHook>,
    pub(super) stray_panic: Option<StrayPanicHook>,
    pub(super) idle_class: Option<IdleClass>,
    pub(super) yields: ComputeYield,
    pub(super) yield_when: Option<YieldHook>,
    pub(super) helps: bool,
    pub(super) ticker: bool,
    pub(super) on_quiet: Option<QuietHook>,
}

impl ComputePoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            limit: num_cpus::get(),
            priority: ComputePriority::default(),
            queue_bound: None,
            threads: ThreadConfig::new("divisi-compute"),
            registry: None,
            unhandled_panic: None,
            stray_panic: None,
            idle_class: None,
            yields: ComputeYield::default(),
            yield_when: None,
            helps: true,
            ticker: false,
            on_quiet: None,
        }
    }

    /// How many threads compute. Default: the number of cores the process may use, by its cgroup's quota too.
    pub fn threads(mut self, threads: usize) -> Self {
        self.limit = threads;
        self
    }

    /// How the threads stand back for others. Default: [`ComputePriority::Low`].
    pub fn priority(mut self, priority: ComputePriority) -> Self {
        self.priority = priority;
        self
    }

    /// How many jobs may wait before [`try_offload`](ComputePool::try_offload) refuses and
    /// [`reserve`](ComputePool::reserve) waits. Default: `None`, any number.
    pub fn queue_bound(mut self, bound: Option<usize>) -> Self {
        self.queue_bound = bound;
        self
    }

    /// What the threads' names start with; a number follows. Default: `divisi-compute`.
    ///
    /// Linux shows the first 15 bytes of a name.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.threads.name = name.into();
        self
    }

    /// The threads' stack size in bytes. Default: the standard library's.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.threads.stack_size = Some(bytes);
        self
    }

    /// Called on each compute thread when it has started. A panic in it is ignored.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.threads.on_start = Some(Arc::new(hook));
        self
    }

    /// Called on each compute thread before it ends. A panic in it is ignored.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.threads.on_stop = Some(Arc::new(hook));
        self
    }

    /// How threads are started: the compute threads, and the dispatcher that feeds them. Default:
    /// [`thread::Builder::spawn`]. See [`ThreadSpawner`](crate::ThreadSpawner) for what the function has to keep to.
    pub fn thread_spawner(
        mut self,
        spawner: impl Fn(thread::Builder, ThreadBody) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.threads.spawner = Arc::new(spawner);
        self
    }

    /// Where the jobs are listed while they live. Default: a registry of the pool's own.
    pub fn registry(mut self, registry: Arc<Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Called with the panic of a job whose handle nobody reads. Default: nothing beyond what the panic hook printed.
    pub fn unhandled_panic(
        mut self,
        hook: impl Fn(UnhandledPanic) + Send + Sync + 'static,
    ) -> Self {
        self.unhandled_panic = Some(Arc::new(hook));
        self
    }

    /// Called with the panic of a closure that a job has given to rayon directly (`rayon::spawn`) and that nobody waits
    /// for. Default: it is counted, beyond what the panic hook printed.
    pub fn stray_panic(
        mut self,
        hook: impl Fn(Box<dyn Any + Send>) + Send + Sync + 'static,
    ) -> Self {
        self.stray_panic = Some(Arc::new(hook));
        self
    }

    /// How a thread gets into the system's idle class, for [`ComputePriority::Idle`]: called on each compute thread. Default: it
    /// cannot.
    pub fn idle_class(
        mut self,
        become_idle: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.idle_class = Some(Arc::new(become_idle));
        self
    }

    /// When compute threads give their core away, between jobs and at [`checkpoint`](super::checkpoint)s. Default:
    /// [`ComputeYield::WhenIoWaits`].
    pub fn yields(mut self, when: ComputeYield) -> Self {
        self.yields = when;
        self
    }

    /// For [`ComputeYield::WhenIoWaits`]: does I/O wait for a core? Asked at most every 100 us on each thread. The function must
    /// not block, and must not take a lock that an async worker takes. Default: no, never.
    pub fn yield_when(mut self, io_waits: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.yield_when = Some(Arc::new(io_waits));
        self
    }

    /// Whether a helper of the process's own priority runs a job when no compute thread begins one for 50 ms though jobs wait, because
    /// - the threads are [lowered](Self::priority), want to run, and all of them together got less than a tenth of one core in that time: other programs
    ///   took the cores (on Linux only);
    /// - each of them has a part of a job to run, or waits in one for another part: rayon takes parts first.
    ///
    /// It runs one job, and then the next only if that goes on. `par_iter` and the like inside that one job run on the helper alone, since the threads
    /// that could help it are those that do not come to it. Default: yes.
    pub fn starvation_guard(mut self, on: bool) -> Self {
        self.helps = on;
        self
    }

    /// Whether one thread per core, of the process's own priority, wakes up every 0.5 ms while jobs run, so that the kernel decides
    /// anew who runs. It helps I/O beside closures that run for long and never come to a
    /// [`checkpoint`](super::checkpoint), for 0.5 % of the cores. Default: no. Linux only.
    pub fn ticker(mut self, on: bool) -> Self {
        self.ticker = on;
        self
    }

    /// Called each time the number of jobs [in flight](ComputePool::in_flight) falls to zero, on the thread that ended
    /// the last of them. It must not block. By the time it looks, another job may have been submitted.
    pub fn on_quiet(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_quiet = Some(Arc::new(hook));
        self
    }

    /// Makes the pool. It starts no thread before the first job.
    ///
    /// # Errors
    /// If no thread is asked for, the queue bound is zero, or the thread name holds a zero byte.
    pub fn build(self) -> Result<ComputePool, BuildError> {
        if self.limit == 0 {
            return Err(BuildError::NoThreads);
        }
        if self.queue_bound == Some(0) {
            return Err(BuildError::NoRoom);
        }
        check_name(&self.threads.name)?;
        Ok(ComputePool::from_builder(self))
    }
}

impl fmt::Debug for ComputePoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputePoolBuilder")
            .field("threads", &self.limit)
            .field("priority", &self.priority)
            .field("queue_bound", &self.queue_bound)
            .field("yields", &self.yields)
            .field("starvation_guard", &self.helps)
            .field("ticker", &self.ticker)
            .field("config", &self.threads)
            .finish_non_exhaustive()
    }
}
