//! A scope that can be cancelled by hand, or by a deadline that can be moved.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use divisi_reactor::Timer;
use divisi_task::CancelReason;
use divisi_task::freeze::{self, Mode};
use pin_project_lite::pin_project;

use super::cut::{Cut, Step};
use super::node::Node;
use super::stack;
use crate::time::{Instant, poll_timer};

/// A piece of a program that can be cancelled as a whole, from anywhere, by any clone of the scope.
///
/// Cancelling is a state, not an event: from then on whatever waits inside the scope stands still and cannot catch, swallow or outlive the
/// cancellation. What is ready beats it. Before the scope reports, the clean-ups inside run, innermost first (see
/// [`finally`](crate::cleanup::finally)), and shielded parts come to their end.
///
/// As Trio's `CancelScope`; a scope runs one future.
///
/// ```
/// use divisi::scope::CancelScope;
///
/// divisi::run(async {
///     let scope = CancelScope::new();
///     let stop = scope.clone();
///     drop(divisi::spawn(async move { stop.cancel("seen enough") }));
///     let error = scope.run(std::future::pending::<()>()).await.unwrap_err();
///     assert_eq!(error.reason().text(), "seen enough");
///
///     // A value that is ready wins.
///     let scope = CancelScope::new();
///     scope.cancel("too late");
///     assert_eq!(scope.run(async { 5 }).await.unwrap(), 5);
/// });
/// ```
#[derive(Clone)]
pub struct CancelScope {
    node: Arc<Node>,
    flags: Arc<Flags>,
}

#[derive(Debug, Default)]
struct Flags {
    used: AtomicBool,
    expired: AtomicBool,
    finished: AtomicBool,
}

impl CancelScope {
    /// A scope without a deadline, that runs nothing yet.
    pub fn new() -> CancelScope {
        CancelScope {
            node: Node::new(),
            flags: Arc::default(),
        }
    }

    /// A scope that is cancelled when `deadline` comes.
    pub fn with_deadline(deadline: impl Into<Option<Instant>>) -> CancelScope {
        let scope = CancelScope::new();
        scope.set_deadline(deadline);
        scope
    }

    /// Runs a future in the scope: its output, or [`Cancelled`] after everything inside has cleaned up.
    ///
    /// The scope becomes part of the one that it is first polled in, and is cancelled with that; then the outer one reports, and this
    /// future does not return.
    ///
    /// # Panics
    ///
    /// The future panics if the scope runs, or ran, another one: make a scope for each. And when it must wait for its deadline outside a
    /// divisi runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops its content where it waits. Clean-ups inside cannot be awaited then; see [`cleanup`](crate::cleanup).
    ///
    /// A scope or group that was cancelled with a scope around it stays so: if it is given by reference and polled again elsewhere, it panics.
    #[track_caller]
    pub fn run<F: IntoFuture>(&self, future: F) -> Run<F::IntoFuture> {
        Run {
            future: Some(future.into_future()),
            cut: Cut::reachable(self.node.clone()),
            scope: self.clone(),
            begun: false,
            timer: None,
            armed_for: None,
            created_at: Location::caller(),
        }
    }

    /// Cancels the scope, now or before it begins. The first reason stays; after the scope has ended it does nothing.
    #[track_caller]
    pub fn cancel(&self, why: impl Into<Cow<'static, str>>) {
        self.cancel_with(CancelReason::new(why));
    }

    /// As [`cancel`](Self::cancel), for a reason that was given elsewhere.
    pub fn cancel_with(&self, reason: CancelReason) {
        if !self.is_finished() {
            self.node.cancel(reason);
        }
    }

    /// Whether it was cancelled itself; not whether a scope around it was.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_own()
    }

    /// Why it was cancelled, or the scope around it.
    pub fn reason(&self) -> Option<CancelReason> {
        self.node.reason()
    }

    /// Whether what it ran has ended.
    pub fn is_finished(&self) -> bool {
        self.flags.finished.load(Ordering::Acquire)
    }

    /// When it is cancelled if it has not ended by then. See [`effective_deadline`](super::effective_deadline) for scopes around it.
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }

    /// Moves the deadline; `None` takes it away. Nothing after the scope was cancelled.
    pub fn set_deadline(&self, deadline: impl Into<Option<Instant>>) {
        self.node.set_deadline(deadline.into());
        self.node.wake();
    }

    /// Whether its deadline has come.
    pub fn is_expired(&self) -> bool {
        self.flags.expired.load(Ordering::Acquire)
    }
}

impl Default for CancelScope {
    fn default() -> CancelScope {
        CancelScope::new()
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScope")
            .field("cancelled", &self.is_cancelled())
            .field("finished", &self.is_finished())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`CancelScope::run`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Run<F> {
        #[pin]
        future: Option<F>,
        cut: Cut,
        scope: CancelScope,
        begun: bool,
        timer: Option<Timer>,
        armed_for: Option<Instant>,
        created_at: &'static Location<'static>,
    }

    impl<F> PinnedDrop for Run<F> {
        fn drop(this: Pin<&mut Self>) {
            if this.begun {
                this.scope.flags.finished.store(true, Ordering::Release);
            }
        }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !std::mem::replace(this.begun, true)
            && this.scope.flags.used.swap(true, Ordering::AcqRel)
        {
            *this.begun = false;
            panic!(
                "a cancel scope runs one future: the run of {} needs a scope of its own",
                this.created_at
            );
        }
        assert!(
            this.future.is_some(),
            "the run of a cancel scope was polled after it had ended"
        );
        let mut deadline = this.scope.deadline();
        let mut step = this.cut.poll(cx, deadline, |cx| {
            this.future.as_mut().as_pin_mut().expect("checked").poll(cx)
        });
        if matches!(step, Step::Waits) && !this.cut.must_end() && freeze::mode() == Mode::Live {
            // The content may have moved it.
            deadline = this.scope.deadline();
            if deadline != *this.armed_for {
                *this.armed_for = deadline;
                *this.timer = deadline.map(|deadline| Timer::at(deadline.into_std()));
            }
            let is_due = match this.timer {
                Some(timer) => poll_timer(timer, cx, this.created_at).is_ready(),
                None => false,
            };
            if is_due {
                this.scope.flags.expired.store(true, Ordering::Release);
                if this.cut.outer_reports() {
                    return Poll::Pending;
                }
                if outer_is_due(deadline) {
                    let timer = this.timer.insert(look_again());
                    let _ = poll_timer(timer, cx, this.created_at);
                } else {
                    this.cut.cancel(deadline_passed);
                    step = this.cut.settle(cx, deadline, |cx| {
                        this.future.as_mut().as_pin_mut().expect("checked").poll(cx)
                    });
                }
            }
        }
        let result = match step {
            Step::Waits => return Poll::Pending,
            Step::Ready(value) => Ok(value),
            // While it cleaned up, a scope around it was cancelled, which reports.
            Step::Over if this.cut.outer_reports() => {
                this.cut.end_task_if_over(cx);
                return Poll::Pending;
            }
            Step::Over => Err(Cancelled {
                reason: this.scope.reason().unwrap_or_else(deadline_passed),
            }),
        };
        this.scope.flags.finished.store(true, Ordering::Release);
        this.scope.node.forget_waker();
        this.future.set(None);
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("scope", &self.scope)
            .field("created_at", &format_args!("{}", self.created_at))
            .finish_non_exhaustive()
    }
}

/// Whether a scope around reports instead of one whose deadline this is and has passed: its own deadline is not later. It may be moved yet, and nobody
/// tells those inside, so who gives way [looks again](look_again).
pub(crate) fn outer_is_due(deadline: Option<Instant>) -> bool {
    match (stack::deadline(), deadline) {
        (Some(outer), Some(own)) => outer <= own,
        _ => false,
    }
}

/// The timer of one that gives way. Ours: seldom enough to cost nothing, soon enough for a limit that should have ended already.
pub(crate) fn look_again() -> Timer {
    const LOOK_AGAIN: Duration = Duration::from_millis(1);
    Timer::at(Instant::now().saturating_add(LOOK_AGAIN).into_std())
}

#[track_caller]
pub(crate) fn deadline_passed() -> CancelReason {
    CancelReason::new("its deadline passed")
}

/// A scope was cancelled before what it ran had a value: the error of [`CancelScope::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    reason: CancelReason,
}

impl Cancelled {
    /// Why, by whom and where.
    pub fn reason(&self) -> &CancelReason {
        &self.reason
    }

    /// The reason itself.
    pub fn into_reason(self) -> CancelReason {
        self.reason
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the scope was cancelled: {}", self.reason)
    }
}

impl Error for Cancelled {}
