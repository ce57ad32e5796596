//! Telling someone that something has happened.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_task::current;
use divisi_task::wait_list::{Queue, Turn, WaitList, Waiter, Wakers};

use crate::blocking::block_on;
use crate::facade::const_fn;

/// Wakes one who waits, or the next one who will: a flag that whoever has waited for it takes down.
///
/// It carries no data: who is woken looks for itself what has happened.
///
/// # Fairness and cancel safety
///
/// The one who has waited longest is woken. If it is dropped before it ran, the notification goes to the next.
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// let work = divisi_sync::Notify::new();
/// work.notify_one();
/// work.notify_one(); // It is up already: notifications that nobody waits for do not add up.
/// work.notified().await;
/// assert!(futures_lite::future::poll_once(work.notified()).await.is_none());
/// # });
/// ```
pub struct Notify {
    inner: Inner,
}

pub(crate) struct Inner {
    waiters: WaitList<Flag, Ticket>,
}

/// Whether the next one who comes need not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Down,
    Up,
    /// Nobody to hand a notification to means that it is gone, as condition variables have it.
    Never,
}

/// What one who waits is told.
#[derive(Default)]
pub(crate) struct Ticket {
    /// It was chosen as one of a number, so that another must take its place if it is dropped.
    counts: bool,
}

const LANE: usize = 0;

impl Queue for Inner {
    type State = Flag;
    type Ticket = Ticket;

    fn waiters(&self) -> &WaitList<Flag, Ticket> {
        &self.waiters
    }

    fn give_up(&self, ticket: &mut Ticket, chosen: bool) {
        if chosen && ticket.counts {
            self.notify(1);
        }
    }
}

impl Inner {
    const_fn! {
        pub(crate) fn new(flag: Flag) -> Self {
            Self { waiters: WaitList::new(flag) }
        }
    }

    /// Wakes up to `count`. If there is nobody, puts the flag up.
    pub(crate) fn notify(&self, count: usize) -> usize {
        let mut wakers = Wakers::new();
        let mut waiters = self.waiters.lock();
        while wakers.len() < count {
            let Some((_, ticket)) = waiters.oldest(LANE) else {
                break;
            };
            ticket.counts = true;
            waiters.choose(LANE, &mut wakers);
        }
        if count > 0 && wakers.is_empty() && *waiters == Flag::Down {
            *waiters = Flag::Up;
        }
        drop(waiters);
        wakers.wake_all()
    }

    /// Wakes all who wait.
    pub(crate) fn notify_all(&self) -> usize {
        let mut wakers = Wakers::new();
        let mut waiters = self.waiters.lock();
        while let Some((_, ticket)) = waiters.oldest(LANE) {
            ticket.counts = false;
            waiters.choose(LANE, &mut wakers);
        }
        drop(waiters);
        wakers.wake_all()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiters.lock().waiting(LANE)
    }

    /// Begins to wait, if the flag is not up.
    pub(crate) fn begin(waiter: Pin<&mut Waiter<&Self>>, cx: &mut Context<'_>) -> bool {
        let passed = waiter.join(LANE, cx, |flag, _| {
            if **flag != Flag::Up {
                return None;
            }
            **flag = Flag::Down;
            Some(())
        });
        passed.is_none()
    }
}

impl Notify {
    const_fn! {
        /// A flag that is down.
        #[must_use]
        pub fn new() -> Self {
            Self { inner: Inner::new(Flag::Down) }
        }
    }

    /// Wakes the one who has waited longest. If nobody waits, the flag goes up, and the next one who would wait does
    /// not.
    pub fn notify_one(&self) {
        self.inner.notify(1);
    }

    /// Wakes all who wait now, and returns how many. If nobody does, nothing happens.
    pub fn notify_all(&self) -> usize {
        self.inner.notify_all()
    }

    /// Waits for a notification. The wait begins with the first poll.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no notification: it goes to the next one who waits, or puts the flag up.
    #[track_caller]
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            waiter: Waiter::new(&self.inner, Ticket::default()),
            awaited_at: Location::caller(),
        }
    }

    /// Blocks this thread until there is a notification. Not for async code, whose worker it would block.
    #[track_caller]
    pub fn notified_blocking(&self) {
        block_on(self.notified());
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.inner.waiting()
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Notify::notified`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Notified<'a> {
        #[pin]
        waiter: Waiter<&'a Inner>,
        awaited_at: &'static Location<'static>,
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let mut waiter = this.waiter;
        let charge = ready!(waiter.as_mut().poll_proceed(cx));
        let waits = match waiter.as_mut().poll_turn(cx) {
            Turn::Free => Inner::begin(waiter, cx),
            Turn::Waiting => true,
            Turn::Chosen => {
                waiter.accept();
                false
            }
        };
        if waits {
            current::note_wait(this.awaited_at);
            return Poll::Pending;
        }
        charge.made_progress();
        Poll::Ready(())
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it is written to is foreign code: after the lock.
        let (flag, waiting) = {
            let waiters = self.inner.waiters.lock();
            (*waiters, waiters.waiting(LANE))
        };
        f.debug_struct("Notify")
            .field("flag", &flag)
            .field("waiting", &waiting)
            .finish()
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified")
            .field("awaited_at", &self.awaited_at)
            .finish_non_exhaustive()
    }
}
