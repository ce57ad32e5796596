//! What goes wrong with child processes, beyond what the operating system says.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a command could not be started: the inside of the [`io::Error`] that [`Command::spawn`](super::Command::spawn) gives, of the same
/// [kind](io::Error::kind).
///
/// ```
/// use divisi::process::{Command, SpawnError};
///
/// let error = Command::new("no-such-program").spawn().unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// let why = error.get_ref().unwrap().downcast_ref::<SpawnError>().unwrap();
/// assert_eq!(why.program(), "no-such-program");
/// ```
#[derive(Debug)]
pub struct SpawnError {
    program: OsString,
    directory: Option<PathBuf>,
    source: io::Error,
}

impl SpawnError {
    pub(super) fn new(command: &std::process::Command, source: io::Error) -> SpawnError {
        SpawnError {
            program: command.get_program().to_owned(),
            directory: command.get_current_dir().map(PathBuf::from),
            source,
        }
    }

    /// The program that was to be started.
    pub fn program(&self) -> &std::ffi::OsStr {
        &self.program
    }

    /// What the operating system said.
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start {:?}", self.program)?;
        if let Some(directory) = &self.directory {
            write!(f, " in {directory:?}")?;
        }
        write!(f, ": {}", self.source)?;
        if self.source.kind() == io::ErrorKind::NotFound {
            f.write_str("; is the program installed and in PATH")?;
            if self.directory.is_some() {
                f.write_str(", and does the directory exist")?;
            }
            f.write_str("?")?;
        }
        Ok(())
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> io::Error {
        io::Error::new(error.source.kind(), error)
    }
}

/// The child has ended, but somebody else collected its status: SIGCHLD is ignored in this process, or other code waits for all children.
/// The inside of the [`io::Error`] that waiting gives then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusLost {
    pub(super) id: u32,
}

impl fmt::Display for StatusLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the child process {} has ended, and somebody else collected its status: do not ignore SIGCHLD or wait for all children in a program that \
             uses `divisi::process`",
            self.id
        )
    }
}

impl Error for StatusLost {}

impl From<StatusLost> for io::Error {
    fn from(error: StatusLost) -> io::Error {
        io::Error::other(error)
    }
}
