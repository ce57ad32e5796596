//! Waiting for a point in time.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use divisi_reactor::Timer;
use divisi_task::{budget, current};

use super::Instant;
use crate::context;

/// Waits until `duration` has passed. The time runs from this call, not from the first poll.
///
/// Never early; a duration that no clock can reach waits for ever.
///
/// # Panics
///
/// The future panics when it is polled outside a divisi runtime.
///
/// # Cancel safety
///
/// Dropping the future removes the timer.
///
/// ```
/// # divisi::run(async {
/// divisi::time::sleep(std::time::Duration::from_millis(1)).await;
/// # });
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    if duration == Duration::MAX {
        return Sleep::new(Instant::far_future());
    }
    Sleep::new(Instant::now() + duration)
}

/// Waits until `deadline`. See [`sleep`].
#[track_caller]
pub fn sleep_until(deadline: impl Into<Instant>) -> Sleep {
    Sleep::new(deadline.into())
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It can be kept and used again after [`reset`](Self::reset), which is cheaper than a new one. It is `Unpin`.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    timer: Timer,
    created_at: &'static Location<'static>,
}

impl Sleep {
    #[track_caller]
    fn new(deadline: Instant) -> Sleep {
        Sleep {
            timer: Timer::at(deadline.into_std()),
            created_at: Location::caller(),
        }
    }

    /// When it fires.
    pub fn deadline(&self) -> Instant {
        self.timer
            .deadline()
            .map_or_else(Instant::far_future, Instant::from_std)
    }

    /// Whether it has fired. Only a poll changes that.
    pub fn is_elapsed(&self) -> bool {
        self.timer.is_elapsed()
    }

    /// Sets a new deadline, whether it has fired or not. A task that waits for it is woken at the new deadline.
    pub fn reset(&mut self, deadline: impl Into<Instant>) {
        self.timer.reset(deadline.into().into_std());
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let charge = ready!(budget::poll_proceed(cx));
        let created_at = self.created_at;
        ready!(poll_timer(&mut self.timer, cx, created_at));
        charge.made_progress();
        Poll::Ready(())
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline())
            .field("elapsed", &self.is_elapsed())
            .field("created_at", &format_args!("{}", self.created_at))
            .finish()
    }
}

/// Polls a timer and notes where the task waits.
///
/// It takes nothing from the budget: whoever uses it for a limit must see the limit even when the budget is spent.
pub(crate) fn poll_timer(
    timer: &mut Timer,
    cx: &mut Context<'_>,
    created_at: &'static Location<'static>,
) -> Poll<()> {
    match timer.poll_expired(cx, context::timer_home) {
        Poll::Ready(Ok(())) => Poll::Ready(()),
        Poll::Ready(Err(error)) => refused(&error, created_at),
        Poll::Pending => {
            current::note_wait(created_at);
            Poll::Pending
        }
    }
}

#[cold]
fn refused(error: &io::Error, created_at: &'static Location<'static>) -> ! {
    panic!("a timer created at {created_at} cannot wait: {error}")
}
