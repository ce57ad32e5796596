//! Everything that can go wrong with a request, and the answer it gives.

use std::fmt;
use std::io;
use std::time::Duration;

use divisi::JoinError;
use hyper::StatusCode;

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No such path in this server's space.
    NoSuchPath,
    /// Any method but GET and HEAD.
    Method,
    /// Not a path at all: bad percent-encoding, `..`, an encoded slash, a zero byte.
    BadPath(&'static str),
    /// A link that leads out of the served directory.
    Outside,
    /// There is no such file.
    NotFound,
    /// A directory where a file is wanted, or a device, pipe or socket.
    NotAFile,
    /// The queue of digests is full.
    Busy,
    /// The time limit of the request was over.
    TooSlow(Duration),
    /// The system refused.
    Io(io::Error),
    /// The job did not come to an end: it panicked, or the runtime shuts down.
    Job(JoinError),
}

impl Failure {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Failure::NoSuchPath | Failure::NotFound | Failure::NotAFile => StatusCode::NOT_FOUND,
            Failure::Method => StatusCode::METHOD_NOT_ALLOWED,
            Failure::BadPath(_) => StatusCode::BAD_REQUEST,
            Failure::Outside => StatusCode::FORBIDDEN,
            Failure::Busy | Failure::TooSlow(_) => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                StatusCode::FORBIDDEN
            }
            Failure::Job(error) if error.is_cancelled() => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Io(_) | Failure::Job(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoSuchPath => {
                f.write_str("there is nothing here: try /files/, /sha256/, /health or /metrics")
            }
            Failure::Method => f.write_str("only GET and HEAD are served here"),
            Failure::BadPath(why) => write!(f, "this is not a path that can be served: {why}"),
            Failure::Outside => f.write_str("this link leads out of the served directory"),
            Failure::NotFound => f.write_str("there is no such file"),
            Failure::NotAFile => f.write_str("this is not a regular file"),
            Failure::Busy => f.write_str("too many digests wait already: try again in a second"),
            Failure::TooSlow(limit) => {
                write!(f, "this took longer than the {limit:?} that a request has")
            }
            Failure::Io(error) => write!(f, "the system refused: {error}"),
            Failure::Job(error) => write!(f, "the work was not finished: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            // A file in the place of a directory on the way: the path names nothing.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure::NotFound,
            _ => Failure::Io(error),
        }
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Failure {
        Failure::Job(error)
    }
}
