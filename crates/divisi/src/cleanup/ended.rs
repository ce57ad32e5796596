//! The first half of every clean-up: the body, until it ends in one way or another.

use std::any::Any;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{Exit, hand_over};
use crate::runtime::{Report, panic_message};
use crate::scope::node::Hold;
use crate::scope::{Cut, Step, stack, stand_still};

pin_project! {
    /// Runs a body until it has a value, panics, or has to be given up because a scope around it was cancelled. From the first poll on, the
    /// scopes around wait: until what it gives is [finished](Ended::finish).
    pub(super) struct Body<F> {
        #[pin]
        future: Option<F>,
        cut: Cut,
        hold: Option<Hold>,
        begun: bool,
        at: &'static Location<'static>,
    }
}

impl<F> Body<F> {
    /// `at` is where its clean-up was set up.
    pub(super) fn new(future: F, at: &'static Location<'static>) -> Body<F> {
        Body {
            future: Some(future),
            cut: Cut::ends_with_outer(),
            hold: None,
            begun: false,
            at,
        }
    }
}

/// How a body ended. It is dropped by then. If this is dropped before it is [finished](Ended::finish), a panic of the body is reported.
pub(super) struct Ended<T> {
    how: How<T>,
    hold: Option<Hold>,
    at: &'static Location<'static>,
}

enum How<T> {
    Value(T),
    Cut,
    Panicked(Box<dyn Any + Send>),
}

impl<F: Future> Future for Body<F> {
    type Output = Ended<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !mem::replace(this.begun, true) {
            *this.hold = stack::current_node().map(Hold::new);
        }
        if let Some(hold) = this.hold {
            hold.set_waker(cx.waker());
        }
        let step = this.cut.poll(cx, None, |cx| {
            let future = this.future.as_mut().as_pin_mut();
            let future = future.expect("a body is polled until it has ended");
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(polled) => polled.map(How::Value),
                Err(panic) => Poll::Ready(How::Panicked(panic)),
            }
        });
        let mut how = match step {
            Step::Waits => return Poll::Pending,
            Step::Ready(how) => how,
            Step::Over => How::Cut,
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| this.future.set(None))) {
            how = How::Panicked(panic);
        }
        Poll::Ready(Ended {
            how,
            hold: this.hold.take(),
            at: this.at,
        })
    }
}

impl<T> Ended<T> {
    pub(super) fn exit(&self) -> Exit {
        match self.how {
            How::Value(_) => Exit::Done,
            How::Cut => Exit::Cancelled,
            How::Panicked(_) => Exit::Panicked,
        }
    }

    pub(super) fn value(&self) -> Option<&T> {
        match &self.how {
            How::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Whether somebody will see what comes after the clean-up.
    pub(super) fn has_value(&self) -> bool {
        matches!(self.how, How::Value(_))
    }

    /// Goes on as the body ended: with its value or its panic; or not at all, and then the scopes around end. Panics if it is polled after those.
    pub(super) async fn finish(mut self) -> T {
        let around = self.hold.take().map(|hold| hold.node().clone());
        match mem::replace(&mut self.how, How::Cut) {
            How::Value(value) => value,
            How::Panicked(panic) => resume_unwind(panic),
            How::Cut => match stand_still(around).await {},
        }
    }
}

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        if let How::Panicked(panic) = mem::replace(&mut self.how, How::Cut) {
            let mut report = Report::new(format!(
                "a body panicked, and was dropped while the clean-up set up at {} ran: {}",
                self.at,
                panic_message(&*panic)
            ));
            report.panic = Some(panic);
            hand_over(&report, None);
        }
    }
}
