//! Handing things over without ever waiting.

use std::fmt;
use std::iter::FusedIterator;
use std::ptr;

use crate::sync::{AtomicPtr, Ordering};

/// A stack that many threads push to and that is emptied at once, in the order of the pushes. No operation
/// waits for another thread: a push is one allocation and one compare-and-exchange that is repeated only when
/// another push came first.
///
/// Nodes are only ever removed all together, by one exchange of the head, so that a push can compare the head
/// without regard to what happened meanwhile (there is no ABA problem: a head that compares equal *is* the
/// current head, whatever node it was before). Model: `inbox_*` in `tests/loom_slot_inbox.rs`.
///
/// ```
/// let inbox = divisi_task::Inbox::new();
/// assert!(inbox.push(1), "it was empty, so the consumer may need a wake-up");
/// assert!(!inbox.push(2));
/// assert_eq!(inbox.take_all().collect::<Vec<_>>(), [1, 2]);
/// assert!(inbox.is_empty());
/// ```
pub struct Inbox<T> {
    head: AtomicPtr<Node<T>>,
}

struct Node<T> {
    value: T,
    /// The one pushed before.
    next: *mut Node<T>,
}

// SAFETY: the inbox owns values and gives them out; no reference to one is ever shared.
unsafe impl<T: Send> Send for Inbox<T> {}
// SAFETY: as above: what a shared inbox does is move values between threads.
unsafe impl<T: Send> Sync for Inbox<T> {}

impl<T> Inbox<T> {
    /// An empty inbox.
    #[cfg(not(divisi_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// An empty inbox.
    #[cfg(divisi_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Puts `value` in and returns whether the inbox was empty before.
    pub fn push(&self, value: T) -> bool {
        let mut head = self.head.load(Ordering::Relaxed);
        let node = Box::into_raw(Box::new(Node { value, next: head }));
        // Release: the value, for whoever takes it.
        while let Err(actual) =
            self.head
                .compare_exchange_weak(head, node, Ordering::Release, Ordering::Relaxed)
        {
            head = actual;
            // SAFETY: not published yet.
            unsafe { (*node).next = head };
        }
        head.is_null()
    }

    /// Takes everything out that was pushed before, oldest first. Costs a plain load if there is nothing.
    ///
    /// Values that the iterator does not come to are dropped with it.
    pub fn take_all(&self) -> TakeAll<T> {
        if self.is_empty() {
            return TakeAll {
                next: ptr::null_mut(),
            };
        }
        // Acquire: the values. The pushes before the last one are in its release sequence.
        let mut newest = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest = ptr::null_mut();
        while !newest.is_null() {
            // SAFETY: the exchange made the whole chain ours.
            let before = unsafe { std::mem::replace(&mut (*newest).next, oldest) };
            oldest = newest;
            newest = before;
        }
        TakeAll { next: oldest }
    }

    /// Whether there was nothing in it a moment ago. Synchronises nothing: a push that has just returned
    /// elsewhere may not be seen.
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("is_empty", &self.is_empty())
            .finish_non_exhaustive()
    }
}

/// What was in an [`Inbox`], oldest first.
pub struct TakeAll<T> {
    next: *mut Node<T>,
}

// SAFETY: the iterator owns its values.
unsafe impl<T: Send> Send for TakeAll<T> {}
// SAFETY: by shared reference nothing can be reached.
unsafe impl<T: Send> Sync for TakeAll<T> {}

impl<T> Iterator for TakeAll<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.next.is_null() {
            return None;
        }
        // SAFETY: the chain is ours, and each node came from a box.
        let node = unsafe { Box::from_raw(self.next) };
        self.next = node.next;
        Some(node.value)
    }
}

impl<T> FusedIterator for TakeAll<T> {}

impl<T> Drop for TakeAll<T> {
    fn drop(&mut self) {
        /// Goes on if a destructor panics.
        struct Rest<'a, T>(&'a mut TakeAll<T>);
        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                for value in self.0.by_ref() {
                    drop(value);
                }
            }
        }
        let rest = Rest(self);
        for value in rest.0.by_ref() {
            drop(value);
        }
    }
}

impl<T> fmt::Debug for TakeAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakeAll").finish_non_exhaustive()
    }
}
