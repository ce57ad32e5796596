//! Waiting for some of a set's tasks at once.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::{Ended, JoinSet};
use divisi_task::JoinError;

/// What [`JoinSet::wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One task has ended, or there is none.
    First,
    /// One task has panicked (or, in [`JoinSet::try_wait`], returned an error), or all have ended. A cancelled one is no failure.
    FirstError,
    /// All tasks have ended.
    All,
}

impl<T: 'static> JoinSet<T> {
    /// Waits until the condition holds, then takes the tasks that have ended out of the set, with their results, in the order in which they ended. There may
    /// be more than the condition asks for. The others stay and run on.
    ///
    /// As asyncio's `wait`, where the set is what `wait` calls *pending*; on an empty set it returns at once.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: results that it has seen are in the set, for the next call of any method.
    ///
    /// ```
    /// use std::time::Duration;
    /// use divisi::task::{JoinSet, Until};
    /// use divisi::time::sleep;
    ///
    /// # divisi::run(async {
    /// let mut tasks = JoinSet::new();
    /// tasks.spawn(async { "quick" });
    /// tasks.spawn(async { sleep(Duration::from_secs(60)).await; "slow" });
    /// let done = tasks.wait(Until::First).await;
    /// assert_eq!(*done[0].1.as_ref().unwrap(), "quick");
    /// assert_eq!(tasks.len(), 1);
    /// # });
    /// ```
    pub async fn wait(&mut self, until: Until) -> Vec<Ended<T>> {
        self.wait_by(until, panicked).await
    }

    /// As [`wait`](Self::wait), but for `limit` at most: then it returns what has ended until then, which may be nothing. Tasks that run are not cancelled.
    pub async fn wait_timeout(&mut self, until: Until, limit: Duration) -> Vec<Ended<T>> {
        self.wait_timeout_by(until, limit, panicked).await
    }

    async fn wait_by(
        &mut self,
        until: Until,
        failed: fn(&Result<T, JoinError>) -> bool,
    ) -> Vec<Ended<T>> {
        // What is set aside has been looked at by no condition, or by one that did not hold.
        let mut met = self
            .members
            .seen()
            .any(|(_, result)| meets(until, result, failed));
        poll_fn(|cx| self.poll_wait(cx, &mut met, until, failed)).await;
        self.take_ended()
    }

    async fn wait_timeout_by(
        &mut self,
        until: Until,
        limit: Duration,
        failed: fn(&Result<T, JoinError>) -> bool,
    ) -> Vec<Ended<T>> {
        let mut met = self
            .members
            .seen()
            .any(|(_, result)| meets(until, result, failed));
        let wait = poll_fn(|cx| self.poll_wait(cx, &mut met, until, failed));
        // Late or not: what has ended is there.
        let _ = crate::time::timeout(limit, wait).await;
        self.take_ended()
    }

    /// Sets results aside until the condition is met; then until no more are there to be had.
    fn poll_wait(
        &mut self,
        cx: &mut Context<'_>,
        met: &mut bool,
        until: Until,
        failed: fn(&Result<T, JoinError>) -> bool,
    ) -> Poll<()> {
        while !*met {
            let Some(ended) = ready!(self.members.poll_unseen(cx)) else {
                break;
            };
            *met = meets(until, &ended.1, failed);
            self.members.set_aside(ended);
        }
        Poll::Ready(())
    }

    fn take_ended(&mut self) -> Vec<Ended<T>> {
        std::iter::from_fn(|| self.members.try_next()).collect()
    }
}

impl<T: 'static, E: 'static> JoinSet<Result<T, E>> {
    /// As [`wait`](Self::wait); an `Err` that a task returned counts as an error too.
    pub async fn try_wait(&mut self, until: Until) -> Vec<Ended<Result<T, E>>> {
        self.wait_by(until, failed).await
    }

    /// As [`wait_timeout`](Self::wait_timeout); an `Err` that a task returned counts as an error too.
    pub async fn try_wait_timeout(
        &mut self,
        until: Until,
        limit: Duration,
    ) -> Vec<Ended<Result<T, E>>> {
        self.wait_timeout_by(until, limit, failed).await
    }
}

fn panicked<T>(result: &Result<T, JoinError>) -> bool {
    matches!(result, Err(error) if error.is_panic())
}

fn failed<T, E>(result: &Result<Result<T, E>, JoinError>) -> bool {
    matches!(result, Ok(Err(_))) || panicked(result)
}

fn meets<T>(
    until: Until,
    result: &Result<T, JoinError>,
    failed: fn(&Result<T, JoinError>) -> bool,
) -> bool {
    match until {
        Until::First => true,
        Until::FirstError => failed(result),
        Until::All => false,
    }
}
