//! Tasks as spans and reports as events of the `tracing` crate (feature `tracing`).
//!
//! A task's span begins when it is spawned, is entered around each poll and around the drop of its future, and ends with that drop. It is a root that
//! [follows from](Span::follows_from) the span it was spawned in. It is no child of that one: a span lives as long as its children, so tasks that spawn their
//! successor would keep the spans of all their predecessors.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use ::tracing::field::display;
use ::tracing::instrument::{Instrument, Instrumented};
use ::tracing::{Span, error, field, info_span, warn};
use divisi_task::SpawnOptions;
use pin_project_lite::pin_project;

use super::report::{Report, panic_message};

/// The target of all spans and events of divisi, for filters.
const TARGET: &str = "divisi";

pin_project! {
    /// The future of a task, in the span of that task.
    pub(crate) struct Traced<F> {
        #[pin]
        future: Instrumented<F>,
        // The number of a task is known to the task itself first.
        numbered: bool,
    }
}

/// Puts the future of a task that is being spawned into a span of its own.
pub(crate) fn traced<F: Future>(future: F, options: &SpawnOptions) -> Traced<F> {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "task",
        task = field::Empty,
        task_name = options.task_name(),
        spawned_at = display(options.spawned_at()),
        spawned_by = options.spawned_by().map(display),
    );
    span.follows_from(Span::current());
    Traced {
        future: future.instrument(span),
        numbered: false,
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !*this.numbered {
            *this.numbered = true;
            if let Some(id) = divisi_task::current::id() {
                this.future.span().record("task", display(id));
            }
        }
        this.future.poll(cx)
    }
}

/// Tells the subscriber of a report. If the subscriber panics, that is printed and the caller goes on.
pub(super) fn emit(report: &Report) {
    /// The macros fix the level of an event where they stand.
    macro_rules! emit {
        ($level:ident) => {
            $level!(
                target: TARGET,
                task = report.task.map(display),
                task_name = report.task_name.as_deref(),
                spawned_at = report.spawned_at.map(display),
                awaited_at = report.awaited_at.map(display),
                error = report.error.as_deref().map(|error| error as &(dyn std::error::Error + 'static)),
                backtrace = report.backtrace.as_deref().map(field::debug),
                "{}",
                report.message
            )
        };
    }
    let told = catch_unwind(AssertUnwindSafe(|| {
        if report.warning {
            emit!(warn);
        } else {
            emit!(error);
        }
    }));
    if let Err(panic) = told {
        eprintln!(
            "divisi: the tracing subscriber panicked at a report: {}",
            panic_message(&*panic)
        );
    }
}
