//! Calling foreign code several times, so that a panic of one call keeps nobody from the others.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a call came to, with its panic.
pub(crate) type Caught = Result<(), Box<dyn Any + Send>>;

/// Calls `f` and keeps its panic.
pub(crate) fn catch(f: impl FnOnce()) -> Caught {
    catch_unwind(AssertUnwindSafe(f))
}

/// Makes all the calls; then the first panic among them goes on.
pub(crate) fn first_panic(calls: impl IntoIterator<Item = Caught>) {
    let mut first = None;
    for panic in calls.into_iter().filter_map(Result::err) {
        first.get_or_insert(panic);
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}
