//! Where panics go that no handle will tell of.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::header::Header;
use crate::panic_trace;
use crate::schedule::UnhandledPanic;

/// Tells the scheduler of a panic that is not the outcome of the task.
pub(super) fn report(header: &Header, payload: Box<dyn Any + Send>) {
    let panic = UnhandledPanic {
        task: header.id,
        name: header.name().map(Into::into),
        spawned_at: header.spawned_at,
        awaited_at: header.waits_at(),
        backtrace: panic_trace::take(header.id, &*payload),
        payload,
    };
    report_panic(header, panic);
}

pub(super) fn report_panic(header: &Header, panic: UnhandledPanic) {
    let reported = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the task owns a reference to its scheduler.
        unsafe { (header.vtable.unhandled_panic)(header.scheduler, panic) };
    }));
    if let Err(payload) = reported {
        discard(payload);
    }
}

/// Drops a panic that has nowhere to go. Should its destructor panic, too, what that throws is leaked: there
/// must be an end.
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
}
