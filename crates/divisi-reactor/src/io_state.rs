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
//! # Evacuation
//! A reactor that will not be turned gives its sources up: their tokens are forgotten, everything
//! counts as ready, and all waiters are woken. Each tries and, if it must wait, registers with the
//! reactor of its thread by then, which reports what is ready. A waiter that had entered its waker
//! before is woken; one that comes after finds no home and settles. Only who owns the descriptor can
//! end its old registration with the system, so that is done at the next registration, or when the
//! source is dropped; until then the old reactor drops its events by their token.
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
use std::os::fd::BorrowedFd;
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
    /// `None` after an evacuation: the system still reports the descriptor to the old reactor, which
    /// drops the events. Whoever has the descriptor next ends that.
    token: Option<Token>,
}

impl Registration {
    /// Stops the old reactor from watching `fd`.
    fn end(self, fd: BorrowedFd<'_>) {
        self.reactor.deregister(fd, self.token);
    }

    fn is_with(&self, reactor: &Reactor) -> bool {
        self.token.is_some() && self.reactor.id() == reactor.id()
    }
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
        if visit == Visit::Settle || (visit == Visit::Guest && reactor.is_adopting()) {
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
        let slot = self.registration.lock();
        let home = slot.as_ref().filter(|home| home.token.is_some())?;
        Some(home.reactor.id())
    }

    /// True if readiness says all: a reactor watches the source and its edges need no re-arming.
    pub(crate) fn is_watched_by_edges(&self) -> bool {
        self.registration
            .lock()
            .as_ref()
            .is_some_and(|home| home.token.is_some() && !home.reactor.driver().needs_rearm())
    }

    pub(crate) fn migrations(&self) -> u64 {
        self.migrations.load(Ordering::Relaxed)
    }

    /// Stops watching `fd`. What was known about it is forgotten.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>) {
        let mut slot = self.registration.lock();
        if let Some(home) = slot.take() {
            home.end(fd);
            self.waiters.settled(0);
            if !self.readiness.load().is_shut_down() {
                self.readiness.reset();
            }
        }
    }

    /// Takes the source away from `reactor`, if that watches it, and collects its waiters: they try
    /// again and register elsewhere. The descriptor is not at hand, so telling the system is left to
    /// them.
    pub(crate) fn evacuate(&self, reactor: &Reactor, wakers: &mut Vec<Waker>) {
        let mut slot = self.registration.lock();
        let Some(home) = slot.as_mut().filter(|home| home.is_with(reactor)) else {
            return;
        };
        if let Some(token) = home.token.take() {
            reactor.forget(token);
        }
        self.waiters.settled(0);
        // An event that the old reactor had taken may be lost, so everybody is to try.
        self.readiness.assume_ready();
        self.waiters.take(true, true, wakers);
    }

    fn settle(self: &Arc<Self>, fd: BorrowedFd<'_>, reactor: &Reactor) -> io::Result<()> {
        let mut slot = self.registration.lock();
        let watched = match &*slot {
            // Another waiter was faster.
            Some(home) if home.is_with(reactor) => return Ok(()),
            home => home.as_ref().is_some_and(|home| home.token.is_some()),
        };
        if !watched {
            // The system refuses to register with the same reactor twice.
            if let Some(evacuated) = slot.take() {
                evacuated.end(fd);
            }
        }
        let token = match reactor.register(fd, self.clone()) {
            Ok(token) => token,
            // Not a failure of the wait: the old home goes on watching.
            Err(_) if watched => return Ok(()),
            Err(error) => return Err(error),
        };
        let new = Registration {
            reactor: reactor.clone(),
            token: Some(token),
        };
        if let Some(old) = slot.replace(new) {
            old.end(fd);
            self.migrations.fetch_add(1, Ordering::Relaxed);
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
            Some(Registration {
                reactor,
                token: Some(token),
            }) => {
                let (read, write) = self.waiters.waiting();
                reactor.driver().rearm(fd, *token, read, write)
            }
            // Evacuated meanwhile, which woke the caller's task.
            _ => Ok(()),
        }
    }
}
