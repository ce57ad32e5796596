//! What goes into a turn of the reactor and what comes out.

use crate::sys::Events;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Instant;

/// Payloads kept for [`Scratch::take_panics`]; more only count.
const KEPT_PANICS: usize = 16;

/// How long a turn waits when nothing is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Poll,
    /// Until an event, a notification, or this moment (`None`: for ever). With a real clock the
    /// next timer bounds the wait too; with a virtual one it does not. The moment is always one of
    /// the machine's clock ([`Instant::now`]).
    Until(Option<Instant>),
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Events that reached a source.
    pub events: usize,
    /// Timers that fired.
    pub timers: usize,
    /// True if [`Reactor::notify`](crate::Reactor::notify) ended or prevented the wait.
    pub notified: bool,
    /// Wakers that panicked; see [`Scratch::take_panics`].
    pub panics: usize,
}

/// The buffers of a turn, reused by the next. Each thread that turns reactors has its own.
pub struct Scratch {
    pub(crate) events: Events,
    pub(crate) wakers: Vec<Waker>,
    panics: Vec<Box<dyn Any + Send>>,
}

impl Scratch {
    /// Buffers for turns that take at most `max_events` events (at least one). Where the system's
    /// poller knows no limit (poll(2)), turns take what there is.
    pub fn new(max_events: usize) -> Scratch {
        Scratch {
            events: Events::with_limit(max_events),
            wakers: Vec::new(),
            panics: Vec::new(),
        }
    }

    /// From now on a turn takes at most `max_events` events (at least one); the rest stays with the
    /// operating system for the next. A busy worker takes few, an idle one many. On Linux the buffer
    /// is kept, so changing back and forth costs nothing.
    pub fn set_max_events(&mut self, max_events: usize) {
        if max_events.max(1) != self.events.limit() {
            self.events.set_limit(max_events);
        }
    }

    /// The payloads of the wakers that panicked in turns since the last call (at most 16).
    pub fn take_panics(&mut self) -> Vec<Box<dyn Any + Send>> {
        std::mem::take(&mut self.panics)
    }

    /// Wakes all that were collected, outside every lock; a waker that panics does not stop the
    /// others. Returns how many panicked.
    pub(crate) fn wake(&mut self) -> usize {
        let mut panicked = 0;
        for waker in self.wakers.drain(..) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panicked += 1;
                if self.panics.len() < KEPT_PANICS {
                    self.panics.push(payload);
                }
            }
        }
        panicked
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("max_events", &self.events.limit())
            .field("panics", &self.panics.len())
            .finish_non_exhaustive()
    }
}

/// Wakes all, outside every lock and outside a turn; payloads of panics are dropped.
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}
