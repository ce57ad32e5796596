//! Clean-ups whose future is gone: they run at the root of the runtime.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
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
    /// Those that have a task, by their number in the order in which they came. The id is there when the spawn has returned, or the task runs.
    living: HashMap<usize, Option<TaskId>>,
    /// The tasks of those.
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

    /// A clean-up comes; its number.
    fn begin(&self) -> usize {
        let mut state = self.0.lock();
        state.total += 1;
        let number = state.total;
        state.living.insert(number, None);
        number
    }

    /// The clean-up with this number, if it has not ended, is this task's.
    fn has_task(&self, number: usize, task: TaskId) {
        let mut state = self.0.lock();
        if let Some(known) = state.living.get_mut(&number) {
            *known = Some(task);
            state.tasks.insert(task);
        }
    }

    /// The task is gone.
    fn end(&self, number: usize) {
        let mut state = self.0.lock();
        if let Some(Some(task)) = state.living.remove(&number) {
            state.tasks.remove(&task);
        }
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
    if handle.inner().debugs() {
        let message = "a clean-up lost its place, because its future was dropped, and runs at the root of the runtime";
        report(message.to_owned(), at, Some(&handle));
    }
    let orphans = handle.inner().orphans();
    let number = orphans.begin();
    let task = Orphan {
        cleanup: Some(cleanup),
        at,
        runtime: handle.inner().clone(),
        number,
        begun: false,
    };
    let options = SpawnOptions::new().location(at).name("clean-up");
    let task = handle.spawn_with(task, options);
    orphans.has_task(number, task.id());
}

/// The task of a clean-up.
struct Orphan {
    cleanup: Option<Owned>,
    at: &'static Location<'static>,
    runtime: Arc<Inner>,
    number: usize,
    begun: bool,
}

impl Future for Orphan {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(cleanup) = &mut this.cleanup else {
            return Poll::Ready(());
        };
        if !std::mem::replace(&mut this.begun, true) {
            if let Some(task) = current::id() {
                this.runtime.orphans().has_task(this.number, task);
            }
        }
        let polled = catch_unwind(AssertUnwindSafe(|| cleanup.as_mut().poll(cx)));
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        this.cleanup = None;
        match polled {
            Ok(Poll::Ready(Some(failed))) => failed.report(this.at),
            Ok(_) => {}
            // Reported as that of any task that nobody awaits.
            Err(panic) => resume_unwind(panic),
        }
        Poll::Ready(())
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.runtime.orphans().end(self.number);
        let Some(cleanup) = self.cleanup.take() else {
            return;
        };
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
