//! Tasks with a name.

use std::future::Future;

use super::JoinHandle;
use super::spawn::spawn_options;
use crate::context;

/// Spawns a task with more than a future.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     let task = divisi::task::Builder::new().name("adder").spawn(async { 1 + 1 });
///     assert_eq!(task.await.unwrap(), 2);
/// });
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `spawn` is called"]
pub struct Builder {
    name: Option<Box<str>>,
}

impl Builder {
    /// A task without a name.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The name that reports, [`Handle::tasks`](crate::Handle::tasks) and [`JoinError`](super::JoinError) show. Costs one allocation.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// Spawns it on the current runtime; see [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread; the message says what to do.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let mut options = spawn_options();
        if let Some(name) = self.name {
            options = options.name(name);
        }
        context::handle().spawn_with(future, options)
    }
}
