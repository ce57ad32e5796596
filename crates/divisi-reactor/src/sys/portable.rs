//! Everywhere else: `polling`'s own API.
//!
//! Edge-triggered where the system supports it. Where it does not, *oneshot*: an event disarms its
//! source, so whoever waits arms it again first (`rearm`), and an event wakes the waiters of both
//! directions, since both are disarmed.
//!
//! `polling` cannot report that the peer stopped sending, so a short read proves nothing here: only
//! `WouldBlock` clears readiness.

use super::{Token, explain_registration};
use crate::readiness::Ready;
use parking_lot::Mutex;
use polling::{Event, PollMode, Poller};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Driver {
    poller: Poller,
    mode: PollMode,
    /// Held while waiting. `polling` lets one thread wait too, but forgets what [`Driver::wait`]
    /// must mend before the next one enters.
    turn: Mutex<()>,
}

impl Driver {
    /// The end of the stream may hide behind a short read.
    pub(crate) const SHORT_MEANS_DRAINED: bool = false;

    pub(crate) fn new() -> io::Result<Driver> {
        let poller = Poller::new()?;
        let mode = if poller.supports_edge() {
            PollMode::Edge
        } else {
            PollMode::Oneshot
        };
        Ok(Driver {
            poller,
            mode,
            turn: Mutex::new(()),
        })
    }

    /// Starts to watch `fd`. Edge-triggered, what is ready already is reported as an event;
    /// otherwise nothing is until [`Driver::rearm`].
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let interest = if self.needs_rearm() {
            Event::none(key(token))
        } else {
            Event::all(key(token))
        };
        // SAFETY: `crate::source::Source` owns the object behind `fd` and calls `remove` before it
        // drops it, hands it out, or lends it mutably. A source that is leaked leaks its object too;
        // if that was only borrowed, its number may be reused while it is registered, which makes
        // events for a state that nobody waits for: no memory is reached through it.
        let added = unsafe {
            self.poller
                .add_with_mode(fd.as_raw_fd(), interest, self.mode)
        };
        added.map_err(explain_registration)
    }

    /// True if a waiter must call [`Driver::rearm`] before it waits.
    pub(crate) fn needs_rearm(&self) -> bool {
        !matches!(self.mode, PollMode::Edge)
    }

    pub(crate) fn rearm(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        read: bool,
        write: bool,
    ) -> io::Result<()> {
        self.poller
            .modify_with_mode(fd, Event::new(key(token), read, write), self.mode)
    }

    /// Stops watching `fd`.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poller.delete(fd)
    }

    /// Waits for events: not at all, for a time, or for ever. Returns at once and without events if
    /// another thread waits.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.buffer.clear();
        let Some(_turn) = self.turn.try_lock() else {
            return Ok(());
        };
        let mut timeout = timeout;
        loop {
            match self.poller.wait(&mut events.buffer, timeout) {
                // Its poll(2) backend took a notification whose byte had not been written yet. Such
                // a wait ends without resetting the flag that keeps later notifications from being
                // sent; a whole wait does. What was notified meanwhile, this turn reports.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timeout = Some(Duration::ZERO);
                }
                waited => return waited.map(drop),
            }
        }
    }

    /// Ends the wait of one thread, or makes the next wait return at once.
    pub(crate) fn ring(&self) {
        // An error means that the poller's own descriptor is broken; its waiter then learns it.
        let _ = self.poller.notify();
    }

    /// The descriptor that another event loop can wait for: none that all of `polling`'s backends
    /// have.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn key(token: Token) -> usize {
    // `crate::sources` makes tokens of `usize::BITS` bits.
    token.0 as usize
}

/// The buffer of a wait.
pub(crate) struct Events {
    buffer: polling::Events,
    limit: usize,
}

impl Events {
    /// A buffer for `limit` events (at least one) a wait; backends without a limit take more.
    pub(crate) fn with_limit(limit: usize) -> Events {
        let limit = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
        Events {
            buffer: polling::Events::with_capacity(limit),
            limit: limit.get(),
        }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        if limit.max(1) != self.limit {
            *self = Events::with_limit(limit);
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// True if the last wait may have taken the bell's edge: `polling` does not tell.
    pub(crate) fn bell(&self) -> bool {
        true
    }

    /// True if the last wait reported a source.
    pub(crate) fn any(&self) -> bool {
        self.buffer.iter().next().is_some()
    }

    /// What the last wait reported about sources.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, Ready)> + '_ {
        self.buffer
            .iter()
            .map(|event| (Token(event.key as u64), ready(&event)))
    }
}

fn ready(event: &Event) -> Ready {
    let mut ready = Ready::NONE;
    if event.readable {
        ready = ready | Ready::READABLE;
    }
    if event.writable {
        ready = ready | Ready::WRITABLE;
    }
    ready
}
