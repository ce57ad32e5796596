//! Why a signal cannot be awaited.

use std::error::Error;
use std::fmt;
use std::io;

use super::Signal;

/// Why [`stream`](super::stream), [`receiver`](super::receiver) or [`ctrl_c`](super::ctrl_c) failed. Becomes an [`io::Error`] by `?`.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignalError {
    /// No process can take over SIGKILL or SIGSTOP.
    NotCatchable(Signal),
    /// The program itself causes this signal by a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL). It must be handled where it happens; after a return from a handler the
    /// fault would happen again.
    Fault(Signal),
    /// The list of signals is empty: nothing would ever come.
    NoSignals,
    /// The operating system refused: the number is not one of its signals, or there are no more file descriptors.
    Refused {
        /// The signal that was asked for.
        signal: Signal,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalError::NotCatchable(signal) => write!(
                f,
                "{signal} cannot be caught: the system acts on it without asking the process; use SIGTERM for a request to end"
            ),
            SignalError::Fault(signal) => write!(
                f,
                "{signal} cannot be awaited: it is raised by a fault in the program, which would happen again at once"
            ),
            SignalError::NoSignals => {
                f.write_str("the list of signals is empty, so nothing would ever be received; name at least one")
            }
            SignalError::Refused { signal, source } => {
                write!(f, "cannot take over {signal}: {source}")
            }
        }
    }
}

impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SignalError::Refused { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<SignalError> for io::Error {
    fn from(error: SignalError) -> io::Error {
        let kind = match &error {
            SignalError::Refused { source, .. } => source.kind(),
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
