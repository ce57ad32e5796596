//! The parts of a runtime, put together.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use divisi_blocking::{BlockingPool, ComputePool};
use divisi_reactor::{Clock, Reactor};
use divisi_scheduler::{Quiet, Scheduler};
use divisi_task::{CancelReason, Registry, TaskRef};
use parking_lot::{Condvar, Mutex};

use super::report::{ExceptionHandler, Report};
use super::shutdown::{self, Shutdown, ShutdownReport};
use crate::cleanup::orphan::Orphans;
use crate::compute::NamedPools;
use crate::net::Resolver;
use crate::scope::roots::Roots;

pub(crate) struct Inner {
    pub(super) scheduler: Scheduler,
    pub(super) reactors: Box<[Reactor]>,
    /// The reactors of spare workers, made when they are needed.
    pub(super) spare_reactors: Box<[OnceLock<Reactor>]>,
    /// All sources use the first reactor.
    pub(super) shared_reactor: bool,
    pub(super) clock: Clock,
    pub(super) registry: Arc<Registry>,
    pub(super) blocking: BlockingPool,
    pub(super) compute: ComputePool,
    pub(super) named_pools: NamedPools,
    pub(super) resolver: Resolver,
    pub(super) cleanup_deadline: Duration,
    pub(super) ctrl_c: bool,
    pub(super) debug: bool,
    pub(super) orphans: Orphans,
    pub(super) roots: Roots,
    pub(super) handler: ExceptionHandler,
    pub(super) hooks: ThreadHooks,
    #[cfg(feature = "tokio-compat")]
    pub(super) tokio: Option<super::tokio_compat::TokioCompat>,
    pub(super) local: bool,
    pub(super) accepting: AtomicBool,
    pub(super) end: Mutex<End>,
    pub(super) end_changed: Condvar,
}

/// What the user wants to run on every thread that polls.
#[derive(Clone, Default)]
pub(crate) struct ThreadHooks {
    pub(crate) start: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(crate) stop: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl ThreadHooks {
    /// Runs the start hook now and the stop hook when the guard is dropped. Their panics are reported, and the thread goes on.
    pub(crate) fn enter(&self, handler: &ExceptionHandler) -> impl Drop + use<> {
        run_hook(self.start.as_deref(), "start", handler);
        StopHook {
            hook: self.stop.clone(),
            handler: handler.clone(),
        }
    }
}

type Hook = dyn Fn() + Send + Sync;

fn run_hook(hook: Option<&Hook>, which: &str, handler: &ExceptionHandler) {
    let Some(hook) = hook else { return };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(hook)) {
        handler.handle(&Report::of_hook(which, panic));
    }
}

struct StopHook {
    hook: Option<Arc<Hook>>,
    handler: ExceptionHandler,
}

impl Drop for StopHook {
    fn drop(&mut self) {
        run_hook(self.hook.as_deref(), "stop", &self.handler);
    }
}

/// How far a runtime's end has come.
pub(super) enum End {
    Open,
    /// A thread runs the phases.
    Running,
    Ended(Arc<ShutdownReport>),
}

impl Inner {
    #[inline]
    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn blocking(&self) -> &BlockingPool {
        &self.blocking
    }

    pub(crate) fn compute(&self) -> &ComputePool {
        &self.compute
    }

    pub(crate) fn named_pools(&self) -> &NamedPools {
        &self.named_pools
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(crate) fn shared_registry(&self) -> Arc<Registry> {
        self.registry.clone()
    }

    /// The registry shard of the pools' jobs: the last, which no worker uses, as long as there are enough for all.
    pub(crate) fn job_shard(&self) -> usize {
        let seats = self.reactors.len() + self.spare_reactors.len();
        (seats + 1).min(Registry::MOST_SHARDS - 1)
    }

    pub(crate) fn cleanup_deadline(&self) -> Duration {
        self.cleanup_deadline
    }

    pub(super) fn handles_ctrl_c(&self) -> bool {
        self.ctrl_c
    }

    /// Whether it is in debug mode.
    pub(crate) fn debugs(&self) -> bool {
        self.debug
    }

    pub(crate) fn orphans(&self) -> &Orphans {
        &self.orphans
    }

    /// What the scopes of its tasks are in.
    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn handler(&self) -> &ExceptionHandler {
        &self.handler
    }

    pub(crate) fn reactors(&self) -> &[Reactor] {
        &self.reactors
    }

    /// All reactors that exist.
    pub(crate) fn every_reactor(&self) -> impl Iterator<Item = &Reactor> {
        let spares = self.spare_reactors.iter().filter_map(OnceLock::get);
        self.reactors.iter().chain(spares)
    }

    pub(crate) fn reactor(&self, seat: usize) -> &Reactor {
        let spare = || self.spare_reactors.get(seat - self.reactors.len())?.get();
        self.reactors
            .get(seat)
            .or_else(spare)
            .unwrap_or(&self.reactors[0])
    }

    /// The reactor of a spare's seat.
    pub(super) fn make_spare_reactor(&self, seat: usize) -> io::Result<Reactor> {
        let reactor = Reactor::new(self.clock.clone())?;
        // Only the monitor makes them, one at a time.
        let _ = self.spare_reactors[seat - self.reactors.len()].set(reactor.clone());
        Ok(reactor)
    }

    pub(crate) fn io_reactor(&self, seat: usize) -> &Reactor {
        self.reactor(if self.shared_reactor { 0 } else { seat })
    }

    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    /// Whether a spawn from the current thread is accepted.
    #[inline]
    pub(crate) fn accepts(&self) -> bool {
        self.accepting.load(Ordering::Acquire) || crate::context::is_inside(self)
    }

    pub(crate) fn stop_accepting(&self) {
        self.accepting.store(false, Ordering::Release);
    }

    /// Cancels a task as the shutdown does.
    pub(crate) fn abort(&self, task: &TaskRef) {
        task.shutdown(CancelReason::new("the runtime was shut down"));
    }

    /// Cancels the jobs that have not started; no more are taken.
    pub(crate) fn close_pools(&self) {
        self.stop_pools(Instant::now());
    }

    pub(crate) fn stop_pools(&self, end: Instant) {
        let left = || end.saturating_duration_since(Instant::now());
        self.blocking.shutdown(left());
        self.compute.shutdown(left());
        self.named_pools.shutdown(end);
        self.resolver.shutdown(end);
    }

    /// Enters what else the threads of this runtime are to be inside of.
    pub(super) fn enter_companions(&self) -> impl Sized + use<> {
        #[cfg(feature = "tokio-compat")]
        {
            self.tokio
                .as_ref()
                .map(super::tokio_compat::TokioCompat::enter)
        }
    }

    /// Ends what tasks and jobs may use until their own end.
    pub(super) fn stop_companions(&self, end: Instant) {
        #[cfg(feature = "tokio-compat")]
        if let Some(tokio) = &self.tokio {
            tokio.shutdown(end.saturating_duration_since(Instant::now()));
        }
        #[cfg(not(feature = "tokio-compat"))]
        let _ = end;
    }

    pub(crate) fn close_reactors(&self) {
        self.every_reactor().for_each(Reactor::close);
    }

    /// Ends the runtime once; later calls return the first report. A call while another one is under way waits for it, unless it comes from inside of
    /// the runtime, which the other one may be waiting for: that returns an empty report at once.
    pub(crate) fn shut_down(
        self: &Arc<Self>,
        how: Shutdown,
        wait_empty: impl FnOnce(Instant),
    ) -> Arc<ShutdownReport> {
        let mut end = self.end.lock();
        loop {
            match &*end {
                End::Open => break,
                End::Ended(report) => return report.clone(),
                End::Running if crate::context::is_inside(self) => {
                    return Arc::default();
                }
                End::Running => self.end_changed.wait(&mut end),
            }
        }
        *end = End::Running;
        drop(end);
        let mut ending = Ending {
            inner: self,
            report: Arc::default(),
        };
        // What the destructors of tasks call finds the runtime, and is refused by it. Its companions still serve.
        let _companions = self.enter_companions();
        let _current = crate::context::enter(self.clone(), 0);
        ending.report = Arc::new(shutdown::run(self, how, wait_empty));
        ending.report.clone()
    }

    /// With a virtual clock, and if nothing runs: moves time to the next deadline and fires what is due.
    ///
    /// The order matters: a reactor that is handing out what came due before is asked first, for the tasks that it wakes are seen in the queues after that,
    /// and so is a deadline that they arm. And nothing may have run while the pools were asked, or one was asked too early.
    pub(crate) fn jump(&self, nothing_runs: &dyn Fn() -> Option<Quiet>) -> bool {
        let next_deadline = || {
            self.every_reactor()
                .filter_map(Reactor::next_deadline)
                .min()
        };
        let Some(next) = next_deadline() else {
            return false;
        };
        let Some(quiet) = nothing_runs() else {
            return false;
        };
        let is_quiet = !self.every_reactor().any(Reactor::is_delivering)
            && self.blocking.in_flight() == 0
            && self.compute.in_flight() == 0
            && self.named_pools.in_flight() == 0
            && self.resolver.in_flight() == 0
            && nothing_runs() == Some(quiet);
        if !is_quiet || next_deadline() != Some(next) || self.clock.advance_to(next).is_err() {
            // Whoever keeps time from moving looks again when it goes to sleep.
            return false;
        }
        self.fire_timers();
        true
    }

    /// Fires what is due on a virtual clock that was just moved.
    pub(crate) fn fire_timers(&self) {
        let mut scratch = divisi_reactor::Scratch::new(1);
        for reactor in self.every_reactor() {
            // Errors of the poller are reported by the driver that waits in it.
            let _ = reactor.turn(&mut scratch, divisi_reactor::Wait::Poll);
        }
        for panic in scratch.take_panics() {
            self.handler.handle(&Report::of_waker(panic));
        }
    }
}

/// Publishes the report of a shutdown, also if it panicked.
struct Ending<'a> {
    inner: &'a Inner,
    report: Arc<ShutdownReport>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        *self.inner.end.lock() = End::Ended(std::mem::take(&mut self.report));
        self.inner.end_changed.notify_all();
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("scheduler", &self.scheduler)
            .field("blocking", &self.blocking)
            .field("compute", &self.compute)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
