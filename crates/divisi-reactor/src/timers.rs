//! The timers of one reactor: the wheel, the lock around it, and who must be woken for it.
//!
//! # A sleeper never misses a new timer
//! The thread that goes to sleep publishes, under the lock, until when it will sleep; it has
//! declared itself the sleeper before (`crate::sleep`). Whoever arms a timer does so under the same
//! lock. If the arming comes first, the sleeper sees the timer when it computes its time-out. If
//! the sleeper comes first, the arming thread sees how long it sleeps, and notifies it if that is
//! too long. With a virtual clock no timer bounds a sleep; there, who arms a timer that is due
//! already, and who moves the clock, notify the sleeper. The clock is moved before the mover takes
//! the lock and read under the lock, so one of the two sees the other.
//!
//! While nobody sleeps, arming costs no system call: the next turn looks.

use crate::clock::{Clock, saturating_nanos};
use crate::error::ReactorError;
use crate::released::Released;
use crate::thread_priority;
use crate::wheel::{Key, NEVER, Wheel};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Timers that one turn fires at most. The rest fires in the next turn, which does not wait.
/// A wake-up costs some 100 ns, so this bounds a burst to about 25 µs before I/O is looked at.
pub(crate) const TIMER_BATCH: usize = 256;

#[derive(Debug)]
pub(crate) struct Timers {
    clock: Clock,
    /// Zero on the wheel.
    origin: Instant,
    shard: Mutex<Shard>,
    /// The wheel's next deadline as of the last change under the lock, or earlier. A hint: reading
    /// it without the lock only decides whether to look now or in the next turn.
    next: AtomicU64,
    /// Set once timers were ended before they were due.
    evacuated: AtomicBool,
    /// Entries to end, of timers that were dropped on threads of lowered priority.
    released: Released,
}

#[derive(Debug)]
struct Shard {
    wheel: Wheel,
    /// Until when a thread sleeps in this reactor, if one does.
    sleeping_until: Option<u64>,
    closed: bool,
}

/// What arming came to.
#[derive(Debug)]
pub(crate) enum Arm {
    /// The timer is in the wheel. If `notify`, a thread sleeps too long for it.
    Armed { key: Key, notify: bool },
    /// The deadline had passed already.
    Due,
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Timers {
        Timers {
            origin: clock.now(),
            clock,
            shard: Mutex::new(Shard {
                wheel: Wheel::new(),
                sleeping_until: None,
                closed: false,
            }),
            next: AtomicU64::new(NEVER),
            evacuated: AtomicBool::new(false),
            released: Released::new(),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Arms a timer. No clock is read (a virtual one is): whether a real deadline has passed is
    /// judged by the time of the last turn, so a deadline that passed since fires in the next.
    pub(crate) fn arm(
        &self,
        deadline: Option<Instant>,
        waker: &Waker,
    ) -> Result<Arm, ReactorError> {
        let deadline = self.nanos(deadline);
        let waker = waker.clone();
        // Declared first, to be dropped after the lock.
        let _ended;
        let mut shard = self.shard.lock();
        // A thread that arms one timer after the other in one poll makes no turns meanwhile.
        _ended = self.end_released(&mut shard);
        let refused = if shard.closed {
            Some(Err(ReactorError::ShutDown))
        } else if deadline <= self.known_now(&shard) {
            Some(Ok(Arm::Due))
        } else {
            None
        };
        if let Some(refused) = refused {
            // The waker is dropped after the lock.
            drop(shard);
            return refused;
        }
        let key = shard.wheel.insert(deadline, waker);
        let notify = self.note_earlier(&mut shard, deadline);
        Ok(Arm::Armed { key, notify })
    }

    /// Moves an armed timer. `None` if it has fired already, else whether to notify the sleeper.
    pub(crate) fn rearm(&self, key: Key, deadline: Option<Instant>) -> Option<bool> {
        let deadline = self.nanos(deadline);
        let mut shard = self.shard.lock();
        if !shard.wheel.rearm(key, deadline) {
            return None;
        }
        Some(self.note_earlier(&mut shard, deadline))
    }

    /// Looks whether a timer has fired; leaves `waker` with it if not. True frees the entry.
    pub(crate) fn poll(&self, key: Key, waker: &Waker) -> Result<bool, ReactorError> {
        let mut shard = self.shard.lock();
        if shard.wheel.has_fired(key) {
            shard.wheel.remove(key);
            return if shard.closed {
                Err(ReactorError::ShutDown)
            } else {
                Ok(true)
            };
        }
        let cell = shard.wheel.waker_mut(key);
        if !cell.as_ref().is_some_and(|old| old.will_wake(waker)) {
            drop(shard);
            let new = waker.clone();
            let mut shard = self.shard.lock();
            if shard.wheel.has_fired(key) {
                // Fired while the lock was open: it is seen by looking again.
                drop(shard);
                return self.poll(key, waker);
            }
            let old = shard.wheel.waker_mut(key).replace(new);
            drop(shard);
            drop(old);
        }
        Ok(false)
    }

    /// Ends an entry: now, or on a thread of lowered priority when somebody else takes the lock.
    pub(crate) fn disarm(&self, key: Key) {
        if thread_priority::is_lowered() && self.released.put(key) {
            return;
        }
        let mut shard = self.shard.lock();
        let waker = shard.wheel.remove(key);
        if shard.wheel.armed() == 0 {
            self.next.store(NEVER, Ordering::Relaxed);
        }
        drop(shard);
        drop(waker);
    }

    /// Ends the entries of timers that were dropped on threads of lowered priority. The wakers are to be dropped without the lock.
    #[must_use = "wakers are foreign code: drop them after the lock"]
    fn end_released(&self, shard: &mut Shard) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.released
            .take_all(|key| wakers.extend(shard.wheel.remove(key)));
        wakers
    }

    /// The calling thread is about to sleep until `limit` (real time) or the next timer. Returns
    /// for how long, `None` for ever.
    pub(crate) fn fall_asleep(&self, limit: Option<Instant>) -> Option<Duration> {
        let mut shard = self.shard.lock();
        if shard.closed {
            return Some(Duration::ZERO);
        }
        let ended = self.end_released(&mut shard);
        if !ended.is_empty() {
            drop(shard);
            drop(ended);
            return self.fall_asleep(limit);
        }
        let next = shard.wheel.next_deadline();
        self.next.store(next.unwrap_or(NEVER), Ordering::Relaxed);
        let until = if self.clock.is_virtual() {
            shard.sleeping_until = Some(NEVER);
            let now = self.nanos(Some(self.clock.now()));
            if next.is_some_and(|next| next <= now) {
                return Some(Duration::ZERO);
            }
            limit
        } else {
            let next = next.and_then(|next| self.instant(next));
            let until = match (limit, next) {
                (Some(limit), Some(next)) => Some(limit.min(next)),
                (limit, next) => limit.or(next),
            };
            shard.sleeping_until = Some(self.nanos(until));
            until
        };
        drop(shard);
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Ends the sleep published by [`Timers::fall_asleep`] without looking at the timers.
    pub(crate) fn wake_up(&self) {
        self.shard.lock().sleeping_until = None;
    }

    /// Fires what is due; `slept` ends the sleep published by [`Timers::fall_asleep`]. Returns how
    /// many timers fired.
    pub(crate) fn turn(&self, slept: bool, wakers: &mut Vec<Waker>) -> usize {
        let next = self.next.load(Ordering::Relaxed);
        if next == NEVER {
            if slept {
                self.wake_up();
            }
            return 0;
        }
        let now = self.nanos(Some(self.clock.now()));
        if now < next && !slept && !self.released.any() {
            return 0;
        }
        let mut shard = self.shard.lock();
        if slept {
            shard.sleeping_until = None;
        }
        // Before anything fires: their tasks do not wait for them any more.
        let ended = self.end_released(&mut shard);
        let fired = shard.wheel.advance(now, TIMER_BATCH, wakers);
        let next = shard.wheel.next_deadline().unwrap_or(NEVER);
        self.next.store(next, Ordering::Relaxed);
        drop(shard);
        drop(ended);
        fired
    }

    /// After a virtual clock moved: true if a thread sleeps although a timer is due.
    pub(crate) fn must_wake_sleeper(&self) -> bool {
        let shard = self.shard.lock();
        let now = self.nanos(Some(self.clock.now()));
        shard.sleeping_until.is_some()
            && shard.wheel.next_deadline().is_some_and(|next| next <= now)
    }

    /// The earliest deadline, exact or (after a timer was removed) early.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.next.load(Ordering::Relaxed) {
            NEVER => None,
            next => self.instant(next),
        }
    }

    /// Ends the wait of every timer, due or not; the early ones find out and arm themselves anew.
    pub(crate) fn evacuate(&self, wakers: &mut Vec<Waker>) {
        let mut shard = self.shard.lock();
        self.evacuated.store(true, Ordering::Relaxed);
        shard.wheel.fire_all(wakers);
        self.next.store(NEVER, Ordering::Relaxed);
    }

    /// Whether a fired timer with this deadline may have been evacuated, and not have come due.
    pub(crate) fn fired_early(&self, deadline: Option<Instant>) -> bool {
        // Relaxed: the caller saw its timer fired under the lock that `evacuate` held.
        self.evacuated.load(Ordering::Relaxed)
            && deadline.is_none_or(|deadline| deadline > self.clock.now())
    }

    /// No timer may be armed any more; all that are end now.
    pub(crate) fn close(&self, wakers: &mut Vec<Waker>) {
        let mut shard = self.shard.lock();
        shard.closed = true;
        shard.wheel.fire_all(wakers);
        self.next.store(NEVER, Ordering::Relaxed);
    }

    pub(crate) fn armed(&self) -> usize {
        let mut shard = self.shard.lock();
        let ended = self.end_released(&mut shard);
        let armed = shard.wheel.armed();
        drop(shard);
        drop(ended);
        armed
    }

    /// Records a new deadline; true if the sleeper must be told.
    fn note_earlier(&self, shard: &mut Shard, deadline: u64) -> bool {
        if deadline < self.next.load(Ordering::Relaxed) {
            self.next.store(deadline, Ordering::Relaxed);
        }
        let Some(until) = shard.sleeping_until else {
            return false;
        };
        let wake = if self.clock.is_virtual() {
            deadline <= self.nanos(Some(self.clock.now()))
        } else {
            deadline < until
        };
        if wake {
            // The next arming need not tell again unless it is earlier still.
            shard.sleeping_until = Some(deadline);
        }
        wake
    }

    /// A lower bound of the present, exact for a virtual clock.
    fn known_now(&self, shard: &Shard) -> u64 {
        if self.clock.is_virtual() {
            self.nanos(Some(self.clock.now()))
        } else {
            shard.wheel.now()
        }
    }

    fn nanos(&self, instant: Option<Instant>) -> u64 {
        instant.map_or(NEVER, |instant| {
            saturating_nanos(instant.saturating_duration_since(self.origin))
        })
    }

    fn instant(&self, nanos: u64) -> Option<Instant> {
        self.origin.checked_add(Duration::from_nanos(nanos))
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    fn in_an_hour(timers: &Timers, waker: &Waker) -> Key {
        let deadline = timers.clock().now() + Duration::from_secs(3600);
        match timers.arm(Some(deadline), waker) {
            Ok(Arm::Armed { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    }

    struct Silent;

    impl std::task::Wake for Silent {
        fn wake(self: Arc<Self>) {
            panic!("nobody waits any more");
        }
    }

    /// The lock is held all the while: whoever wanted it would hang here.
    #[test]
    fn a_thread_of_lowered_priority_drops_a_timer_without_the_lock() {
        let timers = Timers::new(Clock::real());
        let silent = Arc::new(Silent);
        let waker = Waker::from(Arc::clone(&silent));
        let keys: Vec<_> = (0..3).map(|_| in_an_hour(&timers, &waker)).collect();
        drop(waker);
        let shard = timers.shard.lock();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread_priority::mark_lowered();
                keys.into_iter().for_each(|key| timers.disarm(key));
            });
        });
        assert_eq!((shard.wheel.armed(), Arc::strong_count(&silent)), (3, 4));
        drop(shard);
        // A turn ends them although none is due.
        let mut wakers = Vec::new();
        assert_eq!((timers.turn(false, &mut wakers), wakers.len()), (0, 0));
        assert_eq!((timers.armed(), Arc::strong_count(&silent)), (0, 1));
    }

    #[test]
    fn who_goes_to_sleep_does_not_sleep_for_a_timer_that_was_dropped_so() {
        let timers = Timers::new(Clock::real());
        let key = in_an_hour(&timers, Waker::noop());
        assert!(timers.fall_asleep(None).is_some());
        timers.wake_up();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread_priority::mark_lowered();
                timers.disarm(key);
            });
        });
        assert_eq!(timers.fall_asleep(None), None, "for ever");
        assert_eq!(timers.next_deadline(), None);
    }
}
