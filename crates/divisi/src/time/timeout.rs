//! A limited time for a future.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use divisi_reactor::Timer;
use divisi_task::freeze::{self, Mode};
use pin_project_lite::pin_project;

use super::Instant;
use super::sleep::poll_timer;
use crate::scope::{Cut, Step, deadline_passed, look_again, outer_is_due};

/// Gives `future` no more than `limit`: its output, or [`Elapsed`] when the time is over first. The future is dropped with the `Timeout`.
///
/// It is a [scope](crate::scope): [clean-ups](crate::cleanup) inside run before it reports, and of nested ones whose time is over together only the
/// outermost does.
///
/// The time runs from the first poll that finds `future` pending. A future that is ready at the first poll costs no timer and no look at the clock, and a
/// future that is ready when the time is over wins.
///
/// ```
/// use std::time::Duration;
/// use divisi::time::{sleep, timeout};
///
/// # divisi::run(async {
/// assert_eq!(timeout(Duration::ZERO, async { 5 }).await, Ok(5));
/// assert!(timeout(Duration::from_millis(1), sleep(Duration::from_secs(60))).await.is_err());
/// # });
/// ```
///
/// # Panics
///
/// The future panics when it must wait outside a divisi runtime.
///
/// # Cancel safety
///
/// As `future`'s. When the time is over, `future` has been polled to a point where it waits, and is dropped there: use only futures for which
/// that is harmless.
///
/// That holds for a future that is given by reference, too (`timeout(limit, &mut future)`), and could be polled again: a
/// [cancel scope](crate::CancelScope) or [task group](crate::task_group) inside is cancelled with the time that was over, for good. Polled again it
/// panics, as it could only wait for ever. To go on waiting for such work, [spawn](crate::spawn) it and give a limit to `&mut handle`.
#[track_caller]
pub fn timeout<F: IntoFuture>(limit: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout::new(future.into_future(), Limit::After(limit))
}

/// Gives `future` time until `deadline`. See [`timeout`].
#[track_caller]
pub fn timeout_at<F: IntoFuture>(
    deadline: impl Into<Instant>,
    future: F,
) -> Timeout<F::IntoFuture> {
    Timeout::new(future.into_future(), Limit::At(deadline.into()))
}

enum Limit {
    /// Counted from the first poll that has to wait.
    After(Duration),
    At(Instant),
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless they are awaited"]
    // In this order (no promise to others): what a new one has, then what it has not. A move copies both in large pieces, and a processor waits at those that were
    // only just written in parts.
    #[repr(C)]
    pub struct Timeout<F> {
        cut: Cut,
        limit: Limit,
        created_at: &'static Location<'static>,
        #[pin]
        future: F,
        timer: Option<Timer>,
    }
}

impl<F> Timeout<F> {
    #[inline(always)]
    #[track_caller]
    fn new(future: F, limit: Limit) -> Timeout<F> {
        Timeout {
            future,
            limit,
            timer: None,
            cut: Cut::new(),
            created_at: Location::caller(),
        }
    }

    /// The future inside.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future inside.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The future inside, pinned.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut F> {
        self.project().future
    }

    /// The future inside, without the limit.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Before the first poll that waits, a limit that counts from there is no deadline: the clock is not read for a future that is ready.
        let mut deadline = match (&*this.timer, &*this.limit) {
            (Some(timer), _) => deadline_of(timer),
            (None, Limit::At(deadline)) => Some(*deadline),
            (None, Limit::After(_)) => None,
        };
        let step = this
            .cut
            .poll(cx, deadline, |cx| this.future.as_mut().poll(cx));
        let step = match step {
            // Cancelled and cleaning up, or cancelled by a scope around it, which reports.
            Step::Waits if this.cut.must_end() || freeze::mode() != Mode::Live => step,
            Step::Waits => {
                if this.timer.is_none() {
                    let timer = this.timer.insert(arm(this.limit));
                    deadline = deadline_of(timer);
                    if let Some(node) = this.cut.node() {
                        node.set_deadline(deadline);
                    }
                }
                let timer = this.timer.as_mut().expect("armed above");
                if poll_timer(timer, cx, this.created_at).is_pending() || this.cut.outer_reports() {
                    return Poll::Pending;
                }
                if outer_is_due(deadline) {
                    let _ = poll_timer(this.timer.insert(look_again()), cx, this.created_at);
                    return Poll::Pending;
                }
                this.cut.cancel(deadline_passed);
                this.cut
                    .settle(cx, deadline, |cx| this.future.as_mut().poll(cx))
            }
            step => step,
        };
        match step {
            Step::Ready(output) => Poll::Ready(Ok(output)),
            // While it cleaned up, a scope around it was cancelled, which reports.
            Step::Over if this.cut.outer_reports() => {
                this.cut.end_task_if_over(cx);
                Poll::Pending
            }
            Step::Over => Poll::Ready(Err(Elapsed(()))),
            Step::Waits => Poll::Pending,
        }
    }
}

fn deadline_of(timer: &Timer) -> Option<Instant> {
    timer.deadline().map(Instant::from_std)
}

fn arm(limit: &Limit) -> Timer {
    match *limit {
        Limit::After(Duration::MAX) => Timer::never(),
        Limit::After(limit) => Timer::at((Instant::now() + limit).into_std()),
        Limit::At(deadline) => Timer::at(deadline.into_std()),
    }
}

impl<F: fmt::Debug> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Timeout");
        match self.limit {
            Limit::After(limit) => f.field("limit", &limit),
            Limit::At(deadline) => f.field("deadline", &deadline),
        };
        f.field("created_at", &format_args!("{}", self.created_at))
            .field("future", &self.future)
            .finish()
    }
}

/// The time was over before the future was ready: the error of [`timeout`] and [`timeout_at`].
///
/// It converts into an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elapsed(());

impl Elapsed {
    pub(crate) fn new() -> Elapsed {
        Elapsed(())
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation did not complete in the time it was given")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
