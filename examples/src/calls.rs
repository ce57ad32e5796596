//! Many API calls at once, with a limit on how many run, a time-out for each, and retries.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use divisi::time::{sleep, timeout};
use divisi::{JoinError, JoinHandle};
use futures_util::stream::{StreamExt, iter};

/// What calls may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most calls that run at a time.
    pub at_once: usize,
    /// The most time that one attempt takes.
    pub each: Duration,
    /// How often a call is tried; at least once.
    pub attempts: u32,
    /// How long to wait before the second attempt. Each further pause is twice as long.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            at_once: 32,
            each: Duration::from_secs(5),
            attempts: 3,
            pause: Duration::from_millis(100),
        }
    }
}

/// Why a call gave nothing.
#[derive(Debug)]
pub enum CallError<E> {
    /// The last attempt took too long.
    TimedOut,
    /// The last attempt failed.
    Failed(E),
    /// The call panicked, or the runtime was shut down.
    Ended(JoinError),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::TimedOut => f.write_str("no answer in time"),
            CallError::Failed(error) => write!(f, "the call failed: {error}"),
            CallError::Ended(error) => write!(f, "the call's task ended: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CallError<E> {}

/// Calls `call` for each of `items`, and gives the results in the order of the items. One that fails does not end the others.
///
/// Each call runs in a task, so on all cores. Dropping the future cancels the calls that run; the rest has not begun.
pub async fn call_all<T, R, E, F>(
    items: impl IntoIterator<Item = T>,
    limits: Limits,
    call: impl Fn(T) -> F + Clone + Send + 'static,
) -> Vec<Result<R, CallError<E>>>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<R, E>> + Send,
{
    iter(items)
        .map(|item| {
            let call = call.clone();
            let task = async move { with_retries(item, limits, call).await };
            CancelOnDrop(divisi::spawn(task))
        })
        // Takes the next item, and so spawns its task, only when there is room.
        .buffered(limits.at_once.max(1))
        .map(|ended| ended.unwrap_or_else(|error| Err(CallError::Ended(error))))
        .collect()
        .await
}

async fn with_retries<T, R, E, F>(
    item: T,
    limits: Limits,
    call: impl Fn(T) -> F,
) -> Result<R, CallError<E>>
where
    T: Clone,
    F: Future<Output = Result<R, E>>,
{
    let mut pause = limits.pause;
    let mut attempt = 1;
    loop {
        let error = match timeout(limits.each, call(item.clone())).await {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => CallError::Failed(error),
            Err(_) => CallError::TimedOut,
        };
        if attempt >= limits.attempts {
            return Err(error);
        }
        attempt += 1;
        sleep(pause).await;
        pause *= 2;
    }
}

/// A task that does not outlive its handle.
struct CancelOnDrop<T>(JoinHandle<T>);

impl<T> Future for CancelOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        self.0.cancel("nobody waits for the call any more");
    }
}
