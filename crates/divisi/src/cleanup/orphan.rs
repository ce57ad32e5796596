//! Clean-ups whose future is gone: they run at the root of the runtime.

use std::collections::HashSet;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use divisi_task::{SpawnOptions, TaskId, current};
use parking_lot::Mutex;

use super::{Failed, report};
use crate::context;
use crate::runtime::{Handle, Inner};

/// A clean-up that owns all it needs.
pub(crate) type Owned = Pin<Box<dyn Future<Output = Option<Failed>> + Send>>;

/// The clean-ups of a runtime that lost their place.
#[derive(Default)]
pub(crate) struct Orphans(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many there were.
    total: usize,
    /// The tasks of those that run.
    tasks: HashSet<TaskId>,
    /// Those that the runtime took no task of, because it is being shut down.
    left: Vec<(Owned, &'static Location<'static>)>,
    /// The shutdown has run those: too late for more.
    closed: bool,
}

impl Orphans {
    /// How many there were.
    pub(crate) fn total(&self) -> usize {
        self.0.lock().total
    }

    /// Whether a task is that of a clean-up.
    pub(crate) fn has(&self, task: TaskId) -> bool {
        self.0.lock().tasks.contains(&task)
    }

    /// Those that have no task, for the shutdown to run. From the `last` call on, more are refused.
    pub(crate) fn take(&self, last: bool) -> Vec<(Owned, &'static Location<'static>)> {
        let mut state = self.0.lock();
        state.closed |= last;
        std::mem::take(&mut state.left)
    }
}

/// Takes over a clean-up that was dropped before it ended; `at` is where it was set up.
pub(super) fn adopt(cleanup: Owned, at: &'static Location<'static>) {
    let Some(handle) = context::try_handle() else {
        drop(cleanup);
        return report(
            "a clean-up was dropped outside of any runtime and cannot run".to_owned(),
            at,
            None,
        );
    };
    handle.inner().orphans().0.lock().total += 1;
    if handle.inner().debugs() {
        let message = "a clean-up lost its place, because its future was dropped, and runs at the root of the runtime";
        report(message.to_owned(), at, Some(&handle));
    }
    let task = Orphan {
        cleanup: Some(cleanup),
        at,
        runtime: handle.inner().clone(),
        task: None,
    };
    let options = SpawnOptions::new().location(at).name("clean-up");
    drop(handle.spawn_with(task, options));
}

/// The task of a clean-up.
struct Orphan {
    cleanup: Option<Owned>,
    at: &'static Location<'static>,
    runtime: Arc<Inner>,
    task: Option<TaskId>,
}

impl Future for Orphan {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(cleanup) = &mut this.cleanup else {
            return Poll::Ready(());
        };
        if this.task.is_none() {
            this.task = current::id();
            this.runtime.orphans().0.lock().tasks.extend(this.task);
        }
        let Poll::Ready(failed) = cleanup.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        this.cleanup = None;
        if let Some(failed) = failed {
            failed.report(this.at);
        }
        Poll::Ready(())
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            self.runtime.orphans().0.lock().tasks.remove(&task);
        }
        let Some(cleanup) = self.cleanup.take() else {
            return;
        };
        if std::thread::panicking() {
            // Its own panic, which the task reports.
            return;
        }
        let mut state = self.runtime.orphans().0.lock();
        if !state.closed {
            state.left.push((cleanup, self.at));
            return;
        }
        drop(state);
        drop(cleanup);
        report(
            "a clean-up was cut off by the shutdown of its runtime".to_owned(),
            self.at,
            Some(&Handle::new(self.runtime.clone())),
        );
    }
}
