//! A waiter's entry in the list.

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

pub(super) struct Node<T> {
    standing: AtomicU8,
    place: UnsafeCell<Place<T>>,
}

pub(super) struct Place<T> {
    pub(super) older: Option<NonNull<Node<T>>>,
    pub(super) newer: Option<NonNull<Node<T>>>,
    pub(super) lane: usize,
    pub(super) waker: Option<Waker>,
    pub(super) ticket: T,
}

impl<T> Node<T> {
    #[inline]
    pub(super) fn new(ticket: T) -> Self {
        Self {
            standing: AtomicU8::new(FREE),
            place: UnsafeCell::new(Place {
                older: None,
                newer: None,
                lane: 0,
                waker: None,
                ticket,
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
