//! The handle with which a group is filled and ended.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use divisi_task::{CancelReason, JoinHandle, SpawnOptions};

use super::GroupError;
use super::child::{Child, ChildTask, Outcome, adopt};
use super::error::Failure;
use super::shared::Shared;
use crate::task::spawn::spawn_options;

/// A task group, for those inside it. Clone it into the group's tasks, so that they can spawn siblings or end the group.
///
/// Kept beyond the end of the group it is harmless: what is spawned then does not run, and its [`Child`] says so.
pub struct Group<E> {
    pub(super) shared: Arc<Shared<E>>,
}

impl<E> Group<E> {
    /// Cancels the whole group: its tasks and its body. What has not begun never does, clean-ups run, and the group ends: with the body's value
    /// if the body has come to one, else with a [`GroupError`] that [is only cancelled](GroupError::is_cancelled).
    ///
    /// The first reason stays. After the end of the group it does nothing.
    #[track_caller]
    pub fn cancel(&self, why: impl Into<Cow<'static, str>>) {
        if !self.shared.has_ended() {
            self.shared.node.cancel(CancelReason::new(why));
        }
    }

    /// Whether the group was cancelled, also because something failed, or with a scope around it.
    pub fn is_cancelled(&self) -> bool {
        self.shared.node.is_cancelled()
    }

    /// Why it was cancelled.
    pub fn reason(&self) -> Option<CancelReason> {
        self.shared.node.reason()
    }
}

impl<E: Send + 'static> Group<E> {
    /// Runs a future as a task of the group, concurrently with everything else, on any worker of the runtime that the group runs in.
    ///
    /// An error of the task, and a panic, cancels the rest of the group. Awaiting the [`Child`] is not necessary: the group waits for all
    /// its tasks. In a group that was cancelled or has ended the future is dropped unpolled, and the child ends as cancelled.
    ///
    /// # Panics
    ///
    /// If the group runs outside a divisi runtime and there is none on this thread either; the message says what to do.
    #[track_caller]
    pub fn spawn<F, T>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(spawn_options(), future, Failure::Error)
    }

    /// As [`spawn`](Self::spawn), with a name for reports and lists of tasks.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_named<F, T>(&self, name: impl Into<String>, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        let name: String = name.into();
        self.spawn_with(spawn_options().name(name), future, Failure::Error)
    }

    /// As [`spawn`](Self::spawn), for a future that ends with the error of a group itself, such as another
    /// [`task_group`](crate::task_group) of the same type of errors: the inner group becomes one [`Failure::Group`] of this one.
    ///
    /// ```
    /// use divisi::group::GroupError;
    /// use divisi::task_group;
    ///
    /// # divisi::run(async {
    /// let result: Result<(), GroupError<&str>> = task_group(async |outer| {
    ///     outer.spawn_nested(task_group(async |_| Err::<(), _>("deep inside")));
    ///     Ok(())
    /// })
    /// .await;
    /// assert_eq!(result.unwrap_err().first(), Some(&"deep inside"));
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_nested<F, T>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, GroupError<E>>> + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(spawn_options(), future, Failure::Group)
    }

    /// As [`spawn`](Self::spawn), for a future that is not `Send`, in a [`LocalRuntime`](crate::LocalRuntime). What it comes to is `Send`.
    ///
    /// # Panics
    ///
    /// If this thread does not drive a `LocalRuntime`.
    #[track_caller]
    pub fn spawn_local<F, T>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: Send + 'static,
    {
        let at = Location::caller();
        self.take(at, future, Failure::Error, crate::task::spawn_local)
    }

    #[track_caller]
    fn spawn_with<F, T, X>(
        &self,
        options: SpawnOptions,
        future: F,
        convert: fn(X) -> Failure<E>,
    ) -> Child<T>
    where
        F: Future<Output = Result<T, X>> + Send + 'static,
        T: Send + 'static,
        X: Send + 'static,
    {
        let runtime = self.shared.runtime();
        self.take(options.spawned_at(), future, convert, |task| {
            runtime.spawn_with(task, options)
        })
    }

    fn take<F, T, X>(
        &self,
        at: &'static Location<'static>,
        future: F,
        convert: fn(X) -> Failure<E>,
        spawn: impl FnOnce(ChildTask<F>) -> JoinHandle<Outcome<T, X>>,
    ) -> Child<T>
    where
        F: Future<Output = Result<T, X>>,
        T: Send + 'static,
        X: Send + 'static,
    {
        self.admit(at, future, spawn, move |shared, ended| {
            if let Some((failure, why)) = ended.into_failure(convert) {
                shared.fail(failure, why);
            }
        })
    }

    /// The common part of all ways to spawn.
    pub(super) fn admit<F, T, X>(
        &self,
        at: &'static Location<'static>,
        future: F,
        spawn: impl FnOnce(ChildTask<F>) -> JoinHandle<Outcome<T, X>>,
        ended: impl FnOnce(&Arc<Shared<E>>, super::child::Ended<X>) + Send + 'static,
    ) -> Child<T>
    where
        F: Future<Output = Result<T, X>>,
        T: Send + 'static,
        X: Send + 'static,
    {
        /// Takes the task back out of the count if it does not come to be.
        struct Leave<'a, E>(&'a Shared<E>);
        impl<E> Drop for Leave<'_, E> {
            fn drop(&mut self) {
                self.0.leave(false);
            }
        }
        if let Err(why) = self.shared.admit() {
            drop(future);
            self.shared.note_refusal(at, why);
            return Child::refused(at, why);
        }
        let leave = Leave(&self.shared);
        let task = ChildTask::new(future, &self.shared.node);
        let node = task.node();
        let handle = spawn(task);
        std::mem::forget(leave);
        adopt(self.shared.clone(), node, handle, ended)
    }
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Group<E> {
        Group {
            shared: self.shared.clone(),
        }
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
