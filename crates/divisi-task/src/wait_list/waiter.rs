//! The one who waits.

use std::fmt;
use std::marker::PhantomPinned;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, Waker};

use super::node::{self, Node, Standing};
use super::{Locked, Queue, WaitList};
use crate::budget::{self, Charge};
use crate::freeze::{self, Mode};
use crate::stable::Stable;

/// How it stands with a [`Waiter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It does not wait: it has not begun to, or accepted its turn.
    Free,
    /// It waits. Its waker will be woken when it is chosen.
    Waiting,
    /// It was chosen, and has not accepted yet.
    Chosen,
}

/// Someone who waits in a [`Queue`]. Dropping it at any time leaves the queue as if it had never come, or passes its
/// turn on.
// What there is from the beginning comes first: see `Node`. (Not a promise to others.)
#[repr(C)]
pub struct Waiter<H: Stable, const LANES: usize = 1>
where
    H::Target: Queue<LANES>,
{
    handle: H,
    node: Node<<H::Target as Queue<LANES>>::Ticket>,
    /// The list of the last [`join`](Self::join), and not there before the first: as long as `node` is linked, the one it is in. It is that of
    /// `handle`, and stays where it is as long as `handle` exists.
    list: MaybeUninit<NonNull<ListOf<H, LANES>>>,
    /// `node` is pointed to while it waits.
    _pinned: PhantomPinned,
}

type ListOf<H, const LANES: usize> = WaitList<
    <<H as std::ops::Deref>::Target as Queue<LANES>>::State,
    <<H as std::ops::Deref>::Target as Queue<LANES>>::Ticket,
    LANES,
>;

type LockedOf<'a, H, const LANES: usize> = Locked<
    'a,
    <<H as std::ops::Deref>::Target as Queue<LANES>>::State,
    <<H as std::ops::Deref>::Target as Queue<LANES>>::Ticket,
    LANES,
>;

// SAFETY: a handle, and a ticket and a waker that both sides reach one after the other (see the protocol). What
// `list` leads to is shared by means of `handle`, and what another thread may do with that `H: Send` says.
unsafe impl<H: Stable + Send, const LANES: usize> Send for Waiter<H, LANES> where
    H::Target: Queue<LANES, Ticket: Send>
{
}
// SAFETY: a shared reference gives the handle and the standing, which is atomic, only.
unsafe impl<H: Stable + Sync, const LANES: usize> Sync for Waiter<H, LANES> where
    H::Target: Queue<LANES>
{
}

impl<H: Stable, const LANES: usize> Waiter<H, LANES>
where
    H::Target: Queue<LANES>,
{
    /// One who does not wait yet.
    #[inline]
    pub fn new(handle: H, ticket: <H::Target as Queue<LANES>>::Ticket) -> Self {
        Self {
            handle,
            node: Node::new(ticket),
            list: MaybeUninit::uninit(),
            _pinned: PhantomPinned,
        }
    }

    /// The handle to the queue.
    #[inline]
    pub fn handle(&self) -> &H {
        &self.handle
    }

    /// Whether it does not wait: [`poll_turn`](Self::poll_turn) would say [`Turn::Free`].
    #[inline]
    pub fn is_free(&self) -> bool {
        self.node.standing() == Standing::Free
    }

    /// Asks for leave to poll what waits here, as [`budget::poll_proceed`] does; every future that waits in a list begins with it.
    ///
    /// In a future that is being [frozen](crate::freeze), one that gets none leaves the list: nobody polls it again to take what it would be given there.
    #[inline]
    pub fn poll_proceed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Charge> {
        let polled = budget::poll_proceed(cx);
        if polled.is_pending() {
            self.leave_if_frozen();
        }
        polled
    }

    #[cold]
    fn leave_if_frozen(self: Pin<&mut Self>) {
        if freeze::mode() != Mode::Live {
            self.leave();
        }
    }

    /// How it stands. While it waits, the context's waker becomes the one to be woken.
    ///
    /// In a future that is being [frozen](crate::freeze), one that waits leaves the list.
    #[inline]
    pub fn poll_turn(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Turn {
        match self.node.standing() {
            Standing::Free => Turn::Free,
            Standing::Chosen => Turn::Chosen,
            Standing::Waiting => self.wait_on(cx),
        }
    }

    /// It waited when last looked at: replaces its waker.
    #[inline(never)]
    fn wait_on(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Turn {
        let this = self.as_mut().into_ref().get_ref();
        if freeze::mode() != Mode::Live {
            // Chosen meanwhile or not: it leaves, and what it was given goes to the next.
            self.leave();
            return Turn::Waiting;
        }
        // Foreign code: before the lock.
        let mut waker = cx.waker().clone();
        // SAFETY: it waited.
        let locked = unsafe { this.linked_list() }.lock();
        if this.node.standing() == Standing::Chosen {
            // Before we had the lock.
            return Turn::Chosen;
        }
        // SAFETY: it waits, and we have the lock.
        let links = unsafe { node::place(NonNull::from(&this.node)).links() };
        std::mem::swap(&mut links.waker, &mut waker);
        drop(locked);
        // Now the old one is dropped.
        drop(waker);
        Turn::Waiting
    }

    /// Waits in a lane, unless `attempt` has a result. It is called under the lock, with the state and this waiter's
    /// ticket. In a future that is being [frozen](crate::freeze) it leaves the lane at once.
    ///
    /// # Panics
    ///
    /// If this waiter waits already, or has not accepted its turn.
    pub fn join<R>(
        mut self: Pin<&mut Self>,
        lane: usize,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(
            &mut LockedOf<'_, H, LANES>,
            &mut <H::Target as Queue<LANES>>::Ticket,
        ) -> Option<R>,
    ) -> Option<R> {
        assert!(
            lane < LANES,
            "this queue has {LANES} lanes, and no lane {lane}"
        );
        // SAFETY: nothing is moved out; `node` stays where it is.
        let this = unsafe { self.as_mut().get_unchecked_mut() };
        assert!(
            this.node.standing() == Standing::Free,
            "a waiter waits for one thing at a time: its turn must be accepted first"
        );
        // Foreign code: before the lock.
        let waker = cx.waker().clone();
        let list = this.handle.waiters();
        this.list.write(NonNull::from(list));
        let mut locked = list.lock();
        let node = NonNull::from(&this.node);
        {
            // SAFETY: it is free, so the place is ours.
            let place = unsafe { node::place(node) };
            if let Some(result) = attempt(&mut locked, &mut place.ticket) {
                drop(locked);
                return Some(result);
            }
        }
        // `attempt` could have swapped it for another.
        assert!(ptr::eq(locked.list, list), "not the lock of this list");
        // SAFETY: it is free and ours; being pinned it stays where it is until it is dropped, which takes it out. The
        // list stays where it is because `handle`, from which we have it, is `Stable`.
        unsafe { locked.link(lane, node, waker) };
        this.node.set(Standing::Waiting);
        drop(locked);
        if freeze::mode() != Mode::Live {
            // Only now: `attempt` may have told the others already that it waits, and leaving takes that back.
            self.leave();
        }
        None
    }

    /// Accepts the turn: it is not passed on when this waiter is dropped, which may wait again now.
    ///
    /// # Panics
    ///
    /// If it was not chosen.
    pub fn accept(self: Pin<&mut Self>) -> &mut <H::Target as Queue<LANES>>::Ticket {
        let this = self.into_ref().get_ref();
        assert!(
            this.node.standing() == Standing::Chosen,
            "only a chosen waiter can accept its turn"
        );
        this.node.set(Standing::Free);
        // SAFETY: it is free, so the place is ours, and we are borrowed mutably as long as the result lives.
        unsafe { &mut node::place(NonNull::from(&this.node)).ticket }
    }

    /// Gives up the wait, or the turn, as if this was dropped. It may wait again then.
    pub fn leave(self: Pin<&mut Self>) {
        let this = self.into_ref().get_ref();
        // Foreign code, and so dropped last, also if giving up panics: whoever drops the waiter then finds it free.
        let waker = match this.node.standing() {
            Standing::Free => return,
            Standing::Chosen => None,
            // SAFETY: it waits.
            Standing::Waiting => unsafe { this.unlink() },
        };
        if waker.is_none() {
            this.node.set(Standing::Free);
        }
        // SAFETY: it is free, so the place is ours.
        let place = unsafe { node::place(NonNull::from(&this.node)) };
        this.handle.give_up(&mut place.ticket, waker.is_none());
    }

    /// Leaves the list and is free, with the waker that was there. `None`: it was chosen in the meantime.
    ///
    /// # Safety
    /// It waited when last looked at.
    unsafe fn unlink(&self) -> Option<Waker> {
        // SAFETY: the caller's.
        let mut locked = unsafe { self.linked_list() }.lock();
        if self.node.standing() == Standing::Chosen {
            // Before we had the lock.
            return None;
        }
        // SAFETY: it waits in this list.
        let waker = unsafe { locked.unlink(NonNull::from(&self.node)) };
        self.node.set(Standing::Free);
        Some(waker)
    }

    /// # Safety
    /// It waited when last looked at.
    unsafe fn linked_list(&self) -> &ListOf<H, LANES> {
        // SAFETY: who waits has joined, and `join` had the list from `handle`, for any lifetime that a reference to the handle's target may
        // have. That is `Stable`, and still here.
        unsafe { self.list.assume_init().as_ref() }
    }
}

impl<H: Stable, const LANES: usize> Drop for Waiter<H, LANES>
where
    H::Target: Queue<LANES>,
{
    #[inline]
    fn drop(&mut self) {
        // The common case, inlined: it never waited, or has accepted.
        if self.node.standing() != Standing::Free {
            // SAFETY: it is being dropped, so it is never moved again.
            unsafe { Pin::new_unchecked(self) }.leave();
        }
    }
}

impl<H: Stable, const LANES: usize> fmt::Debug for Waiter<H, LANES>
where
    H::Target: Queue<LANES>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter")
            .field("standing", &self.node.standing())
            .finish_non_exhaustive()
    }
}
