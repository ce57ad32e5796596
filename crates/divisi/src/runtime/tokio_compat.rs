//! A runtime of tokio's beside a divisi runtime, for libraries that insist on one.
//!
//! Libraries that open their own sockets or set their own timers by tokio's API look for tokio's runtime in a thread-local variable and panic where there is
//! none. So every thread of the divisi runtime that polls tasks or runs jobs enters it when it starts, and stays in it until it leaves: that costs nothing per poll.
//! tokio's runtime has at least two workers of its own. With one thread, or with tokio's current-thread flavour, a library's task that computes for 200 ms would
//! keep every tokio timer waiting for so long, and `block_in_place` in a spawned task would panic.
//!
//! It ends last, when no task and no job of the divisi runtime is left: a task that found it gone would panic in `sleep` and hang in a signal stream.

use std::fmt;
use std::io;
use std::time::Duration;

use divisi_reactor::TokioContext;
use parking_lot::Mutex;
use tokio::runtime;

/// tokio's workers, which only serve what tokio's own API was asked for. Fewer are dangerous, see above.
const WORKERS: usize = 2;

/// Where tokio's runtime is to come from.
pub(super) enum TokioChoice {
    Own,
    Given(runtime::Handle),
}

pub(super) struct TokioCompat {
    handle: runtime::Handle,
    /// Taken when it ends. `None` from the start if it belongs to somebody else.
    own: Mutex<Option<runtime::Runtime>>,
}

impl TokioCompat {
    /// # Errors
    ///
    /// If the system refuses tokio's poller.
    pub(super) fn start(choice: TokioChoice, thread_name: &str) -> io::Result<TokioCompat> {
        match choice {
            TokioChoice::Given(handle) => Ok(TokioCompat {
                handle,
                own: Mutex::new(None),
            }),
            TokioChoice::Own => {
                let runtime = runtime::Builder::new_multi_thread()
                    .worker_threads(WORKERS)
                    .thread_name(format!("{thread_name}-tokio"))
                    .enable_all()
                    .build()?;
                Ok(TokioCompat {
                    handle: runtime.handle().clone(),
                    own: Mutex::new(Some(runtime)),
                })
            }
        }
    }

    pub(super) fn enter(&self) -> TokioContext {
        TokioContext::enter(self.handle.clone())
    }

    /// Ends tokio's runtime, if it is ours: its tasks are cancelled; blocking ones get until `left` is over.
    pub(super) fn shutdown(&self, left: Duration) {
        let Some(runtime) = self.own.lock().take() else {
            return;
        };
        if tokio::task::try_id().is_some() {
            // One of its own tasks asked: it cannot wait for itself.
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(left);
        }
    }
}

impl Drop for TokioCompat {
    /// When the divisi runtime was never started: somebody else's tokio task may be building it, which must not wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.own.get_mut().take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for TokioCompat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioCompat")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
