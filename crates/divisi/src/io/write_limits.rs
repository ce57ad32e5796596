//! How much may wait to be written.

use std::error::Error;
use std::fmt;
use std::io;

/// The high-water mark unless told otherwise, and its ratio to the low one: those of asyncio's transports.
const DEFAULT_HIGH: usize = 64 * 1024;
const HIGH_TO_LOW: usize = 4;

/// How much may wait to be written: who produces is to pause when it is more than `high`, and may go on when it is no more than `low`.
///
/// The distance between them keeps the producer from being switched on and off for each piece.
///
/// ```
/// use divisi::io::WriteLimits;
///
/// let limits = WriteLimits::new(4096, 1024)?;
/// assert_eq!((limits.high(), limits.low()), (4096, 1024));
/// assert!(WriteLimits::new(1, 2).is_err());
/// # Ok::<(), divisi::io::InvalidLimits>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriteLimits {
    high: usize,
    low: usize,
}

impl WriteLimits {
    /// Both marks, in bytes.
    ///
    /// # Errors
    ///
    /// If `low` is above `high`.
    pub fn new(high: usize, low: usize) -> Result<WriteLimits, InvalidLimits> {
        if low > high {
            return Err(InvalidLimits { high, low });
        }
        Ok(WriteLimits { high, low })
    }

    /// A high mark, in bytes, and a quarter of it as the low one.
    pub fn up_to(high: usize) -> WriteLimits {
        WriteLimits {
            high,
            low: high / HIGH_TO_LOW,
        }
    }

    /// More than this is too much.
    pub fn high(&self) -> usize {
        self.high
    }

    /// Down to this it is well again.
    pub fn low(&self) -> usize {
        self.low
    }
}

/// 64 KiB and 16 KiB, as asyncio's transports.
impl Default for WriteLimits {
    fn default() -> WriteLimits {
        WriteLimits::up_to(DEFAULT_HIGH)
    }
}

/// The low-water mark is above the high one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLimits {
    high: usize,
    low: usize,
}

impl fmt::Display for InvalidLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the low-water mark of {} bytes is above the high-water mark of {}: give low <= high",
            self.low, self.high
        )
    }
}

impl Error for InvalidLimits {}

impl From<InvalidLimits> for io::Error {
    fn from(error: InvalidLimits) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}
