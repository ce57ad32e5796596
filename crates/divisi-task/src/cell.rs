//! The task as it lies in memory, and the few functions that must know the type of its future.
//!
//! ```text
//! 0        64        96
//! +--------+---------+--------------------------+
//! | Header | Trailer | Stage: future or output  |
//! +--------+---------+--------------------------+
//! ```
//!
//! A future of 32 bytes with an output of 24 fits in 128 bytes. The trailer comes before the stage, so that
//! code that does not know the future's type reaches it at a fixed place.
//!
//! The functions in the [`VTable`] are as small as they can be: whatever does not depend on the future's type
//! is in [`crate::harness`], compiled once.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::JoinError;
use crate::header::{Content, Header, Prefix};
use crate::id::TaskId;
use crate::runnable::Runnable;
use crate::schedule::{Cause, Schedule, UnhandledPanic};
use crate::sync::UnsafeCell;

/// The one allocation of a task whose future is `F` and whose scheduler is `S`.
#[repr(C)]
pub(crate) struct Cell<F: Future, S> {
    prefix: Prefix,
    stage: UnsafeCell<Stage<F>>,
    scheduler: PhantomData<Arc<S>>,
}

/// The trailer's [`Content`] says which of the two it is, if any.
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

/// What a poll came to.
pub(crate) enum Polled {
    Pending,
    /// The output is stored.
    Ready,
    /// The output is stored; dropping the spent future panicked.
    ReadyButDropPanicked(Box<dyn Any + Send>),
}

/// What can be done with a task of unknown type.
///
/// Common to all functions that take a `NonNull<Header>`: it points to a live task of the type that the table
/// was made for, with provenance over the whole allocation. All but `dealloc` touch the stage, so the caller
/// must have the right to it by the tables in [`crate::state`], on a thread that may touch it
/// (`Trailer::owner`).
pub(crate) struct VTable {
    /// The content is `Future`. Panics as the future does; it is then still there.
    pub(crate) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Polled,
    /// The content is `Future` and becomes `Nothing`, even if the destructor panics.
    pub(crate) drop_future: unsafe fn(NonNull<Header>),
    /// The content is `Nothing` and becomes `Output`.
    pub(crate) store_error: unsafe fn(NonNull<Header>, JoinError),
    /// The content is `Output` and becomes `Nothing`; the pointer is to room for a `Result<F::Output,
    /// JoinError>`.
    pub(crate) take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// The content is `Output` and becomes `Nothing`, even if the destructor panics. An error is returned,
    /// not dropped.
    pub(crate) discard_output: unsafe fn(NonNull<Header>) -> Option<JoinError>,
    /// Frees the task. The caller has given back the last reference.
    pub(crate) dealloc: unsafe fn(NonNull<Header>),
    /// The pointer is to the scheduler, which stays alive during the call.
    pub(crate) schedule: unsafe fn(*const (), Runnable, Cause),
    /// As `schedule`.
    pub(crate) unhandled_panic: unsafe fn(*const (), UnhandledPanic),
    /// As `schedule`.
    pub(crate) completed: unsafe fn(*const (), TaskId),
}

impl<F: Future, S: Schedule> Cell<F, S> {
    pub(crate) const VTABLE: VTable = VTable {
        poll: poll::<F, S>,
        drop_future: drop_future::<F, S>,
        store_error: store_error::<F, S>,
        take_output: take_output::<F, S>,
        discard_output: discard_output::<F, S>,
        dealloc: dealloc::<F, S>,
        schedule: schedule::<S>,
        unhandled_panic: unhandled_panic::<S>,
        completed: completed::<S>,
    };

    /// Allocates the task. The header must be made with this type's `VTABLE` and a raw `Arc<S>`; the trailer's
    /// content must be `Future`.
    ///
    /// Header and trailer are made after the allocation, so that they are written where they stay: made before,
    /// they would be copied while the writes are still on their way to the cache, for which a processor waits. For the
    /// same reason all that a spawn goes through on its way here is inlined into one function for each type of future.
    #[inline(always)]
    pub(crate) fn allocate(prefix: impl FnOnce() -> Prefix, future: F) -> NonNull<Header> {
        let mut cell = Box::<Self>::new_uninit();
        let place = cell.as_mut_ptr();
        let stage = Stage {
            future: ManuallyDrop::new(future),
        };
        // SAFETY: inside the allocation, which nobody else knows. These are all fields that have a size.
        unsafe {
            (&raw mut (*place).stage).write(UnsafeCell::new(stage));
            (&raw mut (*place).prefix).write(prefix());
        }
        // SAFETY: a box is never null.
        unsafe { NonNull::new_unchecked(Box::into_raw(cell)) }.cast()
    }
}

/// # Safety
/// As [`VTable`] says.
unsafe fn with_stage<F: Future, S, R>(
    task: NonNull<Header>,
    f: impl FnOnce(*mut Stage<F>, &UnsafeCell<Content>) -> R,
) -> R {
    let cell = task.cast::<Cell<F, S>>().as_ptr();
    // SAFETY: the task is alive and of this type. The references cover an `UnsafeCell` each, so nothing that
    // the stage's exclusive user does is aliased by them.
    let (stage, content) = unsafe { (&(*cell).stage, &(*cell).prefix.trailer.content) };
    stage.with_mut(|stage| f(stage, content))
}

fn set(content: &UnsafeCell<Content>, to: Content) {
    // SAFETY: called from `with_stage` only, whose caller has the stage to itself, and with it the content.
    content.with_mut(|content| unsafe { *content = to });
}

fn assert_is(content: &UnsafeCell<Content>, expected: Content) {
    // SAFETY: as in `set`.
    debug_assert_eq!(content.with(|content| unsafe { *content }), expected);
}

/// # Safety
/// As [`VTable::poll`] says.
unsafe fn poll<F: Future, S>(task: NonNull<Header>, cx: &mut Context<'_>) -> Polled {
    let poll = |stage: *mut Stage<F>, content: &UnsafeCell<Content>| {
        assert_is(content, Content::Future);
        // SAFETY: the content is a future; it never moves: it lies in a heap allocation and is dropped in
        // place.
        let future = unsafe { Pin::new_unchecked(&mut *(*stage).future) };
        let Poll::Ready(output) = future.poll(cx) else {
            return Polled::Pending;
        };
        set(content, Content::Nothing);
        // SAFETY: the content was a future, and is not looked at again after this.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe {
            ManuallyDrop::drop(&mut (*stage).future);
        }));
        // SAFETY: exclusive access; nothing is overwritten that would need to be dropped.
        unsafe { (*stage).output = ManuallyDrop::new(Ok(output)) };
        set(content, Content::Output);
        match dropped {
            Ok(()) => Polled::Ready,
            Err(payload) => Polled::ReadyButDropPanicked(payload),
        }
    };
    // SAFETY: the caller keeps the contract of the table.
    unsafe { with_stage::<F, S, _>(task, poll) }
}

/// # Safety
/// As [`VTable::drop_future`] says.
unsafe fn drop_future<F: Future, S>(task: NonNull<Header>) {
    let drop_future = |stage: *mut Stage<F>, content: &UnsafeCell<Content>| {
        assert_is(content, Content::Future);
        set(content, Content::Nothing);
        // SAFETY: the content was a future, and is not looked at again after this.
        unsafe { ManuallyDrop::drop(&mut (*stage).future) };
    };
    // SAFETY: the caller keeps the contract of the table.
    unsafe { with_stage::<F, S, _>(task, drop_future) };
}

/// # Safety
/// As [`VTable::store_error`] says.
unsafe fn store_error<F: Future, S>(task: NonNull<Header>, error: JoinError) {
    let store = |stage: *mut Stage<F>, content: &UnsafeCell<Content>| {
        assert_is(content, Content::Nothing);
        // SAFETY: exclusive access; there is nothing in the stage that would need to be dropped.
        unsafe { (*stage).output = ManuallyDrop::new(Err(error)) };
        set(content, Content::Output);
    };
    // SAFETY: the caller keeps the contract of the table.
    unsafe { with_stage::<F, S, _>(task, store) };
}

/// # Safety
/// As [`VTable::take_output`] says.
unsafe fn take_output<F: Future, S>(task: NonNull<Header>, room: *mut ()) {
    let take = |stage: *mut Stage<F>, content: &UnsafeCell<Content>| {
        assert_is(content, Content::Output);
        set(content, Content::Nothing);
        // SAFETY: the content was an output and is not looked at again after this; the room is of its type.
        unsafe {
            let output = ManuallyDrop::take(&mut (*stage).output);
            room.cast::<Result<F::Output, JoinError>>().write(output);
        }
    };
    // SAFETY: the caller keeps the contract of the table.
    unsafe { with_stage::<F, S, _>(task, take) };
}

/// # Safety
/// As [`VTable::discard_output`] says.
unsafe fn discard_output<F: Future, S>(task: NonNull<Header>) -> Option<JoinError> {
    let discard = |stage: *mut Stage<F>, content: &UnsafeCell<Content>| {
        assert_is(content, Content::Output);
        set(content, Content::Nothing);
        // SAFETY: the content was an output and is not looked at again after this.
        unsafe { ManuallyDrop::take(&mut (*stage).output) }.err()
    };
    // SAFETY: the caller keeps the contract of the table.
    unsafe { with_stage::<F, S, _>(task, discard) }
}

/// # Safety
/// As [`VTable::dealloc`] says.
unsafe fn dealloc<F: Future, S>(task: NonNull<Header>) {
    // SAFETY: the last reference is gone, so the allocation and the scheduler reference in it belong to this
    // call.
    unsafe {
        let cell = task.cast::<Cell<F, S>>();
        let scheduler = Arc::from_raw(task.as_ref().scheduler.cast::<S>());
        let trailer = &cell.as_ref().prefix.trailer;
        #[cfg(divisi_loom)]
        trailer.alive.with_mut(|_| ());
        match trailer.content.with(|content| *content) {
            Content::Nothing => drop(Box::from_raw(cell.as_ptr())),
            // The memory of a pinned future must not be used again before it is dropped.
            Content::LeakedFuture => {}
            // Not reached: a task completes before its last reference goes, and completing ends with whoever
            // has the right to the output taking it out. Were it reached, leaking would be what is sound on
            // any thread.
            content @ (Content::Future | Content::Output) => {
                debug_assert!(false, "a task was freed with its {content:?} inside");
            }
        }
        drop(scheduler);
    }
}

/// # Safety
/// As [`VTable::schedule`] says.
unsafe fn schedule<S: Schedule>(scheduler: *const (), task: Runnable, cause: Cause) {
    // SAFETY: a scheduler of this type that is alive during the call.
    unsafe { &*scheduler.cast::<S>() }.schedule(task, cause);
}

/// # Safety
/// As [`VTable::unhandled_panic`] says.
unsafe fn unhandled_panic<S: Schedule>(scheduler: *const (), report: UnhandledPanic) {
    // SAFETY: a scheduler of this type that is alive during the call.
    unsafe { &*scheduler.cast::<S>() }.unhandled_panic(report);
}

/// # Safety
/// As [`VTable::completed`] says.
unsafe fn completed<S: Schedule>(scheduler: *const (), task: TaskId) {
    // SAFETY: a scheduler of this type that is alive during the call.
    unsafe { &*scheduler.cast::<S>() }.completed(task);
}

#[cfg(all(test, not(divisi_loom), target_pointer_width = "64"))]
mod tests {
    use super::*;
    use std::future::Ready;

    struct Nowhere;
    impl Schedule for Nowhere {
        fn schedule(&self, _: Runnable, _: Cause) {}
        fn unhandled_panic(&self, _: UnhandledPanic) {}
    }

    /// A future of `N` words with an output of three words.
    struct Words<const N: usize>([usize; N]);
    impl<const N: usize> Future for Words<N> {
        type Output = [usize; 3];
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<[usize; 3]> {
            Poll::Ready([self.0[0]; 3])
        }
    }

    #[test]
    fn a_task_of_a_small_future_takes_128_bytes() {
        assert_eq!(size_of::<Words<4>>(), 32);
        assert_eq!(size_of::<Cell<Words<4>, Nowhere>>(), 128);
        assert_eq!(size_of::<Cell<Ready<()>, Nowhere>>(), 96 + 8);
    }

    #[test]
    fn a_larger_future_costs_its_own_size_only() {
        assert_eq!(size_of::<Cell<Words<12>, Nowhere>>(), 96 + 12 * 8);
    }
}
