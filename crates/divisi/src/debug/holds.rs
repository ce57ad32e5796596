//! Reports locks that are held for too long.

use std::collections::HashSet;
use std::panic::Location;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use divisi_sync::held::{self, Held, Tracking};
use divisi_task::{TaskRef, TaskState};

use crate::Handle;
use crate::context;
use crate::runtime::{Inner, Report};

/// The shortest time between two looks at what is held.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// Watches for locks that tasks of the current runtime hold across an await for longer than `threshold`, and reports them to the exception handler, until the result is
/// dropped or the runtime is gone.
///
/// While it lives, every [`Mutex`](crate::sync::Mutex) and every [`Semaphore`](crate::sync::Semaphore), of whatever runtime, knows who has taken it since, and where:
/// see [`Mutex::holder`](crate::sync::Mutex::holder) and [`sync::held`](crate::sync::held). A report has the place where it was taken, the task that took it, and
/// the place where that task waits now; each place where something was taken is reported once. Where a lock is held for long on purpose, as the permits of a limit are, give that place
/// a reason in your handler.
///
/// A task that is being polled at the moment is not reported: it does not wait. What was taken outside of any task is. The threshold is in real time, on a virtual clock too. This is for finding out what is wrong: taking
/// a lock costs some hundred nanoseconds meanwhile, and nothing without.
///
/// # Errors
///
/// The thread that watches could not be started.
///
/// # Panics
///
/// Outside of a runtime.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use std::time::Duration;
///
/// let (tell, told) = mpsc::channel();
/// let runtime = divisi::Runtime::builder()
///     .worker_threads(1)
///     .exception_handler(move |report| drop(tell.send(report.message.clone())))
///     .build()?;
/// runtime.block_on(async {
///     let _watch = divisi::debug::watch_holds(Duration::from_millis(1))?;
///     let lock = Arc::new(divisi::sync::Mutex::new(()));
///     let hangs = divisi::spawn(async move {
///         let _guard = lock.lock().await;
///         std::future::pending::<()>().await;
///     });
///     let report = divisi::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
///     assert!(report.contains("a Mutex taken at"), "{report}");
///     hangs.cancel("seen enough");
///     Ok::<(), std::io::Error>(())
/// }).unwrap();
/// # Ok::<(), divisi::BuildError>(())
/// ```
pub fn watch_holds(threshold: Duration) -> io::Result<HoldWatch> {
    let runtime = Arc::downgrade(Handle::current().inner());
    let (stop, stopped) = mpsc::channel::<()>();
    let look = (threshold / 4).max(SHORTEST_LOOK);
    let tracking = held::track();
    let thread = thread::Builder::new()
        .name("divisi-hold-watch".into())
        .spawn(move || {
            let mut reported = HashSet::new();
            while stopped.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
                if !report_long_holds(&runtime, threshold, &mut reported) {
                    break;
                }
            }
        })?;
    Ok(HoldWatch {
        stop: Some(stop),
        thread: Some(thread),
        _tracking: tracking,
    })
}

/// Watches what is held until it is dropped: see [`watch_holds`].
///
/// Dropping it outside of any runtime waits for a report that is being made. Inside of one nothing is waited for: that report may still come.
#[derive(Debug)]
#[must_use = "it watches only as long as it lives"]
pub struct HoldWatch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _tracking: Tracking,
}

impl Drop for HoldWatch {
    fn drop(&mut self) {
        self.stop = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The exception handler may drop it, on that thread; and a worker must not wait for a handler, which may want to be served by it.
        let in_runtime = context::with_runtime(|_| ()).is_some();
        if !in_runtime && thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Whether the runtime is still there.
fn report_long_holds(
    runtime: &Weak<Inner>,
    threshold: Duration,
    reported: &mut HashSet<&'static Location<'static>>,
) -> bool {
    for held in held::all() {
        if held.held_for() < threshold || reported.contains(held.taken_at()) {
            continue;
        }
        let Some(runtime) = runtime.upgrade() else {
            return false;
        };
        if held.task().is_none_or(|task| awaits(&runtime, task)) {
            reported.insert(held.taken_at());
            runtime.handler().handle(&Report::from(held));
        }
    }
    runtime.strong_count() > 0
}

/// Whether that task is one of the runtime's and is not being polled.
fn awaits(runtime: &Inner, task: &TaskRef) -> bool {
    let own = runtime.registry().get(task.id());
    own.is_some_and(|own| own.is(task)) && task.state() != TaskState::Running
}

impl From<Held> for Report {
    fn from(held: Held) -> Report {
        let waits = match held.task().and_then(TaskRef::waits_at) {
            Some(place) => format!(", and its task waits at {place}"),
            None => String::new(),
        };
        let report = Report::warning(format!(
            "a {} taken at {} has been held for {:.0?}{waits}. Whoever wants it waits as long: give it back before the await",
            held.what(),
            held.taken_at(),
            held.held_for()
        ));
        match held.task() {
            Some(task) => report.about(task),
            None => Report {
                task: held.task_id(),
                ..report
            },
        }
    }
}
