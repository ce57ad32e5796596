//! The exception handler: where failures go that nobody awaits.

use std::any::Any;
use std::backtrace::Backtrace;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use divisi_scheduler::{Stall, StallOutcome};
use divisi_task::{JoinError, TaskId, TaskRef, UnhandledPanic};

/// A failure that no join handle, group or caller received.
#[non_exhaustive]
pub struct Report {
    /// What happened, in one sentence.
    pub message: String,
    /// The task it happened in, if it was in one.
    pub task: Option<TaskId>,
    /// The name of that task.
    pub task_name: Option<String>,
    /// Where that task was spawned.
    pub spawned_at: Option<&'static Location<'static>>,
    /// The call of the operation that the task waited for last, if it waited and that operation told. Where the task is told about while it waits, it waits there.
    pub awaited_at: Option<&'static Location<'static>>,
    /// The error, if the task ended with one (see [`spawn_reporting`](crate::spawn_reporting)).
    pub error: Option<Box<dyn Error + Send + Sync>>,
    /// The payload, if the task panicked.
    pub panic: Option<Box<dyn Any + Send>>,
    /// The stack of the panic, if the task panicked and `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for traces, as [`Backtrace::capture`] says. [`Display`](fmt::Display)
    /// leaves it out, for the panic hook of std has printed it.
    ///
    /// It is taken by a hook that the first runtime puts before the [panic hook](std::panic::set_hook) of the process in that case; a hook that is set later
    /// takes its place, and there are no traces then. A panic that was caught and resumed has none, nor has one on a thread of a compute job's own.
    pub backtrace: Option<Arc<Backtrace>>,
    /// Whether nothing has failed: it tells of a habit that makes the program slow or leaks, as debug mode does.
    pub warning: bool,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("message", &self.message)
            .field("task", &self.task)
            .field("task_name", &self.task_name)
            .field("spawned_at", &self.spawned_at)
            .field("awaited_at", &self.awaited_at)
            .field("error", &self.error)
            .field("warning", &self.warning)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(task) = self.task {
            write!(f, "\n  in task {task}")?;
            if let Some(name) = &self.task_name {
                write!(f, " \"{name}\"")?;
            }
        }
        if let Some(at) = self.spawned_at {
            write!(f, ", spawned at {at}")?;
        }
        if let Some(at) = self.awaited_at {
            write!(f, ", waited last at {at}")?;
        }
        if let Some(error) = &self.error {
            write!(f, "\n  error: {error}")?;
            let mut source = error.source();
            while let Some(cause) = source {
                write!(f, "\n  caused by: {cause}")?;
                source = cause.source();
            }
        }
        Ok(())
    }
}

impl From<UnhandledPanic> for Report {
    fn from(panic: UnhandledPanic) -> Report {
        Report {
            message: format!("a task panicked and nobody awaits it: {}", panic.message()),
            task: Some(panic.task),
            task_name: panic.name.as_deref().map(str::to_owned),
            spawned_at: Some(panic.spawned_at),
            awaited_at: panic.awaited_at,
            error: None,
            panic: Some(panic.payload),
            backtrace: panic.backtrace,
            warning: false,
        }
    }
}

impl Report {
    /// A report of which nothing is known but what happened.
    pub(crate) fn new(message: String) -> Report {
        Report {
            message,
            task: None,
            task_name: None,
            spawned_at: None,
            awaited_at: None,
            error: None,
            panic: None,
            backtrace: None,
            warning: false,
        }
    }

    /// Of something that has not failed yet.
    pub(crate) fn warning(message: String) -> Report {
        Report {
            warning: true,
            ..Report::new(message)
        }
    }

    /// A report of how a task ended by a panic, which nobody awaited.
    pub(crate) fn of_panic(message: String, error: JoinError) -> Report {
        Report {
            task: Some(error.task_id()),
            task_name: error.task_name().map(str::to_owned),
            spawned_at: Some(error.spawned_at()),
            awaited_at: error.awaited_at(),
            backtrace: error.backtrace().cloned(),
            panic: error.try_into_panic().ok(),
            ..Report::new(message)
        }
    }

    /// This report, about `task`.
    pub(crate) fn about(mut self, task: &TaskRef) -> Report {
        self.task = Some(task.id());
        self.task_name = task.name().map(str::to_owned);
        self.spawned_at = Some(task.spawned_at());
        self.awaited_at = task.waits_at();
        self
    }

    /// A panic in a waker that an event or a timer woke. It is no task of divisi's: whoever made the waker has to look.
    pub(super) fn of_waker(panic: Box<dyn Any + Send>) -> Report {
        let message = format!(
            "a waker that was to be told of an event or a timer panicked: {}",
            panic_message(&*panic)
        );
        Report {
            panic: Some(panic),
            ..Report::new(message)
        }
    }

    /// A poll that was over the limit of debug mode.
    pub(super) fn of_long_poll(task: &TaskRef, took: Duration) -> Report {
        Report::warning(format!(
            "a poll took {took:.0?}, in which its worker could do nothing else. Move what blocks to `spawn_blocking`, and what computes \
             to `offload`"
        ))
        .about(task)
    }

    /// A panic in the user's hook for threads.
    pub(super) fn of_hook(which: &str, panic: Box<dyn Any + Send>) -> Report {
        let message = format!(
            "the {which} hook of a thread panicked: {}",
            panic_message(&*panic)
        );
        Report {
            panic: Some(panic),
            ..Report::new(message)
        }
    }
}

impl From<Stall> for Report {
    fn from(stall: Stall) -> Report {
        let done = match &stall.outcome {
            StallOutcome::SpareSent => "a spare worker has taken over".to_owned(),
            StallOutcome::NoSpareLeft => {
                "all spare workers are in use, so other tasks may have to wait".to_owned()
            }
            StallOutcome::Refused(error) => format!("a spare worker could not be started: {error}"),
            other => format!("{other:?}"),
        };
        let others = match stall.unreported {
            0 => String::new(),
            n => format!(" ({n} more stalls were not reported)"),
        };
        let who = if stall.task.is_some() {
            "a task"
        } else {
            "a root future or a task"
        };
        let report = Report::warning(format!(
            "{who} has kept its worker for {:.0?} in one poll while others wait; {done}{others}. Move what blocks to \
                 `spawn_blocking`, and what computes to `offload`",
            stall.lasted
        ));
        match &stall.task {
            Some(task) => report.about(task),
            None => report,
        }
    }
}

impl Report {
    /// Of a closure that a compute job gave to rayon directly.
    pub(crate) fn of_stray_panic(payload: Box<dyn Any + Send>) -> Report {
        let message = format!(
            "a closure that a compute job gave to `rayon::spawn` panicked: {}",
            panic_message(&*payload)
        );
        Report {
            panic: Some(payload),
            ..Report::new(message)
        }
    }
}

type Handler = dyn Fn(&Report) + Send + Sync;

/// The chosen handler, or the default one, which prints to standard error.
#[derive(Clone, Default)]
pub(crate) struct ExceptionHandler(Option<Arc<Handler>>);

impl ExceptionHandler {
    pub(crate) fn new(handler: impl Fn(&Report) + Send + Sync + 'static) -> ExceptionHandler {
        ExceptionHandler(Some(Arc::new(handler)))
    }

    /// Hands `report` to the handler. If the handler panics, the report and the panic are printed and the caller goes on.
    pub(crate) fn handle(&self, report: &Report) {
        #[cfg(feature = "tracing")]
        super::tracing::emit(report);
        let Some(handler) = &self.0 else {
            return print(report);
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(report))) {
            print(report);
            eprintln!(
                "divisi: the exception handler itself panicked: {}",
                panic_message(&*panic)
            );
        }
    }
}

fn print(report: &Report) {
    eprintln!("divisi: {report}");
}

/// The text of a panic payload.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a payload that is not text)")
}

impl fmt::Debug for ExceptionHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "ExceptionHandler(custom)"
        } else {
            "ExceptionHandler(default)"
        })
    }
}
