//! The two directions of a source and what an operation says about them.

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Until a read, a receive or an accept has something to return.
    Read,
    /// Until a write, a send or a connect can go on.
    Write,
}

/// The value of an operation, and whether it left something behind.
///
/// "Short" is a promise of the operation: *if the source has not ended and has no error, there is
/// nothing more to do until it changes*. It saves the extra system call that would only say
/// `WouldBlock`. Promise it only where it holds:
///
/// | operation | says |
/// |---|---|
/// | read or write of `n` bytes on a byte stream (TCP, pipe, Unix stream without ancillary data) | [`Progress::of`]`(n, asked)` |
/// | vectored read or write on a byte stream | [`Progress::of`]`(n, sum of the buffers)`; [`Progress::full`] for more buffers than the system takes at once (`IOV_MAX`, 1024 on most) |
/// | a read that returns 0 (the end) | [`Progress::full`]: the end stays readable |
/// | `recv` of a datagram or message, `accept` | [`Progress::full`]: one datagram says nothing about the next |
/// | terminals, inotify, signalfd, Unix streams with ancillary data | [`Progress::full`]: they return one record at a time |
///
/// If in doubt, `full` is always correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<R> {
    pub(crate) value: R,
    pub(crate) short: bool,
}

impl<R> Progress<R> {
    /// The operation did all it was asked for: there may be more.
    pub fn full(value: R) -> Progress<R> {
        Progress {
            value,
            short: false,
        }
    }

    /// The operation did less than it was asked for because the source is drained (or its buffer
    /// full).
    pub fn partial(value: R) -> Progress<R> {
        Progress { value, short: true }
    }

    /// The value, whatever it says about the source.
    pub fn into_inner(self) -> R {
        self.value
    }
}

impl Progress<usize> {
    /// The progress of a byte stream that moved `done` of `asked` bytes: partial if
    /// `0 < done < asked`.
    ///
    /// ```
    /// use divisi_reactor::Progress;
    ///
    /// assert_eq!(Progress::of(3, 8), Progress::partial(3));
    /// assert_eq!(Progress::of(8, 8), Progress::full(8));
    /// assert_eq!(Progress::of(0, 8), Progress::full(0)); // the end of the stream
    /// ```
    pub fn of(done: usize, asked: usize) -> Progress<usize> {
        Progress {
            value: done,
            short: 0 < done && done < asked,
        }
    }
}
