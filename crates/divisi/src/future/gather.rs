//! `join_all` and `try_join_all`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_task::CancelReason;
use divisi_task::freeze::{self, Mode};

use super::children::Children;
use crate::scope::{Cut, Step};

/// Waits for all futures, in the current task, and gives their outputs in the order of the futures.
///
/// They make progress alternately, on one core, and may borrow. To use all cores give it [`JoinHandle`](crate::JoinHandle)s of tasks, or use a
/// [`JoinSet`](crate::task::JoinSet). A future is polled when it was woken, not whenever another one was.
///
/// As asyncio's `gather(return_exceptions=True)`.
///
/// # Cancel safety
///
/// Dropping the future drops those that are not done, and the outputs of the others. (Tasks whose handles are dropped so go on; a `JoinSet` cancels them.)
///
/// ```
/// # divisi::run(async {
/// let squares = divisi::join_all((1..=3).map(async |n| n * n)).await;
/// assert_eq!(squares, [1, 4, 9]);
///
/// // In parallel:
/// let tasks = (1..=3).map(|n| divisi::spawn(async move { n * n }));
/// let squares: Vec<i32> = divisi::join_all(tasks).await.into_iter().map(Result::unwrap).collect();
/// assert_eq!(squares, [1, 4, 9]);
/// # });
/// ```
pub fn join_all<I>(futures: I) -> JoinAll<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    let (children, outputs) = start(futures);
    JoinAll { children, outputs }
}

/// Waits for all futures, in the current task, and gives their values in the order of the futures; or for the first error, which ends the others.
///
/// At the first error the futures that are not done are cancelled, as by a [scope](crate::scope): what waits in them stands still, their clean-ups and shielded
/// parts come to their end, and then they are dropped; only then is the error returned. When you have it, nothing of them runs any more. That is so for futures
/// passed as such. A [`JoinHandle`](crate::JoinHandle) that is dropped leaves its task running, so for tasks use
/// [`JoinSet::try_join_all`](crate::task::JoinSet::try_join_all), which cancels them and awaits their end.
///
/// (asyncio's `gather` leaves the siblings running at an error and loses their errors. This does neither.)
///
/// # Errors
///
/// The first error, in time.
///
/// # Cancel safety
///
/// As [`join_all`].
///
/// ```
/// # divisi::run(async {
/// let halves = divisi::try_join_all([2, 4].map(async |n| if n % 2 == 0 { Ok(n / 2) } else { Err("odd") }));
/// assert_eq!(halves.await, Ok(vec![1, 2]));
///
/// let halves = divisi::try_join_all([2, 3].map(async |n| if n % 2 == 0 { Ok(n / 2) } else { Err("odd") }));
/// assert_eq!(halves.await, Err("odd"));
/// # });
/// ```
pub fn try_join_all<I, T, E>(futures: I) -> TryJoinAll<<I::Item as IntoFuture>::IntoFuture, T, E>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    let (children, outputs) = start(futures);
    TryJoinAll {
        children,
        outputs,
        failed: None,
        cut: Cut::new(),
    }
}

/// The futures, each at the place of its index, and room for as many outputs.
fn start<I, T>(
    futures: I,
) -> (
    Children<<I::Item as IntoFuture>::IntoFuture>,
    Vec<Option<T>>,
)
where
    I: IntoIterator<Item: IntoFuture>,
{
    let mut children = Children::new();
    for future in futures {
        children.push(future.into_future());
    }
    let outputs = std::iter::repeat_with(|| None)
        .take(children.len())
        .collect();
    (children, outputs)
}

fn all<T>(outputs: &mut Vec<Option<T>>) -> Vec<T> {
    std::mem::take(outputs)
        .into_iter()
        .map(|output| output.expect("every future is done"))
        .collect()
}

/// The future of [`join_all`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct JoinAll<F: Future> {
    children: Children<F>,
    outputs: Vec<Option<F::Output>>,
}

// Each future has an allocation of its own, which does not move.
impl<F: Future> Unpin for JoinAll<F> {}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some((place, output)) = ready!(self.children.poll_next(cx)) {
            self.outputs[place] = Some(output);
        }
        Poll::Ready(all(&mut self.outputs))
    }
}

/// The future of [`try_join_all`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct TryJoinAll<F, T, E> {
    children: Children<F>,
    outputs: Vec<Option<T>>,
    /// The first error, while the others clean up.
    failed: Option<E>,
    cut: Cut,
}

// As above.
impl<F, T, E> Unpin for TryJoinAll<F, T, E> {}

impl<F, T, E> Future for TryJoinAll<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let TryJoinAll {
            children,
            outputs,
            failed,
            cut,
        } = &mut *self;
        // Ready when all are done. Pending also at the first error, to have the scope cancelled: then its last try polls the others again. If a scope around
        // has had them try for the last time already, nobody does, so that they must be polled, and told whom to wake, here.
        let mut go_on = |cx: &mut Context<'_>, failed: &mut Option<E>| {
            while let Some((place, output)) = ready!(children.poll_next(cx)) {
                match output {
                    Ok(value) => outputs[place] = Some(value),
                    Err(error) if failed.is_none() => {
                        *failed = Some(error);
                        if freeze::mode() == Mode::Live {
                            return Poll::Pending;
                        }
                    }
                    // What comes of those that were cancelled.
                    Err(_) => {}
                }
            }
            Poll::Ready(())
        };
        let had_failed = failed.is_some();
        let mut step = cut.poll_undecided(cx, None, |cx| go_on(cx, failed));
        if matches!(step, Step::Waits) && failed.is_some() && !had_failed {
            cut.cancel(|| CancelReason::new("a sibling in `try_join_all` failed"));
            step = cut.settle(cx, None, |cx| go_on(cx, failed));
        }
        if matches!(step, Step::Waits) {
            cut.end_task_if_over(cx);
            return Poll::Pending;
        }
        match failed.take() {
            Some(error) => {
                children.clear();
                outputs.clear();
                Poll::Ready(Err(error))
            }
            None => Poll::Ready(Ok(all(outputs))),
        }
    }
}

impl<F: Future> fmt::Debug for JoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAll")
            .field("futures", &self.outputs.len())
            .field("running", &self.children.len())
            .finish()
    }
}

impl<F, T, E> fmt::Debug for TryJoinAll<F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryJoinAll")
            .field("futures", &self.outputs.len())
            .field("running", &self.children.len())
            .finish()
    }
}
