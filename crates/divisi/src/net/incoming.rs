//! Connections as a stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

pub(super) use sealed::Sealed;

mod sealed {
    use std::io;
    use std::task::{Context, Poll};

    pub trait Sealed {
        type Connection: Send + 'static;
        type Address: std::fmt::Debug + Send + 'static;

        fn poll_accept_from(
            &self,
            cx: &mut Context<'_>,
        ) -> Poll<io::Result<(Self::Connection, Self::Address)>>;

        /// Waits until there is a connection to accept as far as is known, and leaves it there.
        fn poll_acceptable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    }
}

/// A socket that accepts connections: [`TcpListener`](super::TcpListener) or [`UnixListener`](super::UnixListener). It cannot be implemented outside this crate.
pub trait Accept: Sealed {}

/// The connections that a listener accepts, see [`TcpListener::incoming`](super::TcpListener::incoming). It never ends.
///
/// After an error such as "too many open files" wait a moment before the next one, or the loop spins.
#[must_use = "streams do nothing unless they are polled"]
pub struct Incoming<'a, L> {
    listener: &'a L,
}

impl<'a, L: Accept> Incoming<'a, L> {
    pub(super) fn new(listener: &'a L) -> Incoming<'a, L> {
        Incoming { listener }
    }
}

impl<L: Accept> Stream for Incoming<'_, L> {
    type Item = io::Result<L::Connection>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = self.listener.poll_accept_from(cx);
        accepted.map_ok(|(connection, _)| connection).map(Some)
    }
}

impl<L: fmt::Debug> fmt::Debug for Incoming<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("listener", self.listener)
            .finish()
    }
}
