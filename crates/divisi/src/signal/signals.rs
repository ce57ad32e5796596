//! Receivers of signals.

use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use divisi_reactor::signals::Caught;
use divisi_reactor::{Direction, Progress};
use futures_core::Stream;

use super::{Signal, SignalError};
use crate::io::wait::Waits;

/// Receives signals; made by [`stream`] and [`receiver`]. See the [module](super) for what is promised.
///
/// Also a [`Stream`], which never ends; an item is an error only where there is no runtime to wait in.
pub struct Signals {
    waits: Waits<Caught>,
}

impl Signals {
    #[track_caller]
    fn new(signals: &[Signal]) -> Result<Signals, SignalError> {
        if signals.is_empty() {
            return Err(SignalError::NoSignals);
        }
        for &signal in signals {
            match signal {
                Signal::KILL | Signal::STOP => return Err(SignalError::NotCatchable(signal)),
                Signal::SEGV | Signal::BUS | Signal::FPE | Signal::ILL => {
                    return Err(SignalError::Fault(signal));
                }
                _ => {}
            }
        }
        let numbers: Vec<i32> = signals.iter().map(|signal| signal.as_raw()).collect();
        let made_at = Location::caller();
        match Caught::new(&numbers) {
            Ok(caught) => Ok(Signals {
                waits: Waits::new(caught, made_at),
            }),
            Err((number, source)) => Err(SignalError::Refused {
                signal: known(number),
                source,
            }),
        }
    }

    /// Waits for the next of the signals. If several have come, their order is not told.
    ///
    /// Several tasks may wait on one receiver: each signal goes to one of them. Give each its own receiver for all to see it.
    ///
    /// # Errors
    ///
    /// If it must wait and there is no runtime, or it was shut down.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    #[track_caller]
    pub fn recv(&self) -> impl Future<Output = io::Result<Signal>> + Send + use<'_> {
        self.waits
            .when_ready(Direction::Read, Location::caller(), |caught: &Caught| {
                Ok(Progress::full(known(caught.take()?)))
            })
    }

    /// A signal that has come already, if any.
    pub fn try_recv(&self) -> Option<Signal> {
        self.waits.get_ref().take().ok().map(known)
    }
}

/// A number that came out of a [`Signal`].
fn known(number: i32) -> Signal {
    Signal::from_raw(number).expect("only signals were given to the system")
}

impl Stream for Signals {
    type Item = io::Result<Signal>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waits
            .poll(cx, Direction::Read, |caught| {
                Ok(Progress::full(known(caught.take()?)))
            })
            .map(Some)
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

/// Takes `signal` over and receives it from now on. See the [module](super) for what is promised.
///
/// # Errors
///
/// [`SignalError::NotCatchable`] for SIGKILL and SIGSTOP, [`SignalError::Fault`] for the signals of faults, and what the system refuses.
#[track_caller]
pub fn stream(signal: Signal) -> Result<Signals, SignalError> {
    Signals::new(&[signal])
}

/// Takes several signals over and receives each of them from now on. See the [module](super) for what is promised.
///
/// ```
/// use divisi::signal::{self, Signal};
///
/// # divisi::run(async {
/// let ends = signal::receiver([Signal::INT, Signal::TERM])?;
/// # rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?;
/// assert_eq!(ends.recv().await?, Signal::TERM);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// Those of [`stream`], and [`SignalError::NoSignals`] for an empty list. No signal is taken over then.
#[track_caller]
pub fn receiver(signals: impl IntoIterator<Item = Signal>) -> Result<Signals, SignalError> {
    let signals: Vec<Signal> = signals.into_iter().collect();
    Signals::new(&signals)
}

/// Waits for one Ctrl-C (SIGINT), which is taken over from this call on, not only from the first poll.
///
/// Once the future is done or dropped, Ctrl-C does again what it did before: by default, a second one ends the process.
///
/// ```no_run
/// # divisi::run(async {
/// divisi::signal::ctrl_c().await?;
/// println!("shutting down; once more to end at once");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// Those of [`stream`] and of [`Signals::recv`].
///
/// # Cancel safety
///
/// A Ctrl-C that comes while the future lives and is not polled again before it is dropped is lost.
#[track_caller]
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> + Send + use<> {
    let signals = stream(Signal::INT);
    async move { signals?.recv().await.map(drop) }
}
