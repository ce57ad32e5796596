//! Waiting for a condition on what a mutex guards.

use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::task::{Poll, ready};

use divisi_task::current;
use divisi_task::freeze::{self, Mode};
use divisi_task::wait_list::{Turn, Waiter};

use crate::blocking::block_on;
use crate::facade::const_fn;
use crate::mutex::MutexGuard;
use crate::notify::{Flag, Inner, Ticket};

/// Lets tasks wait until something holds of what a [`Mutex`](crate::Mutex) guards.
///
/// Who changes the value notifies, with or without having the lock. There are no wake-ups without a notification, but
/// the value may have changed again before the lock was had: [`wait_while`](Self::wait_while) looks.
///
/// # Fairness and cancel safety
///
/// The one who has waited longest is woken. If it is dropped after it was notified, be it while it waits for the
/// lock, the notification goes to the next.
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// use divisi_sync::{Condvar, Mutex};
///
/// let (jobs, more) = (Mutex::new(Vec::new()), Condvar::new());
/// let takes = async {
///     let mut jobs = more.wait_while(jobs.lock().await, |jobs| jobs.is_empty()).await;
///     assert_eq!(jobs.pop(), Some("job"));
/// };
/// let gives = async {
///     jobs.lock().await.push("job");
///     more.notify_one();
/// };
/// futures_lite::future::zip(takes, gives).await;
/// # });
/// ```
pub struct Condvar {
    inner: Inner,
}

impl Condvar {
    const_fn! {
        /// A condition that nobody waits for.
        #[must_use]
        pub fn new() -> Self {
            Self { inner: Inner::new(Flag::Never) }
        }
    }

    /// Wakes the one who has waited longest. If nobody waits, nothing happens.
    pub fn notify_one(&self) {
        self.inner.notify(1);
    }

    /// Wakes up to that many of those who have waited longest, and returns how many.
    pub fn notify(&self, count: usize) -> usize {
        self.inner.notify(count)
    }

    /// Wakes all who wait, and returns how many.
    pub fn notify_all(&self) -> usize {
        self.inner.notify_all()
    }

    /// Unlocks, waits for a notification and locks again. Nothing that happens after the unlocking is missed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the mutex unlocked, and passes a notification on that it had got.
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(
        &'a self,
        guard: MutexGuard<'a, T>,
    ) -> impl Future<Output = MutexGuard<'a, T>> {
        self.wait_at(guard, Location::caller())
    }

    async fn wait_at<'a, T: ?Sized>(
        &'a self,
        guard: MutexGuard<'a, T>,
        awaited_at: &'static Location<'static>,
    ) -> MutexGuard<'a, T> {
        let cell = guard.cell();
        let mut guard = Some(guard);
        let mut waiter = pin!(Waiter::new(&self.inner, Ticket::default()));
        loop {
            poll_fn(|cx| {
                let polled = waiter.as_mut().poll_proceed(cx);
                if polled.is_pending() && freeze::mode() != Mode::Live {
                    // Nobody polls it again to unlock, and a clean-up may want the lock.
                    guard = None;
                }
                let charge = ready!(polled);
                match waiter.as_mut().poll_turn(cx) {
                    Turn::Free => {
                        Inner::begin(waiter.as_mut(), cx);
                        // It is in the list now: who gets the lock and notifies finds it.
                        guard = None;
                    }
                    Turn::Waiting => {}
                    Turn::Chosen => {
                        charge.made_progress();
                        return Poll::Ready(());
                    }
                }
                current::note_wait(awaited_at);
                Poll::Pending
            })
            .await;
            // Accepted only with the lock: until then the notification can still be passed on, as it is by one that goes no further.
            let mut lock = pin!(MutexGuard::lock_again(cell, awaited_at));
            let mut passed_on = false;
            let locked = poll_fn(|cx| {
                let polled = lock.as_mut().poll(cx);
                if polled.is_pending() && freeze::mode() != Mode::Live {
                    waiter.as_mut().leave();
                    passed_on = true;
                }
                polled
            })
            .await;
            if !passed_on {
                waiter.accept();
                return locked;
            }
            guard = Some(locked);
        }
    }

    /// Waits as long as `condition` holds, which it is asked under the lock; not at all if it does not hold.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &'a self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> impl Future<Output = MutexGuard<'a, T>> {
        let awaited_at = Location::caller();
        async move {
            while condition(&mut guard) {
                guard = self.wait_at(guard, awaited_at).await;
            }
            guard
        }
    }

    /// As [`wait`](Self::wait), and blocks this thread. Not for async code, whose worker it would block.
    #[track_caller]
    pub fn wait_blocking<'a, T: ?Sized>(&'a self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        block_on(self.wait(guard))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.inner.waiting()
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar")
            .field("waiting", &self.waiting())
            .finish()
    }
}
