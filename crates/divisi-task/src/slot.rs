//! A place for one runnable that others can take it from.

use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

use crate::header::Header;
use crate::runnable::Runnable;
use crate::sync::{AtomicPtr, Ordering};

/// A place for one [`Runnable`], for a worker's LIFO slot: any thread may put one in or take it out, each in
/// one atomic exchange.
///
/// Nothing can get lost or double: the slot's word is only ever exchanged, and each exchange transfers what
/// was in it. Model: `run_slot` in `tests/loom_slot_inbox.rs`.
pub struct RunSlot(AtomicPtr<Header>);

impl RunSlot {
    /// An empty slot.
    #[cfg(not(divisi_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// An empty slot.
    #[cfg(divisi_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Puts a task in and takes out the one that was there.
    #[inline]
    pub fn replace(&self, task: Runnable) -> Option<Runnable> {
        // Acquire and Release: whoever takes the task out sees what this thread did to it, and we what others
        // did to the one before.
        let before = self.0.swap(task.into_ptr().as_ptr(), Ordering::AcqRel);
        // SAFETY: it was in the slot and is no more.
        unsafe { Self::owned(before) }
    }

    /// Takes the task out. Costs a plain load if the slot is empty.
    #[inline]
    pub fn take(&self) -> Option<Runnable> {
        if self.is_empty() {
            return None;
        }
        let before = self.0.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: it was in the slot and is no more.
        unsafe { Self::owned(before) }
    }

    /// Whether there was no task a moment ago. Synchronises nothing: a task that was put in just now may not
    /// be seen.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.stamp() == 0
    }

    /// A number that tells, without touching the task, whether the slot holds what it held at the last look:
    /// 0 if it is empty. (The same number can come again with another task, if the first one was freed. It is
    /// for guessing whether the owner has moved on.)
    #[inline]
    pub fn stamp(&self) -> usize {
        self.0.load(Ordering::Relaxed).addr()
    }

    /// # Safety
    /// The pointer was in the slot, or it is null.
    unsafe fn owned(task: *mut Header) -> Option<Runnable> {
        // SAFETY: what is in the slot came from `into_ptr`, and was taken out once.
        NonNull::new(task).map(|task| unsafe { Runnable::from_owned(task) })
    }
}

impl Default for RunSlot {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for RunSlot {
    fn drop(&mut self) {
        mem::drop(self.take());
    }
}

impl fmt::Debug for RunSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSlot")
            .field("is_empty", &self.is_empty())
            .finish()
    }
}
