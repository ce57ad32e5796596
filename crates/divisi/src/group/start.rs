//! Starting a task and waiting until it says that it is ready.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use divisi_sync::oneshot;
use divisi_task::{CancelReason, JoinError};
use parking_lot::Mutex;

use super::child::{Child, Ended};
use super::error::Failure;
use super::handle::Group;
use super::shared::Shared;
use crate::scope::node::Node;
use crate::task::spawn::spawn_options;

type Sender<V, E> = Arc<Mutex<Option<oneshot::Sender<Answer<V, E>>>>>;

/// What the starter hears of. If nobody takes it, because the starter stands still or is gone, a failure is the group's.
struct Answer<V, E> {
    said: Option<Result<V, StartError<E>>>,
    group: Arc<Shared<E>>,
}

impl<V, E> Answer<V, E> {
    fn new(said: Result<V, StartError<E>>, group: Arc<Shared<E>>) -> Answer<V, E> {
        Answer {
            said: Some(said),
            group,
        }
    }

    fn take(mut self) -> Result<V, StartError<E>> {
        self.said.take().expect("taken once")
    }
}

impl<V, E> Drop for Answer<V, E> {
    fn drop(&mut self) {
        match self.said.take() {
            Some(Err(StartError::Failed(error))) => {
                self.group
                    .fail(Failure::Error(error), "a task of the group failed");
            }
            Some(Err(StartError::Panicked(panic))) => {
                self.group
                    .fail(Failure::Panic(panic), "a task of the group panicked");
            }
            Some(Ok(_) | Err(StartError::NeverReady | StartError::Cancelled(_))) | None => {}
        }
    }
}

impl<E: Send + 'static> Group<E> {
    /// Runs `body` as a task of the group and waits until it [says that it is ready](Ready::set), with a value: a server that is bound
    /// gives its address. Trio's `nursery.start`.
    ///
    /// Until then a failure of the task is this call's, and not the group's; from then on the task is one of the group as any other.
    ///
    /// ```
    /// use divisi::net::TcpListener;
    /// use divisi::task_group;
    ///
    /// # divisi::run(async {
    /// let port = task_group(async |g| {
    ///     let (address, server) = g
    ///         .start(async |ready| {
    ///             let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///             ready.set(listener.local_addr()?);
    ///             Ok::<_, std::io::Error>(())
    ///         })
    ///         .await
    ///         .map_err(std::io::Error::other)?;
    ///     server.await.map_err(std::io::Error::other)?;
    ///     Ok::<_, std::io::Error>(address.port())
    /// })
    /// .await
    /// .unwrap();
    /// assert_ne!(port, 0);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The task failed, panicked, was cancelled, or ended without a word, before it was ready.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Group::spawn).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the task is ready, the task is cancelled.
    #[track_caller]
    pub fn start<B, F, V, T>(
        &self,
        body: B,
    ) -> impl Future<Output = Result<(V, Child<T>), StartError<E>>> + use<B, F, V, T, E>
    where
        B: FnOnce(Ready<V, E>) -> F,
        F: Future<Output = Result<T, E>> + Send + 'static,
        V: Send + 'static,
        T: Send + 'static,
    {
        let options = spawn_options();
        let group = self.clone();
        async move {
            let (sender, receiver) = oneshot::channel();
            let sender: Sender<V, E> = Arc::new(Mutex::new(Some(sender)));
            let future = body(Ready {
                sender: sender.clone(),
                group: group.shared.clone(),
            });
            let child = group.start_with(options, future, sender);
            let mut abandoned = Abandoned(Some(child.node().clone()));
            let started = receiver.await;
            abandoned.0 = None;
            match started.map(Answer::take) {
                Ok(Ok(value)) => Ok((value, child)),
                Ok(Err(error)) => Err(error),
                // The group took no task, and so nobody sent anything.
                Err(oneshot::Closed) => match child.await {
                    Err(error) => Err(StartError::Cancelled(error)),
                    Ok(_) => Err(StartError::NeverReady),
                },
            }
        }
    }

    fn start_with<F, V, T>(
        &self,
        options: divisi_task::SpawnOptions,
        future: F,
        sender: Sender<V, E>,
    ) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        V: Send + 'static,
        T: Send + 'static,
    {
        let runtime = self.shared.runtime();
        let at: &'static Location<'static> = options.spawned_at();
        self.admit(
            at,
            future,
            |task| runtime.spawn_with(task, options),
            move |shared, ended| {
                let waiting = sender.lock().take();
                let Some(waiting) = waiting else {
                    if let Some((failure, why)) = ended.into_failure(Failure::Error) {
                        shared.fail(failure, why);
                    }
                    return;
                };
                let error = match ended {
                    Ended::Well => StartError::NeverReady,
                    Ended::Failed(error) => StartError::Failed(error),
                    Ended::Panicked(panic) => StartError::Panicked(panic),
                    Ended::Cancelled => return,
                };
                // If the caller is gone it comes back.
                drop(waiting.send(Answer::new(Err(error), shared.clone())));
            },
        )
    }
}

/// Cancels a task whose starter went away.
struct Abandoned(Option<Arc<Node>>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(node) = self.0.take() {
            node.cancel(CancelReason::new(
                "whoever started it went away before it was ready",
            ));
        }
    }
}

/// With this a task that was [started](Group::start) says that it is ready.
pub struct Ready<V, E> {
    sender: Sender<V, E>,
    group: Arc<Shared<E>>,
}

impl<V, E> Ready<V, E> {
    /// The task is ready: the one who started it gets `value` and goes on.
    pub fn set(self, value: V) {
        let sender = self.sender.lock().take();
        if let Some(sender) = sender {
            // If nobody waits any more, the task is being cancelled.
            let _ = sender.send(Answer::new(Ok(value), self.group));
        }
    }
}

impl<V, E> fmt::Debug for Ready<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

/// A task ended before it was ready: the error of [`Group::start`].
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError<E> {
    /// It returned an error.
    Failed(E),
    /// It panicked.
    Panicked(JoinError),
    /// It, or its group, was cancelled, or the group has ended.
    Cancelled(JoinError),
    /// It returned without a call of [`Ready::set`].
    NeverReady,
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Failed(error) => write!(f, "the task failed before it was ready: {error}"),
            StartError::Panicked(error) | StartError::Cancelled(error) => {
                write!(f, "before it was ready: {error}")
            }
            StartError::NeverReady => f.write_str(
                "the task returned and never said that it was ready: call `ready.set(value)` in it",
            ),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> Error for StartError<E> {}
