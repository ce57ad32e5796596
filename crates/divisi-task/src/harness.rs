//! The life of a task, without its type: run, cancel, complete, join.
//!
//! Common to the functions here: `task` points to a live task, and whoever calls owns the reference that the
//! function says it consumes, or one of its own that lasts as long as the call.
//!
//! User code is called in five places: the future's poll, the destructors of future and output, foreign
//! wakers, and the scheduler. All but `Schedule::schedule` are wrapped so that a panic ends as a result or a
//! report, with the task in the state it would have without the panic. `schedule` is called last, when
//! nothing of the task is pending, and its panic propagates.

mod join;
mod report;

use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::task::{Context, Waker};

use crate::cancel::CancelReason;
use crate::cell::Polled;
use crate::error::JoinError;
use crate::header::{Content, Header};
use crate::raw::{Reference, header, release, trailer};
use crate::registry::Shard;
use crate::runnable::{Ran, Runnable};
use crate::schedule::Cause;
use crate::state::{ToIdle, ToRunning, ToScheduled, ToScheduledByValue, ToShutdown};
use crate::{budget, current, local, waker};

use join::drop_join_waker;
pub(crate) use join::{content, drop_handle, leaked_error, poll_join};
pub(crate) use report::discard;
use report::{report, report_panic};

/// The runner's reference and the registry's.
const REFERENCES_UNTIL_COMPLETE: u64 = 2;

/// Runs a task. Consumes the runnable's reference.
///
/// # Safety
/// See the module; the caller gives up a `Runnable`.
///
/// # Panics
/// As `Schedule::schedule` does.
pub(crate) unsafe fn run(task: NonNull<Header>) -> Ran {
    // SAFETY: the runnable's reference keeps the task alive until `to_idle` or `release` gives it back, after
    // which nothing here touches the task.
    let header = unsafe { header(&task) };
    match header.state.to_running() {
        ToRunning::Poll => {}
        ToRunning::Cancel => {
            // SAFETY: claimed by the transition; the runnable's reference is that of the claim.
            unsafe { cancel_claimed(task, None) };
            return Ran::Completed;
        }
        ToRunning::Stale => {
            // SAFETY: the runnable's reference, and the last use of the task here.
            unsafe { release(task, 1) };
            return Ran::Completed;
        }
    }
    let awaited_at = header.waits_at();
    header.note_wait(None);
    // SAFETY: the runnable's reference keeps the task alive, and the guard ends before that is given back.
    let entered = unsafe { current::enter(task, budget::LIMIT) };
    let polled = {
        // SAFETY: the waker does not outlive the reference and, not being dropped, gives none back.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(waker::raw(task)) });
        let mut cx = Context::from_waker(&waker);
        // SAFETY: claimed, so the stage is ours; the content of a task that was never claimed for its end is
        // a future.
        catch_unwind(AssertUnwindSafe(|| unsafe {
            (header.vtable.poll)(task, &mut cx)
        }))
    };
    match polled {
        Ok(Polled::Pending) => {
            drop(entered);
            match header.state.to_idle() {
                ToIdle::Idle => return Ran::Pending,
                ToIdle::Yielded => {
                    // SAFETY: the transition made a reference for this, and left the runnable's for the new
                    // one.
                    unsafe {
                        let _own = Reference::from_owned(task);
                        schedule(task, Cause::Yielded);
                    }
                    return Ran::Yielded;
                }
                // SAFETY: still claimed; the runnable's reference is that of the claim.
                ToIdle::Cancelled => unsafe { cancel_claimed(task, None) },
            }
        }
        Ok(Polled::Ready) => {
            drop(entered);
            // SAFETY: claimed, and the output is stored.
            unsafe { complete(task) };
        }
        Ok(Polled::ReadyButDropPanicked(payload)) => {
            drop(entered);
            report(header, payload);
            // SAFETY: claimed, and the output is stored.
            unsafe { complete(task) };
        }
        Err(payload) => {
            let error = JoinError::panicked(header, payload, header.waits_at().or(awaited_at));
            // SAFETY: claimed; a poll that panics leaves the future in place.
            if let Err(second) = unsafe { drop_future(task) } {
                report(header, second);
            }
            drop(entered);
            // SAFETY: claimed, and the stage is empty.
            unsafe { (header.vtable.store_error)(task, error) };
            // SAFETY: claimed, and the output is stored.
            unsafe { complete(task) };
        }
    }
    Ran::Completed
}

/// Cancels a task whose runnable will never run. Consumes the runnable's reference.
///
/// # Safety
/// See the module; the caller gives up a `Runnable`.
pub(crate) unsafe fn abandon(task: NonNull<Header>) {
    // SAFETY: the runnable's reference keeps the task alive.
    let header = unsafe { header(&task) };
    match header.state.to_abandoned() {
        ToRunning::Poll | ToRunning::Cancel => {
            let reason = CancelReason::new("its scheduler dropped it before it could run");
            // SAFETY: claimed by the transition; the runnable's reference is that of the claim.
            unsafe { cancel_claimed(task, Some(reason)) };
        }
        // SAFETY: the runnable's reference is given back and the task not touched again.
        ToRunning::Stale => unsafe { release(task, 1) },
    }
}

/// Asks a task to end at its next await.
///
/// # Panics
/// As `Schedule::schedule` does.
pub(crate) fn cancel(task: &Reference, reason: impl FnOnce() -> CancelReason) {
    let header = task.header();
    let now = header.state.load();
    if now.is_complete() || now.is_cancelled() {
        return;
    }
    header.offer_cancel_reason(reason());
    if header.state.to_cancelled() == ToScheduled::Submit {
        // SAFETY: the transition made a reference for the runnable; `task` lasts as long as the call.
        unsafe { schedule(task.task(), Cause::Woken) };
    }
}

/// Ends a task that nobody runs, here; asks it to end otherwise. True if it is complete now.
pub(crate) fn shutdown(task: &Reference, reason: CancelReason) -> bool {
    let header = task.header();
    if !local::may_touch(task.trailer().owner) {
        cancel(task, || reason);
        return header.state.load().is_complete();
    }
    let mut state = header.state.to_shutdown(false);
    if state == ToShutdown::Running {
        // Its runner ends it, and has to find the reason. (Who was asked before has one.)
        header.offer_cancel_reason(reason.clone());
        state = header.state.to_shutdown(true);
    }
    match state {
        ToShutdown::Claimed => {
            // SAFETY: claimed by the transition, which made a reference for the claim.
            unsafe { cancel_claimed(task.task(), Some(reason)) };
            true
        }
        ToShutdown::Running | ToShutdown::Ending => false,
        ToShutdown::Finished => true,
    }
}

/// A waker of the task is used by reference.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn wake_by_ref(task: NonNull<Header>) {
    // SAFETY: the waker, borrowed for as long as the call lasts, has a reference.
    if unsafe { header(&task) }.state.wake_by_ref() == ToScheduled::Submit {
        // SAFETY: the transition made a reference for the runnable; the waker's lasts as long as the call.
        unsafe { schedule(task, Cause::Woken) };
    }
}

/// A waker of the task is used up. Consumes its reference.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn wake_by_value(task: NonNull<Header>) {
    // SAFETY: the waker has a reference; the vtable is static, so it is read before that is given back.
    let header = unsafe { header(&task) };
    let dealloc = header.vtable.dealloc;
    match header.state.wake_by_value() {
        // SAFETY: the transition made a reference for the runnable; the waker's goes when the scheduler is
        // done.
        ToScheduledByValue::Submit => unsafe {
            let _own = Reference::from_owned(task);
            schedule(task, Cause::Woken);
        },
        ToScheduledByValue::Released => {}
        // SAFETY: that was the last reference.
        ToScheduledByValue::Last => unsafe { dealloc(task) },
    }
}

/// Drops the future of a claimed task and completes it as cancelled, for the reason that was stored first, or else for this one. Consumes the
/// reference of the claim.
///
/// # Safety
/// The caller has claimed the task, its content is a future, and it has a reference besides the registry's.
unsafe fn cancel_claimed(task: NonNull<Header>, reason: Option<CancelReason>) {
    // SAFETY: the reference of the claim keeps the task alive until `complete` gives it back.
    let (header, trailer) = unsafe { (header(&task), trailer(&task)) };
    if local::may_touch(trailer.owner) {
        // SAFETY: as above; the guard ends before the reference is given back.
        let entered = unsafe { current::enter(task, budget::UNLIMITED) };
        // SAFETY: claimed, on a thread that may touch the future, and it is there.
        let error = match unsafe { drop_future(task) } {
            // The handle does not come back: nobody would look at the error.
            Ok(()) if !header.state.load().has_join_interest() => None,
            Ok(()) => Some(JoinError::cancelled(header, reason_of(header, reason))),
            Err(payload) => Some(JoinError::panicked(header, payload, header.waits_at())),
        };
        drop(entered);
        if let Some(error) = error {
            // SAFETY: claimed, and the stage is empty.
            unsafe { (header.vtable.store_error)(task, error) };
        }
    } else {
        if let Some(reason) = reason {
            // The handle makes the error.
            header.offer_cancel_reason(reason);
        }
        // SAFETY: claimed: content and stage are ours, and marking the content touches no future.
        trailer
            .content
            .with_mut(|content| unsafe { *content = Content::LeakedFuture });
    }
    // SAFETY: claimed, and the outcome is stored, or nobody comes for it.
    unsafe { complete(task) };
}

/// Publishes the outcome of a claimed task. Consumes the reference of the claim, and the registry's.
///
/// The task leaves the registry before anybody can see the outcome, so whoever has awaited a task does not
/// find it listed.
///
/// # Safety
/// The caller has claimed the task and has put an outcome into the stage (or leaked the future, or knows that the handle is gone).
unsafe fn complete(task: NonNull<Header>) {
    // SAFETY: the reference of the claim keeps the task alive until `release`.
    let (header, trailer) = unsafe { (header(&task), trailer(&task)) };
    // SAFETY: the task is registered there until now, and registered tasks keep the shard alive. Its
    // reference is given back below.
    unsafe { Shard::remove(trailer.shard, header.id, task) };

    let now = header.state.to_complete();
    if !now.has_join_interest() {
        // SAFETY: nobody will come for the outcome any more: it is ours.
        unsafe { discard_outcome(task) };
    } else if now.has_join_waker() {
        let woken = catch_unwind(AssertUnwindSafe(|| {
            trailer.join_waker.with(|waker| {
                // SAFETY: complete with the flag set: the slot is only read until the flag is cleared, below.
                if let Some(waker) = unsafe { &*waker } {
                    waker.wake_by_ref();
                }
            });
        }));
        if let Err(payload) = woken {
            report(header, payload);
        }
        if !header
            .state
            .unset_join_waker_after_complete()
            .has_join_interest()
        {
            // SAFETY: the handle left before the flag was cleared: the slot is ours.
            unsafe { drop_join_waker(task) };
        }
    }
    let notified = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the task owns a reference to its scheduler.
        unsafe { (header.vtable.completed)(header.scheduler, header.id) };
    }));
    if let Err(payload) = notified {
        discard(payload);
    }
    // SAFETY: the claim's and the registry's, which is ours since the task was removed there.
    unsafe { release(task, REFERENCES_UNTIL_COMPLETE) };
}

/// Drops the outcome of a task without a handle and reports it if it is a panic.
///
/// # Safety
/// The task is complete and the stage belongs to the caller.
unsafe fn discard_outcome(task: NonNull<Header>) {
    // SAFETY: the caller keeps the task alive, and the content goes with the stage.
    let (header, content) = unsafe { (header(&task), content(task)) };
    if content != Content::Output {
        return;
    }
    // SAFETY: the stage belongs to the caller and has an output. A local task that got this far ran on its
    // own thread.
    let discarded = catch_unwind(AssertUnwindSafe(|| unsafe {
        (header.vtable.discard_output)(task)
    }));
    match discarded {
        Ok(Some(error)) => {
            if let Some(panic) = error.into_unhandled() {
                report_panic(header, panic);
            }
        }
        Ok(None) => {}
        Err(payload) => report(header, payload),
    }
}

/// # Safety
/// The caller has claimed the task, may touch its future on this thread, and the future is there.
unsafe fn drop_future(task: NonNull<Header>) -> Result<(), Box<dyn Any + Send>> {
    // SAFETY: passed on.
    catch_unwind(AssertUnwindSafe(|| unsafe {
        (header(&task).vtable.drop_future)(task);
    }))
}

/// Hands a runnable to the scheduler.
///
/// # Safety
/// The state says that a runnable exists, the caller owns a reference for it, and another one that lasts as
/// long as the call: from the moment that the scheduler has published the runnable, only that keeps the
/// scheduler itself alive.
unsafe fn schedule(task: NonNull<Header>, cause: Cause) {
    // SAFETY: the caller's other reference keeps the task alive, and the task its scheduler.
    unsafe {
        let header = header(&task);
        (header.vtable.schedule)(header.scheduler, Runnable::from_owned(task), cause);
    }
}

fn reason_of(header: &Header, given: Option<CancelReason>) -> CancelReason {
    let stored = header.cancel_reason().cloned();
    // Every request stores its reason before it becomes visible, or gives it: the default is for the type checker.
    stored
        .or(given)
        .unwrap_or_else(|| CancelReason::new("no reason given"))
}
