//! The plug between the scheduler and the reactor: a seat sleeps in its reactor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use divisi_reactor::{OutsideSleep, Reactor, Scratch, Wait};
use divisi_scheduler::Park;
use parking_lot::{Mutex, MutexGuard};

use super::report::{ExceptionHandler, Report};

/// Events that a worker with nothing else to do takes in one turn.
const EVENTS_PER_IDLE_TURN: usize = 1024;
/// Events that fit into the buffer of a busy turn; the scheduler asks for fewer.
const EVENTS_PER_BUSY_TURN: usize = 256;

pub(crate) struct Driver {
    reactor: Reactor,
    /// Used by the thread that sleeps here.
    idle: Mutex<Scratch>,
    /// Used for turns that do not wait. Whoever finds it taken leaves the turn to the thread that has it.
    busy: Mutex<Scratch>,
    failed: AtomicBool,
    /// Another event loop waits for this reactor's descriptor.
    outside: Mutex<Option<OutsideSleep>>,
    /// Hears of wakers that panic.
    handler: ExceptionHandler,
}

impl Driver {
    pub(crate) fn new(reactor: Reactor, handler: ExceptionHandler) -> Driver {
        Driver {
            reactor,
            idle: Mutex::new(Scratch::new(EVENTS_PER_IDLE_TURN)),
            busy: Mutex::new(Scratch::new(EVENTS_PER_BUSY_TURN)),
            failed: AtomicBool::new(false),
            outside: Mutex::new(None),
            handler,
        }
    }

    /// Gives `scratch` back before it reports: the handler is foreign code.
    fn turn(&self, mut scratch: MutexGuard<'_, Scratch>, wait: Wait) -> usize {
        let turn = self.reactor.turn(&mut scratch, wait);
        let panics = scratch.take_panics();
        drop(scratch);
        for panic in panics {
            self.handler.handle(&Report::of_waker(panic));
        }
        match turn {
            Ok(turn) => turn.events + turn.timers,
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    eprintln!(
                        "divisi: the operating system refused to wait for events: {error}; I/O of this runtime may stall"
                    );
                }
                0
            }
        }
    }
}

impl Park for Driver {
    fn park(&self, limit: Option<Duration>) -> usize {
        drop(self.outside.lock().take());
        let until = limit.map(|limit| Instant::now() + limit);
        self.turn(self.idle.lock(), Wait::Until(until))
    }

    fn poll(&self, limit: usize) -> usize {
        drop(self.outside.lock().take());
        let Some(mut scratch) = self.busy.try_lock() else {
            return 0;
        };
        scratch.set_max_events(limit);
        self.turn(scratch, Wait::Poll)
    }

    fn unpark(&self) {
        self.reactor.notify();
    }

    fn announce_sleep(&self) -> bool {
        let sleep = self.reactor.sleep_outside();
        let announced = sleep.is_some();
        *self.outside.lock() = sleep;
        announced
    }

    fn has_interest(&self) -> bool {
        self.reactor.has_interest()
    }

    fn adopt(&self) {
        self.reactor.adopt();
    }

    fn evacuate(&self) {
        self.reactor.evacuate();
    }

    fn turns(&self) -> u64 {
        self.reactor.turns()
    }
}
