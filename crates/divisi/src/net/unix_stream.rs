//! Connections on this machine.

use std::future::Future;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::panic::Location;
use std::path::{Path, PathBuf};

use divisi_reactor::{Direction, Progress};
use socket2::Domain;

use super::faces::{async_read, async_write, socket_face, stream_face};
use super::stream::Stream;
use super::sys::{self, Connecting};
use crate::io::pauses::Pauses;
use crate::io::wait::Waits;

/// A connection on this machine.
///
/// It reads and writes through its own methods, which take `&self`, and through [`AsyncRead`](crate::io::AsyncRead) and
/// [`AsyncWrite`](crate::io::AsyncWrite). See the [module](super) for what holds for all sockets.
///
/// ```
/// use divisi::net::UnixStream;
///
/// # divisi::run(async {
/// let (near, far) = UnixStream::pair()?;
/// near.write_all(b"hello").await?;
/// let mut greeting = [0; 5];
/// far.read_exact(&mut greeting).await?;
/// assert_eq!(&greeting, b"hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct UnixStream {
    inner: Stream<net::UnixStream>,
}

impl UnixStream {
    /// Connects to the listener at a path. On Linux a path that begins with a NUL byte is an abstract name.
    ///
    /// While the listener's queue is full, it tries again every few milliseconds: the system does not tell when there is room.
    ///
    /// # Errors
    ///
    /// Those of the operating system: [`NotFound`](io::ErrorKind::NotFound), or [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if nobody
    /// listens.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    #[track_caller]
    pub fn connect(path: impl AsRef<Path>) -> impl Future<Output = io::Result<UnixStream>> + Send {
        connect(path.as_ref().to_owned(), Location::caller())
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let made_at = Location::caller();
        let (one, other) = net::UnixStream::pair()?;
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((
            UnixStream::from_nonblocking(one, made_at),
            UnixStream::from_nonblocking(other, made_at),
        ))
    }

    /// Who is at the other end, as the system saw it when the connection was made.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        let peer = rustix::net::sockopt::socket_peercred(self)?;
        Ok(PeerCredentials {
            process: peer.pid.as_raw_nonzero().get(),
            user: peer.uid.as_raw(),
            group: peer.gid.as_raw(),
        })
    }
}

async fn connect(path: PathBuf, made_at: &'static Location<'static>) -> io::Result<UnixStream> {
    let address = sys::unix_address(&path)?;
    let mut pauses = Pauses::new();
    loop {
        match sys::start_connect(sys::stream_socket(Domain::UNIX)?, &address)? {
            Connecting::Started(socket) => {
                let socket = Waits::new(socket, made_at);
                socket
                    .when_ready(Direction::Write, made_at, |socket| {
                        sys::finish_connect(socket).map(Progress::full)
                    })
                    .await?;
                return Ok(UnixStream::from_nonblocking(
                    socket.into_inner().into(),
                    made_at,
                ));
            }
            // The system does not tell when there is room.
            Connecting::Full => pauses.pause().await,
        }
    }
}

stream_face!(UnixStream, std: net::UnixStream, address: SocketAddr);

/// Who is at the other end of a connection on this machine, see [`UnixStream::peer_credentials`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerCredentials {
    process: i32,
    user: u32,
    group: u32,
}

impl PeerCredentials {
    /// The id of the process. It may have ended since, and the id belong to another.
    pub fn process(&self) -> i32 {
        self.process
    }

    /// The id of the user.
    pub fn user(&self) -> u32 {
        self.user
    }

    /// The id of the group.
    pub fn group(&self) -> u32 {
        self.group
    }
}
