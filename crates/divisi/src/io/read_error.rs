//! Why a buffered read gave nothing.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a read of [`StreamReader`](super::StreamReader) gave nothing.
///
/// It converts into an [`io::Error`], so that `?` works where those are returned: [`Incomplete`](ReadError::Incomplete) becomes
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), [`TooLong`](ReadError::TooLong) and [`NotUtf8`](ReadError::NotUtf8) become
/// [`InvalidData`](io::ErrorKind::InvalidData), each with the `ReadError` inside.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream ended before the data was complete, as asyncio's `IncompleteReadError`.
    Incomplete {
        /// What had come by then. It is taken out of the reader.
        partial: Vec<u8>,
        /// How many bytes were asked for; `None` if a separator was.
        expected: Option<usize>,
    },
    /// There is no separator within the limit, as asyncio's `LimitOverrunError`. Everything is still in the reader: skip it by
    /// [`skip_until`](super::StreamReader::skip_until), take it out by `read`, or give the peer up.
    TooLong {
        /// The most bytes that a read may give, separator included.
        limit: usize,
    },
    /// The line is no valid UTF-8.
    NotUtf8 {
        /// The line, which is taken out of the reader.
        line: Vec<u8>,
    },
    /// The stream below failed. What had come before stays in the reader.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Incomplete {
                partial,
                expected: Some(expected),
            } => write!(
                f,
                "the stream ended after {} of {expected} bytes",
                partial.len()
            ),
            ReadError::Incomplete {
                partial,
                expected: None,
            } => write!(
                f,
                "the stream ended after {} bytes without a separator",
                partial.len()
            ),
            ReadError::TooLong { limit } => write!(
                f,
                "no separator within the limit of {limit} bytes: skip the data, or raise the limit with `StreamReader::with_limit`"
            ),
            ReadError::NotUtf8 { line } => write!(
                f,
                "a line of {} bytes is not valid UTF-8: use `read_until` for data that is not text",
                line.len()
            ),
            ReadError::Io(error) => error.fmt(f),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ReadError::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> io::Error {
        let kind = match error {
            ReadError::Io(error) => return error,
            ReadError::Incomplete { .. } => io::ErrorKind::UnexpectedEof,
            ReadError::TooLong { .. } | ReadError::NotUtf8 { .. } => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}
