//! Scopes: what is cancelled together.
//!
//! | | cancels its content | and then gives |
//! |---|---|---|
//! | [`timeout`](crate::time::timeout), [`timeout_at`](crate::time::timeout_at) | when time is over | `Err(Elapsed)` |
//! | [`timeout_scope`] | when its deadline comes, which the content can move | `Err(Elapsed)` |
//! | [`move_on_after`], [`move_on_at`] | when time is over | `None` |
//! | [`CancelScope`] | when somebody says so, or by a deadline | `Err(Cancelled)`, with the reason |
//! | [`task_group`](crate::task_group) | when one of its tasks fails, or somebody says so | `Err(GroupError)` |
//! | [`shield`] | never, and keeps out the cancellation of scopes around it | |
//!
//! What holds for all of them:
//!
//! * **A cancellation cannot be swallowed.** What waits inside a cancelled scope stands still for good; the scope itself ends it. There is no error
//!   inside that could be caught.
//! * **What is ready beats a cancellation.** A scope polls its content before it looks at the clock, and once more when it was cancelled.
//! * **Clean-ups come first.** The scope reports only when the [clean-ups](crate::cleanup) inside have run, innermost first, and shielded parts
//!   have ended.
//! * **The nearest deadline counts**, and of equal ones only the outermost reports.
//! * A scope ends what it owns: its content. A task that is only awaited inside goes on; one of a [group](crate::group) inside does not.
//!
//! What stands still: everything of divisi that waits. A future of another crate that waits for something else than divisi's parts may make a step
//! while clean-ups run, if its own wake-up comes.
//!
//! A scope that is never cancelled costs a push and a pop a poll, and no allocation unless there is a handle to it.

mod cancel_scope;
mod cut;
mod limited;
pub(crate) mod node;
mod panics;
pub(crate) mod roots;
mod shield;
pub(crate) mod stack;

pub use cancel_scope::{CancelScope, Cancelled, Run};
pub(crate) use cancel_scope::{deadline_passed, look_again, outer_is_due};
pub(crate) use cut::{Cut, Step, stand_still};
pub use limited::{TimeoutScope, move_on_after, move_on_at, timeout_scope};
pub(crate) use panics::{catch, first_panic};
pub(crate) use shield::Guard;
pub use shield::{Shield, shield};

/// The nearest deadline of the scopes around the caller, up to the first shield; `None` if there is none, or outside of a poll.
///
/// A [`timeout`](crate::time::timeout) counts from the moment that its content has had to wait.
///
/// ```
/// use std::time::Duration;
/// use divisi::scope::{effective_deadline, timeout_scope};
///
/// # divisi::run(async {
/// timeout_scope(Duration::from_secs(10), async |outer| {
///     timeout_scope(Duration::from_secs(20), async |_| assert_eq!(effective_deadline(), outer.when())).await
/// })
/// .await
/// .unwrap()
/// .unwrap();
/// assert_eq!(effective_deadline(), None);
/// # });
/// ```
pub fn effective_deadline() -> Option<crate::time::Instant> {
    stack::deadline()
}
