//! Clean-ups that are decided on while the body runs.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ended::Body;
use super::orphan::{self, Owned};
use super::running::Running;
use super::sealed::Outcome as _;
use super::{Failed, Problem, Success};

/// Runs `body` with a stack of clean-ups that it can add to, and then the clean-ups, the last one first. Python's `AsyncExitStack`.
///
/// Each clean-up runs however the body and the others ended, as that of [`finally`](super::finally) does, and has the same limit.
///
/// ```
/// use divisi::cleanup::exit_stack;
/// use std::sync::{Arc, Mutex};
///
/// # divisi::run(async {
/// let log = Arc::new(Mutex::new(Vec::new()));
/// let value = exit_stack(async |stack| {
///     for name in ["first", "second"] {
///         let log = log.clone();
///         stack.defer(async move || log.lock().unwrap().push(name));
///     }
///     7
/// })
/// .await;
/// assert_eq!(value.unwrap(), 7);
/// assert_eq!(*log.lock().unwrap(), ["second", "first"]);
/// # });
/// ```
///
/// # Errors
///
/// The errors of the clean-ups, all of them, with the value of the body. If the body has none, they are reported.
///
/// # Panics
///
/// With the panic of the body, after the clean-ups; or with one of a clean-up, after the others, if the body has a value.
///
/// # Cancel safety
///
/// If the future is dropped, the clean-ups that have not ended run at the root of the runtime, the last one first.
#[track_caller]
pub fn exit_stack<B, F>(body: B) -> impl Future<Output = Result<F::Output, ExitErrors<F::Output>>>
where
    B: FnOnce(ExitStack) -> F,
    F: Future,
{
    let at = Location::caller();
    async move {
        let stack = ExitStack::default();
        let left = Left {
            stack: stack.clone(),
            at,
        };
        let ended = Body::new(body(stack.clone())).await;
        let mut errors = Vec::new();
        let mut panicked = None;
        loop {
            let next = stack.0.lock().pop();
            let Some((cleanup, at)) = next else { break };
            let mut kept = super::guards::Kept::new(cleanup, at);
            let result = Running::new(kept.cleanup(), None, at).await;
            kept.disarm();
            match result {
                Ok(Some(failed)) if ended.has_value() => errors.push(failed.0),
                Err(Problem::Panicked(panic)) if ended.has_value() && panicked.is_none() => {
                    panicked = Some(panic);
                }
                other => Problem::settle(other, false, at),
            }
        }
        drop(left);
        let value = ended.finish().await;
        if let Some(panic) = panicked {
            errors
                .into_iter()
                .for_each(|error| Failed(error).report(at));
            std::panic::resume_unwind(panic);
        }
        if errors.is_empty() {
            Ok(value)
        } else {
            Err(ExitErrors { value, errors })
        }
    }
}

/// The clean-ups of an [`exit_stack`].
#[derive(Clone, Default)]
pub struct ExitStack(Arc<Mutex<Vec<(Owned, &'static Location<'static>)>>>);

impl ExitStack {
    /// Adds a clean-up. It runs before all that were added earlier.
    #[track_caller]
    pub fn defer<C, F>(&self, cleanup: C)
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Success> + Send + 'static,
    {
        let cleanup: Owned = Box::pin(async move { cleanup().await.failure() });
        self.0.lock().push((cleanup, Location::caller()));
    }

    /// How many clean-ups there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there is no clean-up.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for ExitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExitStack").field(&self.len()).finish()
    }
}

/// What is left when the future of an exit stack is dropped.
struct Left {
    stack: ExitStack,
    at: &'static Location<'static>,
}

impl Drop for Left {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.stack.0.lock());
        if left.is_empty() {
            return;
        }
        // In one task, so that the order stays.
        let all = async move {
            for (cleanup, at) in left.into_iter().rev() {
                if let Some(failed) = cleanup.await {
                    failed.report(at);
                }
            }
            None
        };
        orphan::adopt(Box::pin(all), self.at);
    }
}

/// Clean-ups of an [`exit_stack`] failed: their errors, in the order in which they ran, and the value of the body.
#[derive(Debug)]
pub struct ExitErrors<T> {
    value: T,
    errors: Vec<Box<dyn Error + Send + Sync>>,
}

impl<T> ExitErrors<T> {
    /// The errors, in the order in which the clean-ups ran.
    pub fn errors(&self) -> &[Box<dyn Error + Send + Sync>] {
        &self.errors
    }

    /// The value of the body.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> fmt::Display for ExitErrors<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} clean-ups failed", self.errors.len())?;
        for error in &self.errors {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl<T: fmt::Debug> Error for ExitErrors<T> {}
