//! The blocking pool: closures that wait.

use std::collections::HashSet;
use std::io;
use std::panic::Location;

use divisi_blocking::CpuBoundJob;
use divisi_task::{JoinError, JoinHandle};
use parking_lot::Mutex;

use crate::compute::refused_job;
use crate::context;
use crate::runtime::{ExceptionHandler, Report};
use crate::task::spawn::spawn_options;

/// Runs a closure that *waits* (for a file, a lock, a child process, a driver without async support) on a thread where waiting is allowed.
///
/// Threads are started as needed, up to [`max_blocking_threads`](crate::runtime::Builder::max_blocking_threads); beyond that jobs queue in order. Idle threads
/// end after the keep-alive. A job that was cancelled before it started never runs; a running one cannot be interrupted. A panic comes back through the
/// handle. For closures that *compute*, use [`offload`](crate::offload): in builds with debug assertions, one that computed for 10 ms or
/// more here is reported to the exception handler, once for each place in the source (Linux).
///
/// # Panics
///
/// If there is no runtime on this thread; the message says what to do.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     let text = divisi::spawn_blocking(|| std::fs::read_to_string("/proc/self/comm")).await.unwrap();
///     assert!(text.is_ok());
/// });
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let handle = context::handle();
    let options = spawn_options().shard(handle.inner().job_shard());
    let location = options.spawned_at();
    handle
        .inner()
        .blocking()
        .spawn_with(options, f)
        .unwrap_or_else(|error| refused_job(location, &error))
}

/// Reports jobs that computed in the blocking pool, each place in the source once.
pub(crate) fn report_cpu_bound(
    handler: ExceptionHandler,
) -> impl Fn(&CpuBoundJob) + Send + Sync + 'static {
    let reported: Mutex<HashSet<&'static Location<'static>>> = Mutex::default();
    move |job| {
        if reported.lock().insert(job.spawned_at) {
            handler.handle(&Report {
                task: Some(job.id),
                task_name: job.name.as_deref().map(str::to_owned),
                spawned_at: Some(job.spawned_at),
                ..Report::new(job.to_string())
            });
        }
    }
}

/// Runs a file operation in the blocking pool, for calls that give errors where [`spawn_blocking`] panics or is refused.
pub(crate) fn start_io<F, T>(f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    check()?;
    Ok(spawn_blocking(f))
}

/// Gives the error that [`start_io`] would give on this thread now.
pub(crate) fn check() -> io::Result<()> {
    // Without a runtime there is no pool either.
    context::io_home().map(drop)
}

/// What became of a job of [`start_io`].
pub(crate) fn io_outcome<T>(joined: Result<T, JoinError>) -> io::Result<T> {
    joined.map_err(|error| match error.try_into_panic() {
        Ok(payload) => std::panic::resume_unwind(payload),
        Err(error) => io::Error::other(error),
    })
}
