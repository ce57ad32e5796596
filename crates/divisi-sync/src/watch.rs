//! The latest of a value, for many to watch.
//!
//! ```
//! # futures_lite::future::block_on(async {
//! let (sender, mut receiver) = divisi_sync::watch::channel("starting");
//! assert_eq!(*receiver.get(), "starting");
//! sender.send("ready").unwrap();
//! receiver.changed().await.unwrap();
//! assert_eq!(*receiver.get(), "ready");
//! drop(sender);
//! assert!(receiver.changed().await.is_err());
//! # });
//! ```
//!
//! # Guarantees
//!
//! * A receiver that waits is woken by every change; it may not see every value, but it always sees the latest.
//! * Looking at the value never makes a sender wait, nor the other way round: what [`get`](Receiver::get) returns is
//!   an [`Arc`] of the value as it was then, and may be kept.
//!
//! # Inside
//!
//! Value, version and those who wait are under one short lock. A receiver remembers the version that it has seen, and
//! waits only if that is the current one under the lock; a sender changes both under the lock and wakes all.
//!
//! Model: `tests/loom_channels.rs`.

mod change;

use std::fmt;
use std::mem;
use std::panic::Location;
use std::sync::Arc;

use divisi_task::wait_list::{Locked, Queue, WaitList, Waiter, Wakers};

pub use change::{Changed, Values};

use crate::audience::{self, Audience, LANES, SENDERS};
use crate::blocking::block_on;
use crate::facade::atomic::{AtomicU64, Ordering};
use crate::mpsc::SendError;

/// A channel whose value is `value` at first. Receivers have seen that.
#[must_use]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let chan = Arc::new(Chan {
        version: AtomicU64::new(0),
        waiters: WaitList::new(State {
            value: Arc::new(value),
            senders: 1,
            receivers: 1,
        }),
    });
    let sender = Sender { chan: chan.clone() };
    (sender, Receiver { chan, seen: 0 })
}

struct Chan<T> {
    /// How often the value changed; changed under the lock of `waiters`. A 64-bit number does not wrap in a lifetime.
    version: AtomicU64,
    waiters: WaitList<State<T>, (), LANES>,
}

struct State<T> {
    value: Arc<T>,
    senders: usize,
    receivers: usize,
}

/// Those who wait for a change.
const CHANGED: usize = 0;

impl<T> Queue<LANES> for Chan<T> {
    type State = State<T>;
    type Ticket = ();

    fn waiters(&self) -> &WaitList<State<T>, (), LANES> {
        &self.waiters
    }

    /// All who waited were woken: nothing is to be passed on.
    fn give_up(&self, (): &mut (), _chosen: bool) {}
}

impl<T> Audience for State<T> {
    fn is_gone(&self) -> bool {
        self.receivers == 0
    }
}

impl<T> Chan<T> {
    fn version(&self) -> u64 {
        // Nothing is read by it but under the lock.
        self.version.load(Ordering::Relaxed)
    }

    /// Puts a value in and wakes all who wait.
    fn put(&self, mut locked: Locked<'_, State<T>, (), LANES>, value: Arc<T>) -> Arc<T> {
        let mut wakers = Wakers::new();
        let before = mem::replace(&mut locked.value, value);
        self.version.store(self.version() + 1, Ordering::Relaxed);
        while locked.choose(CHANGED, &mut wakers) {}
        drop(locked);
        wakers.wake_all();
        before
    }
}

/// The sending end. Clones change the same value; when the last is dropped, receivers are told.
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

/// The sender is gone: the value will not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed(());

impl<T> Sender<T> {
    /// Changes the value and wakes all receivers that wait.
    ///
    /// # Errors
    ///
    /// The value comes back if there is no receiver; see [`replace`](Self::replace).
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        // Allocated before the lock is taken.
        let value = Arc::new(value);
        let locked = self.chan.waiters.lock();
        if locked.receivers == 0 {
            drop(locked);
            return Err(SendError(
                Arc::into_inner(value).expect("nobody else has it yet"),
            ));
        }
        drop(self.chan.put(locked, value));
        Ok(())
    }

    /// Changes the value, whether or not there is a receiver, and returns the one before.
    pub fn replace(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        self.chan.put(self.chan.waiters.lock(), value)
    }

    /// Makes the next value from the one before with `next`; `None` leaves it, and wakes nobody. Returns whether it
    /// changed.
    ///
    /// `next` is called without a lock, and again if another sender was quicker.
    ///
    /// ```
    /// let (sender, receiver) = divisi_sync::watch::channel(1);
    /// assert!(sender.update(|value| Some(value + 1)));
    /// assert_eq!(*receiver.get(), 2);
    /// ```
    pub fn update(&self, mut next: impl FnMut(&T) -> Option<T>) -> bool {
        let mut before = self.get();
        loop {
            let Some(value) = next(&before) else {
                return false;
            };
            let value = Arc::new(value);
            let locked = self.chan.waiters.lock();
            if Arc::ptr_eq(&locked.value, &before) {
                drop(self.chan.put(locked, value));
                return true;
            }
            let current = locked.value.clone();
            drop(locked);
            before = current;
        }
    }

    /// The value.
    pub fn get(&self) -> Arc<T> {
        self.chan.waiters.lock().value.clone()
    }

    /// One more receiver, which has seen the value that there is.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut locked = self.chan.waiters.lock();
        locked.receivers += 1;
        let seen = self.chan.version();
        drop(locked);
        Receiver {
            chan: self.chan.clone(),
            seen,
        }
    }

    /// How many receivers there are.
    pub fn receivers(&self) -> usize {
        self.chan.waiters.lock().receivers
    }

    /// Whether there is no receiver.
    pub fn is_closed(&self) -> bool {
        self.receivers() == 0
    }

    /// Waits until there is no receiver. For who makes values only while somebody watches.
    ///
    /// A receiver that [`subscribe`](Self::subscribe) makes before the future is polled again keeps it waiting.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (sender, receiver) = divisi_sync::watch::channel(0);
    /// let watcher = std::thread::spawn(move || drop(receiver));
    /// sender.closed().await;
    /// assert!(sender.is_closed());
    /// # watcher.join().unwrap();
    /// # });
    /// ```
    #[track_caller]
    pub fn closed(&self) -> impl Future<Output = ()> {
        audience::gone(&*self.chan, Location::caller())
    }
}

/// The receiving end. Clones have seen what the original has.
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
    /// The latest version that this receiver knows about.
    seen: u64,
}

impl<T> Receiver<T> {
    /// The value. Does not count as having seen it: [`changed`](Self::changed) still tells of it.
    pub fn get(&self) -> Arc<T> {
        self.chan.waiters.lock().value.clone()
    }

    /// The value, and counts as having seen it.
    pub fn get_and_update(&mut self) -> Arc<T> {
        let locked = self.chan.waiters.lock();
        self.seen = self.chan.version();
        locked.value.clone()
    }

    /// Waits until the value is another than the one that this receiver has seen, and counts as having seen it then.
    ///
    /// # Errors
    ///
    /// All senders are gone, and the latest value has been seen.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, nothing counts as seen.
    #[track_caller]
    pub fn changed(&mut self) -> Changed<'_, T> {
        Changed {
            waiter: Waiter::new(&*self.chan, ()),
            seen: &mut self.seen,
            awaited_at: Location::caller(),
        }
    }

    /// As [`changed`](Self::changed), and blocks this thread. Not for async code, whose worker it would block.
    ///
    /// # Errors
    ///
    /// As [`changed`](Self::changed).
    #[track_caller]
    pub fn changed_blocking(&mut self) -> Result<(), Closed> {
        block_on(self.changed())
    }

    /// Waits until `condition` holds of the value, and returns it; at once, if it does already. It is called without
    /// a lock.
    ///
    /// # Errors
    ///
    /// All senders are gone, and it does not hold of the latest value.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the values that it looked at count as seen.
    #[track_caller]
    pub fn wait_for(
        &mut self,
        mut condition: impl FnMut(&T) -> bool,
    ) -> impl Future<Output = Result<Arc<T>, Closed>> {
        let awaited_at = Location::caller();
        async move {
            loop {
                let value = self.get_and_update();
                if condition(&value) {
                    return Ok(value);
                }
                let changed = Changed {
                    waiter: Waiter::new(&*self.chan, ()),
                    seen: &mut self.seen,
                    awaited_at,
                };
                changed.await?;
            }
        }
    }

    /// Whether there is a value that this receiver has not seen.
    pub fn has_changed(&self) -> bool {
        self.chan.version() != self.seen
    }

    /// Makes [`changed`](Self::changed) tell of the present value, whether it has been seen or not.
    pub fn mark_changed(&mut self) {
        // A version that no value has: they count up from 0.
        self.seen = u64::MAX;
    }

    /// Whether all senders are gone.
    pub fn is_closed(&self) -> bool {
        self.chan.waiters.lock().senders == 0
    }

    /// The values from now on, beginning with the present one. Values that are overtaken by a later one before they
    /// were looked at are left out.
    pub fn into_stream(mut self) -> Values<T> {
        self.mark_changed();
        Values {
            waiter: Box::pin(Waiter::new(self.chan.clone(), ())),
            receiver: self,
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.chan.waiters.lock().senders += 1;
        Self {
            chan: self.chan.clone(),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.chan.waiters.lock().receivers += 1;
        Self {
            chan: self.chan.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut wakers = Wakers::new();
        let mut locked = self.chan.waiters.lock();
        locked.senders -= 1;
        if locked.senders == 0 {
            while locked.choose(CHANGED, &mut wakers) {}
        }
        drop(locked);
        wakers.wake_all();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut wakers = Wakers::new();
        let mut locked = self.chan.waiters.lock();
        locked.receivers -= 1;
        if locked.is_gone() {
            while locked.choose(SENDERS, &mut wakers) {}
        }
        drop(locked);
        wakers.wake_all();
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value will not change any more: all senders are gone")
    }
}

impl std::error::Error for Closed {}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("value", &self.get())
            .field("receivers", &self.receivers())
            .finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("value", &self.get())
            .field("has_changed", &self.has_changed())
            .finish()
    }
}
