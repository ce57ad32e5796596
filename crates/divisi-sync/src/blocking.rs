//! Waiting for a future on a plain thread: what the `*_blocking` methods do.

/// Polls `future` on this thread until it is ready, and parks the thread meanwhile.
#[cfg(not(divisi_loom))]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};

    use divisi_task::budget;
    use divisi_task::freeze::{self, Mode};

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            self.0.unpark();
        }
    }

    std::thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }

    let waker = WAKER.with(Waker::clone);
    // This thread waits in any case. If it is inside the poll of something frozen, the future would leave the lists that it waits in, and nobody
    // would wake this thread: so it is polled, and dropped, as if there were no poll around it.
    freeze::with(Mode::Live, || {
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(budget::unconstrained(future));
        loop {
            match future.as_mut().poll(&mut cx) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    })
}

#[cfg(divisi_loom)]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    loom::future::block_on(future)
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll};

    use divisi_task::budget;
    use divisi_task::freeze::{self, Mode};

    use super::block_on;

    /// Ready in the second poll; says whether polls and drop were live.
    struct AsksTwice {
        asked: bool,
        dropped_live: Arc<AtomicBool>,
    }

    impl Future for AsksTwice {
        type Output = bool;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
            if freeze::mode() != Mode::Live || budget::poll_proceed(cx).is_pending() {
                return Poll::Ready(false);
            }
            if std::mem::replace(&mut self.asked, true) {
                return Poll::Ready(true);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    impl Drop for AsksTwice {
        fn drop(&mut self) {
            let live = freeze::mode() == Mode::Live;
            self.dropped_live.store(live, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_blocking_wait_inside_of_something_frozen_is_live() {
        for mode in [Mode::Live, Mode::LastTry, Mode::Frozen] {
            let dropped_live = Arc::new(AtomicBool::new(false));
            let future = AsksTwice {
                asked: false,
                dropped_live: dropped_live.clone(),
            };
            freeze::with(mode, || {
                assert!(block_on(future), "polled in {mode:?}");
                assert_eq!(freeze::mode(), mode);
            });
            assert!(dropped_live.load(Ordering::Relaxed), "dropped in {mode:?}");
        }
    }
}
