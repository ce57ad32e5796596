//! Stack traces of panics that tasks catch.
//!
//! When a panic is caught, its stack is gone; only the panic hook sees it. So the hook of [`capture`] leaves a trace with the thread, and whoever catches the panic of
//! that task on that thread takes it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::sync::{Arc, Once};

use crate::current;
use crate::id::TaskId;
use crate::schedule::message_of;

struct Trace {
    task: TaskId,
    /// Of the panic, to tell it from one that the task caught itself before.
    message: String,
    backtrace: Backtrace,
}

thread_local! {
    static LAST: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// From now on, panics of tasks come with a stack trace, if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for such as
/// [`Backtrace::capture`] says; otherwise nothing happens.
///
/// It puts a hook before the [panic hook](std::panic::set_hook) of the process, which goes on to run. A hook that is set later replaces both, and there are no
/// traces from then on. Further calls do nothing, nor does one on a thread that panics.
pub fn capture() {
    static ONCE: Once = Once::new();
    // First what costs nothing: the third makes a whole trace where they are on.
    if ONCE.is_completed()
        || std::thread::panicking()
        || Backtrace::capture().status() == BacktraceStatus::Disabled
    {
        return;
    }
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            if let Some(task) = current::id() {
                let trace = Trace {
                    task,
                    message: message_of(panic.payload()).to_owned(),
                    backtrace: Backtrace::capture(),
                };
                // A thread that ends has no place for it.
                let _ = LAST.try_with(|last| last.replace(Some(trace)));
            }
        }));
    });
}

/// The trace of a panic of `task` that was just caught on this thread.
pub(crate) fn take(task: TaskId, payload: &(dyn Any + Send)) -> Option<Arc<Backtrace>> {
    let last = LAST.try_with(RefCell::take).ok()??;
    let is_it = last.task == task && last.message == message_of(payload);
    is_it.then(|| Arc::new(last.backtrace))
}
