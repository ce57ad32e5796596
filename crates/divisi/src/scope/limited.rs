//! Limits of time that are more than a [`timeout`](crate::time::timeout).

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use super::cancel_scope::CancelScope;
use crate::time::{Elapsed, Instant, timeout, timeout_at};

/// Gives `future` no more than `limit` and says nothing if that was not enough: `None`. Otherwise as
/// [`timeout`](crate::time::timeout); Trio's name.
///
/// ```
/// use std::time::Duration;
/// use divisi::scope::move_on_after;
///
/// # divisi::run(async {
/// assert_eq!(move_on_after(Duration::from_secs(1), async { 1 }).await, Some(1));
/// assert_eq!(move_on_after(Duration::from_millis(1), std::future::pending::<()>()).await, None);
/// # });
/// ```
#[track_caller]
pub fn move_on_after<F: IntoFuture>(
    limit: Duration,
    future: F,
) -> impl Future<Output = Option<F::Output>> {
    let limited = timeout(limit, future);
    async move { limited.await.ok() }
}

/// Gives `future` time until `deadline`. See [`move_on_after`].
#[track_caller]
pub fn move_on_at<F: IntoFuture>(
    deadline: impl Into<Instant>,
    future: F,
) -> impl Future<Output = Option<F::Output>> {
    let limited = timeout_at(deadline, future);
    async move { limited.await.ok() }
}

/// Runs `body` with a limit that it can move: as asyncio's `async with timeout(limit) as t`.
///
/// `limit` is a [`Duration`], counted from the first poll, or `None` for no limit to begin with.
///
/// ```
/// use std::time::Duration;
/// use divisi::scope::timeout_scope;
/// use divisi::time::{Instant, sleep};
///
/// # divisi::run(async {
/// let value = timeout_scope(Duration::from_millis(1), async |t| {
///     t.reschedule(Instant::now() + Duration::from_secs(60));
///     sleep(Duration::from_millis(3)).await;
///     "in time"
/// })
/// .await;
/// assert_eq!(value, Ok("in time"));
/// # });
/// ```
///
/// # Errors
///
/// [`Elapsed`] if the deadline of this scope came first, and nothing was ready then; after the clean-ups inside.
///
/// # Cancel safety
///
/// As [`CancelScope::run`].
#[track_caller]
pub fn timeout_scope<B, F>(
    limit: impl Into<Option<Duration>>,
    body: B,
) -> impl Future<Output = Result<F::Output, Elapsed>>
where
    B: FnOnce(TimeoutScope) -> F,
    F: Future,
{
    let limit = limit.into();
    let _created_at = Location::caller();
    async move {
        let scope = CancelScope::with_deadline(limit.map(|limit| Instant::now() + limit));
        let running = scope.run(body(TimeoutScope(scope.clone())));
        running.await.map_err(|_cancelled| Elapsed::new())
    }
}

/// The scope of a [`timeout_scope`], for those inside.
#[derive(Clone, Debug)]
pub struct TimeoutScope(CancelScope);

impl TimeoutScope {
    /// The deadline; `None` if there is none.
    pub fn when(&self) -> Option<Instant> {
        self.0.deadline()
    }

    /// Moves the deadline; `None` takes it away, and one that has passed ends the scope at the next thing that must wait.
    ///
    /// Returns whether it could be moved: not any more when the scope expires or has ended.
    pub fn reschedule(&self, when: impl Into<Option<Instant>>) -> bool {
        if self.0.is_expired() || self.0.is_finished() {
            return false;
        }
        self.0.set_deadline(when);
        true
    }

    /// Whether the deadline has come, be it that a scope around with the same deadline reports it.
    pub fn expired(&self) -> bool {
        self.0.is_expired()
    }
}
