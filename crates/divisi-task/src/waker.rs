//! The waker of a task: one reference, and one static table, so that `will_wake` can compare.

use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable};

use crate::harness;
use crate::header::Header;
use crate::raw::{Reference, release};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// A waker that assumes, and will give back, one reference.
pub(crate) fn raw(task: NonNull<Header>) -> RawWaker {
    RawWaker::new(task.as_ptr().cast_const().cast(), &VTABLE)
}

/// # Safety
/// The data pointer of a waker made by [`raw`].
unsafe fn task(data: *const ()) -> NonNull<Header> {
    // SAFETY: it was made from a `NonNull`.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned has a reference.
    let reference = unsafe { Reference::additional(task(data)) };
    let waker = raw(reference.task());
    std::mem::forget(reference);
    waker
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker's reference is given up.
    unsafe { harness::wake_by_value(task(data)) };
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker has a reference and is borrowed during the call.
    unsafe { harness::wake_by_ref(task(data)) };
}

unsafe fn drop(data: *const ()) {
    // SAFETY: the waker's reference is given up.
    unsafe { release(task(data), 1) };
}
