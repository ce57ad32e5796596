//! TCP connections.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::panic::Location;
use std::time::Duration;

use socket2::SockRef;

use super::faces::{async_read, async_write, socket_face, stream_face};
use super::stream::Stream;
use super::{TcpConnector, ToSocketAddrs, connector};

/// A TCP connection.
///
/// It reads and writes through its own methods, which take `&self`, and through [`AsyncRead`](crate::io::AsyncRead) and
/// [`AsyncWrite`](crate::io::AsyncWrite). See the [module](super) for what holds for all sockets.
///
/// Dropping it closes the connection. If unread data has arrived, the peer sees that as a reset.
///
/// ```
/// use divisi::net::{TcpListener, TcpStream};
///
/// # divisi::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let (stream, accepted) = divisi::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
/// let (stream, (accepted, _)) = (stream?, accepted?);
///
/// stream.write_all(b"hello").await?;
/// let mut greeting = [0; 5];
/// accepted.read_exact(&mut greeting).await?;
/// assert_eq!(&greeting, b"hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct TcpStream {
    pub(super) inner: Stream<net::TcpStream>,
}

impl TcpStream {
    /// Connects to an address, the first of `address` that answers. Use [`TcpConnector`](super::TcpConnector) for a limit of time and other settings, and
    /// [`TcpSocket`](super::TcpSocket) to set options of the socket.
    ///
    /// Where there are several addresses, they are tried in their order, IPv4 and IPv6 in turns; the next attempt begins when one has failed or has not
    /// answered for 250 ms (happy eyeballs, RFC 8305).
    ///
    /// There is no limit of time but the system's, which is minutes.
    ///
    /// # Errors
    ///
    /// Such as [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), and those of [`lookup_host`](super::lookup_host). If several addresses failed, the error
    /// has a [`ConnectError`](super::ConnectError) inside, with all of them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives all attempts up and closes their sockets.
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(
        address: A,
    ) -> impl Future<Output = io::Result<TcpStream>> + Send + use<A> {
        connector::connect(address.to_target(), TcpConnector::new(), Location::caller())
    }
}

stream_face!(TcpStream, std: net::TcpStream, address: SocketAddr);

impl TcpStream {
    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.inner.get_ref().nodelay()
    }

    /// Sets whether small writes are sent at once, instead of being collected while an answer is awaited.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.get_ref().set_nodelay(nodelay)
    }

    /// How long a close waits for data that was not sent yet (`SO_LINGER`).
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self).linger()
    }

    /// Sets how long a close waits for data that was not sent yet, in whole seconds. Zero resets the connection; any other value makes *dropping the stream block
    /// its thread*.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self).set_linger(linger)
    }

    /// The time to live (hop limit) of the packets that are sent.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.get_ref().ttl()
    }

    /// Sets the time to live (hop limit) of the packets that are sent.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.get_ref().set_ttl(ttl)
    }

    /// Sets whether and how the system finds out that a silent peer is gone.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn set_keepalive(&self, keepalive: Option<&super::Keepalive>) -> io::Result<()> {
        super::tcp_socket::set_keepalive(&SockRef::from(self), keepalive)
    }
}
