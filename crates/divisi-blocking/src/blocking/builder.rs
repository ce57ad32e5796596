//! How a blocking pool is set up.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use divisi_task::{Registry, UnhandledPanic};

use super::misuse::CpuBoundHook;
use super::{BlockingPool, CpuBoundJob};
use crate::census::QuietHook;
use crate::error::{BuildError, check_name};
use crate::thread::{ThreadBody, ThreadConfig};

/// tokio's default for the same pool, and big enough that waiting jobs rarely wait for each other.
const DEFAULT_MAX_THREADS: usize = 512;
/// tokio's default for the same pool.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(super) type PanicHook = Arc<dyn Fn(UnhandledPanic) + Send + Sync>;

/// Sets a [`BlockingPool`] up. Made by [`BlockingPool::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct BlockingPoolBuilder {
    pub(super) max_threads: usize,
    pub(super) keep_alive: Duration,
    pub(super) threads: ThreadConfig,
    pub(super) registry: Option<Arc<Registry>>,
    pub(super) unhandled_panic: Option<PanicHook>,
    pub(super) cpu_bound: Option<CpuBoundHook>,
    pub(super) on_quiet: Option<QuietHook>,
}

impl BlockingPoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            max_threads: DEFAULT_MAX_THREADS,
            keep_alive: DEFAULT_KEEP_ALIVE,
            threads: ThreadConfig::new("divisi-blocking"),
            registry: None,
            unhandled_panic: None,
            cpu_bound: None,
            on_quiet: None,
        }
    }

    /// How many threads the pool may have at most; further jobs wait in a queue. Default: 512.
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max_threads = threads;
        self
    }

    /// How long a thread waits for another job before it ends. Default: 10 s.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// What the threads' names start with; a number follows. Default: `divisi-blocking`.
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

    /// Called on each thread before it runs its first job. A panic in it is ignored.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.threads.on_start = Some(Arc::new(hook));
        self
    }

    /// Called on each thread before it ends. A panic in it is ignored.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.threads.on_stop = Some(Arc::new(hook));
        self
    }

    /// How threads are started. Default: [`thread::Builder::spawn`]. See [`ThreadSpawner`](crate::ThreadSpawner) for
    /// what the function has to keep to.
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

    /// Called after a job that computed instead of waiting: it took 10 ms or more, and 90 % of that was processor time. Such jobs
    /// take the cores from I/O, without a bound on their number; [`ComputePool`](crate::ComputePool) is for them. It costs each
    /// job two system calls, some 0.5 us. Default: nobody looks. Linux only.
    pub fn on_cpu_bound(mut self, hook: impl Fn(&CpuBoundJob) + Send + Sync + 'static) -> Self {
        self.cpu_bound = Some(Arc::new(hook));
        self
    }

    /// Called each time the number of jobs [in flight](BlockingPool::in_flight) falls to zero, on the thread that ran
    /// the last of them. It must not block. By the time it looks, another job may have been submitted.
    pub fn on_quiet(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_quiet = Some(Arc::new(hook));
        self
    }

    /// Makes the pool. It starts no thread before the first job.
    ///
    /// # Errors
    /// If no thread is allowed, or the thread name holds a zero byte.
    pub fn build(self) -> Result<BlockingPool, BuildError> {
        if self.max_threads == 0 {
            return Err(BuildError::NoThreads);
        }
        check_name(&self.threads.name)?;
        Ok(BlockingPool::from_builder(self))
    }
}

impl fmt::Debug for BlockingPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPoolBuilder")
            .field("max_threads", &self.max_threads)
            .field("keep_alive", &self.keep_alive)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
