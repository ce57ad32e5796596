//! The first half of every clean-up: the body, until it ends in one way or another.

use std::any::Any;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Exit;
use crate::scope::node::Hold;
use crate::scope::{Cut, Step, stack};

pin_project! {
    /// Runs a body until it has a value, panics, or has to be given up because a scope around it was cancelled. From the first poll on, the
    /// scopes around wait: until what it gives is [finished](Ended::finish).
    pub(super) struct Body<F> {
        #[pin]
        future: Option<F>,
        cut: Cut,
        hold: Option<Hold>,
        begun: bool,
    }
}

impl<F> Body<F> {
    pub(super) fn new(future: F) -> Body<F> {
        Body {
            future: Some(future),
            cut: Cut::ends_with_outer(),
            hold: None,
            begun: false,
        }
    }
}

/// How a body ended. It is dropped by then.
pub(super) struct Ended<T> {
    how: How<T>,
    hold: Option<Hold>,
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
        if !std::mem::replace(this.begun, true) {
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

    /// Goes on as the body ended: with its value or its panic; or not at all, and then the scopes around end.
    pub(super) async fn finish(self) -> T {
        drop(self.hold);
        match self.how {
            How::Value(value) => value,
            How::Panicked(panic) => resume_unwind(panic),
            How::Cut => pending().await,
        }
    }
}
