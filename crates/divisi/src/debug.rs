//! Looking into a running runtime: which tasks live, who spawned whom, and where each waits.
//!
//! Nothing here has a cost until it is called; what it shows is kept for every task anyway (the place where it was spawned, its parent, the
//! place of the operation that it waits for). A snapshot reads task by task while the others go on, so it need not fit together exactly.

mod holds;

use std::collections::{HashMap, VecDeque};
use std::fmt;

use divisi_task::TaskId;

use crate::Handle;
use crate::runtime::{RuntimeMetrics, TaskInfo};

pub use self::holds::{HoldWatch, watch_holds};

/// A picture of the current runtime as text: its workers in numbers, and its [`call_graph`].
///
/// # Panics
///
/// Outside of a runtime; [`dump_of`] takes a handle.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     let waits = divisi::task::Builder::new().name("patient").spawn(divisi::time::sleep(std::time::Duration::MAX));
///     divisi::yield_now().await;
///     let text = divisi::debug::dump().to_string();
///     assert!(text.contains("\"patient\""), "{text}");
///     waits.cancel("seen enough");
/// });
/// ```
#[must_use]
pub fn dump() -> Dump {
    dump_of(&Handle::current())
}

/// As [`dump`], of the runtime of `handle`: for a signal handler's thread or an administration port.
#[must_use]
pub fn dump_of(handle: &Handle) -> Dump {
    Dump {
        metrics: handle.metrics(),
        graph: call_graph_of(handle),
    }
}

/// Who spawned whom in the current runtime: a forest of the tasks and jobs that have not ended.
///
/// Follows asyncio's `capture_call_graph` in what it is for. Its edges are those of spawning, not of awaiting: a parent that awaits a child
/// shows in the parent's [`waits_at`](TaskInfo::waits_at).
///
/// # Panics
///
/// Outside of a runtime; [`call_graph_of`] takes a handle.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     let parent = divisi::spawn(async {
///         let child = divisi::spawn(std::future::pending::<()>());
///         let _ = child.await;
///     });
///     let graph = loop {
///         let graph = divisi::debug::call_graph();
///         if graph.tasks() == 2 {
///             break graph;
///         }
///         divisi::yield_now().await;
///     };
///     assert_eq!(graph.roots.len(), 1);
///     assert_eq!(graph.roots[0].children.len(), 1);
///     parent.cancel("done");
/// });
/// ```
#[must_use]
pub fn call_graph() -> CallGraph {
    call_graph_of(&Handle::current())
}

/// As [`call_graph`], of the runtime of `handle`.
#[must_use]
pub fn call_graph_of(handle: &Handle) -> CallGraph {
    CallGraph::of(handle.tasks())
}

/// Deeper tasks are written at this depth, or not at all: lines stay readable.
const DEEPEST: usize = 40;

/// See [`dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// The counters of the runtime.
    pub metrics: RuntimeMetrics,
    /// Its tasks.
    pub graph: CallGraph,
}

/// See [`call_graph`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CallGraph {
    /// Tasks that were spawned from outside of any task, or whose parent has ended; the oldest identity first.
    pub roots: Vec<CallNode>,
}

/// A task in a [`CallGraph`].
#[non_exhaustive]
pub struct CallNode {
    /// The task.
    pub task: TaskInfo,
    /// Those of its children that have not ended.
    pub children: Vec<CallNode>,
}

impl CallGraph {
    fn of(mut tasks: Vec<TaskInfo>) -> CallGraph {
        tasks.sort_by_key(|task| task.id.as_u64());
        let living: HashMap<TaskId, usize> = tasks
            .iter()
            .enumerate()
            .map(|(index, task)| (task.id, index))
            .collect();
        let mut children = vec![Vec::new(); tasks.len()];
        let mut roots = Vec::new();
        for (index, task) in tasks.iter().enumerate() {
            match task.parent.and_then(|parent| living.get(&parent)) {
                Some(&parent) => children[parent].push(index),
                None => roots.push(index),
            }
        }
        // Children before parents, without recursion: a chain of spawns may be as long as memory allows.
        let mut order = roots.clone();
        let mut next = 0;
        while next < order.len() {
            order.extend_from_slice(&children[order[next]]);
            next += 1;
        }
        let mut nodes: Vec<Option<CallNode>> = Vec::new();
        nodes.resize_with(tasks.len(), || None);
        let mut tasks: Vec<Option<TaskInfo>> = tasks.into_iter().map(Some).collect();
        let take = |nodes: &mut Vec<Option<CallNode>>, indices: &[usize]| {
            indices
                .iter()
                .filter_map(|&index| nodes[index].take())
                .collect::<Vec<_>>()
        };
        for &index in order.iter().rev() {
            let children = take(&mut nodes, &children[index]);
            nodes[index] = tasks[index].take().map(|task| CallNode { task, children });
        }
        CallGraph {
            roots: take(&mut nodes, &roots),
        }
    }

    /// How many tasks it shows.
    #[must_use]
    pub fn tasks(&self) -> usize {
        let mut count = 0;
        self.walk(|_, _| count += 1);
        count
    }

    /// Calls `f` with each node and its depth, parents before children.
    fn walk<'a>(&'a self, mut f: impl FnMut(&'a CallNode, usize)) {
        let mut left: Vec<(&CallNode, usize)> =
            self.roots.iter().rev().map(|node| (node, 0)).collect();
        while let Some((node, depth)) = left.pop() {
            f(node, depth);
            left.extend(node.children.iter().rev().map(|child| (child, depth + 1)));
        }
    }
}

impl Clone for CallNode {
    /// Without recursion, as all that is done with a graph.
    fn clone(&self) -> CallNode {
        let mut order = vec![self];
        let mut next = 0;
        while next < order.len() {
            let node: &CallNode = order[next];
            order.extend(&node.children);
            next += 1;
        }
        // From the last one on, each finds its children at the end of what is made and has no parent yet: the order is one level after the other.
        let mut made = VecDeque::new();
        for node in order.into_iter().rev() {
            let children = made.split_off(made.len() - node.children.len());
            made.push_front(CallNode {
                task: node.task.clone(),
                children: children.into(),
            });
        }
        made.pop_front()
            .expect("the first in the order is this one")
    }
}

impl fmt::Debug for CallNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Shown(self, 0), f)
    }
}

/// A node as `Debug` shows it, and its depth. Below the [deepest](DEEPEST) only numbers are shown, as each level has a frame on the stack.
struct Shown<'a>(&'a CallNode, usize);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Level<'a>(&'a [CallNode], usize);
        impl fmt::Debug for Level<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let shown = self.0.iter().map(|node| Shown(node, self.1));
                f.debug_list().entries(shown).finish()
            }
        }
        let &Shown(CallNode { task, children }, depth) = self;
        let mut shown = f.debug_struct("CallNode");
        shown.field("task", task);
        if depth < DEEPEST {
            shown.field("children", &Level(children, depth + 1));
        } else {
            shown.field("children", &children.len());
        }
        shown.finish()
    }
}

impl Drop for CallNode {
    /// A long chain must not overflow the stack when it is dropped.
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.children);
        while let Some(mut node) = left.pop() {
            left.append(&mut node.children);
        }
    }
}

impl fmt::Display for CallGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        self.walk(|node, depth| {
            if result.is_ok() {
                let indent = 2 * depth.min(DEEPEST);
                result = writeln!(f, "{:indent$}{}", "", node.task);
            }
        });
        result
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheduler = &self.metrics.scheduler;
        writeln!(
            f,
            "{} tasks; {} workers, {} spares; {} stalls so far; {} tasks wait in the injector",
            scheduler.live_tasks,
            scheduler.workers.len(),
            scheduler.spares_running,
            scheduler.stalls,
            scheduler.injector_length,
        )?;
        for (index, worker) in scheduler.workers.iter().enumerate() {
            writeln!(
                f,
                "worker {index}: {} polls, {} parks, {} steals; {} tasks wait",
                worker.polls, worker.parks, worker.steals, worker.queue_length,
            )?;
        }
        write!(f, "{}", self.graph)
    }
}
