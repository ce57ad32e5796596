//! A waiter's entry in the list.

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::task::Waker;

use crate::sync::{AtomicU8, Ordering, UnsafeCell};

/// The waiter has the entry; it is in no list.
const FREE: u8 = 0;
/// The entry is in the list, whose lock it belongs to.
const WAITING: u8 = 1;
/// Somebody took the entry out of the list; the waiter has it.
const CHOSEN: u8 = 2;

/// Who has a [`Node`]'s place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Free,
    Waiting,
    Chosen,
}

/// What a new entry has comes first, and what it does not have yet last: a waiter is moved into the future that it becomes part of, in large pieces,
/// and a processor waits at those that were only just written in parts (decision 0013 of the guide).
#[repr(C)]
pub(super) struct Node<T> {
    standing: AtomicU8,
    place: UnsafeCell<Place<T>>,
}

#[repr(C)]
pub(super) struct Place<T> {
    pub(super) ticket: T,
    /// There as long as the entry is linked.
    links: MaybeUninit<Links<T>>,
}

/// Where a linked entry is, and who waits there.
pub(super) struct Links<T> {
    pub(super) older: Option<NonNull<Node<T>>>,
    pub(super) newer: Option<NonNull<Node<T>>>,
    pub(super) lane: usize,
    pub(super) waker: Waker,
}

impl<T> Place<T> {
    /// The entry is not linked, and about to be.
    pub(super) fn set_links(&mut self, links: Links<T>) {
        self.links.write(links);
    }

    /// # Safety
    /// The entry is linked.
    pub(super) unsafe fn links(&mut self) -> &mut Links<T> {
        // SAFETY: the caller's.
        unsafe { self.links.assume_init_mut() }
    }

    /// # Safety
    /// The entry is linked, and is not from now on.
    pub(super) unsafe fn take_links(&mut self) -> Links<T> {
        // SAFETY: the caller's; so they are not read twice.
        unsafe { self.links.assume_init_read() }
    }
}

impl<T> Node<T> {
    #[inline]
    pub(super) fn new(ticket: T) -> Self {
        Self {
            standing: AtomicU8::new(FREE),
            place: UnsafeCell::new(Place {
                ticket,
                links: MaybeUninit::uninit(),
            }),
        }
    }

    #[inline]
    pub(super) fn standing(&self) -> Standing {
        // Acquire: what the one who chose wrote into the place, and everything before that.
        match self.standing.load(Ordering::Acquire) {
            FREE => Standing::Free,
            WAITING => Standing::Waiting,
            _ => Standing::Chosen,
        }
    }

    /// FREE to WAITING; WAITING to FREE: by the owner, under the lock. CHOSEN to FREE: by the owner, who is the only
    /// one to look.
    #[inline]
    pub(super) fn set(&self, standing: Standing) {
        let standing = match standing {
            Standing::Free => FREE,
            Standing::Waiting => WAITING,
            Standing::Chosen => CHOSEN,
        };
        self.standing.store(standing, Ordering::Relaxed);
    }
}

/// The place of an entry.
///
/// # Safety
/// The entry is alive; the caller has the place, as [`Standing`] says, for the lifetime that it picks, and keeps no
/// other reference to it.
pub(super) unsafe fn place<'a, T>(node: NonNull<Node<T>>) -> &'a mut Place<T> {
    // SAFETY: the caller's. (loom checks the order of accesses here, though not how long they last.)
    unsafe { node.as_ref().place.with_mut(|place| &mut *place) }
}

/// WAITING to CHOSEN: gives the place back to the owner, who may free it at once.
///
/// # Safety
/// The entry is alive, and the caller has just taken it out of the list and still holds the lock.
pub(super) unsafe fn set_chosen<T>(node: NonNull<Node<T>>) {
    // A raw pointer, so that no reference exists when the store has made the owner free to go.
    let standing: *const AtomicU8 = {
        // SAFETY: the caller's.
        unsafe { &raw const (*node.as_ptr()).standing }
    };
    // Release: what was written into the place, for the owner's load.
    // SAFETY: alive until the store; a shared reference to an atomic may dangle once it has been used.
    unsafe { (*standing).store(CHOSEN, Ordering::Release) };
}
