//! Clean-ups that follow a body.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use super::ended::Body;
use super::guards::{Kept, Lost};
use super::running::Running;
use super::sealed::Outcome as _;
use super::{Problem, Success};

/// Runs `body` and then `cleanup`, however the body ended: with a value, with a panic, or because a scope around it was cancelled, in which case
/// the scope waits for the clean-up.
///
/// The clean-up runs behind a [shield](crate::shield), so it may await what it likes; when scopes are nested, the innermost clean-ups
/// run first. While a cancelled scope waits for it, it has a limit: 5 s, or what
/// [`Builder::cleanup_deadline`](crate::runtime::Builder::cleanup_deadline) says; [`finally_within`] sets another for one clean-up. It may return
/// `()` or a `Result<(), E>`; its error, and going beyond the limit, are reported to the exception handler.
///
/// ```
/// use std::time::Duration;
/// use divisi::cleanup::finally;
/// use divisi::time::{sleep, timeout};
///
/// # divisi::run(async {
/// let mut said_goodbye = false;
/// let late = timeout(Duration::from_millis(1), finally(std::future::pending::<()>(), async || {
///     sleep(Duration::from_millis(1)).await;
///     said_goodbye = true;
/// }))
/// .await;
/// assert!(late.is_err() && said_goodbye);
/// # });
/// ```
///
/// # Panics
///
/// With the panic of the body, after the clean-up. With that of the clean-up, if the body has a value; otherwise that is reported.
/// Outside of a divisi runtime also when the clean-up needs its limit, that is, if a cancelled scope waits for it.
///
/// # Cancel safety
///
/// Scopes run the clean-up. If the future is *dropped* between its first poll and its end (by `select!`, by cancelling a task by its
/// [`JoinHandle`](crate::JoinHandle), by another crate's combinator), there is nobody left to await it: it does not run, and that is reported.
/// [`finally_owned`] runs also then.
#[track_caller]
pub fn finally<B, C, F>(body: B, cleanup: C) -> impl Future<Output = B::Output>
where
    B: IntoFuture,
    C: FnOnce() -> F,
    F: Future<Output: Success>,
{
    borrowed(body.into_future(), cleanup, None, Location::caller())
}

/// As [`finally`], with a limit for the clean-up that counts always.
///
/// # Panics
///
/// As [`finally`]; and outside of a divisi runtime, when the clean-up must wait.
#[track_caller]
pub fn finally_within<B, C, F>(
    limit: Duration,
    body: B,
    cleanup: C,
) -> impl Future<Output = B::Output>
where
    B: IntoFuture,
    C: FnOnce() -> F,
    F: Future<Output: Success>,
{
    borrowed(body.into_future(), cleanup, Some(limit), Location::caller())
}

async fn borrowed<B, C, F>(
    body: B,
    cleanup: C,
    limit: Option<Duration>,
    at: &'static Location<'static>,
) -> B::Output
where
    B: Future,
    C: FnOnce() -> F,
    F: Future<Output: Success>,
{
    let lost = Lost::new(at);
    let ended = Body::new(body, at).await;
    let result = Running::new(async { cleanup().await.failure() }, limit, at).await;
    lost.disarm();
    Problem::settle(result, ended.has_value(), at);
    ended.finish().await
}

/// As [`finally`], for a clean-up that borrows nothing. If the future is dropped before the clean-up has ended, a task at the root of the
/// runtime runs it to its end; a shutdown waits for it up to the limit, and counts it.
///
/// ```
/// use divisi::cleanup::finally_owned;
///
/// # divisi::run(async {
/// let (sender, receiver) = divisi::channel::oneshot::channel();
/// let task = divisi::spawn(finally_owned(divisi::time::sleep(std::time::Duration::MAX), async move || {
///     sender.send("cleaned up").unwrap();
/// }));
/// while task.task().polls() == 0 {
///     divisi::yield_now().await;
/// }
/// task.cancel("drops the future");
/// assert_eq!(receiver.await, Ok("cleaned up"));
/// # });
/// ```
#[track_caller]
pub fn finally_owned<B, C, F>(body: B, cleanup: C) -> impl Future<Output = B::Output>
where
    B: IntoFuture,
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Success> + Send + 'static,
{
    let (body, at) = (body.into_future(), Location::caller());
    async move {
        let mut kept = Kept::new(Box::pin(async move { cleanup().await.failure() }), at);
        let ended = Body::new(body, at).await;
        let result = Running::new(kept.cleanup(), None, at).await;
        kept.disarm();
        Problem::settle(result, ended.has_value(), at);
        ended.finish().await
    }
}
