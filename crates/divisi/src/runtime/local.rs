//! The runtime of one thread.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divisi_scheduler::BlockOnError;
use divisi_task::JoinHandle;

use super::{BuildError, Builder, Handle, Inner, Shutdown, ShutdownReport, TaskInfo};
use crate::context::EnterGuard;
use crate::task::spawn::{SHUT_DOWN, refused, spawn_options};

/// Tasks that one [`turn`](LocalRuntime::turn) runs at most, so that the loop around it gets its share.
const POLLS_PER_TURN: usize = 256;

/// A runtime whose tasks run on the thread that drives it and on no other, so they need not be `Send`.
///
/// It starts no worker threads: tasks run while the thread is inside [`block_on`](LocalRuntime::block_on) or [`turn`](LocalRuntime::turn).
/// The pools are there, and start threads when they are used.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// let runtime = divisi::LocalRuntime::new()?;
/// let seen = Rc::new(Cell::new(0));
/// let task = runtime.spawn_local({
///     let seen = seen.clone();
///     async move { seen.set(7) }
/// });
/// runtime.block_on(task).unwrap();
/// assert_eq!(seen.get(), 7);
/// # Ok::<(), divisi::BuildError>(())
/// ```
///
/// Inside another event loop: wait until the descriptor is readable or [`next_deadline`](LocalRuntime::next_deadline) has come, then
/// take a turn.
///
/// ```
/// let runtime = divisi::LocalRuntime::new()?;
/// let task = runtime.spawn_local(async { 1 + 1 });
/// while !task.is_finished() {
///     runtime.turn()?;
///     // poll(runtime.as_fd(), runtime.next_deadline()) of the other loop goes here
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LocalRuntime {
    handle: Handle,
    not_send: PhantomData<*const ()>,
}

impl LocalRuntime {
    /// A local runtime with the defaults.
    ///
    /// # Errors
    ///
    /// See [`Builder::build_local`].
    pub fn new() -> Result<LocalRuntime, BuildError> {
        Builder::new().build_local()
    }

    pub(super) fn from_inner(inner: Arc<Inner>) -> LocalRuntime {
        LocalRuntime {
            handle: Handle::new(inner),
            not_send: PhantomData,
        }
    }

    /// A handle with which other threads spawn `Send` tasks here.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Drives `future` and the tasks of this runtime on the current thread until the future completes.
    ///
    /// # Panics
    ///
    /// If the thread already drives a runtime, or if this one was shut down; the message says what to do.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self.handle.inner().scheduler().block_on(future) {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }

    /// Spawns a task that stays on this thread.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        spawn_local_on(self.handle.inner(), future)
    }

    /// Handles what is ready and runs tasks that can run, at most 256 of them, without waiting. Returns how many it ran; if that is 0 there is nothing to
    /// do until [`descriptor`](LocalRuntime::descriptor) becomes readable or the [`next_deadline`](LocalRuntime::next_deadline) comes. If tasks are left, the
    /// descriptor is readable at once.
    ///
    /// # Errors
    ///
    /// If the thread is inside a runtime already, or this one was shut down.
    pub fn turn(&self) -> Result<usize, BlockOnError> {
        self.handle.inner().scheduler().turn(POLLS_PER_TURN)
    }

    /// The descriptor that becomes readable when a [`turn`](LocalRuntime::turn) has something to do; `None` where the system's poller has none to
    /// wait for (Linux has).
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.handle.inner().reactor(0).descriptor()
    }

    /// When the next timer is due, or earlier if it was dropped meanwhile.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.handle.inner().reactor(0).next_deadline()
    }

    /// Makes this the current runtime of the thread while the guard lives; see [`Handle::enter`].
    pub fn enter(&self) -> EnterGuard {
        self.handle.enter()
    }

    /// The tasks that have not ended; see [`Handle::tasks`].
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.handle.tasks()
    }

    /// Ends the runtime as [`Runtime::shutdown`](crate::Runtime::shutdown) does; this thread runs the tasks during the grace.
    pub fn shutdown(&self, how: Shutdown) -> ShutdownReport {
        let inner = self.handle.inner();
        Arc::unwrap_or_clone(inner.shut_down(how, |deadline| {
            // A task's end wakes nobody here, so the look at the registry is a task as well: it runs whenever the others let it.
            let emptied = async {
                while !inner.registry().is_empty() && Instant::now() < deadline {
                    crate::time::sleep(Duration::from_millis(1)).await;
                }
            };
            // Inside another runtime the tasks cannot be run, only aborted.
            let _ = inner.scheduler().block_on(emptied);
        }))
    }
}

#[track_caller]
pub(crate) fn spawn_local_on<F>(inner: &Arc<Inner>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let options = spawn_options();
    let location = options.spawned_at();
    if !inner.accepts() {
        return refused(location, SHUT_DOWN.to_owned());
    }
    #[cfg(feature = "tracing")]
    let future = super::tracing::traced(future, &options);
    inner
        .scheduler()
        .spawn_local(future, options)
        .unwrap_or_else(|_closed| refused(location, SHUT_DOWN.to_owned()))
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
impl std::os::fd::AsFd for LocalRuntime {
    /// See [`descriptor`](LocalRuntime::descriptor).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.inner().reactor(0).as_fd()
    }
}

impl Drop for LocalRuntime {
    fn drop(&mut self) {
        self.shutdown(Shutdown::now());
    }
}

impl fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.handle, f)
    }
}
