//! A job: a closure that runs once, as a future that is ready at its first poll.
//!
//! Both pools put their closures into ordinary task cells, so that handles, cancelling before the start, panics and the
//! runtime's task list come from one place. Such a cell is polled at most once and never waits, so nothing ever keeps
//! its waker.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use divisi_task::{Runnable, budget, current};

use crate::compute::{Caught, MISLED, caught_in_job};

/// How the job that a thread ran last came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The closure was dropped without being called, or unwound at a checkpoint.
    Cancelled,
    Returned,
    Panicked,
}

thread_local! {
    /// Written by the job, read by the thread that ran it. What a job calls may end other jobs, by a shutdown: then there is one inside the other.
    static OUTCOME: Cell<Outcome> = const { Cell::new(Outcome::Cancelled) };
}

struct Once<F>(Option<F>);

// The closure is never pinned: it is moved out before it is called.
impl<F> Unpin for Once<F> {}

impl<F, T> Future for Once<F>
where
    F: FnOnce() -> T,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<T> {
        let call = self.0.take().expect("a job's cell polls it once");
        // Stays in place if the call unwinds.
        OUTCOME.set(Outcome::Panicked);
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(value) => {
                OUTCOME.set(Outcome::Returned);
                Poll::Ready(value)
            }
            Err(payload) => match caught_in_job(payload, current::id()) {
                Caught::Cancelled => {
                    OUTCOME.set(Outcome::Cancelled);
                    // The request to cancel stands in the cell, which completes as cancelled instead of waiting.
                    Poll::Pending
                }
                Caught::Misled => panic!("{MISLED}"),
                Caught::Panic(payload) => resume_unwind(payload),
            },
        }
    }
}

/// Makes the future of a job. It runs without a budget of leaf operations: the closure is synchronous code that may
/// drive futures to their end itself (`block_on`), and nobody would ever refill a budget that it has spent.
pub(crate) fn once<F, T>(f: F) -> impl Future<Output = T> + Send + 'static
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    budget::unconstrained(Once(Some(f)))
}

/// Runs a job to its end and says how it came out.
pub(crate) fn run(job: Runnable) -> Outcome {
    let outer = OUTCOME.replace(Outcome::Cancelled);
    // The cell catches the closure's own panic. What can still unwind is foreign code called for the job (a joiner's
    // waker, a panic handler); the panic hook has reported it, and the thread has other jobs to serve.
    drop(catch_unwind(AssertUnwindSafe(|| job.run())));
    OUTCOME.replace(outer)
}

/// Ends a job that has not started, without calling its closure.
pub(crate) fn cancel(job: Runnable, why: impl Into<Cow<'static, str>>) {
    job.task().abort_handle().cancel(why);
    let outcome = run(job);
    debug_assert_eq!(outcome, Outcome::Cancelled);
}
