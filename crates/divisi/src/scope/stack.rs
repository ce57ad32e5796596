//! The scopes that the poll of this thread is inside of, outermost first.
//!
//! A scope is found by what is polled inside it, not by what was constructed there: futures are built in one place and run in another. So
//! every scope puts itself on this stack while it polls its content. That is all that a scope costs as long as nobody cancels it:
//! its [node](super::node) is made when something inside asks for it.

use std::cell::RefCell;
use std::sync::Arc;

use divisi_task::CancelReason;
use divisi_task::freeze::{self, Mode};

use super::node::Node;
use super::roots;
use crate::time::Instant;

thread_local! {
    static STACK: RefCell<Stack> = const { RefCell::new(Stack::new()) };
}

/// Entries stay where they are when a poll is over, without their nodes, and the next poll writes its own there: one that was made elsewhere would
/// be copied while it is still on its way to the cache, and a processor waits for that.
struct Stack {
    entries: Vec<Entry>,
    /// So many are in use.
    depth: usize,
}

impl Stack {
    const fn new() -> Stack {
        Stack {
            entries: Vec::new(),
            depth: 0,
        }
    }

    /// The place of a new entry on top.
    #[inline]
    fn push(&mut self) -> &mut Entry {
        if self.depth == self.entries.len() {
            self.entries.push(Entry::UNUSED);
        }
        self.depth += 1;
        &mut self.entries[self.depth - 1]
    }

    /// Takes the topmost entry off, and gives its node.
    fn pop(&mut self) -> Option<Arc<Node>> {
        self.depth -= 1;
        self.entries[self.depth].node.take()
    }

    /// Outermost first.
    fn used(&self) -> &[Entry] {
        &self.entries[..self.depth]
    }

    fn used_mut(&mut self) -> &mut [Entry] {
        &mut self.entries[..self.depth]
    }
}

struct Entry {
    node: Option<Arc<Node>>,
    kind: Kind,
    mode: Mode,
    deadline: Option<Instant>,
}

impl Entry {
    const UNUSED: Entry = Entry {
        node: None,
        kind: Kind::Scope,
        mode: Mode::Live,
        deadline: None,
    };
}

/// What an entry of the stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Cancelled with what is around it.
    Scope,
    /// Not cancelled with what is around it.
    Shield,
}

/// Polls inside a scope: `f` runs with the scope on top of the stack, in `mode`. The node that something inside asked for is in `node`
/// afterwards.
pub(crate) fn enter<R>(
    node: &mut Option<Arc<Node>>,
    kind: Kind,
    mode: Mode,
    deadline: Option<Instant>,
    f: impl FnOnce() -> R,
) -> R {
    // While a thread ends it has no stack, and what is polled then has no scope.
    let entered = STACK.try_with(|stack| {
        let mut stack = stack.borrow_mut();
        let entry = stack.push();
        entry.node = node.take();
        entry.kind = kind;
        entry.mode = mode;
        entry.deadline = deadline;
    });
    let _leave = entered.is_ok().then(|| Leave(node));
    if mode == freeze::mode() {
        f()
    } else {
        freeze::with(mode, f)
    }
}

/// Takes the entry off again, also if the poll panics.
struct Leave<'a>(&'a mut Option<Arc<Node>>);

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Ok(node) = STACK.try_with(|stack| stack.borrow_mut().pop()) {
            *self.0 = node;
        }
    }
}

/// Whether the poll is inside no scope, be it that of a group's task.
pub(crate) fn is_empty() -> bool {
    STACK
        .try_with(|stack| stack.borrow().depth == 0)
        .unwrap_or(true)
}

/// The node of the innermost scope here, or else the [root](roots) of the task; `None` outside of both.
pub(crate) fn current_node() -> Option<Arc<Node>> {
    let innermost = innermost_node();
    innermost.or_else(|| {
        if is_empty() {
            roots::current_root()
        } else {
            None
        }
    })
}

fn innermost_node() -> Option<Arc<Node>> {
    STACK
        .try_with(|stack| {
            let mut stack = stack.borrow_mut();
            let stack = stack.used_mut();
            let made = stack.iter().rposition(|entry| entry.node.is_some());
            for at in made.map_or(0, |made| made + 1)..stack.len() {
                let around = match at.checked_sub(1) {
                    Some(at) => stack[at].node.clone(),
                    None => roots::current_root(),
                };
                let entry = &mut stack[at];
                let node = match (around, entry.kind) {
                    (Some(around), Kind::Scope) => Node::inside(&around),
                    _ => Node::new(),
                };
                if entry.mode != Mode::Live && !node.is_cancelled() {
                    node.cancel(CancelReason::new("its time was over"));
                }
                node.set_deadline(entry.deadline);
                entry.node = Some(node);
            }
            stack.last()?.node.clone()
        })
        .ok()
        .flatten()
}

/// Whether a scope here was cancelled, up to the first shield. In the middle of a poll it may be news.
pub(crate) fn is_cancelled() -> bool {
    let is_cancelled = |stack: &RefCell<Stack>| {
        for entry in stack.borrow().used().iter().rev() {
            // A node is cancelled with those around it.
            if let Some(node) = &entry.node {
                return node.is_cancelled();
            }
            if entry.kind == Kind::Shield {
                return false;
            }
        }
        false
    };
    STACK.try_with(is_cancelled).unwrap_or(false)
}

/// Whether the poll is inside the scope of this node. Yes while the thread ends, when nobody knows.
pub(super) fn contains(node: &Arc<Node>) -> bool {
    let is_it = |entry: &Entry| {
        entry
            .node
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, node))
    };
    STACK
        .try_with(|stack| stack.borrow().used().iter().any(is_it))
        .unwrap_or(true)
}

/// The nearest deadline of the scopes here, up to the first shield and across the edges of tasks.
pub(crate) fn deadline() -> Option<Instant> {
    let (mut nearest, mut node) = STACK
        .try_with(|stack| {
            let stack = stack.borrow();
            let stack = stack.used();
            let mut nearest: Option<Instant> = None;
            for entry in stack.iter().rev() {
                nearest = earlier(nearest, entry.deadline);
                if entry.kind == Kind::Shield {
                    return (nearest, None);
                }
            }
            let outermost = stack.first().and_then(|entry| entry.node.clone());
            (nearest, outermost.and_then(|node| node.parent()))
        })
        .unwrap_or_default();
    while let Some(around) = node {
        nearest = earlier(nearest, around.deadline());
        node = around.parent();
    }
    nearest
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
