//! The tree of scopes: who is cancelled with whom, and who still cleans up.
//!
//! A node is made when something must be reached from elsewhere: a scope that can be cancelled by a handle, a child of a group, or a
//! scope with a clean-up inside. A plain `timeout` has none.
//!
//! Two things travel through the tree:
//!
//! * *Down: cancellation.* [`Node::cancel`] marks a node and everything below it, and wakes each. A node that is attached later
//!   learns it from its parent. Both happen under the parent's lock, so none is missed.
//! * *Up: life.* Whatever must come to an end before its scope may report (a clean-up, a shielded future, a group) holds the node
//!   that it is in; a node that is held holds its parent, up to the edge of the task. All holds of a task are taken and given
//!   back by whoever polls or drops that task, so a scope that looks after it has polled its content sees them all.
//!
//! A shield is a node without a parent: cancellation does not pass it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use divisi_task::CancelReason;
use parking_lot::Mutex;
use slab::Slab;

use super::{catch, first_panic};
use crate::time::Instant;

/// The scope itself was cancelled.
const OWN: u8 = 1;
/// A scope around it was cancelled.
const INHERITED: u8 = 2;

pub(crate) struct Node {
    /// Changed under the lock, so that it agrees with the reason; read without.
    cancelled: AtomicU8,
    /// See the module: clean-ups and the like inside.
    held: AtomicUsize,
    /// Stands for a whole task, below the runtime's: see [`roots`](super::roots).
    is_root: bool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    parent: Option<Parent>,
    reason: Option<CancelReason>,
    waker: Option<Waker>,
    /// Those who are woken when the node is cancelled: nodes, and clean-ups that have none.
    below: Slab<Below>,
    deadline: Option<Instant>,
    /// Those who are woken when nothing holds the node any more: what stands still in a task, in its root.
    standing: Vec<Waker>,
}

struct Parent {
    node: Arc<Node>,
    place: usize,
    /// Whether the node is part of the same future as its parent, so that its holds are the parent's too.
    same_task: bool,
}

enum Below {
    Node(Weak<Node>),
    Hold(Option<Waker>),
}

impl Node {
    pub(crate) fn new() -> Arc<Node> {
        Node::make(false)
    }

    fn make(is_root: bool) -> Arc<Node> {
        Arc::new(Node {
            cancelled: AtomicU8::new(0),
            held: AtomicUsize::new(0),
            is_root,
            inner: Mutex::default(),
        })
    }

    /// The root of a task, below that of the `runtime`.
    pub(super) fn of_task(runtime: &Arc<Node>) -> Arc<Node> {
        let node = Node::make(true);
        node.attach(runtime, false);
        node
    }

    /// Whether it stands for a whole task.
    pub(super) fn is_root(&self) -> bool {
        self.is_root
    }

    /// A node below `parent`, in the same task.
    pub(crate) fn inside(parent: &Arc<Node>) -> Arc<Node> {
        let node = Node::new();
        node.attach(parent, true);
        node
    }

    /// A node below `parent`, for another task.
    pub(crate) fn of_child_task(parent: &Arc<Node>) -> Arc<Node> {
        let node = Node::new();
        node.attach(parent, false);
        node
    }

    /// Puts a node that has no parent below one.
    pub(crate) fn attach(self: &Arc<Node>, parent: &Arc<Node>, same_task: bool) {
        let (place, reason) = {
            let mut above = parent.inner.lock();
            let place = above.below.insert(Below::Node(Arc::downgrade(self)));
            (
                place,
                parent
                    .is_cancelled()
                    .then(|| above.reason.clone())
                    .flatten(),
            )
        };
        {
            let mut inner = self.inner.lock();
            debug_assert!(inner.parent.is_none(), "a node has one parent");
            inner.parent = Some(Parent {
                node: parent.clone(),
                place,
                same_task,
            });
        }
        if let Some(reason) = reason {
            self.mark(INHERITED, &reason);
        }
    }

    pub(crate) fn parent(&self) -> Option<Arc<Node>> {
        Some(self.inner.lock().parent.as_ref()?.node.clone())
    }

    /// Cancels the node and all below it. The first reason stays. Returns whether it was the first.
    pub(crate) fn cancel(self: &Arc<Node>, reason: CancelReason) -> bool {
        self.mark(OWN, &reason)
    }

    fn mark(self: &Arc<Node>, how: u8, reason: &CancelReason) -> bool {
        // Not recursive: groups may be nested as deep as anybody likes.
        let mut news = self.mark_one(how, reason);
        let first = news.is_some();
        let mut queue = VecDeque::new();
        let mut wakers = Vec::new();
        while let Some(one) = news.take() {
            queue.extend(one.below);
            wakers.extend(one.wakers);
            while news.is_none() {
                let Some(next) = queue.pop_front() else { break };
                news = next.mark_one(INHERITED, reason);
            }
        }
        // When all are marked, and each by itself: foreign wakers may panic, and nobody is to miss a cancellation for that.
        first_panic(wakers.into_iter().map(|waker| catch(|| waker.wake())));
        first
    }

    /// Marks this node. What is to be done then, without the lock; `None` if it was marked before.
    fn mark_one(&self, how: u8, reason: &CancelReason) -> Option<News> {
        let mut inner = self.inner.lock();
        let before = self.cancelled.load(Ordering::Relaxed);
        if before & how != 0 {
            return None;
        }
        if before == 0 || how == OWN && before & OWN == 0 {
            // Its own reason counts more than that of a scope around it.
            inner.reason = Some(reason.clone());
        }
        self.cancelled.store(before | how, Ordering::Release);
        let mut news = News {
            wakers: inner.waker.take().into_iter().collect(),
            below: Vec::new(),
        };
        if before == 0 {
            for (_, below) in &mut inner.below {
                match below {
                    Below::Node(node) => news.below.extend(node.upgrade()),
                    Below::Hold(waker) => news.wakers.extend(waker.take()),
                }
            }
        }
        Some(news)
    }

    /// Whether it or a scope around it was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) != 0
    }

    /// Whether it was cancelled itself.
    pub(crate) fn is_own(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) & OWN != 0
    }

    /// Whether a scope around it was cancelled.
    pub(crate) fn is_inherited(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) & INHERITED != 0
    }

    /// Why it was cancelled, if it was.
    pub(crate) fn reason(&self) -> Option<CancelReason> {
        self.inner.lock().reason.clone()
    }

    /// Wakes this one when the node is cancelled. Whoever polls looks at the node after this call.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut inner = self.inner.lock();
        if inner.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return;
        }
        // Foreign code runs without the lock.
        drop(inner);
        let new = waker.clone();
        inner = self.inner.lock();
        let old = inner.waker.replace(new);
        drop(inner);
        drop(old);
    }

    /// Wakes who polls the scope.
    pub(crate) fn wake(&self) {
        let waker = self.inner.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// It has ended: nobody has to be woken.
    pub(crate) fn forget_waker(&self) {
        let waker = self.inner.lock().waker.take();
        drop(waker);
    }

    /// Whether it was cancelled with the scope around it in its future, and not itself. Gives that scope.
    pub(super) fn cut_off_by(&self) -> Option<Arc<Node>> {
        if self.is_own() || !self.is_inherited() {
            return None;
        }
        match &self.inner.lock().parent {
            Some(parent) if parent.same_task && !parent.node.is_root => Some(parent.node.clone()),
            _ => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.inner.lock().deadline
    }

    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        self.inner.lock().deadline = deadline;
    }

    /// Whether something inside must come to its end yet.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) != 0
    }

    fn take_hold(self: &Arc<Node>) {
        self.for_line(|node| node.held.fetch_add(1, Ordering::AcqRel) == 0);
    }

    /// Returns who has to be told of it: foreign code.
    #[must_use]
    fn give_back(self: &Arc<Node>) -> Vec<Waker> {
        let mut standing = Vec::new();
        self.for_line(|node| {
            let is_last = node.held.fetch_sub(1, Ordering::AcqRel) == 1;
            if is_last && node.is_root && node.is_cancelled() {
                standing = std::mem::take(&mut node.inner.lock().standing);
            }
            is_last
        });
        standing
    }

    /// Wakes this one when nothing holds the root any more. Whoever stands still looks at it after this call.
    pub(super) fn wake_when_free(&self, waker: &Waker) {
        let knows = |standing: &[Waker]| standing.iter().any(|known| known.will_wake(waker));
        if knows(&self.inner.lock().standing) {
            return;
        }
        // Foreign code runs without the lock.
        let new = waker.clone();
        self.inner.lock().standing.push(new);
    }

    /// Calls `f` with this node and those around it in its task, as long as it says so.
    fn for_line(self: &Arc<Node>, mut f: impl FnMut(&Node) -> bool) {
        let mut node = self.clone();
        while f(&node) {
            let parent = match &node.inner.lock().parent {
                Some(parent) if parent.same_task => parent.node.clone(),
                _ => return,
            };
            node = parent;
        }
    }
}

/// What follows from a node that was marked.
struct News {
    wakers: Vec<Waker>,
    below: Vec<Arc<Node>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Not recursive: see `mark`. Each round drops one more parent.
        let mut parent = self.inner.get_mut().parent.take();
        while let Some(Parent { node, place, .. }) = parent {
            let gone = node.inner.lock().below.try_remove(place);
            drop(gone);
            parent = match Arc::try_unwrap(node) {
                Ok(mut last) => last.inner.get_mut().parent.take(),
                Err(_shared) => None,
            };
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("cancelled", &self.is_cancelled())
            .field("held", &self.held)
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}

/// Something that the scopes around it wait for before they report.
#[derive(Debug)]
pub(crate) struct Hold {
    node: Arc<Node>,
    place: usize,
}

impl Hold {
    /// Holds `node`, and with it the scopes around it in this task.
    pub(crate) fn new(node: Arc<Node>) -> Hold {
        let place = node.inner.lock().below.insert(Below::Hold(None));
        node.take_hold();
        Hold { node, place }
    }

    /// What it holds.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Wakes this one when a scope around it is cancelled.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        {
            let inner = self.node.inner.lock();
            if let Some(Below::Hold(Some(old))) = inner.below.get(self.place) {
                if old.will_wake(waker) {
                    return;
                }
            }
        }
        let new = Below::Hold(Some(waker.clone()));
        let mut inner = self.node.inner.lock();
        let old = std::mem::replace(&mut inner.below[self.place], new);
        drop(inner);
        drop(old);
        if self.node.is_cancelled() {
            // It may have been cancelled while the waker was not there.
            waker.wake_by_ref();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let standing = self.node.give_back();
        let gone = self.node.inner.lock().below.try_remove(self.place);
        drop(gone);
        for waker in standing {
            // Nobody is there to be told of a panic, and the others are to be woken all the same.
            drop(catch(|| waker.wake()));
        }
    }
}
