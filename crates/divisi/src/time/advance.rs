//! Moving a virtual clock.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use divisi_reactor::Timer;

use super::Instant;
use super::sleep::poll_timer;
use crate::context;

/// Moves the virtual clock of this runtime forward by `duration`, at once, and lets the timers that are due then fire.
///
/// When it is done, those timers have fired: their tasks are woken, but need not have run. A virtual clock also jumps by itself, to the
/// next timer, whenever nothing else is left to do; this call is for time that passes while there is.
///
/// ```
/// use std::time::Duration;
/// use divisi::{Clock, Runtime};
/// use divisi::time::{Instant, advance};
///
/// let runtime = Runtime::builder().clock(Clock::Virtual).build()?;
/// runtime.block_on(async {
///     let start = Instant::now();
///     advance(Duration::from_secs(3600)).await;
///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
///
/// The future panics when it is polled outside a divisi runtime, or in one whose clock is real.
#[track_caller]
pub fn advance(duration: Duration) -> Advance {
    Advance {
        duration,
        target: None,
        called_at: Location::caller(),
    }
}

/// The future of [`advance`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Advance {
    duration: Duration,
    /// Fires after every timer of its reactor that is due at the new time: those fire in the order of their deadlines, then of arming.
    target: Option<Timer>,
    called_at: &'static Location<'static>,
}

impl Future for Advance {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(target) = &mut this.target {
            return poll_timer(target, cx, this.called_at);
        }
        let Some(clock) = context::clock() else {
            panic!(
                "the clock cannot be advanced at {}: {}",
                this.called_at,
                context::NO_RUNTIME
            );
        };
        assert!(
            clock.is_virtual(),
            "the clock cannot be advanced at {}: this runtime runs on the real clock; build it with `Runtime::builder().clock(Clock::Virtual)`, or \
             write `#[divisi::test(clock = \"virtual\")]`",
            this.called_at
        );
        let deadline = Instant::from_std(clock.now()) + this.duration;
        let target = this.target.insert(Timer::at(deadline.into_std()));
        // Armed before the clock moves, so that its reactor finds it due.
        let armed = poll_timer(target, cx, this.called_at);
        clock
            .advance_to(deadline.into_std())
            .expect("the clock is virtual");
        context::with_runtime(|runtime| runtime.fire_timers());
        armed
    }
}

impl fmt::Debug for Advance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advance")
            .field("duration", &self.duration)
            .field("called_at", &format_args!("{}", self.called_at))
            .finish_non_exhaustive()
    }
}
