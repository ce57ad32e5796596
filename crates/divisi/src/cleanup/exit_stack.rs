//! Clean-ups that are decided on while the body runs.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem::take;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use parking_lot::Mutex;

use super::ended::{Body, Ended};
use super::orphan::{self, Owned};
use super::running::Running;
use super::sealed::Outcome as _;
use super::{Exit, Failed, Problem, Success};

/// Runs `body` with a stack of clean-ups that it can add to, and then the clean-ups, the last one first. Python's `AsyncExitStack`.
///
/// Each clean-up runs however the body and the others ended, as that of [`finally`](super::finally) does, and has the same limit.
///
/// [`try_exit_stack`](super::try_exit_stack) is for things that are opened, and closed in a way that depends on how the body ended.
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
/// If the future is dropped, the clean-ups that have not ended run at the root of the runtime, the last one first and one after the other. What had
/// failed by then is reported.
#[track_caller]
pub fn exit_stack<B, F>(body: B) -> impl Future<Output = Result<F::Output, ExitErrors<F::Output>>>
where
    B: FnOnce(ExitStack) -> F,
    F: Future,
{
    unwinding(body, Ended::exit, Location::caller())
}

/// The future of every exit stack. `exit_of` says how the body ended.
pub(super) async fn unwinding<B, F>(
    body: B,
    exit_of: impl FnOnce(&Ended<F::Output>) -> Exit,
    at: &'static Location<'static>,
) -> Result<F::Output, ExitErrors<F::Output>>
where
    B: FnOnce(ExitStack) -> F,
    F: Future,
{
    let mut left = Left {
        stack: ExitStack::default(),
        running: None,
        errors: Vec::new(),
        panicked: None,
        at,
    };
    let ended = Body::new(body(left.stack.clone()), at).await;
    left.stack.ends(exit_of(&ended));
    while let Some((cleanup, at)) = left.next() {
        let result = Running::new(cleanup, None, at).await;
        match result {
            Ok(Some(failed)) if ended.has_value() => left.errors.push(failed),
            Err(Problem::Panicked(panic)) if ended.has_value() && left.panicked.is_none() => {
                left.panicked = Some(panic);
            }
            other => Problem::settle(other, false, at),
        }
    }
    let (errors, panicked) = (take(&mut left.errors), left.panicked.take());
    drop(left);
    let value = ended.finish().await;
    if let Some(panic) = panicked {
        errors.into_iter().for_each(|error| error.report(at));
        std::panic::resume_unwind(panic);
    }
    if errors.is_empty() {
        Ok(value)
    } else {
        let errors = errors.into_iter().map(|error| error.0).collect();
        Err(ExitErrors { value, errors })
    }
}

/// The clean-ups of an [`exit_stack`].
#[derive(Clone, Default)]
pub struct ExitStack(Arc<Mutex<Stack>>);

#[derive(Default)]
struct Stack {
    cleanups: Vec<Deferred>,
    /// The last one has run, or the future of the exit stack was dropped.
    closed: bool,
    exit: HowItEnded,
}

/// How the body ended; nothing before that, nor if it was dropped. Apart from the stack, which owns the clean-ups that look at it.
type HowItEnded = Arc<OnceLock<Exit>>;

/// A clean-up, and where it was set up.
type Deferred = (Owned, &'static Location<'static>);

impl ExitStack {
    /// Adds a clean-up. It runs before all that were added earlier and have not begun.
    ///
    /// If the exit stack has ended, or was dropped, it runs at once at the root of the runtime.
    #[track_caller]
    pub fn defer<C, F>(&self, cleanup: C)
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Success> + Send + 'static,
    {
        let cleanup: Owned = Box::pin(async move { cleanup().await.failure() });
        self.push(cleanup, Location::caller());
    }

    pub(super) fn push(&self, cleanup: Owned, at: &'static Location<'static>) {
        let late = {
            let mut stack = self.0.lock();
            if stack.closed {
                Some(cleanup)
            } else {
                stack.cleanups.push((cleanup, at));
                None
            }
        };
        if let Some(cleanup) = late {
            orphan::adopt(cleanup, at);
        }
    }

    pub(super) fn how_it_ended(&self) -> HowItEnded {
        self.0.lock().exit.clone()
    }

    fn ends(&self, exit: Exit) {
        // It ends once only.
        let _ = self.0.lock().exit.set(exit);
    }

    /// How many clean-ups there are.
    pub fn len(&self) -> usize {
        self.0.lock().cleanups.len()
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

/// What an exit stack has come to, and what is left when its future is dropped.
struct Left {
    stack: ExitStack,
    /// The one that runs. It stays here until the next one does.
    running: Option<Deferred>,
    /// For the caller.
    errors: Vec<Failed>,
    panicked: Option<Box<dyn Any + Send>>,
    at: &'static Location<'static>,
}

impl Left {
    /// The clean-up that is to run next; if there is none the stack takes no more.
    fn next(&mut self) -> Option<(&mut Owned, &'static Location<'static>)> {
        // Its destructors are foreign code: before the lock.
        self.running = None;
        let mut stack = self.stack.0.lock();
        self.running = stack.cleanups.pop();
        stack.closed = self.running.is_none();
        drop(stack);
        let (cleanup, at) = self.running.as_mut()?;
        Some((cleanup, at))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let mut left = {
            let mut stack = self.stack.0.lock();
            stack.closed = true;
            take(&mut stack.cleanups)
        };
        left.extend(self.running.take());
        for error in self.errors.drain(..) {
            error.report(self.at);
        }
        if let Some(panic) = self.panicked.take() {
            Problem::settle(Err(Problem::Panicked(panic)), false, self.at);
        }
        if !left.is_empty() {
            orphan::adopt(Box::pin(in_sequence(left)), self.at);
        }
    }
}

/// The clean-ups, the last one first. In one task, so that the order stays; what one of them comes to is reported, and the others still run.
async fn in_sequence(mut cleanups: Vec<Deferred>) -> Option<Failed> {
    while let Some((mut cleanup, at)) = cleanups.pop() {
        let ended =
            poll_fn(
                |cx| match catch_unwind(AssertUnwindSafe(|| cleanup.as_mut().poll(cx))) {
                    Ok(polled) => polled.map(Ok),
                    Err(panic) => Poll::Ready(Err(Problem::Panicked(panic))),
                },
            );
        Problem::settle(ended.await, false, at);
    }
    None
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
