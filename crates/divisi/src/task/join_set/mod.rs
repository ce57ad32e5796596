//! A set of tasks with one type of output, awaited as they end.
//!
//! Each member's handle is polled with a waker of its own, which puts the member on the set's list of ended ones and wakes whoever awaits the set. So the set
//! never looks at members that have nothing to say, and nothing but a waker is shared with the tasks.

mod members;
mod wait;

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use divisi_task::{AbortHandle, JoinError, JoinHandle, TaskId};
use futures_core::Stream;

use crate::context;
use crate::runtime::spawn_local_on;
use crate::sync::Semaphore;
use crate::task::spawn::spawn_options;
use members::Members;
pub use wait::Until;

/// What became of one task of a [`JoinSet`].
pub type Ended<T> = (TaskId, Result<T, JoinError>);

/// Tasks with one type of output, to be awaited as they end, waited for together, and cancelled together.
///
/// The tasks run in parallel whether or not the set is polled. **Dropping the set cancels them** (but does not wait until they have ended:
/// [`shutdown`](JoinSet::shutdown) does). An error of one does nothing to the others; a group of tasks that stand and fall together is a task group.
///
/// asyncio's `wait` and `as_completed` are [`wait`](JoinSet::wait) and [`join_next`](JoinSet::join_next). The set is also a
/// [`Stream`](futures_core::Stream) of results.
///
/// ```
/// use divisi::task::JoinSet;
///
/// # divisi::run(async {
/// let mut tasks = JoinSet::new();
/// for n in 1..=10 {
///     tasks.spawn(async move { n * n });
/// }
/// let mut sum = 0;
/// while let Some(square) = tasks.join_next().await {
///     sum += square.unwrap();
/// }
/// assert_eq!(sum, 385);
/// # });
/// ```
#[must_use = "dropping the set cancels its tasks"]
pub struct JoinSet<T> {
    members: Members<T>,
    /// Tasks beyond this number wait for their turn.
    turns: Option<Arc<Semaphore>>,
}

impl<T> JoinSet<T> {
    /// A set without tasks.
    pub fn new() -> JoinSet<T> {
        JoinSet {
            members: Members::new(),
            turns: None,
        }
    }

    /// Lets at most `tasks` of the set's tasks run at a time; the others wait for their turn, in the order in which they first asked for it (which is about
    /// that of their spawns). It holds for tasks that are spawned from now on.
    ///
    /// It bounds what goes on at once (connections, memory of what is being worked on), not the number of tasks. To bound that too, await
    /// [`join_next`](Self::join_next) before each spawn while the set is [as long](Self::len) as you like.
    ///
    /// # Panics
    ///
    /// If `tasks` is 0: nothing would ever run.
    ///
    /// ```
    /// use divisi::task::JoinSet;
    ///
    /// # divisi::run(async {
    /// let mut tasks = JoinSet::new().max_concurrency(4);
    /// for n in 0..100 {
    ///     tasks.spawn(async move { n });
    /// }
    /// assert_eq!(tasks.join_all().await.len(), 100);
    /// # });
    /// ```
    #[track_caller]
    pub fn max_concurrency(mut self, tasks: usize) -> JoinSet<T> {
        assert!(
            tasks > 0,
            "a `JoinSet` in which 0 tasks may run at a time would never end: allow at least 1"
        );
        self.turns = Some(Arc::new(Semaphore::new(tasks)));
        self
    }

    /// How many tasks are in the set: those that run, and those that have ended and were not taken out.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no task in the set.
    pub fn is_empty(&self) -> bool {
        self.members.len() == 0
    }

    /// Asks all tasks to end. They stay in the set, and come out of [`join_next`](Self::join_next) as cancelled unless they end first.
    #[track_caller]
    pub fn abort_all(&self, why: impl Into<Cow<'static, str>>) {
        let reason = divisi_task::CancelReason::new(why);
        for handle in self.members.running() {
            handle.abort_handle().cancel_with(reason.clone());
        }
    }

    /// Takes all tasks out of the set and lets them run on, as if their handles had been dropped: a panic goes to the exception handler.
    pub fn detach_all(&mut self) {
        self.members.clear();
    }
}

impl<T: 'static> JoinSet<T> {
    /// Spawns a task of the current runtime into the set; see [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread; the message says what to do.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        let (handle, options) = (context::handle(), spawn_options());
        let handle = match self.turns.clone() {
            None => handle.spawn_with(future, options),
            Some(turns) => handle.spawn_with(in_turn(turns, future), options),
        };
        self.insert(handle)
    }

    /// Spawns a task that is not `Send` into the set; see [`spawn_local`](crate::spawn_local).
    ///
    /// # Panics
    ///
    /// As [`spawn_local`](crate::spawn_local).
    #[track_caller]
    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        let runtime = super::spawn::local_runtime();
        let handle = match self.turns.clone() {
            None => spawn_local_on(runtime.inner(), future),
            Some(turns) => spawn_local_on(runtime.inner(), in_turn(turns, future)),
        };
        self.insert(handle)
    }

    /// Runs a closure that waits on the blocking pool, as a member of the set; see [`spawn_blocking`](crate::spawn_blocking).
    /// [`max_concurrency`](Self::max_concurrency) does not hold for it.
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread; the message says what to do.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, f: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        let handle = crate::spawn_blocking(f);
        self.insert(handle)
    }

    /// Takes a task or job that was started elsewhere into the set. From now on the set cancels it when it is dropped.
    pub fn insert(&mut self, handle: JoinHandle<T>) -> AbortHandle {
        let abort = handle.abort_handle();
        self.members.insert(handle);
        abort
    }

    /// The result of the next task that ends, in the order in which they end; `None` if the set is empty.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the task stays in the set until its result is returned.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        let (_, result) = self.join_next_with_id().await?;
        Some(result)
    }

    /// As [`join_next`](Self::join_next), with the id of the task.
    pub async fn join_next_with_id(&mut self) -> Option<Ended<T>> {
        poll_fn(|cx| self.members.poll_next(cx)).await
    }

    /// The result of a task that has ended already; `None` if none has.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        let (_, result) = self.members.try_next()?;
        Some(result)
    }

    /// Awaits all tasks. Their results come in the order in which they ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the set, which cancels the tasks; the results so far are dropped.
    pub async fn join_all(mut self) -> Vec<Result<T, JoinError>> {
        let ended = self.wait(Until::All).await;
        ended.into_iter().map(|(_, result)| result).collect()
    }

    /// Asks all tasks to end and awaits that they have. The results, in the order in which they ended, tell which was cancelled and which had finished.
    ///
    /// # Cancel safety
    ///
    /// The tasks were asked to end at the call, whether or not the future is awaited to the end.
    #[track_caller]
    pub fn shutdown(
        &mut self,
        why: impl Into<Cow<'static, str>>,
    ) -> impl Future<Output = Vec<Ended<T>>> {
        self.abort_all(why);
        self.wait(Until::All)
    }
}

impl<T: 'static, E: 'static> JoinSet<Result<T, E>> {
    /// Awaits all tasks and gives their values, in the order in which they ended; or cancels the rest at the first error or panic, and **awaits their end**, so
    /// that nothing of them runs any more when you have the error.
    ///
    /// # Errors
    ///
    /// The first error in time, or how the task failed to give one ([`TryJoinError`]). What the others come to while they are being cancelled is dropped, except
    /// that a panic goes to the exception handler.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the set, which cancels the tasks.
    ///
    /// ```
    /// use divisi::task::{JoinSet, TryJoinError};
    ///
    /// # divisi::run(async {
    /// let mut tasks = JoinSet::new();
    /// tasks.spawn(async { Err("no such host") });
    /// tasks.spawn(std::future::pending());
    /// let result: Result<Vec<()>, _> = tasks.try_join_all().await;
    /// assert!(matches!(result, Err(TryJoinError::Failed("no such host"))));
    /// # });
    /// ```
    pub async fn try_join_all(mut self) -> Result<Vec<T>, TryJoinError<E>> {
        let mut values = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            let error = match result {
                Ok(Ok(value)) => {
                    values.push(value);
                    continue;
                }
                Ok(Err(error)) => TryJoinError::Failed(error),
                Err(error) => TryJoinError::Join(error),
            };
            self.abort_all("a sibling in `try_join_all` failed");
            self.members.settle().await;
            return Err(error);
        }
        Ok(values)
    }
}

/// The first failure in [`JoinSet::try_join_all`].
#[derive(Clone, Debug)]
pub enum TryJoinError<E> {
    /// A task ended with this error.
    Failed(E),
    /// A task panicked or was cancelled.
    Join(JoinError),
}

impl<E: fmt::Display> fmt::Display for TryJoinError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryJoinError::Failed(error) => error.fmt(f),
            TryJoinError::Join(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for TryJoinError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TryJoinError::Failed(error) => error.source(),
            TryJoinError::Join(_) => None,
        }
    }
}

/// Runs `future` when it is its turn. A task that is cancelled meanwhile gives its turn up.
async fn in_turn<F: Future>(turns: Arc<Semaphore>, future: F) -> F::Output {
    // The set never closes it, so this fails never; running without a turn would be the lesser evil.
    let _turn = turns.acquire().await;
    future.await
}

impl<T: 'static> Stream for JoinSet<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.members.poll_next(cx));
        Poll::Ready(next.map(|(_, result)| result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        if self.members.running().next().is_some() {
            self.abort_all("its `JoinSet` was dropped");
        }
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

/// Takes the handles of tasks that run already.
impl<T: 'static> FromIterator<JoinHandle<T>> for JoinSet<T> {
    fn from_iter<I: IntoIterator<Item = JoinHandle<T>>>(handles: I) -> JoinSet<T> {
        let mut set = JoinSet::new();
        set.extend(handles);
        set
    }
}

impl<T: 'static> Extend<JoinHandle<T>> for JoinSet<T> {
    fn extend<I: IntoIterator<Item = JoinHandle<T>>>(&mut self, handles: I) {
        for handle in handles {
            self.insert(handle);
        }
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("running", &self.members.running().count())
            .field("ended", &self.members.ended())
            .finish_non_exhaustive()
    }
}
