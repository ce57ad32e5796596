//! What failed, and on which file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The inside of the errors of [`fs`](super): which operation failed on which path, and why.
///
/// ```
/// use divisi::fs::{self, PathError};
///
/// # divisi::run(async {
/// let error = fs::metadata("/no/such/file").await.unwrap_err();
/// let inside = error.get_ref().unwrap().downcast_ref::<PathError>().unwrap();
/// assert_eq!(inside.path(), std::path::Path::new("/no/such/file"));
/// assert_eq!(inside.io_error().kind(), std::io::ErrorKind::NotFound);
/// # });
/// ```
#[derive(Debug)]
pub struct PathError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl PathError {
    /// Wraps `source` into an error of the same kind.
    pub(super) fn wrap(operation: &'static str, path: &Path, source: io::Error) -> io::Error {
        let kind = source.kind();
        let path = path.to_owned();
        io::Error::new(
            kind,
            PathError {
                operation,
                path,
                source,
            },
        )
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the operating system said.
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {:?}: {}",
            self.operation, self.path, self.source
        )
    }
}

impl Error for PathError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
