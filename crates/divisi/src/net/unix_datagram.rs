//! Datagrams on this machine.

use std::future::Future;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::panic::Location;
use std::path::{Path, PathBuf};

use super::datagram::Datagrams;
use super::faces::{datagram_face, socket_face};

/// A socket for datagrams on this machine.
///
/// Unlike those of UDP they arrive, and in order: a sender waits while the receiver's queue is full. See the [module](super) for what
/// holds for all sockets.
///
/// ```
/// use divisi::net::UnixDatagram;
///
/// # divisi::run(async {
/// let (near, far) = UnixDatagram::pair()?;
/// near.send(b"hello").await?;
/// let mut buf = [0; 16];
/// let length = far.recv(&mut buf).await?;
/// assert_eq!(&buf[..length], b"hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct UnixDatagram {
    inner: Datagrams<net::UnixDatagram>,
}

impl UnixDatagram {
    /// A socket that receives at a path. The file stays when it is dropped.
    ///
    /// # Errors
    ///
    /// Those of the operating system: [`AddrInUse`](io::ErrorKind::AddrInUse) if there is a file at the path.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::bind(path)?)
    }

    /// A socket without an address: it can send, and receive only once it is [connected](Self::connect) or bound by the system.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    #[track_caller]
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::unbound()?)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Sets the path that [`send`](Self::send) sends to; only datagrams from there are received from now on.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.inner.get_ref().connect(path)
    }

    /// Sends a datagram to the socket at a path.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing.
    #[track_caller]
    pub fn send_to<'a, P: AsRef<Path>>(
        &'a self,
        buf: &'a [u8],
        path: P,
    ) -> impl Future<Output = io::Result<usize>> + Send + use<'a, P> {
        let path: PathBuf = path.as_ref().to_owned();
        self.inner
            .send(Location::caller(), move |socket| socket.send_to(buf, &path))
    }

    /// As [`send_to`](Self::send_to), without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the receiver's queue is full.
    pub fn try_send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.inner
            .try_send(|socket| socket.send_to(buf, path.as_ref()))
    }
}

datagram_face!(UnixDatagram, std: net::UnixDatagram, address: SocketAddr);
