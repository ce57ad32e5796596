//! The part that all scopes have in common: polling a content that may be cut off.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use divisi_task::freeze::{self, Mode};
use divisi_task::{CancelReason, budget};

use super::node::Node;
use super::roots;
use super::stack::{self, Kind};
use crate::time::Instant;

/// What somebody hears who polls again what was cut off.
const ELSEWHERE: &str = "a scope, task group or clean-up was cancelled with the scope around it (a timeout, say), and is polled again outside of that: it can go no \
                         further. Do not give such a future by reference (`timeout(limit, &mut future)`) to poll it again; spawn it and await its handle so";

/// What follows a content that ended because the scope `around` it was cancelled: nothing, and that scope ends.
///
/// # Panics
///
/// If it is polled outside of that scope, where it would stand still for ever.
pub(crate) async fn stand_still(around: Option<Arc<Node>>) -> Infallible {
    poll_fn(|cx| {
        if let (Some(around), Mode::Live) = (&around, freeze::mode()) {
            if !around.is_root() {
                assert!(stack::contains(around), "{ELSEWHERE}");
            } else if stack::is_empty() {
                // What is in no scope but that of its task ends with the task, and nobody else may be there to end that.
                roots::end_task_of(around, cx);
            }
        }
        Poll::Pending
    })
    .await
}

/// See [`Cut::check_place`].
fn check_place_of(node: &Node) {
    if freeze::mode() != Mode::Live {
        return;
    }
    if let Some(around) = node.cut_off_by() {
        assert!(stack::contains(&around), "{ELSEWHERE}");
    }
}

/// How far a scope's content has come.
pub(crate) enum Step<T> {
    /// It has a value, which beats a cancellation.
    Ready(T),
    /// It waits, or cleans up, or a scope around this one was cancelled and will drop it.
    Waits,
    /// The scope was cancelled and nothing in it must come to its end any more: the content can be dropped.
    Over,
}

/// A scope, without its content.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    node: Option<Arc<Node>>,
    /// Somebody has a handle to the node, and cancels through that.
    reachable: bool,
    /// The scope ends its content also when a scope around it is cancelled: it is the outermost of a task, or a group.
    ends_with_outer: bool,
    entered: bool,
    /// Cancelled by the one who polls it.
    cancelled: bool,
    /// The content had its last try.
    tried: bool,
}

impl Cut {
    /// A scope that only its own future can cancel.
    pub(crate) const fn new() -> Cut {
        Cut {
            node: None,
            reachable: false,
            ends_with_outer: false,
            entered: false,
            cancelled: false,
            tried: false,
        }
    }

    /// A scope that is cancelled through `node`, below the scope it is first polled in.
    pub(crate) fn reachable(node: Arc<Node>) -> Cut {
        Cut {
            node: Some(node),
            reachable: true,
            ..Cut::new()
        }
    }

    /// The scope of a whole task; `node` has its parent.
    pub(crate) fn of_task(node: Arc<Node>) -> Cut {
        Cut {
            entered: true,
            ..Cut::of_group(node)
        }
    }

    /// Something that ends with the scope around it, and cannot be cancelled itself.
    pub(crate) fn ends_with_outer() -> Cut {
        Cut {
            ends_with_outer: true,
            ..Cut::new()
        }
    }

    /// The scope of a group's body.
    pub(crate) fn of_group(node: Arc<Node>) -> Cut {
        Cut {
            ends_with_outer: true,
            ..Cut::reachable(node)
        }
    }

    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// Cancels it from inside of its own poll; [`settle`](Self::settle) follows.
    pub(crate) fn cancel(&mut self, reason: impl FnOnce() -> CancelReason) {
        self.cancelled = true;
        if let Some(node) = &self.node {
            node.cancel(reason());
        }
    }

    /// Whether this scope itself has to end.
    pub(crate) fn must_end(&self) -> bool {
        self.cancelled
            || self.ends_with_outer && freeze::mode() != Mode::Live
            || self.node.as_ref().is_some_and(|node| {
                if self.ends_with_outer {
                    node.is_cancelled()
                } else {
                    node.is_own()
                }
            })
    }

    /// Whether a scope around it, up to the first shield, was cancelled, which reports; or the task, which ends then.
    pub(crate) fn outer_reports(&self) -> bool {
        let ends_with_task = |node: &Arc<Node>| {
            node.is_inherited() && node.parent().is_some_and(|parent| parent.is_root())
        };
        freeze::mode() != Mode::Live
            || stack::is_cancelled()
            || self.node.as_ref().is_some_and(ends_with_task)
    }

    #[inline]
    fn is_cancelled(&self) -> bool {
        self.cancelled || self.node.as_ref().is_some_and(|node| node.is_cancelled())
    }

    fn is_held(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.is_held())
    }

    /// Polls the content, in the mode that is due.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
        content: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Step<T> {
        let step = self.poll_undecided(cx, deadline, content);
        if matches!(step, Step::Waits) {
            self.end_task_if_over(cx);
        }
        step
    }

    /// As [`poll`](Self::poll), for one that may have a value all the same; if not, it calls [`end_task_if_over`](Self::end_task_if_over).
    pub(crate) fn poll_undecided<T>(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
        mut content: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Step<T> {
        if self.reachable {
            self.arrive(cx);
        }
        self.check_place();
        let mode = match (self.is_cancelled(), self.tried) {
            (false, _) => Mode::Live,
            (true, false) => Mode::LastTry,
            (true, true) => Mode::Frozen,
        };
        self.tried |= mode == Mode::LastTry;
        if let Poll::Ready(value) = self.poll_in(mode, cx, deadline, &mut content) {
            return Step::Ready(value);
        }
        self.settle(cx, deadline, content)
    }

    /// After the content was polled and waits: ends it if it must, once everything inside is done.
    pub(crate) fn settle<T>(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
        mut content: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Step<T> {
        if !self.must_end() {
            return Step::Waits;
        }
        // The poll that is just over was the last try, unless something inside has to be told, or it may have passed by something that was ready:
        // because the cancellation came from elsewhere in the middle of the poll, or for want of budget.
        let was_blind = !self.cancelled || !budget::has_remaining();
        if (was_blind || self.is_held()) && !std::mem::replace(&mut self.tried, true) {
            let polled = self.poll_in(Mode::LastTry, cx, deadline, &mut content);
            if let Poll::Ready(value) = polled {
                return Step::Ready(value);
            }
        }
        if self.is_held() {
            Step::Waits
        } else {
            Step::Over
        }
    }

    /// For a scope that waits, with or without content: see [`roots`].
    pub(crate) fn end_task_if_over(&self, cx: &Context<'_>) {
        if let Some(node) = self.node.as_ref().filter(|_| stack::is_empty()) {
            roots::end_task_if_over(node, cx);
        }
    }

    /// A scope that was cancelled with the one around it would stand still for ever anywhere else.
    #[inline]
    pub(crate) fn check_place(&self) {
        if let Some(node) = &self.node {
            check_place_of(node);
        }
    }

    fn arrive(&mut self, cx: &mut Context<'_>) {
        let Some(node) = &self.node else { return };
        if !std::mem::replace(&mut self.entered, true) {
            if let Some(around) = stack::current_node() {
                node.attach(&around, true);
            }
        }
        node.set_waker(cx.waker());
    }

    fn poll_in<T>(
        &mut self,
        mode: Mode,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
        content: &mut impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mode = mode.max(freeze::mode());
        stack::enter(&mut self.node, Kind::Scope, mode, deadline, || content(cx))
    }
}
