//! Who waits for what, in the order of arrival: an intrusive list under a short lock.
//!
//! A [`WaitList`] is the state of a primitive and the list of those who wait for it to change, behind one lock that
//! is held for a few instructions and never while foreign code runs. The entry of a waiter lives in its future, so
//! that waiting allocates nothing. What is to be waited for, who is served and what a waiter is told are the
//! primitive's affair; it is written on top of this without unsafe code.
//!
//! ```
//! use std::pin::pin;
//! use std::task::{Context, Waker};
//! use divisi_task::wait_list::{Queue, Turn, WaitList, Waiter, Wakers};
//!
//! /// A gate that opens once.
//! struct Gate(WaitList<bool, ()>);
//!
//! impl Queue for Gate {
//!     type State = bool;
//!     type Ticket = ();
//!     fn waiters(&self) -> &WaitList<bool, ()> {
//!         &self.0
//!     }
//!     fn give_up(&self, _: &mut (), _chosen: bool) {} // Who leaves, leaves nothing to pass on.
//! }
//!
//! let gate = Gate(WaitList::new(false));
//! let mut waiter = pin!(Waiter::new(&gate, ()));
//! let mut cx = Context::from_waker(Waker::noop());
//! assert_eq!(waiter.as_mut().poll_turn(&mut cx), Turn::Free);
//! let passed = waiter.as_mut().join(0, &mut cx, |open, _| open.then_some(()));
//! assert!(passed.is_none(), "the gate is closed, so it waits now");
//!
//! let mut wakers = Wakers::new();
//! let mut open = gate.0.lock();
//! *open = true;
//! while open.choose(0, &mut wakers) {}
//! drop(open);
//! wakers.wake_all();
//! assert_eq!(waiter.as_mut().poll_turn(&mut cx), Turn::Chosen);
//! waiter.accept();
//! ```
//!
//! # The protocol
//!
//! Participants: the *owner* of a waiter, who polls it, accepts its turn or drops it; and the *lock holders*, who go
//! through the list. The word `standing` of each waiter says who has its entry (the ticket; and while it waits its links,
//! with the waker):
//!
//! ```text
//!            join: the owner, under the lock               choose: a lock holder
//!   FREE ------------------------------------> WAITING --------------------------> CHOSEN
//!    ^                                            |                                   |
//!    +--- drop, leave: the owner, under the lock -+                                   |
//!    +--- accept, drop, leave: the owner ---------------------------------------------+
//!
//!   the entry     FREE, CHOSEN: the owner, by its `Pin<&mut>`        WAITING: whoever has the lock
//!   belongs to
//! ```
//!
//! * **A wake-up is not lost.** Whether to wait is decided and acted on under the lock, and so is every change of the
//!   state that may end a wait: it comes before, and the waiter sees it; or after, and finds the waiter in the list.
//!   A re-poll replaces the waker under the lock too.
//! * **Wakers are foreign code**, also when they are dropped: that happens without the lock, and when nothing is left to be done but
//!   what a panic may skip.
//! * **A turn is not lost.** A waiter that is dropped as `CHOSEN`, without having accepted, calls [`Queue::give_up`],
//!   which passes the turn on.
//! * **Nothing is used after it is freed.** The store of `CHOSEN` is the last access of a lock holder to an entry
//!   (the waker was taken out before); the owner's load acquires it. The owner frees the entry only after it was
//!   `FREE` or `CHOSEN`: it takes a `WAITING` one out of the list first, under the lock. Pinning makes sure of that,
//!   unless the waiter is leaked, in which case its memory stays. The list stays where it is as long as somebody
//!   waits, because waiters hold a [`Stable`](crate::stable::Stable) handle
//!   to it.
//!
//! Models: `tests/loom_wait_list.rs`.

mod node;
mod waiter;
mod wakers;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::task::Waker;

use self::node::{Links, Node};
use crate::sync::{Mutex, MutexGuard, const_fn};
pub use waiter::{Turn, Waiter};
pub use wakers::Wakers;

/// A state and those who wait for it to change, each with a ticket `T`, in `LANES` queues. See the [module](self).
pub struct WaitList<S, T, const LANES: usize = 1> {
    inner: Mutex<Inner<S, T, LANES>>,
}

struct Inner<S, T, const LANES: usize> {
    state: S,
    lanes: [Lane<T>; LANES],
}

/// One queue: a doubly linked list, oldest first.
struct Lane<T> {
    oldest: Option<NonNull<Node<T>>>,
    newest: Option<NonNull<Node<T>>>,
    len: usize,
}

impl<T> Lane<T> {
    const EMPTY: Self = Self {
        oldest: None,
        newest: None,
        len: 0,
    };
}

// SAFETY: the pointers lead to entries whose tickets and wakers belong to whoever has the lock. A ticket may be
// reached from the thread of the list, and dropped on the thread of its waiter: hence `T: Send`.
unsafe impl<S: Send, T: Send, const LANES: usize> Send for Inner<S, T, LANES> {}

impl<S, T, const LANES: usize> WaitList<S, T, LANES> {
    const_fn! {
        /// Nobody waits.
        #[must_use]
        pub fn new(state: S) -> Self {
            Self {
                inner: Mutex::new(Inner {
                    state,
                    lanes: [const { Lane::EMPTY }; LANES],
                }),
            }
        }
    }

    /// Locks state and list. What is done under the lock must be short, and wake nobody: collect [`Wakers`].
    pub fn lock(&self) -> Locked<'_, S, T, LANES> {
        Locked {
            list: self,
            inner: self.inner.lock(),
        }
    }
}

impl<S, T, const LANES: usize> fmt::Debug for WaitList<S, T, LANES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lens = self.inner.lock().lanes.each_ref().map(|lane| lane.len);
        f.debug_struct("WaitList")
            .field("waiting", &lens)
            .finish_non_exhaustive()
    }
}

/// A primitive whose waiters are [`Waiter`]s.
pub trait Queue<const LANES: usize = 1> {
    /// What the list guards besides itself.
    type State;
    /// What a waiter asks for and is told.
    type Ticket;

    /// The list that all waiters of this primitive wait in.
    fn waiters(&self) -> &WaitList<Self::State, Self::Ticket, LANES>;

    /// A waiter that did not accept its turn is gone: it was dropped while it waited, or after it was `chosen`. It is
    /// in the list no more. Called without the lock.
    ///
    /// What it was given is passed on here; and whoever was behind it may have come to the front.
    fn give_up(&self, ticket: &mut Self::Ticket, chosen: bool);
}

/// A [`WaitList`] while this thread has its lock. Dereferences to the state.
pub struct Locked<'a, S, T, const LANES: usize = 1> {
    list: &'a WaitList<S, T, LANES>,
    inner: MutexGuard<'a, Inner<S, T, LANES>>,
}

impl<S, T, const LANES: usize> Locked<'_, S, T, LANES> {
    /// How many wait in a lane.
    pub fn waiting(&self, lane: usize) -> usize {
        self.inner.lanes[lane].len
    }

    /// The state, and the ticket of the one who has waited longest in a lane.
    pub fn oldest(&mut self, lane: usize) -> Option<(&mut S, &mut T)> {
        let Inner { state, lanes } = &mut *self.inner;
        let oldest = lanes[lane].oldest?;
        // SAFETY: it is linked, so the entry belongs to the lock, and its memory is there. The result borrows `self`
        // mutably, so there is no second reference to any entry meanwhile.
        let place = unsafe { node::place(oldest) };
        Some((state, &mut place.ticket))
    }

    /// Looks at the tickets of all who wait in a lane, oldest first.
    pub fn each(&mut self, lane: usize, mut look: impl FnMut(&T)) {
        let mut next = self.inner.lanes[lane].oldest;
        while let Some(node) = next {
            // SAFETY: it is linked, so the entry belongs to the lock, and its memory is there. `self` is borrowed
            // mutably, so there is no second reference to any entry meanwhile.
            let place = unsafe { node::place(node) };
            look(&place.ticket);
            // SAFETY: it is linked.
            next = unsafe { place.links() }.newer;
        }
    }

    /// Takes the one who has waited longest in a lane out of it: it was chosen. Whether there was one.
    pub fn choose(&mut self, lane: usize, wakers: &mut Wakers) -> bool {
        let Some(oldest) = self.inner.lanes[lane].oldest else {
            return false;
        };
        // SAFETY: it is linked in this lane, and we have the lock.
        let waker = unsafe { self.unlink(oldest) };
        // SAFETY: it was linked until now, so it is alive. This is the last access.
        unsafe { node::set_chosen(oldest) };
        wakers.push(waker);
        true
    }

    /// Puts an entry at the end of a lane, with the waker of who waits.
    ///
    /// # Safety
    /// The entry is free, will stay where it is until it is taken out, and belongs to the caller.
    unsafe fn link(&mut self, lane: usize, node: NonNull<Node<T>>, waker: Waker) {
        let queue = &mut self.inner.lanes[lane];
        // SAFETY: the caller's.
        let place = unsafe { node::place(node) };
        let older = queue.newest.replace(node);
        place.set_links(Links {
            older,
            newer: None,
            lane,
            waker,
        });
        match older {
            // SAFETY: linked, and another than `node`, which was free.
            Some(older) => unsafe { node::place(older).links().newer = Some(node) },
            None => queue.oldest = Some(node),
        }
        queue.len += 1;
    }

    /// Takes an entry out of its lane, and its waker out of it.
    ///
    /// # Safety
    /// The entry is linked in this list.
    unsafe fn unlink(&mut self, node: NonNull<Node<T>>) -> Waker {
        // SAFETY: linked entries belong to the lock, and this one is not linked from here on: nobody reads its links again. No reference to a place is
        // kept while another is made.
        let links = unsafe { node::place(node).take_links() };
        let Links {
            older,
            newer,
            lane,
            waker,
        } = links;
        let queue = &mut self.inner.lanes[lane];
        match older {
            // SAFETY: as above.
            Some(older) => unsafe { node::place(older).links().newer = newer },
            None => queue.oldest = newer,
        }
        match newer {
            // SAFETY: as above.
            Some(newer) => unsafe { node::place(newer).links().older = older },
            None => queue.newest = older,
        }
        queue.len -= 1;
        waker
    }
}

impl<S, T, const LANES: usize> Deref for Locked<'_, S, T, LANES> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.inner.state
    }
}

impl<S, T, const LANES: usize> DerefMut for Locked<'_, S, T, LANES> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.inner.state
    }
}

impl<S, T, const LANES: usize> fmt::Debug for Locked<'_, S, T, LANES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked")
            .field("waiting", &self.inner.lanes.each_ref().map(|lane| lane.len))
            .finish_non_exhaustive()
    }
}
