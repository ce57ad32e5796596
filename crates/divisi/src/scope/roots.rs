//! The scope that all scopes of a runtime's tasks are in: what a graceful shutdown cancels first.
//!
//! A task has a root of its own below that of the runtime, made when something in the task asks for the node around it and there is no scope: a task that uses
//! none pays nothing. When the runtime's root is cancelled, the outermost scope of a task stands still as any inner one does, its clean-ups run, and as
//! nobody is there to drop it the task ends itself, as cancelled, once nothing in it must come to its end.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::task::Context;

use divisi_task::{CancelReason, TaskId, current};
use parking_lot::Mutex;

use super::node::Node;
use crate::context;

/// The fewest entries that are worth a look for those that have gone.
const SWEEP_FROM: usize = 64;

/// The roots of a runtime and its tasks.
pub(crate) struct Roots {
    runtime: Arc<Node>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    /// A root lives as long as something in its task is below it, or holds it.
    roots: HashMap<TaskId, Weak<Node>>,
    /// At this size those that have gone are looked for, which keeps the cost of it constant for each root.
    sweep_at: usize,
}

impl Default for Roots {
    fn default() -> Roots {
        Roots {
            runtime: Node::new(),
            tasks: Mutex::default(),
        }
    }
}

impl Roots {
    /// Cancels whatever is inside a scope in a task, now or later.
    pub(crate) fn cancel(&self, reason: CancelReason) {
        self.runtime.cancel(reason);
    }

    fn of_task(&self, task: TaskId) -> Arc<Node> {
        let mut tasks = self.tasks.lock();
        if let Some(root) = tasks.roots.get(&task).and_then(Weak::upgrade) {
            return root;
        }
        if tasks.roots.len() >= tasks.sweep_at {
            tasks.roots.retain(|_, root| root.strong_count() > 0);
            tasks.sweep_at = (2 * tasks.roots.len()).max(SWEEP_FROM);
        }
        let root = Node::of_task(&self.runtime);
        tasks.roots.insert(task, Arc::downgrade(&root));
        root
    }
}

/// The root of the task that is polled; `None` outside of tasks.
///
/// Clean-ups that lost their place have none: a shutdown waits for them. Nor have jobs of the pools: what they poll, they wait for themselves.
pub(super) fn current_root() -> Option<Arc<Node>> {
    let task = current::task()?;
    let id = task.id();
    context::with_runtime(|runtime| {
        let own = runtime.registry().get(id);
        let has_root = own.is_some_and(|own| own.is(&task))
            && id.shard() as usize != runtime.job_shard()
            && !runtime.orphans().has(id);
        has_root.then(|| runtime.roots().of_task(id))
    })?
}

/// Ends the task that is polled if its scopes were cancelled by the shutdown, and nothing in it must come to its end. `outermost` is
/// the node of a scope that waits, without scopes around it in its task.
pub(crate) fn end_task_if_over(outermost: &Node, cx: &Context<'_>) {
    if !outermost.is_inherited() {
        return;
    }
    if let Some(root) = outermost.parent().filter(|parent| parent.is_root()) {
        end_task_of(&root, cx);
    }
}

/// As [`end_task_if_over`], for what stands still in no other scope.
pub(crate) fn end_task_of(root: &Arc<Node>, cx: &Context<'_>) {
    // What was begun in another task is not this one's end.
    if !root.is_cancelled() || !current_root().is_some_and(|own| Arc::ptr_eq(&own, root)) {
        return;
    }
    // Before the look: what must come to its end yet may be something that goes on with a value then and looks no more. Its hold wakes this one.
    root.wake_when_free(cx.waker());
    if root.is_held() {
        return;
    }
    if let (Some(reason), Some(task)) = (root.reason(), current::task()) {
        // It takes effect when this poll is over.
        task.shutdown(reason);
    }
}
