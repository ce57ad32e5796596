//! Plain functions that the runtime calls later, as asyncio's `call_soon`, `call_later` and `call_at`.

use std::time::Duration;

use divisi_task::{AbortHandle, TaskId};

use super::Handle;
use crate::task::spawn::spawn_options;
use crate::time::{Instant, sleep, sleep_until};

/// A call that was asked for; see [`Handle::call_soon`]. Dropping it does not take the call back.
#[derive(Clone, Debug)]
pub struct CallHandle {
    task: AbortHandle,
}

impl CallHandle {
    /// Takes the call back if it has not begun.
    #[track_caller]
    pub fn cancel(&self) {
        self.task.cancel("the call was taken back");
    }

    /// Whether the function has returned, panicked or was taken back.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The task that makes the call.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }
}

impl Handle {
    /// Calls `f` on a worker as soon as one gets to it. May be called from any thread.
    ///
    /// With one worker, calls are made in the order they were asked for. A panic of `f` goes to the exception handler. `f` must not block.
    #[track_caller]
    pub fn call_soon(&self, f: impl FnOnce() + Send + 'static) -> CallHandle {
        let task = self.spawn_with(async move { f() }, spawn_options());
        CallHandle {
            task: task.abort_handle(),
        }
    }

    /// Calls `f` on a worker when `delay` has passed, never earlier.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// divisi::run(async {
    ///     let (tell, told) = divisi::channel::oneshot();
    ///     divisi::Handle::current().call_later(Duration::from_millis(1), move || drop(tell.send("later")));
    ///     assert_eq!(told.await, Ok("later"));
    /// });
    /// ```
    #[track_caller]
    pub fn call_later(&self, delay: Duration, f: impl FnOnce() + Send + 'static) -> CallHandle {
        let delayed = {
            let _guard = self.enter();
            sleep(delay)
        };
        let task = self.spawn_with(
            async move {
                delayed.await;
                f();
            },
            spawn_options(),
        );
        CallHandle {
            task: task.abort_handle(),
        }
    }

    /// Calls `f` on a worker at `deadline`, never earlier.
    #[track_caller]
    pub fn call_at(&self, deadline: Instant, f: impl FnOnce() + Send + 'static) -> CallHandle {
        let task = self.spawn_with(
            async move {
                sleep_until(deadline).await;
                f();
            },
            spawn_options(),
        );
        CallHandle {
            task: task.abort_handle(),
        }
    }
}
