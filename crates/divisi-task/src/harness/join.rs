//! What the join handle does to a task. Who may touch output and join waker when: see [`crate::state`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::task::Waker;

use super::reason_of;
use super::report::{report, report_panic};
use crate::error::JoinError;
use crate::header::{Content, Header};
use crate::raw::{header, trailer};
use crate::state::JoinLeave;

/// Whether the output is there for the handle to take. If not, `waker` will be woken when it is.
///
/// # Safety
/// See the module; the caller is the join handle.
pub(crate) unsafe fn poll_join(task: NonNull<Header>, waker: &Waker) -> bool {
    // SAFETY: the handle keeps the task alive.
    let (header, slot) = unsafe { (header(&task), &trailer(&task).join_waker) };
    let now = header.state.load();
    if now.is_complete() {
        return true;
    }
    // Cloned first: should it panic, nothing has changed.
    let fresh;
    if now.has_join_waker() {
        // SAFETY: `JOIN_WAKER` is set, and only the handle clears it before completion: nobody writes.
        let same = slot.with(|stored| unsafe {
            (*stored)
                .as_ref()
                .is_some_and(|stored| stored.will_wake(waker))
        });
        if same {
            return false;
        }
        fresh = waker.clone();
        if !header.state.unset_join_waker() {
            return true;
        }
    } else {
        fresh = waker.clone();
    }
    // SAFETY: `JOIN_WAKER` is clear and the handle exists: the slot is the handle's.
    let stale = slot.with_mut(|slot| unsafe { (*slot).replace(fresh) });
    let waits = header.state.set_join_waker();
    if !waits {
        // SAFETY: as before: the flag was not set.
        let unused = slot.with_mut(|slot| unsafe { (*slot).take() });
        drop(unused);
    }
    drop(stale);
    !waits
}

/// What the stage of a completed task has for the handle.
///
/// # Safety
/// See the module; the caller is the join handle, and the task is complete.
pub(crate) unsafe fn content(task: NonNull<Header>) -> Content {
    // SAFETY: the task is complete and the handle exists: stage and content are the handle's.
    unsafe { trailer(&task) }
        .content
        .with(|content| unsafe { *content })
}

/// The error of a task whose future had to be leaked: there is no room for one in its stage.
pub(crate) fn leaked_error(header: &Header) -> JoinError {
    JoinError::cancelled(header, reason_of(header, None))
}

/// The join handle goes away. Consumes its reference.
///
/// # Safety
/// See the module; the caller is the join handle.
///
/// # Panics
/// As the output's destructor does.
pub(crate) unsafe fn drop_handle(task: NonNull<Header>) {
    /// Leaves a completed task, even if the output's destructor panics.
    struct Leave(NonNull<Header>);
    impl Drop for Leave {
        fn drop(&mut self) {
            // SAFETY: the handle's reference keeps the task alive until it is given back, last.
            let header = unsafe { header(&self.0) };
            let dealloc = header.vtable.dealloc;
            let mut waker_dropped = false;
            loop {
                match header.state.leave_complete(waker_dropped) {
                    JoinLeave::TakeWaker | JoinLeave::TakeOutput => {
                        // SAFETY: `JOIN_WAKER` is clear and the handle exists: the slot is the handle's.
                        unsafe { drop_join_waker(self.0) };
                        waker_dropped = true;
                    }
                    JoinLeave::Left => return,
                    // SAFETY: that was the last reference.
                    JoinLeave::Last => return unsafe { dealloc(self.0) },
                }
            }
        }
    }

    // SAFETY: as above.
    let header = unsafe { header(&task) };
    loop {
        match header.state.leave_incomplete() {
            JoinLeave::Left | JoinLeave::Last => return,
            // SAFETY: `JOIN_WAKER` is clear and the handle exists: the slot is the handle's.
            JoinLeave::TakeWaker => unsafe { drop_join_waker(task) },
            JoinLeave::TakeOutput => break,
        }
    }
    let _leave = Leave(task);
    // SAFETY: complete, and the handle exists: the stage is the handle's. On which thread it may be dropped
    // is for the handle's own `Send` to say.
    let unread = unsafe {
        match content(task) {
            Content::Output => (header.vtable.discard_output)(task),
            _ => None,
        }
    };
    if let Some(panic) = unread.and_then(JoinError::into_unhandled) {
        report_panic(header, panic);
    }
}

/// # Safety
/// The slot of the join waker belongs to the caller.
pub(super) unsafe fn drop_join_waker(task: NonNull<Header>) {
    // SAFETY: the caller keeps the task alive and owns the slot.
    let (header, waker) = unsafe {
        let slot = &trailer(&task).join_waker;
        (header(&task), slot.with_mut(|slot| (*slot).take()))
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(waker))) {
        report(header, payload);
    }
}
