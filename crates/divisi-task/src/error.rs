//! How a task can fail to give its output, and how it can fail to start.

use std::any::Any;
use std::backtrace::Backtrace;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cancel::CancelReason;
use crate::header::Header;
use crate::id::TaskId;
use crate::panic_trace;
use crate::schedule::{UnhandledPanic, describe, message_of};

/// Why a task has no output: it panicked or was cancelled.
///
/// One pointer wide, so that `Result<T, JoinError>` is hardly larger than `T`. A clone tells the same; what a task panicked with is there once, for
/// whichever clone asks first.
#[derive(Clone)]
pub struct JoinError(Arc<Inner>);

struct Inner {
    task: TaskId,
    name: Option<Box<str>>,
    spawned_at: &'static Location<'static>,
    awaited_at: Option<&'static Location<'static>>,
    why: Why,
}

enum Why {
    Panicked {
        message: Box<str>,
        /// Until a clone takes it. A panic payload is `Send` only, and the mutex makes `Sync` of it what errors
        /// are expected to be.
        payload: Mutex<Option<Box<dyn Any + Send>>>,
        backtrace: Option<Arc<Backtrace>>,
    },
    Cancelled(CancelReason),
}

impl JoinError {
    /// Of a panic that was just caught on this thread; `awaited_at` is where the task waited last.
    pub(crate) fn panicked(
        task: &Header,
        payload: Box<dyn Any + Send>,
        awaited_at: Option<&'static Location<'static>>,
    ) -> Self {
        let backtrace = panic_trace::take(task.id, &*payload);
        let message = message_of(&*payload).into();
        Self::new(
            task,
            Why::Panicked {
                message,
                payload: Mutex::new(Some(payload)),
                backtrace,
            },
            awaited_at,
        )
    }

    pub(crate) fn cancelled(task: &Header, reason: CancelReason) -> Self {
        Self::new(task, Why::Cancelled(reason), task.waits_at())
    }

    fn new(task: &Header, why: Why, awaited_at: Option<&'static Location<'static>>) -> Self {
        Self(Arc::new(Inner {
            task: task.id,
            name: task.name().map(Into::into),
            spawned_at: task.spawned_at,
            awaited_at,
            why,
        }))
    }

    /// Whether the task ended because somebody asked it to.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.why, Why::Cancelled(_))
    }

    /// Whether the task ended by a panic.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.why, Why::Panicked { .. })
    }

    /// What the task panicked with, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    /// If the task did not panic: ask [`is_panic`](Self::is_panic) first, or use
    /// [`try_into_panic`](Self::try_into_panic).
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => panic!("into_panic of a task that did not panic: {error}"),
        }
    }

    /// What the task panicked with. Where a clone of this error was asked before, it is the text of the panic, as a `String`.
    ///
    /// # Errors
    /// The error itself if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        self.0.take_payload().ok_or(self)
    }

    /// Why the task was asked to end, if it was.
    pub fn reason(&self) -> Option<&CancelReason> {
        match &self.0.why {
            Why::Cancelled(reason) => Some(reason),
            Why::Panicked { .. } => None,
        }
    }

    /// Which task it was.
    pub fn task_id(&self) -> TaskId {
        self.0.task
    }

    /// The name that the task was given.
    pub fn task_name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.0.spawned_at
    }

    /// Where the task waited last, if it did and the operation told.
    pub fn awaited_at(&self) -> Option<&'static Location<'static>> {
        self.0.awaited_at
    }

    /// Where the task panicked, if traces are [captured](crate::capture_panic_traces).
    pub fn backtrace(&self) -> Option<&Arc<Backtrace>> {
        match &self.0.why {
            Why::Panicked { backtrace, .. } => backtrace.as_ref(),
            Why::Cancelled(_) => None,
        }
    }

    /// The report for the scheduler, if this is a panic.
    pub(crate) fn into_unhandled(self) -> Option<UnhandledPanic> {
        let payload = self.0.take_payload()?;
        Some(UnhandledPanic {
            task: self.0.task,
            name: self.0.name.clone(),
            spawned_at: self.0.spawned_at,
            awaited_at: self.0.awaited_at,
            backtrace: self.backtrace().cloned(),
            payload,
        })
    }
}

impl Inner {
    fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        let Why::Panicked {
            message, payload, ..
        } = &self.why
        else {
            return None;
        };
        let taken = payload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Some(taken.unwrap_or_else(|| Box::new(String::from(&**message))))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("JoinError");
        debug.field("task", &self.0.task);
        debug.field("name", &self.0.name);
        debug.field("spawned_at", &format_args!("{}", self.0.spawned_at));
        match &self.0.why {
            Why::Panicked { message, .. } => debug.field("panicked", message),
            Why::Cancelled(reason) => debug.field("cancelled", reason),
        };
        debug.finish()
    }
}

/// "task 17.2 `name` (spawned at src/main.rs:3:5) panicked: message", "... was cancelled: why (asked by task
/// 3.1 at src/main.rs:9:1)".
impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        describe(f, inner.task, inner.name.as_deref(), inner.spawned_at)?;
        match &inner.why {
            Why::Panicked { message, .. } => write!(f, " panicked: {message}"),
            Why::Cancelled(reason) => write!(f, " was cancelled: {reason}"),
        }
    }
}

impl std::error::Error for JoinError {}

/// The registry takes no new tasks: its runtime is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the runtime is shutting down and takes no new tasks: spawn before the shutdown begins",
        )
    }
}

impl std::error::Error for Closed {}
