//! How much a task may do in one poll before it must let others run.
//!
//! A task that awaits one ready thing after the other never returns `Pending` on its own accord, and would
//! keep its worker for ever. So each leaf operation (a receive, a lock, a read) asks [`poll_proceed`] first:
//! a poll has [`LIMIT`] of them, after which they all say `Pending` and the task goes to the back of the
//! queue.
//!
//! ```
//! use std::future::poll_fn;
//! use std::task::{Context, Poll, ready};
//!
//! fn poll_recv(cx: &mut Context<'_>, queue: &mut Vec<u8>) -> Poll<u8> {
//!     let charge = ready!(divisi_task::budget::poll_proceed(cx));
//!     match queue.pop() {
//!         Some(byte) => {
//!             charge.made_progress();
//!             Poll::Ready(byte)
//!         }
//!         None => Poll::Pending, // dropping the charge gives it back
//!     }
//! }
//! # let mut cx = Context::from_waker(std::task::Waker::noop());
//! # assert_eq!(poll_recv(&mut cx, &mut vec![1]), Poll::Ready(1));
//! ```

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::current::with_thread;
use crate::freeze::{self, Mode};

/// Leaf operations that a task may complete in one poll. The number is tokio's, where it has stood since 2020
/// without complaint.
pub const LIMIT: u8 = 128;

/// Above any real budget: outside tasks, and inside [`unconstrained`].
pub(crate) const UNLIMITED: u8 = u8::MAX;

/// Asks for leave to do one leaf operation.
///
/// `Ready` with a [`Charge`] on which the operation later says whether it [made
/// progress](Charge::made_progress). `Pending`, with the task woken already, if the budget of this poll is
/// spent: the caller returns `Pending` too. Outside any task it is always `Ready`.
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<Charge> {
    let charged = with_thread(|thread| {
        let left = thread.budget.get();
        let counted = left != UNLIMITED;
        if left != 0 && counted {
            thread.budget.set(left - 1);
        }
        (left != 0).then_some(counted)
    });
    let Some(counted) = charged else {
        return refuse(cx);
    };
    Poll::Ready(Charge {
        counted,
        here: PhantomData,
    })
}

/// The budget is spent: the task goes to the back of the queue. Or the future is frozen, and is not polled again on its own account.
#[cold]
fn refuse(cx: &mut Context<'_>) -> Poll<Charge> {
    if freeze::mode() != Mode::Frozen {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// Whether a leaf operation could proceed now.
pub fn has_remaining() -> bool {
    with_thread(|thread| thread.budget.get() != 0)
}

/// Gives the poll that runs on this thread a full budget again. Nothing outside any task, inside
/// [`unconstrained`], or inside something [frozen](crate::freeze).
///
/// A task gets a full budget with every poll without this; it is for code that polls several tasks' worth of
/// work inside one.
pub fn reset() {
    with_thread(|thread| {
        if thread.budget.get() != UNLIMITED && thread.mode.get() != Mode::Frozen {
            thread.budget.set(LIMIT);
        }
    });
}

/// Calls `f` with a full budget of its own, as a poll of a task has, and restores what was before.
///
/// For whoever polls a future that is no task, such as the root of a `block_on`.
pub fn limited<R>(f: impl FnOnce() -> R) -> R {
    with_budget(LIMIT, f)
}

/// A future that polls `future` without a budget: it never has to let others run before it is done.
pub fn unconstrained<F: Future>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

fn with_budget<R>(budget: u8, f: impl FnOnce() -> R) -> R {
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            with_thread(|thread| thread.budget.set(self.0));
        }
    }
    let _restore = Restore(with_thread(|thread| thread.budget.replace(budget)));
    f()
}

/// Leave to do one leaf operation, given by [`poll_proceed`]. Dropped without
/// [`made_progress`](Self::made_progress) it goes back into the budget.
#[must_use = "dropping it at once gives the charge back, as if nothing had been done"]
pub struct Charge {
    counted: bool,
    /// The budget is the thread's.
    here: PhantomData<*const ()>,
}

impl Charge {
    /// The operation did something: the charge is spent.
    #[inline]
    pub fn made_progress(mut self) {
        self.counted = false;
    }
}

impl Drop for Charge {
    #[inline]
    fn drop(&mut self) {
        if self.counted {
            give_back();
        }
    }
}

/// Out of the way of what made progress.
fn give_back() {
    with_thread(|thread| {
        let left = thread.budget.get();
        // At most the limit, if the charge was kept across polls.
        if left < LIMIT && thread.mode.get() != Mode::Frozen {
            thread.budget.set(left + 1);
        }
    });
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charge").finish_non_exhaustive()
    }
}

/// The future of [`unconstrained`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Unconstrained<F> {
    future: F,
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the field is pinned with its owner: it is never moved out, there is no `Drop`, and `Unpin`
        // is automatic.
        let future = unsafe { self.map_unchecked_mut(|this| &mut this.future) };
        if freeze::mode() == Mode::Frozen {
            return future.poll(cx);
        }
        with_budget(UNLIMITED, || future.poll(cx))
    }
}
