//! The part of a source that its reactor knows: readiness, waiters, and where it is registered.
//!
//! # Registration
//! A source is registered with the reactor of the thread on which it first has to wait, and moves
//! when it keeps being waited for from another one. Edge-triggered registration reports what is
//! ready at that moment as an event, so nothing that happened before is lost, and a source may be
//! cleared or waited for before it is registered.
//!
//! Moving registers with the new reactor first and deregisters from the old one after: at no moment
//! is the source unwatched, and if the new reactor refuses, everything stays as it was. In between
//! both may deliver the same event, which is one attempt too many at worst. An event that the old
//! reactor has taken from the kernel but not looked up is dropped by its token; the new registration
//! reports the same condition again. The thread that moves a source belongs to the new reactor and
//! so will turn it.
//!
//! # Locks
//! `registration` before a reactor's registry before `waiters`. Delivering holds the registry and
//! takes `waiters`; (de)registering holds `registration` and takes either; nothing goes the other
//! way.

use crate::direction::Direction;
use crate::reactor::{Reactor, ReactorId};
use crate::readiness::{Readiness, Ready};
use crate::sys::Token;
use crate::waiters::{Place, Visit, Waiters};
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct IoState {
    readiness: Readiness,
    waiters: Waiters,
    registration: Mutex<Option<Registration>>,
    migrations: AtomicU64,
}

#[derive(Debug)]
struct Registration {
    reactor: Reactor,
    token: Token,
    /// The descriptor that is registered. Whoever owns it takes the registration out, under the
    /// lock, before it closes it.
    fd: RawFd,
}

impl IoState {
    pub(crate) fn new() -> IoState {
        IoState {
            readiness: Readiness::new(),
            waiters: Waiters::new(),
            registration: Mutex::new(None),
            migrations: AtomicU64::new(0),
        }
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Leaves a waker, makes sure that some reactor watches the source, and looks again. True if
    /// the direction became ready meanwhile: the caller must try instead of waiting.
    pub(crate) fn wait(
        self: &Arc<Self>,
        waker: &Waker,
        direction: Direction,
        place: &mut Place<'_>,
        fd: BorrowedFd<'_>,
        reactor: &Reactor,
    ) -> io::Result<bool> {
        let visit = self
            .waiters
            .wait(direction, place, waker, reactor.id().get());
        if visit == Visit::Settle {
            self.settle(fd, reactor)?;
        }
        if reactor.driver().needs_rearm() {
            self.rearm(fd)?;
        }
        Ok(self.readiness.load().allows(direction))
    }

    /// A waiter with a node is done or gone.
    pub(crate) fn leave(&self, direction: Direction, key: usize) {
        self.waiters.leave(direction, key);
    }

    /// An event came in. With `both_directions`, waiters of the other direction try again too.
    pub(crate) fn deliver(&self, ready: Ready, both_directions: bool, wakers: &mut Vec<Waker>) {
        self.readiness.deliver(ready);
        self.waiters.take(
            both_directions || ready.allows(Direction::Read),
            both_directions || ready.allows(Direction::Write),
            wakers,
        );
    }

    /// The reactor was closed.
    pub(crate) fn shut_down(&self, wakers: &mut Vec<Waker>) {
        self.readiness.shut_down();
        self.waiters.take(true, true, wakers);
    }

    pub(crate) fn home(&self) -> Option<ReactorId> {
        self.registration
            .lock()
            .as_ref()
            .map(|registration| registration.reactor.id())
    }

    /// True if readiness says all: a reactor watches the source and its edges need no re-arming.
    pub(crate) fn is_watched_by_edges(&self) -> bool {
        self.registration
            .lock()
            .as_ref()
            .is_some_and(|registration| !registration.reactor.driver().needs_rearm())
    }

    pub(crate) fn migrations(&self) -> u64 {
        self.migrations.load(Ordering::Relaxed)
    }

    /// Stops watching `fd`. What was known about it is forgotten.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>) {
        let mut slot = self.registration.lock();
        if let Some(registration) = slot.take() {
            registration.reactor.deregister(fd, registration.token);
            self.waiters.settled(0);
            if !self.readiness.load().is_shut_down() {
                self.readiness.reset();
            }
        }
    }

    /// Takes the source away from `reactor`, if that watches it, and collects its waiters: they try
    /// again and register elsewhere.
    pub(crate) fn evacuate(&self, reactor: ReactorId, wakers: &mut Vec<Waker>) {
        let mut slot = self.registration.lock();
        if slot
            .as_ref()
            .is_none_or(|home| home.reactor.id() != reactor)
        {
            return;
        }
        let Some(home) = slot.take() else { return };
        // SAFETY: the registration was in place and its lock is held, so by the invariant of
        // `Registration::fd` the owner has not closed the descriptor.
        let fd = unsafe { BorrowedFd::borrow_raw(home.fd) };
        home.reactor.deregister(fd, home.token);
        self.waiters.settled(0);
        if !self.readiness.load().is_shut_down() {
            self.readiness.reset();
        }
        self.waiters.take(true, true, wakers);
    }

    fn settle(self: &Arc<Self>, fd: BorrowedFd<'_>, reactor: &Reactor) -> io::Result<()> {
        let mut slot = self.registration.lock();
        match &mut *slot {
            None => {
                let token = reactor.register(fd, self.clone())?;
                *slot = Some(Registration {
                    reactor: reactor.clone(),
                    token,
                    fd: fd.as_raw_fd(),
                });
            }
            // Another waiter was faster.
            Some(home) if home.reactor.id() == reactor.id() => return Ok(()),
            Some(home) => {
                let Ok(token) = reactor.register(fd, self.clone()) else {
                    // Not a failure of the wait: the old home goes on watching.
                    return Ok(());
                };
                let new = Registration {
                    reactor: reactor.clone(),
                    token,
                    fd: fd.as_raw_fd(),
                };
                let old = std::mem::replace(home, new);
                old.reactor.deregister(fd, old.token);
                self.migrations.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.waiters.settled(reactor.id().get());
        Ok(())
    }

    /// Oneshot drivers: asks for events of every direction that somebody waits for.
    ///
    /// The waker is in place before this. Interest only ever shrinks when an event is taken from
    /// the system, and that event, when delivered, wakes the waiters of both directions, who come
    /// back here. Calls are serialised by the lock, and each asks for all that wait by then.
    fn rearm(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let slot = self.registration.lock();
        match &*slot {
            Some(home) => {
                let (read, write) = self.waiters.waiting();
                home.reactor.driver().rearm(fd, home.token, read, write)
            }
            None => Ok(()),
        }
    }
}
