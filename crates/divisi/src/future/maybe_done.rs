//! A future that keeps its output until it is taken.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

pin_project! {
    /// A future, its output, or neither once the output has been taken.
    // Not public; `pin_project!` takes no documentation on the fields of variants.
    #[allow(missing_docs)]
    #[project = Project]
    #[derive(Debug)]
    pub enum MaybeDone<F: Future> {
        Running { #[pin] future: F },
        Done { output: Option<F::Output> },
    }
}

/// Keeps the output of `future` until it is taken.
pub fn maybe_done<F: IntoFuture>(future: F) -> MaybeDone<F::IntoFuture> {
    MaybeDone::Running {
        future: future.into_future(),
    }
}

impl<F: Future> MaybeDone<F> {
    /// Runs the future on; ready once there is an output, taken or not.
    pub fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Project::Running { future } = self.as_mut().project() {
            let output = ready!(future.poll(cx));
            self.set(MaybeDone::Done {
                output: Some(output),
            });
        }
        Poll::Ready(())
    }

    /// The output, if there is one that nobody has taken.
    pub fn take(self: Pin<&mut Self>) -> Option<F::Output> {
        match self.project() {
            Project::Running { .. } => None,
            Project::Done { output } => mem::take(output),
        }
    }

    /// The output, if there is one that nobody has taken, left in place.
    pub fn output_mut(self: Pin<&mut Self>) -> Option<&mut F::Output> {
        match self.project() {
            Project::Running { .. } => None,
            Project::Done { output } => output.as_mut(),
        }
    }
}
