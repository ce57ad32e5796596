//! Spawning on the current runtime.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use divisi_task::{Cause, JoinHandle, Registry, Runnable, Schedule, SpawnOptions, UnhandledPanic};

use crate::context;
use crate::runtime::{Handle, Report, spawn_local_on, spawn_on};

/// Runs a future as a task of the current runtime, concurrently with whoever spawns it, on any of its workers.
///
/// The task runs even if its handle is never awaited. Dropping the handle detaches the task; a panic of a detached task
/// goes to the exception handler. After the runtime was shut down the task does not run and the handle resolves to a
/// [`JoinError`](crate::task::JoinError) that says so.
///
/// # Panics
///
/// If there is no runtime on this thread; the message says what to do.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     let tasks: Vec<_> = (0..10).map(|n| divisi::spawn(async move { n * n })).collect();
///     let mut sum = 0;
///     for task in tasks {
///         sum += task.await.unwrap();
///     }
///     assert_eq!(sum, 285);
/// });
/// ```
#[inline]
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let options = spawn_options();
    let Some(current) = context::current() else {
        panic!("{}", context::NO_RUNTIME);
    };
    spawn_on(current.runtime(), future, options)
}

/// Runs a future that is not `Send` as a task of the current [`LocalRuntime`](crate::LocalRuntime).
///
/// # Panics
///
/// If there is no runtime on this thread, or if it is not a `LocalRuntime` driven by this thread.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
///
/// let runtime = divisi::LocalRuntime::new()?;
/// runtime.block_on(async {
///     let shared = Rc::new(5);
///     assert_eq!(divisi::spawn_local(async move { *shared }).await.unwrap(), 5);
/// });
/// # Ok::<(), divisi::BuildError>(())
/// ```
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_local_on(local_runtime().inner(), future)
}

/// The `LocalRuntime` that this thread drives, or a panic that says what to do.
#[track_caller]
pub(crate) fn local_runtime() -> Handle {
    let handle = context::handle();
    let runtime = handle.inner();
    if !runtime.is_local() || runtime.scheduler().current_seat().is_none() {
        panic!(
            "`spawn_local` needs a `LocalRuntime` that is driven by this thread: build one with `LocalRuntime::new`, or use `spawn`"
        );
    }
    handle
}

/// Spawns a task whose error nobody awaits: an `Err` goes to the exception handler, as a panic does.
///
/// # Panics
///
/// If there is no runtime on this thread; the message says what to do.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     divisi::spawn_reporting(async {
///         std::fs::metadata("/dev/null")?;
///         Ok::<(), std::io::Error>(())
///     })
///     .await
///     .unwrap();
/// });
/// ```
#[track_caller]
pub fn spawn_reporting<F, E>(future: F) -> JoinHandle<()>
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    let handle = context::handle();
    let spawned_at = Location::caller();
    let reporter = handle.clone();
    handle.spawn_with(
        async move {
            let mut future = pin!(future);
            let mut awaited_at = None;
            let ended = poll_fn(|cx| {
                let polled = future.as_mut().poll(cx);
                if polled.is_pending() {
                    // Each poll begins with a clean slate.
                    awaited_at = super::current().and_then(|task| task.waits_at());
                }
                polled
            });
            if let Err(error) = ended.await {
                let task = super::current();
                reporter.report(&Report {
                    task: task.as_ref().map(|task| task.id()),
                    task_name: task.and_then(|task| task.name().map(|name| name.to_string())),
                    spawned_at: Some(spawned_at),
                    awaited_at,
                    error: Some(error.into()),
                    ..Report::new("a task ended with an error and nobody awaits it".to_owned())
                });
            }
        },
        spawn_options(),
    )
}

/// What a spawn from here passes on: the caller's place, and the current task as the parent.
#[inline]
#[track_caller]
pub(crate) fn spawn_options() -> SpawnOptions {
    SpawnOptions::new()
}

/// Why a task was not run.
pub(crate) const SHUT_DOWN: &str = "the runtime was shut down before this was spawned: keep the `Runtime` alive, or stop spawning first";

/// The handle of a task that was not run.
pub(crate) fn refused<T: 'static>(
    location: &'static Location<'static>,
    why: String,
) -> JoinHandle<T> {
    static NOWHERE: OnceLock<Registry> = OnceLock::new();
    let registry = NOWHERE.get_or_init(|| Registry::new(1));
    let options = SpawnOptions::new().location(location);
    match divisi_task::spawn_local(std::future::pending(), Arc::new(Nobody), registry, options) {
        Ok((task, handle)) => {
            handle.cancel(why);
            drop(task);
            handle
        }
        Err(_closed) => unreachable!("this registry is never closed"),
    }
}

/// The scheduler of tasks that never run.
#[derive(Debug)]
struct Nobody;

impl Schedule for Nobody {
    fn schedule(&self, task: Runnable, _cause: Cause) {
        drop(task);
    }

    fn unhandled_panic(&self, _report: UnhandledPanic) {}
}
