//! A timer: a deadline that a task can wait for.

use crate::clock::Clock;
use crate::reactor::Reactor;
use crate::timers::Arm;
use crate::wheel::Key;
use std::fmt;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// An entry in the timer wheel of some reactor.
///
/// Making one costs nothing; the first poll arms it in the reactor of that thread, where it stays
/// until it has fired, is dropped, or is re-armed after it fired. It holds no allocation. Dropping
/// it touches only its own reactor.
///
/// A timer never fires early, and fires in the first turn of its reactor that begins after its
/// deadline (later only if more than a batch of timers is due at once). A deadline that had passed
/// by the last turn completes at the first poll; one that has passed since completes with the next
/// turn.
///
/// ```
/// use divisi_reactor::{Clock, Reactor, Scratch, Timer, Wait};
/// use std::task::{Context, Poll, Waker};
/// use std::time::Duration;
///
/// let clock = Clock::manual();
/// let reactor = Reactor::new(clock.clone())?;
/// let mut timer = Timer::after(&clock, Duration::from_secs(60));
/// let mut cx = Context::from_waker(Waker::noop());
/// assert!(timer.poll_expired(&mut cx, || Ok(reactor.clone())).is_pending());
///
/// clock.advance(Duration::from_secs(60)).unwrap();
/// reactor.turn(&mut Scratch::new(16), Wait::Poll)?;
/// assert!(matches!(timer.poll_expired(&mut cx, || unreachable!()), Poll::Ready(Ok(()))));
/// # std::io::Result::Ok(())
/// ```
pub struct Timer {
    /// `None`: never.
    deadline: Option<Instant>,
    state: State,
}

enum State {
    /// Not armed: new, or given a new deadline after it fired.
    Idle,
    Armed {
        reactor: Reactor,
        key: Key,
    },
    Elapsed,
}

impl Timer {
    /// A timer that fires at `deadline`.
    pub fn at(deadline: Instant) -> Timer {
        Timer {
            deadline: Some(deadline),
            state: State::Idle,
        }
    }

    /// A timer that fires when `clock` shows `after` more than now. [`Duration::MAX`], and whatever
    /// else no [`Instant`] can tell, is never.
    pub fn after(clock: &Clock, after: Duration) -> Timer {
        Timer {
            deadline: clock.deadline(after),
            state: State::Idle,
        }
    }

    /// A timer that never fires. Waiting for it ends only when the reactor is closed.
    pub fn never() -> Timer {
        Timer {
            deadline: None,
            state: State::Idle,
        }
    }

    /// Completes once the deadline has passed, and from then on until [`Timer::reset`]. `home` is
    /// asked for the reactor of this thread only when the timer must be armed.
    ///
    /// # Errors
    /// Those of `home`; [`ReactorError::ShutDown`](crate::ReactorError::ShutDown) if the reactor is
    /// closed before the timer fires.
    ///
    /// # Cancel safety
    /// The timer keeps its deadline however often and from wherever it is polled; the last waker is
    /// woken.
    pub fn poll_expired(
        &mut self,
        cx: &mut Context<'_>,
        home: impl FnOnce() -> io::Result<Reactor>,
    ) -> Poll<io::Result<()>> {
        match &self.state {
            State::Elapsed => Poll::Ready(Ok(())),
            State::Idle => self.arm(cx, home()?),
            State::Armed { reactor, key } => match reactor.timers().poll(*key, cx.waker()) {
                Ok(false) => Poll::Pending,
                Ok(true) if reactor.timers().fired_early(self.deadline) => {
                    self.state = State::Idle;
                    self.arm(cx, home()?)
                }
                Ok(true) => {
                    self.state = State::Elapsed;
                    Poll::Ready(Ok(()))
                }
                Err(error) => {
                    self.state = State::Idle;
                    Poll::Ready(Err(error.into()))
                }
            },
        }
    }

    /// Gives the timer a new deadline (`None`: never), as if it were new. If it is armed, it moves
    /// within its reactor and the waiting task need not be polled again.
    pub fn reset(&mut self, deadline: impl Into<Option<Instant>>) {
        self.deadline = deadline.into();
        if let State::Armed { reactor, key } = &self.state {
            match reactor.timers().rearm(*key, self.deadline) {
                Some(true) => return reactor.notify(),
                Some(false) => return,
                None => reactor.timers().disarm(*key),
            }
        }
        self.state = State::Idle;
    }

    /// When the timer fires; `None` is never.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// True after a poll has said so, until [`Timer::reset`].
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Elapsed)
    }

    fn arm(&mut self, cx: &mut Context<'_>, reactor: Reactor) -> Poll<io::Result<()>> {
        match reactor.timers().arm(self.deadline, cx.waker())? {
            Arm::Due => {
                self.state = State::Elapsed;
                Poll::Ready(Ok(()))
            }
            Arm::Armed { key, notify } => {
                if notify {
                    reactor.notify();
                }
                self.state = State::Armed { reactor, key };
                Poll::Pending
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let State::Armed { reactor, key } = &self.state {
            reactor.timers().disarm(*key);
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("deadline", &self.deadline)
            .field(
                "state",
                &match self.state {
                    State::Idle => "idle",
                    State::Armed { .. } => "armed",
                    State::Elapsed => "elapsed",
                },
            )
            .finish()
    }
}
