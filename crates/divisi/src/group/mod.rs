//! Task groups: tasks that end before their group does.
//!
//! ```text
//!   task_group(async |g| { .. })
//!     |-- body ----- g.spawn(a) --- g.spawn(b) ---- Ok(value)
//!     |                 |              |
//!     |                 a =====...==== | =====> Ok          all have ended: Ok(value)
//!     |                                b =====> Err(e)      the rest is cancelled and awaited: Err(GroupError[e])
//! ```
//!
//! The rules, most of them those of Python's `asyncio.TaskGroup` and Trio's nursery:
//!
//! 1. The group ends when the body and all its tasks have, those included that are spawned while it waits.
//! 2. A task that was cancelled by its own [`Child`] is no failure; the group goes on.
//! 3. The first failure (an error or a panic of a task, an error of the body) cancels everything else in the group; what is spawned from then on is
//!    dropped unpolled.
//! 4. All failures are collected, in the order in which they happen, those of tasks that fail while they are cancelled included. That of the body comes
//!    last.
//! 5. Failures always come as a [`GroupError`], also a single one, and one of the body.
//! 6. If a scope around the group is cancelled, so is the group. If nothing fails meanwhile, the group does not return and the scope reports. If something
//!    does, the group returns that, and the next thing that must wait stands still.
//! 7. A group inside a group is wrapped once: see [`Group::spawn_nested`] and [`GroupError::unnest`]. One that is merely cancelled by the outer adds
//!    nothing.
//! 8. If inner and outer group fail at once, the inner returns its own failures, and what follows it in the outer's body stands still.
//! 9. When it has ended, nothing of it is left: no task, no cancellation.
//! 10. A panic of the body goes on when all tasks have ended. Failures of tasks are reported to the exception handler then.
//! 11. [`Group::cancel`] ends the group without a failure. If the body has a value by then, that is the group's; if not, the group ends with a
//!     [`GroupError`] that [is only cancelled](GroupError::is_cancelled). (In asyncio the block just ends; here there must be a value.)
//!     If a scope around it was cancelled as well, rule 6 holds.
//! 12. A [`Group`] that is kept beyond the end takes no tasks: they are dropped unpolled, and their [`Child`] says why.
//! 13. What a task used is freed when it ends, not when the group does.
//! 14. A task that cancels its group is cancelled itself, at the next thing that must wait.

mod child;
mod error;
mod handle;
mod shared;
mod start;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use divisi_task::CancelReason;
use pin_project_lite::pin_project;

pub use child::Child;
pub use error::{Failure, GroupError};
pub use handle::Group;
use shared::{End, Shared};
pub use start::{Ready, StartError};

use crate::scope::node::Hold;
use crate::scope::{Cut, Step, stack};

/// Runs `body` with a group of tasks, and ends when the body and all tasks have ended. The first failure cancels the rest. The
/// [rules](self) in full are in the module.
///
/// ```
/// use divisi::task_group;
///
/// # divisi::run(async {
/// let sum = task_group(async |g| {
///     let a = g.spawn(async { Ok(1) });
///     let b = g.spawn(async { Ok(2) });
///     Ok::<_, std::io::Error>(a.await.unwrap() + b.await.unwrap())
/// })
/// .await;
/// assert_eq!(sum.unwrap(), 3);
///
/// let error = task_group(async |g| {
///     g.spawn(async { Err::<(), _>("no route") });
///     g.spawn(std::future::pending::<Result<(), _>>());
///     Ok(())
/// })
/// .await
/// .unwrap_err();
/// assert_eq!(error.first(), Some(&"no route"));
/// # });
/// ```
///
/// # Errors
///
/// All failures of the tasks and the body; or none, if the group was [cancelled](Group::cancel) before the body had a value.
///
/// # Panics
///
/// With the panic of the body, after all tasks have ended.
///
/// # Cancel safety
///
/// A scope that is cancelled waits for the groups inside. If the future is dropped instead (by `select!`, or by cancelling the task it is in by
/// its [`JoinHandle`](crate::JoinHandle)), the group's tasks are cancelled and clean up, but nobody waits for them; their failures go to
/// the exception handler.
pub fn task_group<B, F, T, E>(body: B) -> TaskGroup<B, F, T, E>
where
    B: FnOnce(Group<E>) -> F,
    F: Future<Output = Result<T, E>>,
{
    let shared = Shared::new();
    TaskGroup {
        make: Some(body),
        body: None,
        cut: Cut::of_group(shared.node.clone()),
        shared,
        hold: None,
        outcome: Outcome::None,
        ended: false,
    }
}

enum Outcome<T, E> {
    /// The body runs, or was cut off.
    None,
    Value(T),
    Failed(E),
    Panicked(Box<dyn Any + Send>),
}

pin_project! {
    /// The future of [`task_group`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct TaskGroup<B, F, T, E> {
        make: Option<B>,
        #[pin]
        body: Option<F>,
        cut: Cut,
        shared: Arc<Shared<E>>,
        // Scopes around the group wait for it.
        hold: Option<Hold>,
        outcome: Outcome<T, E>,
        ended: bool,
    }

    impl<B, F, T, E> PinnedDrop for TaskGroup<B, F, T, E> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.make.is_none() && !*this.ended {
                let mut lost = this.shared.abandon();
                this.shared.node.cancel(CancelReason::new("its task group was dropped"));
                match std::mem::replace(this.outcome, Outcome::None) {
                    Outcome::Failed(error) => lost.push(Failure::Error(error)),
                    Outcome::Panicked(panic) => this.shared.report_panic_of_body(panic),
                    Outcome::None | Outcome::Value(_) => {}
                }
                this.shared.report(lost);
            }
        }
    }
}

impl<B, F, T, E> Future for TaskGroup<B, F, T, E>
where
    B: FnOnce(Group<E>) -> F,
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, GroupError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(make) = this.make.take() {
            this.shared.begin();
            *this.hold = stack::current_node().map(Hold::new);
            let group = Group {
                shared: this.shared.clone(),
            };
            match catch_unwind(AssertUnwindSafe(|| make(group))) {
                Ok(body) => this.body.set(Some(body)),
                Err(panic) => {
                    *this.outcome = Outcome::Panicked(panic);
                    this.shared.node.cancel(body_panicked());
                }
            }
        }
        if this.body.is_some() {
            let step = this.cut.poll(cx, None, |cx| {
                let body = this.body.as_mut().as_pin_mut().expect("checked");
                match catch_unwind(AssertUnwindSafe(|| body.poll(cx))) {
                    Ok(polled) => polled.map(Ok),
                    Err(panic) => Poll::Ready(Err(panic)),
                }
            });
            let mut outcome = match step {
                Step::Waits => return Poll::Pending,
                Step::Over => Outcome::None,
                Step::Ready(Ok(Ok(value))) => Outcome::Value(value),
                Step::Ready(Ok(Err(error))) => Outcome::Failed(error),
                Step::Ready(Err(panic)) => Outcome::Panicked(panic),
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| this.body.set(None))) {
                outcome = Outcome::Panicked(panic);
            }
            match &outcome {
                Outcome::None | Outcome::Value(_) => {}
                Outcome::Failed(_) => {
                    let why = CancelReason::new("the body of the group failed");
                    this.shared.node.cancel(why);
                }
                Outcome::Panicked(_) => {
                    this.shared.node.cancel(body_panicked());
                }
            }
            *this.outcome = outcome;
        } else {
            this.cut.check_place();
        }
        if *this.ended {
            if this.shared.node.is_own() && !this.cut.outer_reports() {
                // The scope around it that was to report has let it go.
                return Poll::Ready(Err(GroupError::new(Vec::new(), this.shared.node.reason())));
            }
            // A scope around it was cancelled, and drops it.
            this.cut.end_task_if_over(cx);
            return Poll::Pending;
        }
        let Some(End { mut failures, cut }) = this.shared.try_end(cx.waker()) else {
            return Poll::Pending;
        };
        *this.ended = true;
        *this.hold = None;
        this.shared.node.forget_waker();
        let node = &this.shared.node;
        // If a scope around it was cancelled too, that one reports.
        let only_own = node.is_own() && !node.is_inherited();
        let error = match std::mem::replace(this.outcome, Outcome::None) {
            Outcome::Panicked(panic) => {
                this.shared.report(failures);
                resume_unwind(panic);
            }
            Outcome::Failed(error) => {
                failures.push(Failure::Error(error));
                failures
            }
            Outcome::Value(_) | Outcome::None if !failures.is_empty() => failures,
            Outcome::Value(value) if only_own || !cut => return Poll::Ready(Ok(value)),
            Outcome::None if only_own => Vec::new(),
            Outcome::Value(_) | Outcome::None => {
                this.cut.end_task_if_over(cx);
                return Poll::Pending;
            }
        };
        Poll::Ready(Err(GroupError::new(error, node.reason())))
    }
}

fn body_panicked() -> CancelReason {
    CancelReason::new("the body of the group panicked")
}

impl<B, F, T, E> fmt::Debug for TaskGroup<B, F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("group", &self.shared)
            .finish_non_exhaustive()
    }
}
