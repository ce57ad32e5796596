//! Cancelling without being the one who joins.

use std::borrow::Cow;
use std::fmt;

use crate::cancel::CancelReason;
use crate::harness;
use crate::id::TaskId;
use crate::raw::Reference;

/// Cancels a task from anywhere. Any number of these can exist; none keeps the task from ending.
#[derive(Clone)]
pub struct AbortHandle(Reference);

impl AbortHandle {
    pub(crate) fn new(task: Reference) -> Self {
        Self(task)
    }

    /// Asks the task to end: see [`JoinHandle::cancel`](crate::JoinHandle::cancel).
    #[track_caller]
    pub fn cancel(&self, why: impl Into<Cow<'static, str>>) {
        let reason = CancelReason::new(why);
        harness::cancel(&self.0, || reason);
    }

    /// As [`cancel`](Self::cancel), for a reason that was given elsewhere.
    pub fn cancel_with(&self, reason: CancelReason) {
        harness::cancel(&self.0, || reason);
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.header().state.load().is_complete()
    }

    /// Which task it is.
    pub fn id(&self) -> TaskId {
        self.0.header().id
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("task", &self.id())
            .finish_non_exhaustive()
    }
}
