//! A meeting point.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_task::current;
use divisi_task::wait_list::{Locked, Queue, Turn, WaitList, Waiter, Wakers};

use crate::blocking::block_on;
use crate::facade::const_fn;

/// A point at which so many meet: each waits until all are there, and then all go on. It can be used again at once.
///
/// # Cancel safety
///
/// One who is dropped while waiting has left: the others wait for another one.
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// let barrier = divisi_sync::Barrier::new(2);
/// let (one, other) = futures_lite::future::zip(barrier.wait(), barrier.wait()).await;
/// assert_eq!((one, other), (Ok(0), Ok(1)));
/// # });
/// ```
pub struct Barrier {
    inner: Inner,
}

struct Inner {
    parties: usize,
    /// The state: whether it was aborted.
    waiters: WaitList<bool, Ticket>,
}

/// What one who waits is told: its index.
type Ticket = Result<usize, BrokenBarrier>;

/// The barrier was reset or aborted: those who waited did not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrier(());

const LANE: usize = 0;

impl Queue for Inner {
    type State = bool;
    type Ticket = Ticket;

    fn waiters(&self) -> &WaitList<bool, Ticket> {
        &self.waiters
    }

    /// Who leaves is not counted any more; who was told to go on has nothing to pass on.
    fn give_up(&self, _: &mut Ticket, _chosen: bool) {}
}

impl Inner {
    /// Lets all go who wait.
    fn release(
        waiters: &mut Locked<'_, bool, Ticket>,
        wakers: &mut Wakers,
        outcome: impl Fn(usize) -> Ticket,
    ) {
        let mut index = 0;
        while let Some((_, ticket)) = waiters.oldest(LANE) {
            *ticket = outcome(index);
            waiters.choose(LANE, wakers);
            index += 1;
        }
    }
}

impl Barrier {
    const_fn! {
        /// A meeting point of so many.
        ///
        /// # Panics
        ///
        /// If `parties` is 0.
        #[must_use]
        pub fn new(parties: usize) -> Self {
            assert!(parties > 0, "a barrier is for one party at least");
            Self {
                inner: Inner { parties, waiters: WaitList::new(false) },
            }
        }
    }

    /// Waits until all are there. Each gets another index, from 0 to one less than their number, in the order of
    /// arrival.
    ///
    /// # Errors
    ///
    /// The barrier was [reset](Self::reset) meanwhile, or [aborted](Self::abort).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future means to leave: it counts as not having come.
    #[track_caller]
    pub fn wait(&self) -> BarrierWait<'_> {
        BarrierWait {
            waiter: Waiter::new(&self.inner, Err(BrokenBarrier(()))),
            awaited_at: Location::caller(),
        }
    }

    /// As [`wait`](Self::wait), and blocks this thread. Not for async code, whose worker it would block.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_blocking(&self) -> Result<usize, BrokenBarrier> {
        block_on(self.wait())
    }

    /// Sends those who wait away with an error; the next ones meet as if there had been nobody. Mends an aborted
    /// barrier.
    pub fn reset(&self) {
        self.break_up(false);
    }

    /// Sends those who wait away with an error, and whoever comes, until a [`reset`](Self::reset).
    pub fn abort(&self) {
        self.break_up(true);
    }

    fn break_up(&self, aborted: bool) {
        let mut wakers = Wakers::new();
        let mut waiters = self.inner.waiters.lock();
        *waiters = aborted;
        Inner::release(&mut waiters, &mut wakers, |_| Err(BrokenBarrier(())));
        drop(waiters);
        wakers.wake_all();
    }

    /// How many must come.
    pub fn parties(&self) -> usize {
        self.inner.parties
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.inner.waiters.lock().waiting(LANE)
    }

    /// Whether it was [aborted](Self::abort).
    pub fn is_broken(&self) -> bool {
        *self.inner.waiters.lock()
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Barrier::wait`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct BarrierWait<'a> {
        #[pin]
        waiter: Waiter<&'a Inner>,
        awaited_at: &'static Location<'static>,
    }
}

impl Future for BarrierWait<'_> {
    type Output = Result<usize, BrokenBarrier>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut waiter = this.waiter;
        let charge = ready!(waiter.as_mut().poll_proceed(cx));
        let parties = waiter.handle().parties;
        // Woken at the end, after the lock.
        let mut wakers = Wakers::new();
        let outcome = match waiter.as_mut().poll_turn(cx) {
            Turn::Free => waiter.join(LANE, cx, |waiters, _| {
                if **waiters {
                    return Some(Err(BrokenBarrier(())));
                }
                if waiters.waiting(LANE) + 1 < parties {
                    return None;
                }
                Inner::release(waiters, &mut wakers, Ok);
                Some(Ok(parties - 1))
            }),
            Turn::Waiting => None,
            Turn::Chosen => Some(*waiter.accept()),
        };
        let Some(outcome) = outcome else {
            current::note_wait(this.awaited_at);
            return Poll::Pending;
        };
        charge.made_progress();
        Poll::Ready(outcome)
    }
}

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier was reset or aborted: the others did not all come")
    }
}

impl std::error::Error for BrokenBarrier {}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it is written to is foreign code: after the lock.
        f.debug_struct("Barrier")
            .field("parties", &self.inner.parties)
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .finish()
    }
}

impl fmt::Debug for BarrierWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWait")
            .field("awaited_at", &self.awaited_at)
            .finish_non_exhaustive()
    }
}
