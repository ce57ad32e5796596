//! Why a task was asked to end.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

use crate::current;
use crate::id::TaskId;

/// Why a task was asked to end, who asked, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelReason {
    text: Cow<'static, str>,
    by: Option<TaskId>,
    at: &'static Location<'static>,
}

impl CancelReason {
    /// A reason given here, by the task that is running on this thread, if any.
    ///
    /// ```
    /// let reason = divisi_task::CancelReason::new("the client hung up");
    /// assert_eq!(reason.text(), "the client hung up");
    /// assert_eq!(reason.by(), None);
    /// assert_eq!(reason.at().line(), line!() - 3);
    /// ```
    #[track_caller]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            text: text.into(),
            by: current::id(),
            at: Location::caller(),
        }
    }

    /// The words of whoever asked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The task that asked, if a task did.
    pub fn by(&self) -> Option<TaskId> {
        self.by
    }

    /// The place in the code that asked.
    pub fn at(&self) -> &'static Location<'static> {
        self.at
    }
}

/// "the client hung up (asked by task 3.1 at src/main.rs:9:1)".
impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (asked ", self.text)?;
        if let Some(task) = self.by {
            write!(f, "by task {task} ")?;
        }
        write!(f, "at {})", self.at)
    }
}
