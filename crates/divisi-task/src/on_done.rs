//! Calling a function with a task's result, without a task that waits for it.
//!
//! The callback is a waker: it owns the handle, and being woken polls it. A wake-up that comes while the handle is being polled finds it taken,
//! leaves a note, and the one who polls looks at the note before putting the handle back; both happen under the lock, so no wake-up is lost.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::budget;
use crate::error::JoinError;
use crate::join::JoinHandle;

struct Callback<T, F> {
    state: Mutex<State<T, F>>,
}

struct State<T, F> {
    /// `None` while the handle is being polled, and after the call.
    waiting: Option<(JoinHandle<T>, F)>,
    /// Woken while the handle was being polled.
    woken: bool,
}

impl<T> JoinHandle<T> {
    /// Calls `f` with the result of the task once it has one: at once if it has, else on the thread that completes it, right then. As asyncio's
    /// `add_done_callback`, for code that cannot await.
    ///
    /// `f` must not block. Cancel the task through an [`abort_handle`](Self::abort_handle) taken before.
    ///
    /// # Panics
    /// A panic of `f` comes out of this call if the task had ended before, else it is reported as one of the task, to
    /// [`Schedule::unhandled_panic`](crate::Schedule::unhandled_panic).
    pub fn on_done<F>(self, f: F)
    where
        F: FnOnce(Result<T, JoinError>) + Send + 'static,
        T: Send + 'static,
    {
        let callback = Arc::new(Callback {
            state: Mutex::new(State {
                waiting: Some((self, f)),
                woken: false,
            }),
        });
        callback.advance();
    }
}

impl<T, F> Callback<T, F>
where
    F: FnOnce(Result<T, JoinError>) + Send + 'static,
    T: Send + 'static,
{
    fn advance(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            let taken = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.woken = true;
                let taken = state.waiting.take();
                if taken.is_some() {
                    state.woken = false;
                }
                taken
            };
            let Some((mut handle, f)) = taken else { return };
            // With a budget of its own: were that of a task that runs here spent, the poll would wake this callback for ever.
            let polled = budget::limited(|| Pin::new(&mut handle).poll(&mut cx));
            if let Poll::Ready(result) = polled {
                return f(result);
            }
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting = Some((handle, f));
            if !state.woken {
                return;
            }
        }
    }
}

impl<T, F> Wake for Callback<T, F>
where
    F: FnOnce(Result<T, JoinError>) + Send + 'static,
    T: Send + 'static,
{
    fn wake(self: Arc<Self>) {
        self.advance();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.advance();
    }
}
