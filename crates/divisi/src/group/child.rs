//! The tasks of a group.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use divisi_task::{CancelReason, JoinError, JoinHandle, TaskId, TaskRef, budget, current};
use parking_lot::Mutex;
use pin_project_lite::pin_project;

use super::error::Failure;
use super::shared::Shared;
use crate::scope::node::Node;
use crate::scope::{Cut, Step, catch, first_panic};
use crate::task::spawn::refused;

/// A task of a group: a future of its value.
///
/// Dropping it changes nothing, for the group owns the task. It gives a [`JoinError`] if the task was cancelled, panicked, or returned an
/// error, which is the group's.
///
/// # Cancel safety
///
/// Polling it and then not polling it any more loses nothing.
pub struct Child<T> {
    slot: Arc<Slot<T>>,
    node: Arc<Node>,
    task: TaskRef,
}

struct Slot<T>(Mutex<Place<T>>);

struct Place<T> {
    result: Option<Result<T, JoinError>>,
    waker: Option<Waker>,
    ended: bool,
}

impl<T> Slot<T> {
    fn new(result: Option<Result<T, JoinError>>) -> Arc<Slot<T>> {
        Arc::new(Slot(Mutex::new(Place {
            ended: result.is_some(),
            result,
            waker: None,
        })))
    }

    fn set(&self, result: Result<T, JoinError>) {
        let waker = {
            let mut place = self.0.lock();
            place.result = Some(result);
            place.ended = true;
            place.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Child<T> {
    /// Asks the task to end: its clean-ups run, then it ends as cancelled, which is no failure and leaves the group as it is. The first
    /// reason stays.
    ///
    /// A task that has not run yet never does. A value that is ready beats the cancellation. To cancel all tasks use
    /// [`Group::cancel`](super::Group::cancel).
    #[track_caller]
    pub fn cancel(&self, why: impl Into<Cow<'static, str>>) {
        self.node.cancel(CancelReason::new(why));
    }

    /// Whether the task has ended, so that awaiting it would not wait.
    pub fn is_finished(&self) -> bool {
        self.slot.0.lock().ended
    }

    /// Which task it is.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// A reference for looking at the task.
    pub fn task(&self) -> TaskRef {
        self.task.clone()
    }
}

impl<T> Child<T> {
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

impl<T: 'static> Child<T> {
    /// The handle of a task that the group did not take.
    pub(super) fn refused(at: &'static Location<'static>, why: &'static str) -> Child<T> {
        let task = refused::<()>(at, why.to_owned()).task();
        let error = task.cancelled(CancelReason::new(why));
        Child {
            slot: Slot::new(Some(Err(error))),
            node: Node::new(),
            task,
        }
    }
}

impl<T> Future for Child<T> {
    type Output = Result<T, JoinError>;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let charge = ready!(budget::poll_proceed(cx));
        // Foreign code: before the lock.
        let waker = cx.waker().clone();
        let mut place = self.slot.0.lock();
        if let Some(result) = place.result.take() {
            charge.made_progress();
            return Poll::Ready(result);
        }
        let ended = place.ended;
        let old = place.waker.replace(waker);
        drop(place);
        drop(old);
        assert!(
            !ended,
            "the handle of task {} was polled after it gave the output",
            self.id()
        );
        current::note_wait(Location::caller());
        Poll::Pending
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("task", &self.task).finish()
    }
}

/// How the future of a task ended.
pub(super) enum Outcome<T, X> {
    Value(T),
    /// With the error for those who await the task: `X` goes to the group.
    Failed(X, JoinError),
    Cancelled(JoinError),
}

pin_project! {
    /// The future that a group runs as a task: the user's, in a scope below the group's.
    pub(super) struct ChildTask<F> {
        #[pin]
        future: Option<F>,
        cut: Cut,
        node: Arc<Node>,
        begun: bool,
    }
}

impl<F> ChildTask<F> {
    pub(super) fn new(future: F, group: &Arc<Node>) -> ChildTask<F> {
        let node = Node::of_child_task(group);
        ChildTask {
            future: Some(future),
            cut: Cut::of_task(node.clone()),
            node,
            begun: false,
        }
    }

    pub(super) fn node(&self) -> Arc<Node> {
        self.node.clone()
    }
}

impl<F, T, X> Future for ChildTask<F>
where
    F: Future<Output = Result<T, X>>,
{
    type Output = Outcome<T, X>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let first = !std::mem::replace(this.begun, true);
        let step = if first && this.node.is_cancelled() {
            // As every task that is cancelled before it runs.
            Step::Over
        } else {
            this.cut.poll(cx, None, |cx| {
                let future = this.future.as_mut().as_pin_mut();
                future.expect("a task is polled until it ends").poll(cx)
            })
        };
        let end = |why: CancelReason| {
            let task = current::task().expect("this is a task");
            task.cancelled(why)
        };
        Poll::Ready(match step {
            Step::Waits => return Poll::Pending,
            Step::Ready(Ok(value)) => Outcome::Value(value),
            Step::Ready(Err(error)) => {
                let why = "it returned an error, which its task group has";
                Outcome::Failed(error, end(CancelReason::new(why)))
            }
            Step::Over => {
                this.future.set(None);
                let why = this.node.reason();
                let unknown = || CancelReason::new("its task group was cancelled");
                Outcome::Cancelled(end(why.unwrap_or_else(unknown)))
            }
        })
    }
}

/// Makes the group hear of the end of a task that was just spawned, and gives the handle for others. `failed` is told of the task's error.
pub(super) fn adopt<E, T, X>(
    shared: Arc<Shared<E>>,
    node: Arc<Node>,
    task: JoinHandle<Outcome<T, X>>,
    failed: impl FnOnce(&Arc<Shared<E>>, Ended<X>) + Send + 'static,
) -> Child<T>
where
    E: Send + 'static,
    T: Send + 'static,
    X: Send + 'static,
{
    let slot = Slot::new(None);
    let child = Child {
        slot: slot.clone(),
        node,
        task: task.task(),
    };
    let task_ref = task.task();
    task.on_done(move |outcome| {
        let (result, ended) = match outcome {
            Ok(Outcome::Value(value)) => (Ok(value), Ended::Well),
            Ok(Outcome::Failed(error, others)) => (Err(others), Ended::Failed(error)),
            Ok(Outcome::Cancelled(error)) => (Err(error), Ended::Cancelled),
            Err(error) if error.is_panic() => {
                let why = "it panicked, of which its task group has the message";
                let others = task_ref.cancelled(CancelReason::new(why));
                (Err(others), Ended::Panicked(error))
            }
            Err(error) => (Err(error), Ended::Cancelled),
        };
        let cut = matches!(ended, Ended::Cancelled) && shared.node.is_cancelled();
        // Each of these wakes somebody, and foreign wakers may panic: then the others still hear of it.
        first_panic([
            catch(|| failed(&shared, ended)),
            catch(|| slot.set(result)),
            catch(|| shared.leave(cut)),
        ]);
    });
    child
}

/// How a task of a group ended, for the group.
pub(super) enum Ended<X> {
    Well,
    Failed(X),
    Panicked(JoinError),
    Cancelled,
}

impl<X> Ended<X> {
    /// The failure that the group has to deal with, if there is one.
    pub(super) fn into_failure<E>(
        self,
        convert: impl FnOnce(X) -> Failure<E>,
    ) -> Option<(Failure<E>, &'static str)> {
        match self {
            Ended::Well | Ended::Cancelled => None,
            Ended::Failed(error) => Some((convert(error), "a task of the group failed")),
            Ended::Panicked(error) => Some((Failure::Panic(error), "a task of the group panicked")),
        }
    }
}
