//! Letting others run.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets every other task that can run now on this worker run before this one continues.
///
/// The task goes to the end of its worker's run queue. Every 61 polls, or 100 us, the worker also looks for I/O and timers.
///
/// # Cancel safety
///
/// It can be dropped at any time.
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
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
