//! Waiting for the output of a task.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, ready};

use crate::abort::AbortHandle;
use crate::error::JoinError;
use crate::header::{Content, Header};
use crate::id::TaskId;
use crate::raw::{Reference, header};
use crate::task_ref::TaskRef;
use crate::{budget, current, harness};

/// The right to the output of a task: a future that gives it, or a [`JoinError`].
///
/// Dropping the handle detaches the task: it goes on, and a panic in it is reported to its scheduler. If the
/// task has ended already, its output is dropped with the handle, on this thread, and a panic in that
/// destructor propagates; if it ended by a panic that nobody has read, that is reported to the scheduler.
///
/// # Cancel safety
/// Polling the handle and then not polling it any more loses nothing: the output stays until the handle takes
/// it.
///
/// # Panics
/// When it is polled again after it gave the output.
#[must_use = "dropping the handle detaches the task; `drop(handle)` says that this is meant"]
pub struct JoinHandle<T> {
    task: NonNull<Header>,
    /// The handle gives out, and drops, a `T`.
    output: PhantomData<T>,
}

// SAFETY: a handle owns a reference, which is `Send`, and the right to the output: it may drop or give out a
// `T`. It never touches the future.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: by shared reference only the header is reached, not the output.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// The caller owns a reference and the join interest of the task, whose future's output is a `T`.
    pub(crate) unsafe fn from_owned(task: NonNull<Header>) -> Self {
        Self {
            task,
            output: PhantomData,
        }
    }

    /// Asks the task to end. The first reason given wins; asking again changes nothing.
    ///
    /// The request takes effect at the task's next await: it is dropped where it waits, by its runtime. If it
    /// has not run yet, it is dropped unpolled. If it comes to an output before it sees the request, the
    /// output stands. Await the handle to know which it was, and that the task has ended.
    #[track_caller]
    pub fn cancel(&self, why: impl Into<Cow<'static, str>>) {
        self.abort_handle().cancel(why);
    }

    /// A handle for cancelling the task from elsewhere.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(self.reference())
    }

    /// Whether the task has ended, so that awaiting the handle would not wait.
    pub fn is_finished(&self) -> bool {
        self.header().state.load().is_complete()
    }

    /// Which task it is.
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// A reference for looking at the task.
    pub fn task(&self) -> TaskRef {
        TaskRef::new(self.reference())
    }

    fn header(&self) -> &Header {
        // SAFETY: the handle has a reference.
        unsafe { header(&self.task) }
    }

    fn reference(&self) -> Reference {
        // SAFETY: the handle keeps the task alive.
        unsafe { Reference::additional(self.task) }
    }

    /// Waits until the task has ended, and leaves its output here. The waker of the last call to this or `poll` is woken. It takes nothing from the budget.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: we are the handle, which has a reference.
        if unsafe { harness::poll_join(self.task, cx.waker()) } {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// The output of a task that is complete.
    #[track_caller]
    fn take(&mut self) -> Result<T, JoinError> {
        // SAFETY: complete, and we are the handle.
        match unsafe { harness::content(self.task) } {
            Content::Output => {
                let mut output = MaybeUninit::<Result<T, JoinError>>::uninit();
                // SAFETY: the stage is the handle's and has an output, of this type by the contract of
                // `from_owned`.
                unsafe {
                    (self.header().vtable.take_output)(self.task, output.as_mut_ptr().cast());
                    output.assume_init()
                }
            }
            Content::LeakedFuture => Err(harness::leaked_error(self.header())),
            Content::Nothing | Content::Future => {
                panic!(
                    "the handle of task {} was polled after it gave the output",
                    self.id()
                )
            }
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let charge = ready!(budget::poll_proceed(cx));
        // SAFETY: we are the handle, which has a reference.
        if unsafe { harness::poll_join(self.task, cx.waker()) } {
            charge.made_progress();
            Poll::Ready(self.take())
        } else {
            current::note_wait(Location::caller());
            Poll::Pending
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle is given up.
        unsafe { harness::drop_handle(self.task) };
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("task", &self.id())
            .field("state", &self.header().state)
            .finish_non_exhaustive()
    }
}
