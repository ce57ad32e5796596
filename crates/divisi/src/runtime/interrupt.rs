//! Ctrl-C: a root future that ends with its clean-ups.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::{Handle, Report, Runtime};
use crate::scope::CancelScope;
use crate::signal::{self, Signal};

impl Runtime {
    /// As [`block_on`](Runtime::block_on), in a [scope](crate::scope) that the first Ctrl-C (SIGINT) cancels: the clean-ups in it run, its task groups
    /// end, and then this returns [`Interrupted`]. The second Ctrl-C does what it does without a runtime, that is, ends the process at once.
    ///
    /// As asyncio's `Runner.run`. A future that comes to a value all the same returns that. With [`Builder::ctrl_c(false)`](super::Builder::ctrl_c)
    /// Ctrl-C is left alone. Tasks that were [spawned](crate::spawn) outside a group end with the runtime.
    ///
    /// ```
    /// use divisi::cleanup::finally;
    ///
    /// # use rustix::process::{Signal, getpid, kill_process};
    /// let runtime = divisi::Runtime::new()?;
    /// let result = runtime.run(finally(
    ///     async {
    ///         # kill_process(getpid(), Signal::INT).unwrap();
    ///         // .. here somebody presses Ctrl-C ..
    ///         std::future::pending::<()>().await
    ///     },
    ///     async || println!("good bye"),
    /// ));
    /// assert_eq!(result, Err(divisi::Interrupted));
    /// # Ok::<(), divisi::BuildError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Interrupted`], if the future had no value when Ctrl-C came.
    ///
    /// # Panics
    ///
    /// As [`block_on`](Runtime::block_on).
    #[track_caller]
    pub fn run<F: Future>(&self, future: F) -> Result<F::Output, Interrupted> {
        let handle = self.handle();
        if !handle.inner().handles_ctrl_c() {
            return Ok(self.block_on(future));
        }
        self.block_on(interruptible(handle, future))
    }
}

async fn interruptible<F: Future>(handle: &Handle, future: F) -> Result<F::Output, Interrupted> {
    let signals = match signal::stream(Signal::INT) {
        Ok(signals) => signals,
        Err(error) => {
            not_received(handle, error);
            return Ok(future.await);
        }
    };
    let scope = CancelScope::new();
    let mut running = pin!(scope.run(future));
    {
        let mut pressed = pin!(signals.recv());
        let mut listens = true;
        let first = poll_fn(|cx| {
            // The future first: what is ready beats the cancellation.
            if let Poll::Ready(result) = running.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            if !listens {
                return Poll::Pending;
            }
            match pressed.as_mut().poll(cx) {
                Poll::Ready(Ok(_)) => Poll::Ready(None),
                Poll::Ready(Err(error)) => {
                    // Nobody pressed anything: the future goes on without.
                    listens = false;
                    not_received(handle, error);
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            }
        });
        if let Some(result) = first.await {
            return result.map_err(|_cancelled| Interrupted);
        }
    }
    // From here on the system's own way holds again.
    drop(signals);
    scope.cancel("Ctrl-C");
    running.await.map_err(|_cancelled| Interrupted)
}

fn not_received(handle: &Handle, error: impl Error + Send + Sync + 'static) {
    let mut report = Report::new("Ctrl-C cannot be received".to_owned());
    report.error = Some(Box::new(error));
    handle.report(&report);
}

/// Builds a runtime with the defaults, drives `future` as [`Runtime::run`] does, and shuts the runtime down: [`run`](crate::run) for programs that
/// have something to clean up when Ctrl-C is pressed.
///
/// ```
/// assert_eq!(divisi::run_interruptible(async { 1 }), Ok(1));
/// ```
///
/// # Errors
///
/// [`Interrupted`], if the future had no value when Ctrl-C came.
///
/// # Panics
///
/// As [`run`](crate::run).
#[track_caller]
pub fn run_interruptible<F: Future>(future: F) -> Result<F::Output, Interrupted> {
    super::new_for_run().run(future)
}

/// Ctrl-C was pressed: the error of [`Runtime::run`]. Programs end with the status 130 then, by convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted by Ctrl-C")
    }
}

impl Error for Interrupted {}
