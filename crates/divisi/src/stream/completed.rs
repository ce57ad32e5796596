//! Outputs as they come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::future::children::Children;

/// Runs all futures, in the task that polls the stream, and gives their outputs as they come, each with the index of its future.
///
/// As asyncio's `as_completed`. Dropping the stream drops the futures that are not done.
///
/// ```
/// use std::time::Duration;
/// use divisi::stream::{StreamExt, as_completed};
/// use divisi::time::sleep;
///
/// # divisi::run(async {
/// let mut outputs = as_completed([20, 1].map(async |ms| {
///     sleep(Duration::from_millis(ms)).await;
///     ms
/// }));
/// assert_eq!(outputs.next().await, Some((1, 1)));
/// assert_eq!(outputs.next().await, Some((0, 20)));
/// assert_eq!(outputs.next().await, None);
/// # });
/// ```
pub fn as_completed<I>(futures: I) -> AsCompleted<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    let mut running = Children::new();
    for future in futures {
        // Nothing is removed before all are in, so the places are the indices.
        running.push(future.into_future());
    }
    AsCompleted { running }
}

/// The stream of [`as_completed`].
#[must_use = "streams do nothing unless they are polled"]
pub struct AsCompleted<F> {
    running: Children<F>,
}

// Each future has an allocation of its own, which does not move.
impl<F> Unpin for AsCompleted<F> {}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = (usize, F::Output);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.running.poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.running.len(), Some(self.running.len()))
    }
}

impl<F> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("running", &self.running.len())
            .finish()
    }
}
