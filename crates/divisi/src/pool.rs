//! The blocking pool: closures that wait.

use divisi_task::JoinHandle;

use crate::compute::refused_job;
use crate::context;
use crate::task::spawn::spawn_options;

/// Runs a closure that *waits* (for a file, a lock, a child process, a driver without async support) on a thread where waiting is allowed.
///
/// Threads are started as needed, up to [`max_blocking_threads`](crate::runtime::Builder::max_blocking_threads); beyond that jobs queue in order. Idle threads
/// end after the keep-alive. A job that was cancelled before it started never runs; a running one cannot be interrupted. A panic comes back through the
/// handle. For closures that *compute*, use [`offload`](crate::offload).
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
    let options = spawn_options();
    let location = options.location;
    handle
        .inner()
        .blocking()
        .spawn_with(options, f)
        .unwrap_or_else(|error| refused_job(location, &error))
}
