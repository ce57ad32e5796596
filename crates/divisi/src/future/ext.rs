//! Methods on every future.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::scope::{Shield, shield};
use crate::task::{self, JoinHandle, Shared};
use crate::time::{Instant, Timeout, timeout, timeout_at};

/// What divisi adds to every future, as methods: Python's decorators of coroutines.
///
/// ```
/// use std::time::Duration;
/// use divisi::future::FutureExt;
///
/// # divisi::run(async {
/// let answer = async { 42 }.timeout(Duration::from_secs(1)).await;
/// assert_eq!(answer, Ok(42));
///
/// let task = async { 6 * 7 }.named("multiplier").spawn();
/// assert_eq!(task.await.unwrap(), 42);
/// # });
/// ```
pub trait FutureExt: Future + Sized {
    /// Gives it no more than `limit`; see [`timeout`].
    #[track_caller]
    fn timeout(self, limit: Duration) -> Timeout<Self> {
        timeout(limit, self)
    }

    /// Gives it time until `deadline`; see [`timeout_at`].
    #[track_caller]
    fn timeout_at(self, deadline: impl Into<Instant>) -> Timeout<Self> {
        timeout_at(deadline, self)
    }

    /// Gives it a name, to be [spawned](Named::spawn) under. (It is the task that has a name: a future that is awaited in place has none, so the result is no
    /// future.)
    fn named(self, name: impl Into<String>) -> Named<Self> {
        Named {
            future: self,
            name: name.into(),
        }
    }

    /// Runs it to its end even if the scopes around it are cancelled meanwhile; see [`shield`].
    fn shielded(self) -> Shield<Self> {
        shield(self)
    }

    /// Lets many await it, each getting a clone of the output; see [`Shared`].
    fn shared(self) -> Shared<Self>
    where
        Self::Output: Clone,
    {
        Shared::new(self)
    }
}

impl<F: Future> FutureExt for F {}

/// A future with a name for its task; see [`FutureExt::named`].
#[must_use = "it does nothing until it is spawned"]
pub struct Named<F> {
    future: F,
    name: String,
}

impl<F: Future> Named<F> {
    /// Spawns it as a task with this name; see [`task::Builder`].
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread; the message says what to do.
    #[track_caller]
    pub fn spawn(self) -> JoinHandle<F::Output>
    where
        F: Send + 'static,
        F::Output: Send + 'static,
    {
        task::Builder::new().name(self.name).spawn(self.future)
    }

    /// The future, without the name.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F> fmt::Debug for Named<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
