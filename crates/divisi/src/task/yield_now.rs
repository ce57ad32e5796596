//! Letting others run.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use divisi_task::freeze::{self, Mode};

/// Lets every other task that can run now on this worker run before this one continues.
///
/// The task goes to the end of its worker's run queue. Every 61 polls, or 100 us, the worker also looks for I/O and timers.
///
/// # Cancel safety
///
/// It can be dropped at any time. In a scope that was cancelled it does not return, like everything that waits.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     for _ in 0..3 {
///         divisi::yield_now().await;
///     }
/// });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if freeze::mode() != Mode::Live {
            // It has no value that a cancellation could lose.
            return Poll::Pending;
        }
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
