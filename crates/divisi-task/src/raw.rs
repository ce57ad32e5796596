//! Pointers to tasks, and the counted reference that the public types are made of.

use std::ptr::NonNull;

use crate::header::{Header, Prefix, Trailer};

/// # Safety
/// The task stays alive while the result is used.
pub(crate) unsafe fn header(task: &NonNull<Header>) -> &Header {
    #[cfg(divisi_loom)]
    // SAFETY: alive, says the caller.
    unsafe { trailer(task) }.alive.with(|_| ());
    // SAFETY: alive, says the caller; a header is only ever used by shared reference.
    unsafe { task.as_ref() }
}

/// # Safety
/// The task stays alive while the result is used.
pub(crate) unsafe fn trailer(task: &NonNull<Header>) -> &Trailer {
    // SAFETY: alive, says the caller; every task begins with a `Prefix`, and pointers to tasks have
    // provenance over all of it.
    unsafe { &(*task.cast::<Prefix>().as_ptr()).trailer }
}

/// One reference to a task.
pub(crate) struct Reference(NonNull<Header>);

// SAFETY: what a reference reaches without a further right is the header and the immutable part of the
// trailer: atomics and immutable data, `Send` and `Sync` all. Dropping the last reference frees the task, on
// any thread, because the content of the stage is gone by then (or stays for ever), the scheduler is `Send +
// Sync` and a `Waker` is, too.
unsafe impl Send for Reference {}
// SAFETY: as above.
unsafe impl Sync for Reference {}

impl Reference {
    /// # Safety
    /// The caller owns a reference to the task and gives it to the result.
    pub(crate) unsafe fn from_owned(task: NonNull<Header>) -> Self {
        Self(task)
    }

    /// # Safety
    /// The task is alive during the call.
    pub(crate) unsafe fn additional(task: NonNull<Header>) -> Self {
        // SAFETY: alive, says the caller.
        unsafe { header(&task) }.state.ref_inc();
        Self(task)
    }

    pub(crate) fn task(&self) -> NonNull<Header> {
        self.0
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: this reference keeps it alive.
        unsafe { header(&self.0) }
    }

    pub(crate) fn trailer(&self) -> &Trailer {
        // SAFETY: this reference keeps it alive.
        unsafe { trailer(&self.0) }
    }
}

impl Clone for Reference {
    fn clone(&self) -> Self {
        // SAFETY: this reference keeps it alive.
        unsafe { Self::additional(self.0) }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: this reference is given back here and not used again.
        unsafe { release(self.0, 1) };
    }
}

/// Gives `count` references back, and frees the task if they were the last.
///
/// # Safety
/// The caller owns them and does not touch the task afterwards.
pub(crate) unsafe fn release(task: NonNull<Header>, count: u64) {
    // SAFETY: alive until the reference is given back. The vtable is static, so it is read before.
    let header = unsafe { header(&task) };
    let dealloc = header.vtable.dealloc;
    if header.state.ref_dec(count) {
        // SAFETY: that was the last reference.
        unsafe { dealloc(task) };
    }
}
