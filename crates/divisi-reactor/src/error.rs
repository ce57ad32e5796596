//! What can go wrong in a reactor, beyond what the operating system says.

use std::error::Error;
use std::fmt;
use std::io;

/// The cause inside an [`io::Error`] that this crate made.
///
/// ```
/// use divisi_reactor::{Clock, Reactor, ReactorError, Timer};
/// use std::task::{Context, Poll, Waker};
///
/// let reactor = Reactor::new(Clock::real())?;
/// reactor.close();
/// let mut timer = Timer::never();
/// let mut cx = Context::from_waker(Waker::noop());
/// let Poll::Ready(Err(error)) = timer.poll_expired(&mut cx, || Ok(reactor.clone())) else {
///     panic!("a closed reactor arms no timer");
/// };
/// assert_eq!(ReactorError::of(&error), Some(ReactorError::ShutDown));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReactorError {
    /// The reactor was closed: its runtime is shutting down or gone.
    ShutDown,
    /// The descriptor has no readiness: a regular file or a directory.
    NotPollable,
    /// The same descriptor is registered with this reactor by another source.
    AlreadyRegistered,
    /// The reactor watches as many sources as it can tell apart.
    TooManySources,
}

impl ReactorError {
    /// The cause, if `error` was made by this crate.
    pub fn of(error: &io::Error) -> Option<ReactorError> {
        error.get_ref()?.downcast_ref::<ReactorError>().copied()
    }

    fn kind(self) -> io::ErrorKind {
        match self {
            ReactorError::ShutDown => io::ErrorKind::Other,
            ReactorError::NotPollable => io::ErrorKind::Unsupported,
            ReactorError::AlreadyRegistered => io::ErrorKind::AlreadyExists,
            ReactorError::TooManySources => io::ErrorKind::OutOfMemory,
        }
    }
}

impl fmt::Display for ReactorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReactorError::ShutDown => {
                "runtime shut down: the reactor that watched this source or timer is closed; \
                 take the object out of its wrapper to use it elsewhere"
            }
            ReactorError::NotPollable => {
                "this descriptor cannot be waited for (a regular file or a directory is always \
                 ready); use blocking file operations on the blocking pool"
            }
            ReactorError::AlreadyRegistered => {
                "this descriptor is already registered with this reactor; use one source for both \
                 directions, or duplicate the descriptor"
            }
            ReactorError::TooManySources => {
                "the reactor cannot tell more sources apart; close some or use more workers"
            }
        })
    }
}

impl Error for ReactorError {}

impl From<ReactorError> for io::Error {
    fn from(error: ReactorError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}
