//! Datagrams on this machine.

use std::future::Future;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::panic::Location;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::datagram::Datagrams;
use super::faces::{datagram_face, socket_face};
use crate::io::pauses::Pauses;
use crate::pool;

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

    /// Sends a datagram to the socket at a path. While the queue there is full, it tries again every few milliseconds: the system tells only
    /// [connected](Self::connect) senders when there is room.
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
        let called_at = Location::caller();
        async move {
            let mut pauses = Pauses::new();
            loop {
                // Ends without a result where this socket can send, but that one not receive.
                let send = |socket: &net::UnixDatagram| match socket.send_to(buf, &path) {
                    Err(error) if is_full(&error) && is_not_told(socket)? => Ok(None),
                    sent => sent.map(Some),
                };
                if let Some(sent) = self.inner.send(called_at, send).await? {
                    return Ok(sent);
                }
                pool::check()?;
                pauses.pause().await;
            }
        }
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

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether the system does not tell when it is worth a try: it does if there is no room on the way out, unless it speaks of the peer.
fn is_not_told(socket: &net::UnixDatagram) -> io::Result<bool> {
    if socket.peer_addr().is_ok() {
        return Ok(true);
    }
    let mut polled = [PollFd::new(socket, PollFlags::OUT)];
    rustix::event::poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled[0].revents().contains(PollFlags::OUT))
}

datagram_face!(UnixDatagram, std: net::UnixDatagram, address: SocketAddr);
