//! The reactor: one poller, one timer wheel, one sleeper.

use crate::clock::{Clock, Watcher};
use crate::io_state::IoState;
use crate::sleep::{Begin, SleepWord};
use crate::sources::Sources;
use crate::sys::{Driver, Token};
use crate::timers::Timers;
use crate::turn::{Scratch, Turn, Wait, wake_all};
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Watches file descriptors, fires timers, and is where a worker sleeps. Clones are the same
/// reactor.
///
/// Every method may be called from any thread. One thread at a time can sleep in a reactor: a turn
/// that would wait while another thread does, looks once and returns.
///
/// ```
/// use divisi_reactor::{Clock, Reactor, Scratch, Wait};
///
/// let reactor = Reactor::new(Clock::real())?;
/// reactor.notify();
/// // The notification was there first, so this does not sleep.
/// let turn = reactor.turn(&mut Scratch::new(64), Wait::Until(None))?;
/// assert!(turn.notified);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Reactor {
    inner: Arc<Inner>,
}

/// Tells reactors of one process apart; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReactorId(NonZeroU64);

impl ReactorId {
    /// The identity as a number, never zero.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    fn next() -> ReactorId {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        ReactorId(NonZeroU64::new(id).expect("2^64 reactors"))
    }
}

struct Inner {
    id: ReactorId,
    driver: Driver,
    sleep: SleepWord,
    sources: Sources,
    timers: Timers,
    /// Turns that have taken due timers and not woken all of their waiters; counted with a virtual
    /// clock only.
    delivering: AtomicUsize,
    /// Until the next turn, a source whose task waits from here moves here at once.
    adopting: AtomicBool,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    turns: AtomicU64,
    events: AtomicU64,
    timers: AtomicU64,
    rings: AtomicU64,
}

/// Counts of one reactor since it was made, and sizes now. Taken one by one while others go on, so
/// they need not match exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReactorMetrics {
    /// Completed polls of the operating system, by any thread.
    pub turns: u64,
    /// Events that reached a source.
    pub events: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// System calls made to end a sleep.
    pub notifies_written: u64,
    /// Sources registered now.
    pub sources: usize,
    /// Timers armed now.
    pub timers: usize,
}

impl Reactor {
    /// Makes a reactor whose timers follow `clock`.
    ///
    /// # Errors
    /// Those of the operating system: no descriptors left, no memory.
    pub fn new(clock: Clock) -> io::Result<Reactor> {
        let inner = Arc::new(Inner {
            id: ReactorId::next(),
            driver: Driver::new()?,
            sleep: SleepWord::new(),
            sources: Sources::new(),
            timers: Timers::new(clock),
            delivering: AtomicUsize::new(0),
            adopting: AtomicBool::new(false),
            counters: Counters::default(),
        });
        let watcher: Weak<Inner> = Arc::downgrade(&inner);
        inner.timers.clock().watch(watcher);
        Ok(Reactor { inner })
    }

    /// One turn: waits as `wait` says, passes events to their sources, fires due timers, and wakes
    /// whoever waited for them.
    ///
    /// Makes one system call, the wait itself; on other systems than Linux what `polling` needs. A
    /// turn may return early with nothing done: a signal, a stale notification, another sleeper, a
    /// closed reactor.
    ///
    /// Wakers run on this thread, outside every lock. One that panics does not stop the others; its
    /// payload is left in `scratch`.
    ///
    /// # Errors
    /// Those of the operating system's wait. Timers have been fired all the same.
    pub fn turn(&self, scratch: &mut Scratch, wait: Wait) -> io::Result<Turn> {
        let inner = &*self.inner;
        // Mostly it is not set, and a load leaves the line where it is.
        if inner.adopting.load(Ordering::Relaxed) {
            inner.adopting.store(false, Ordering::Relaxed);
        }
        let mut turn = Turn::default();
        let mut slept = false;
        let mut timeout = Some(Duration::ZERO);
        if let Wait::Until(limit) = wait {
            match inner.sleep.begin() {
                Begin::Asleep => {
                    slept = true;
                    timeout = inner.timers.fall_asleep(limit);
                }
                Begin::Notified => turn.notified = true,
                Begin::Occupied => {}
            }
        }

        let waited = inner.driver.wait(&mut scratch.events, timeout);

        if slept {
            turn.notified = inner.sleep.end();
        } else if scratch.events.bell() && inner.sleep.bell_was_taken_from_sleeper() {
            inner.ring();
        }
        // A real clock asks nobody before it moves on.
        let counted = inner.timers.clock().is_virtual();
        if counted {
            inner.delivering.fetch_add(1, Ordering::SeqCst);
        }
        if waited.is_ok() && scratch.events.any() {
            turn.events = inner.sources.deliver(
                scratch.events.iter(),
                inner.driver.needs_rearm(),
                &mut scratch.wakers,
            );
        }
        turn.timers = inner.timers.turn(slept, &mut scratch.wakers);
        inner.counters.count(&turn);
        turn.panics = scratch.wake();
        if counted {
            inner.delivering.fetch_sub(1, Ordering::SeqCst);
        }
        waited.map(|()| turn)
    }

    /// Ends the sleep of the thread that sleeps in this reactor, or makes the next turn that would
    /// sleep return at once.
    ///
    /// Whatever the caller did before is visible to that thread after its turn. Costs one atomic
    /// operation, and a system call only if a thread sleeps and nobody else has notified it.
    pub fn notify(&self) {
        self.inner.notify();
    }

    /// The earliest armed timer. May be early if a timer was cancelled, is never late.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.inner.timers.next_deadline()
    }

    /// With a virtual clock: whether some thread is between taking due timers and waking those who
    /// wait for them, so that a task that should run is in no queue yet.
    pub fn is_delivering(&self) -> bool {
        self.inner.delivering.load(Ordering::SeqCst) > 0
    }

    /// How often any thread has polled the operating system: unchanged between two looks means
    /// unattended.
    pub fn turns(&self) -> u64 {
        self.inner.counters.turns.load(Ordering::Relaxed)
    }

    /// Counts and sizes.
    pub fn metrics(&self) -> ReactorMetrics {
        let counters = &self.inner.counters;
        ReactorMetrics {
            turns: counters.turns.load(Ordering::Relaxed),
            events: counters.events.load(Ordering::Relaxed),
            timers_fired: counters.timers.load(Ordering::Relaxed),
            notifies_written: counters.rings.load(Ordering::Relaxed),
            sources: self.inner.sources.len(),
            timers: self.inner.timers.armed(),
        }
    }

    /// The identity of this reactor.
    pub fn id(&self) -> ReactorId {
        self.inner.id
    }

    /// The clock that its timers follow.
    pub fn clock(&self) -> &Clock {
        self.inner.timers.clock()
    }

    /// The descriptor that becomes readable when a turn has something to do, for embedding in
    /// another event loop: Linux's epoll descriptor, `None` with the portable driver. It does not
    /// tell of timers; see [`Reactor::sleep_outside`].
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.driver.descriptor()
    }

    /// Declares that the caller is going to wait for [`Reactor::descriptor`] in another event loop
    /// instead of in a turn. While the returned value lives, [`Reactor::notify`] and new timers make
    /// the descriptor readable. `None` if the caller must turn first: a notification is pending, a
    /// timer is due, the reactor is closed, or another thread sleeps.
    ///
    /// ```
    /// use divisi_reactor::{Clock, Reactor, Scratch, Wait};
    ///
    /// let reactor = Reactor::new(Clock::real())?;
    /// if let Some(sleep) = reactor.sleep_outside() {
    ///     // ... the other loop waits for `reactor.descriptor()`, at most:
    ///     let _time_out = sleep.time_left();
    /// }
    /// reactor.turn(&mut Scratch::new(64), Wait::Poll)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn sleep_outside(&self) -> Option<OutsideSleep> {
        if self.inner.sleep.begin() != Begin::Asleep {
            return None;
        }
        let time_left = self.inner.timers.fall_asleep(None);
        let sleep = OutsideSleep {
            reactor: self.clone(),
            time_left,
        };
        (time_left != Some(Duration::ZERO)).then_some(sleep)
    }

    /// Gives up everything that is registered here: whoever waits for a source or a timer is woken,
    /// tries again, and registers with the reactor that is its home by then. For a reactor that
    /// nobody will turn for a while; it can be used again later.
    ///
    /// The caller must not be the home of any waiter while this runs, or they come back.
    pub fn evacuate(&self) {
        let mut wakers = Vec::new();
        for state in self.inner.sources.states() {
            state.evacuate(self, &mut wakers);
        }
        self.inner.timers.evacuate(&mut wakers);
        wake_all(wakers);
    }

    /// From now to the next turn, every source that is waited for from here moves here, not only after several such waits:
    /// its task was given to this reactor's thread for good.
    pub fn adopt(&self) {
        self.inner.adopting.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_adopting(&self) -> bool {
        self.inner.adopting.load(Ordering::Relaxed)
    }

    /// Whether any source is registered or any timer armed here.
    pub fn has_interest(&self) -> bool {
        self.inner.sources.len() > 0 || self.inner.timers.armed() > 0
    }

    /// Ends the service: waiters of every source and timer are woken and get
    /// [`ReactorError::ShutDown`](crate::ReactorError::ShutDown), as does whoever comes later. Turns
    /// do not sleep any more. Closing twice does nothing more.
    pub fn close(&self) {
        let mut wakers = Vec::new();
        self.inner.sources.close(&mut wakers);
        self.inner.timers.close(&mut wakers);
        self.notify();
        wake_all(wakers);
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.inner.driver
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.inner.timers
    }

    /// Starts to watch `fd` for `state`.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>, state: Arc<IoState>) -> io::Result<Token> {
        let token = self.inner.sources.insert(state)?;
        if let Err(error) = self.inner.driver.add(fd, token) {
            self.inner.sources.remove(token);
            return Err(error);
        }
        Ok(token)
    }

    /// Drops all events with this token from now on.
    pub(crate) fn forget(&self, token: Token) {
        self.inner.sources.remove(token);
    }

    /// Stops watching `fd`. Events that are under way are dropped.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>, token: Option<Token>) {
        if let Some(token) = token {
            self.forget(token);
        }
        // It fails only if the descriptor is not registered (any more): what was asked for.
        let _ = self.inner.driver.remove(fd);
    }
}

impl Inner {
    fn notify(&self) {
        if self.sleep.notify() {
            self.ring();
        }
    }

    fn ring(&self) {
        self.counters.rings.fetch_add(1, Ordering::Relaxed);
        self.driver.ring();
    }
}

impl Watcher for Inner {
    fn time_moved(&self) {
        if self.timers.must_wake_sleeper() {
            self.notify();
        }
    }
}

impl Counters {
    fn count(&self, turn: &Turn) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        if turn.events > 0 {
            self.events.fetch_add(turn.events as u64, Ordering::Relaxed);
        }
        if turn.timers > 0 {
            self.timers.fetch_add(turn.timers as u64, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("id", &self.inner.id.get())
            .field("sleep", &self.inner.sleep)
            .field("clock", self.clock())
            .field("metrics", &self.metrics())
            .finish()
    }
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
impl std::os::fd::AsFd for Reactor {
    /// The epoll descriptor; see [`Reactor::descriptor`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner
            .driver
            .descriptor()
            .expect("epoll has a descriptor")
    }
}

/// A sleep in another event loop, see [`Reactor::sleep_outside`]. Drop it when the loop has woken,
/// before the next turn.
#[must_use = "the reactor takes its caller for asleep until this is dropped"]
#[derive(Debug)]
pub struct OutsideSleep {
    reactor: Reactor,
    time_left: Option<Duration>,
}

impl OutsideSleep {
    /// How long the other loop may wait, as of when the sleep was declared; `None` is for ever.
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left
    }
}

impl Drop for OutsideSleep {
    fn drop(&mut self) {
        let inner = &self.reactor.inner;
        inner.timers.wake_up();
        if inner.sleep.end() {
            // The notification is for the turn that follows; another thread may have begun to sleep by now.
            inner.notify();
        }
    }
}
