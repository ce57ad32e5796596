//! Clean-ups that may await.
//!
//! A destructor cannot await, so what has to say goodbye to somebody else (roll a transaction back, flush, tell a peer) is a clean-up:
//!
//! | | runs | if its future is dropped |
//! |---|---|---|
//! | [`finally`], [`finally_within`] | after a body | it does not run, and that is reported |
//! | [`with`] and [`Resource`], [`scoped`] | after the use of something that was opened | as `finally` |
//! | [`finally_owned`] | after a body | runs at the root of the runtime |
//! | [`exit_stack`] | after a body that says while it runs what is to be done, last first | what is left runs at the root of the runtime |
//! | [`try_exit_stack`] | the same for a body that opens things, which are closed after it | as `exit_stack` |
//! | [`defer`] | when a guard is dropped | |
//!
//! What holds for all of them:
//!
//! * They run however the body ended: a value, an error, a panic, a cancellation of a [scope](crate::scope) around them.
//! * A scope that was cancelled reports only after the clean-ups inside. The innermost run first; their bodies are dropped by then, so what those
//!   held (a lock, say) is free.
//! * They run behind a [shield](crate::shield). While a cancelled scope waits they have a limit, 5 s unless the
//!   [builder](crate::runtime::Builder::cleanup_deadline) says otherwise; what is inside a clean-up when its limit comes is cancelled as in any scope.
//! * Only a body that was polled is cleaned up after.
//! * What goes wrong in a clean-up that nobody would hear of is reported to the exception handler.

mod ended;
mod entered;
mod exit_stack;
mod finally;
mod guards;
pub(crate) mod orphan;
mod resource;
mod running;

use std::any::Any;
use std::error::Error;
use std::panic::{Location, resume_unwind};
use std::time::Duration;

pub use entered::{Entered, TryExitStack, try_exit_stack};
pub use exit_stack::{ExitErrors, ExitStack, exit_stack};
pub use finally::{finally, finally_owned, finally_within};
pub use guards::{Deferred, defer};
pub use resource::{Opened, Resource, Scoped, scoped, with};

use crate::context;
use crate::runtime::{ExceptionHandler, Handle, Report, panic_message};

/// How the use of a resource ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// With a value.
    Done,
    /// With an error.
    Failed,
    /// A scope around it was cancelled.
    Cancelled,
    /// By a panic.
    Panicked,
}

/// The error of a clean-up. Public for the compiler only, which sees it through a sealed trait.
#[derive(Debug)]
#[doc(hidden)]
pub struct Failed(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed(error.into())
    }
}

impl Failed {
    pub(crate) fn report(self, at: &'static Location<'static>) {
        let mut failure = Report::new(format!("a clean-up set up at {at} failed"));
        failure.error = Some(self.0);
        hand_over(&failure, None);
    }
}

/// What a clean-up may return: `()`, or a `Result` whose error can be reported.
pub trait Success: sealed::Outcome {}

impl<T: sealed::Outcome> Success for T {}

mod sealed {
    /// See [`Success`](super::Success).
    pub trait Outcome {
        fn failure(self) -> Option<super::Failed>;
    }

    impl Outcome for () {
        fn failure(self) -> Option<super::Failed> {
            None
        }
    }

    impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> Outcome for Result<(), E> {
        fn failure(self) -> Option<super::Failed> {
            self.err().map(super::Failed::from)
        }
    }
}

/// Why a clean-up did not come to its end.
pub(crate) enum Problem {
    Panicked(Box<dyn Any + Send>),
    TooSlow(Duration),
}

impl Problem {
    /// Reports what went wrong in a clean-up; a panic goes on if there is `somebody` who sees it.
    fn settle(
        result: Result<Option<Failed>, Problem>,
        somebody: bool,
        at: &'static Location<'static>,
    ) {
        match result {
            Ok(None) => {}
            Ok(Some(failed)) => failed.report(at),
            Err(Problem::Panicked(panic)) if somebody => resume_unwind(panic),
            Err(Problem::Panicked(panic)) => {
                let text = panic_message(&*panic);
                let mut failure = Report::new(format!(
                    "a clean-up set up at {at} panicked while its scope was unwound: {text}"
                ));
                failure.panic = Some(panic);
                hand_over(&failure, None);
            }
            Err(Problem::TooSlow(limit)) => {
                let message = format!(
                    "a clean-up was given up after {limit:?}: give it more time by `finally_within` or `Builder::cleanup_deadline`, or make it shorter"
                );
                report(message, at, None);
            }
        }
    }
}

/// Tells the exception handler about the clean-up set up at `at`.
fn report(message: String, at: &'static Location<'static>, runtime: Option<&Handle>) {
    let message = format!("{message} (set up at {at})");
    hand_over(&Report::new(message), runtime);
}

fn hand_over(report: &Report, runtime: Option<&Handle>) {
    match runtime.cloned().or_else(context::try_handle) {
        Some(runtime) => runtime.report(report),
        None => ExceptionHandler::default().handle(report),
    }
}
