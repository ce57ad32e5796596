//! Bring your own executor: closures on any threads, with divisi's handles.

use std::panic::Location;
use std::sync::Arc;

use divisi_scheduler::Scheduler;
use divisi_task::{Cause, JoinHandle, Runnable, Schedule, TaskId, UnhandledPanic};

pub use divisi_blocking::{Offload, Work};

use crate::context;
use crate::runtime::{ExceptionHandler, Report};
use crate::task::spawn::{SHUT_DOWN, refused, spawn_options};

/// Runs a closure on an executor of your choice, as asyncio's `run_in_executor` does: the runtime's [`Compute`] or [`Blocking`] pool, a
/// [`Pool`](super::Pool) with a size and priority of its own, or your own [`Offload`].
///
/// The job is listed, cancelled and reported like any other of the current runtime: a panic comes back through the handle,
/// what has not begun when the runtime is shut down never runs, and virtual time stands still meanwhile.
///
/// # Panics
///
/// If there is no runtime on this thread; the message says what to do.
///
/// # Examples
///
/// ```
/// use divisi::compute::{self, Offload, Work};
///
/// struct ThreadEach;
///
/// impl Offload for ThreadEach {
///     fn execute(&self, work: Work) {
///         std::thread::spawn(move || work.run());
///     }
/// }
///
/// divisi::run(async {
///     let executors: [&dyn Offload; 3] = [&compute::Compute, &compute::Blocking, &ThreadEach];
///     for executor in executors {
///         assert_eq!(divisi::offload_to(executor, || 6 * 7).await.unwrap(), 42);
///     }
/// });
/// ```
#[track_caller]
pub fn offload_to<F, T>(executor: &(impl Offload + ?Sized), f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let runtime = context::handle();
    let inner = runtime.inner();
    let location = Location::caller();
    if !inner.accepts() {
        return refused(location, SHUT_DOWN.to_owned());
    }
    let scheduler = inner.scheduler();
    scheduler.hold_clock();
    let home = Arc::new(Elsewhere {
        scheduler: scheduler.clone(),
        handler: inner.handler().clone(),
    });
    let options = spawn_options().shard(inner.job_shard());
    match Work::new(f, home, inner.registry(), options) {
        Ok((work, handle)) => {
            executor.execute(work);
            handle
        }
        Err(_closed) => {
            scheduler.release_clock();
            refused(location, SHUT_DOWN.to_owned())
        }
    }
}

/// What a job that runs outside of the runtime's own threads has of the runtime.
#[derive(Debug)]
struct Elsewhere {
    scheduler: Scheduler,
    handler: ExceptionHandler,
}

impl Schedule for Elsewhere {
    fn schedule(&self, task: Runnable, _cause: Cause) {
        // A job ends at its first poll, and is never scheduled again.
        drop(task);
    }

    fn unhandled_panic(&self, report: UnhandledPanic) {
        self.handler.handle(&Report::from(report));
    }

    fn completed(&self, _task: TaskId) {
        self.scheduler.release_clock();
        self.scheduler.job_ended();
    }
}

/// The current runtime's compute pool as an executor; [`offload`](crate::offload) is the direct way to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compute;

impl Offload for Compute {
    fn execute(&self, work: Work) {
        match context::try_handle() {
            Some(runtime) => runtime.inner().compute().execute(work),
            None => work.refuse(context::NO_RUNTIME),
        }
    }
}

/// The current runtime's blocking pool as an executor; [`spawn_blocking`](crate::spawn_blocking) is the direct way to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocking;

impl Offload for Blocking {
    fn execute(&self, work: Work) {
        match context::try_handle() {
            Some(runtime) => runtime.inner().blocking().execute(work),
            None => work.refuse(context::NO_RUNTIME),
        }
    }
}
