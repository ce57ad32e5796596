//! A flag to wait for.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_task::current;
use divisi_task::wait_list::{Queue, Turn, WaitList, Waiter, Wakers};

use crate::blocking::block_on;
use crate::facade::atomic::{AtomicBool, Ordering};
use crate::facade::const_fn;

/// A flag that is set or clear, and can be waited for.
///
/// Setting it wakes *all* who wait then, even if it is cleared before they get to run. Waiting for a flag that is set
/// does not wait.
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// use divisi_sync::Event;
///
/// let ready = Event::new();
/// let (_, _) = futures_lite::future::zip(
///     async { ready.wait().await },
///     async { ready.set() },
/// ).await;
/// assert!(ready.is_set());
/// ready.clear();
/// assert!(!ready.is_set());
/// # });
/// ```
pub struct Event {
    inner: Inner,
}

struct Inner {
    /// Changed under the lock of `waiters`.
    is_set: AtomicBool,
    waiters: WaitList<(), ()>,
}

const LANE: usize = 0;

impl Queue for Inner {
    type State = ();
    type Ticket = ();

    fn waiters(&self) -> &WaitList<(), ()> {
        &self.waiters
    }

    /// All who waited were told: nothing is to be passed on.
    fn give_up(&self, _: &mut (), _chosen: bool) {}
}

impl Event {
    const_fn! {
        /// An event whose flag is clear.
        #[must_use]
        pub fn new() -> Self {
            Self {
                inner: Inner {
                    is_set: AtomicBool::new(false),
                    waiters: WaitList::new(()),
                },
            }
        }
    }

    /// Sets the flag and wakes all who wait. They see what this thread did before.
    pub fn set(&self) {
        let mut wakers = Wakers::new();
        let mut waiters = self.inner.waiters.lock();
        // Release: for those who find it set.
        self.inner.is_set.store(true, Ordering::Release);
        while waiters.choose(LANE, &mut wakers) {}
        drop(waiters);
        wakers.wake_all();
    }

    /// Clears the flag. Who was woken already stays woken.
    pub fn clear(&self) {
        let _lock = self.inner.waiters.lock();
        self.inner.is_set.store(false, Ordering::Relaxed);
    }

    /// Whether the flag is set. If it is, this thread sees what the one did before that set it.
    pub fn is_set(&self) -> bool {
        self.inner.is_set.load(Ordering::Acquire)
    }

    /// Waits until the flag is set.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    #[track_caller]
    pub fn wait(&self) -> EventWait<'_> {
        EventWait {
            waiter: Waiter::new(&self.inner, ()),
            awaited_at: Location::caller(),
        }
    }

    /// Blocks this thread until the flag is set. Not for async code, whose worker it would block.
    #[track_caller]
    pub fn wait_blocking(&self) {
        block_on(self.wait());
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.inner.waiters.lock().waiting(LANE)
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Event::wait`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct EventWait<'a> {
        #[pin]
        waiter: Waiter<&'a Inner>,
        awaited_at: &'static Location<'static>,
    }
}

impl Future for EventWait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let mut waiter = this.waiter;
        let charge = ready!(waiter.as_mut().poll_proceed(cx));
        let event: &Inner = waiter.handle();
        // Relaxed is enough for the re-check: the flag changes under the lock.
        let is_over = match waiter.as_mut().poll_turn(cx) {
            Turn::Free => {
                event.is_set.load(Ordering::Acquire)
                    || waiter
                        .join(LANE, cx, |_, ()| {
                            event.is_set.load(Ordering::Relaxed).then_some(())
                        })
                        .is_some()
            }
            Turn::Waiting => false,
            Turn::Chosen => {
                waiter.accept();
                true
            }
        };
        if !is_over {
            current::note_wait(this.awaited_at);
            return Poll::Pending;
        }
        charge.made_progress();
        Poll::Ready(())
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EventWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventWait")
            .field("awaited_at", &self.awaited_at)
            .finish_non_exhaustive()
    }
}
