//! Waiting for connections on this machine.

use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::panic::Location;
use std::path::Path;

use super::faces::{listener_face, socket_face};
use super::listener::Listener;
use super::socket_path::remove_stale;
use super::{SocketPath, UnixStream, sys};

/// A socket that waits for connections on this machine.
///
/// The file at its path stays when it is dropped: remove it before the next bind, or use [`bind_owned`](Self::bind_owned). See the [module](super) for what holds for all sockets.
///
/// ```
/// use divisi::net::{UnixListener, UnixStream};
///
/// # divisi::run(async {
/// # let folder = std::env::temp_dir().join(format!("divisi-doc-listener-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("socket");
/// let listener = UnixListener::bind(&path)?;
/// let (client, server) = divisi::try_join!(UnixStream::connect(&path), listener.accept())?;
///
/// client.write_all(b"hello").await?;
/// let mut greeting = [0; 5];
/// server.0.read_exact(&mut greeting).await?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct UnixListener {
    inner: Listener<net::UnixListener>,
}

impl UnixListener {
    /// Listens at a path. On Linux a path that begins with a NUL byte is an abstract name, for which there is no file.
    ///
    /// # Errors
    ///
    /// Those of the operating system: [`AddrInUse`](io::ErrorKind::AddrInUse) if there is a file at the path.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let made_at = Location::caller();
        let socket = sys::listen_unix(path.as_ref())?;
        Ok(UnixListener::from_nonblocking(socket, made_at))
    }

    /// Listens at a path that belongs to this listener: a socket that a server has left behind there is replaced, and the file is removed when the [`SocketPath`]
    /// is dropped, if it is still the same file.
    ///
    /// To find out whether a socket was left behind it is connected to: a server that lives sees a connection that ends at once.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if another server listens at the path or there is something else than a socket; and those of the
    /// operating system.
    #[track_caller]
    pub fn bind_owned(path: impl AsRef<Path>) -> io::Result<(UnixListener, SocketPath)> {
        let made_at = Location::caller();
        let path = path.as_ref();
        remove_stale(path)?;
        let socket = sys::listen_unix(path)?;
        let file = SocketPath::of_new(path)?;
        Ok((UnixListener::from_nonblocking(socket, made_at), file))
    }
}

listener_face!(UnixListener, std: net::UnixListener, address: SocketAddr, stream: UnixStream, accept: sys::accept_unix);
