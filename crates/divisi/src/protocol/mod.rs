//! Connections by callbacks, as asyncio's transports and protocols and Twisted's: for code that is ported from there, and for the least work a message.
//!
//! Awaiting a [`StreamReader`](crate::io::StreamReader) in a task is the usual way, and easier to follow. A [`Protocol`] is a state machine that is called with what
//! has come, and answers through its [`Transport`], which never waits. One task drives both directions of a connection: what a callback writes leaves in
//! the same poll, without a wake-up in between.
//!
//! | | the data comes | |
//! |---|---|---|
//! | [`Protocol`] | as a slice | [`drive`], [`spawn`] |
//! | [`BufProtocol`] | in the protocol's own buffer, without a copy | [`drive_buffered`] |
//! | [`Datagram`] | as whole datagrams, from UDP | [`drive_datagrams`] |
//!
//! # The order of calls
//!
//! `made`, then `data` any number of times, then `eof` at most once, then `lost` **exactly once**, whatever happens: the peer ends or resets the connection, the
//! protocol closes or aborts it, a callback panics, or the task is cancelled. Nothing is called after `lost`. `pause_writing` and `resume_writing` come in turns,
//! beginning with the first, and never inside another callback.
//!
//! A callback that panics ends the connection: `lost` is called with an error that says so, and the panic goes on to whoever awaits the task, or to the
//! runtime's [exception handler](crate::runtime::Builder::exception_handler).
//!
//! Callbacks run on a worker and must not block.
//!
//! ```
//! use divisi::net::{Server, TcpStream};
//! use divisi::protocol::{self, Protocol, Transport};
//!
//! /// Answers everything with itself.
//! #[derive(Default)]
//! struct Echo(Option<Transport>);
//!
//! impl Protocol for Echo {
//!     fn made(&mut self, transport: &Transport) {
//!         self.0 = Some(transport.clone());
//!     }
//!
//!     fn data(&mut self, data: &[u8]) {
//!         self.0.as_ref().unwrap().write(data);
//!     }
//! }
//!
//! # divisi::run(async {
//! let server = Server::builder().bind("127.0.0.1:0").await?;
//! let address = server.local_addrs()[0];
//! let server = server.serve(|stream, _peer| async {
//!     protocol::drive(stream, Echo::default()).await;
//!     Ok::<(), std::io::Error>(())
//! });
//! let client = TcpStream::connect(address).await?;
//! client.write_all(b"hello").await?;
//! let mut answer = [0; 5];
//! client.read_exact(&mut answer).await?;
//! assert_eq!(&answer, b"hello");
//! # drop(server);
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

mod datagram;
mod drive;
mod transport;

pub use datagram::{Datagram, DatagramTransport, drive_datagrams};
pub use drive::{drive, drive_buffered, spawn};
pub use transport::Transport;

use std::io;

/// A connection's callbacks. See the [module](self) for their order.
pub trait Protocol: Send + 'static {
    /// The connection is there. Keep a clone of `transport` to write to it.
    fn made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Data has come: as much as there was, which need not be what the peer sent in one go.
    fn data(&mut self, data: &[u8]);

    /// The peer has ended its direction. Says what becomes of the other one; unless implemented, the connection is closed after what is still to be written.
    fn eof(&mut self) -> AfterEof {
        AfterEof::Close
    }

    /// The connection is gone: `None` if this side closed it or both sides came to their end, else why.
    fn lost(&mut self, error: Option<io::Error>) {
        let _ = error;
    }

    /// More than the high-water mark waits to be written: stop producing.
    fn pause_writing(&mut self) {}

    /// No more than the low-water mark waits to be written: go on.
    fn resume_writing(&mut self) {}
}

/// A connection's callbacks, of which the data comes without a copy in the protocol's own buffer. Otherwise as [`Protocol`].
pub trait BufProtocol: Send + 'static {
    /// As [`Protocol::made`].
    fn made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Where data may be put that comes next: `hint` is a good size, any other but zero will do. Called before each attempt to read, so possibly several times
    /// before [`filled`](Self::filled).
    ///
    /// An empty buffer ends the connection with an error of kind [`InvalidInput`](io::ErrorKind::InvalidInput).
    fn buffer(&mut self, hint: usize) -> &mut [u8];

    /// The first `length` bytes of the last buffer were filled.
    fn filled(&mut self, length: usize);

    /// As [`Protocol::eof`].
    fn eof(&mut self) -> AfterEof {
        AfterEof::Close
    }

    /// As [`Protocol::lost`].
    fn lost(&mut self, error: Option<io::Error>) {
        let _ = error;
    }

    /// As [`Protocol::pause_writing`].
    fn pause_writing(&mut self) {}

    /// As [`Protocol::resume_writing`].
    fn resume_writing(&mut self) {}
}

/// What becomes of the connection when the peer has ended its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEof {
    /// It is closed after what is still to be written.
    Close,
    /// It stays open for writing, until [`Transport::close`].
    KeepOpen,
}

/// What `lost` is told when the driving future is dropped.
fn cancelled() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the task that drove the connection was cancelled, or its future dropped",
    )
}

/// What `lost` is told when a callback has panicked.
fn callback_panicked() -> io::Error {
    io::Error::other("a callback of the protocol panicked")
}
