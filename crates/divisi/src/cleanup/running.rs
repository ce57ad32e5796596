//! The second half of every clean-up: the clean-up itself, behind a shield and with a limit.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use divisi_reactor::Timer;
use divisi_task::freeze::{self, Mode};
use pin_project_lite::pin_project;

use super::Problem;
use crate::context;
use crate::runtime::DEFAULT_CLEANUP_DEADLINE;
use crate::scope::{Cut, Guard, Step, deadline_passed};
use crate::time::{Instant, poll_timer};

pin_project! {
    /// Runs a clean-up, even if scopes around it are cancelled, to its end or to its limit.
    pub(super) struct Running<F> {
        #[pin]
        future: F,
        guard: Guard,
        cut: Cut,
        limit: Option<Duration>,
        timer: Option<Timer>,
        at: &'static Location<'static>,
    }
}

impl<F> Running<F> {
    /// Without a `limit` of its own it has that of the runtime, which counts only while a scope around it waits for it.
    pub(super) fn new(
        future: F,
        limit: Option<Duration>,
        at: &'static Location<'static>,
    ) -> Running<F> {
        Running {
            future,
            guard: Guard::default(),
            cut: Cut::new(),
            limit,
            timer: None,
            at,
        }
    }
}

impl<F: Future> Future for Running<F> {
    type Output = Result<F::Output, Problem>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let someone_waits = freeze::mode() != Mode::Live;
        if this.timer.is_none() && (someone_waits || this.limit.is_some()) {
            let limit = this.limit.unwrap_or_else(|| {
                context::with_runtime(|runtime| runtime.cleanup_deadline())
                    .unwrap_or(DEFAULT_CLEANUP_DEADLINE)
            });
            *this.limit = Some(limit);
            *this.timer = Some(match limit {
                Duration::MAX => Timer::never(),
                limit => Timer::at((Instant::now() + limit).into_std()),
            });
        }
        let (cut, timer, at) = (this.cut, this.timer, *this.at);
        let mut content = |cx: &mut Context<'_>| {
            let future = this.future.as_mut();
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err::<_, Box<dyn Any + Send>>(panic)),
            }
        };
        let step = this.guard.poll(|| {
            let deadline = timer
                .as_ref()
                .and_then(Timer::deadline)
                .map(Instant::from_std);
            let step = cut.poll(cx, deadline, &mut content);
            let Some(timer) = timer else { return step };
            if !matches!(step, Step::Waits)
                || cut.must_end()
                || poll_timer(timer, cx, at).is_pending()
            {
                return step;
            }
            cut.cancel(deadline_passed);
            cut.settle(cx, deadline, &mut content)
        });
        let result = match step {
            Step::Waits => {
                // Its limit begins to count when a scope around is cancelled.
                this.guard.set_waker(cx.waker());
                return Poll::Pending;
            }
            Step::Ready(Ok(output)) => Ok(output),
            Step::Ready(Err(panic)) => Err(Problem::Panicked(panic)),
            Step::Over => Err(Problem::TooSlow(this.limit.unwrap_or_default())),
        };
        this.guard.open();
        Poll::Ready(result)
    }
}
