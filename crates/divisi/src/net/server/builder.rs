//! What a server is to be.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;

use divisi_sync::Event;

use super::{Bound, Configure};
use crate::net::address::resolve;
use crate::net::{Accept, TcpListener, TcpSocket, TcpStream, ToSocketAddrs, UnixListener, sys};

/// Sets a [`Server`](super::Server) up.
///
/// `bind` and its kin give a [`Bound`], which listens; [`Bound::serve`] starts to accept.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it binds"]
pub struct ServerBuilder {
    max_connections: Option<usize>,
    backlog: u32,
    reuse_port: bool,
    nodelay: bool,
}

impl Default for ServerBuilder {
    fn default() -> ServerBuilder {
        ServerBuilder {
            max_connections: None,
            backlog: sys::BACKLOG,
            reuse_port: false,
            nodelay: false,
        }
    }
}

impl ServerBuilder {
    /// The most connections at a time, over all listeners; others wait in the system's queue. There is no limit unless told otherwise; zero is refused by `bind`.
    pub fn max_connections(mut self, most: usize) -> ServerBuilder {
        self.max_connections = Some(most);
        self
    }

    /// How many peers may wait to be accepted, 4096 unless told otherwise. The system lowers it to its own limit.
    pub fn backlog(mut self, peers: u32) -> ServerBuilder {
        self.backlog = peers;
        self
    }

    /// Whether other sockets may listen on the same addresses; the system spreads the connections over them (`SO_REUSEPORT`). All of them must ask for it: one process
    /// for each core, or the new process of a restart without a gap.
    pub fn reuse_port(mut self, reuse: bool) -> ServerBuilder {
        self.reuse_port = reuse;
        self
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`), for each TCP connection.
    pub fn nodelay(mut self, nodelay: bool) -> ServerBuilder {
        self.nodelay = nodelay;
        self
    }

    /// Listens on *all* addresses that `address` stands for: `"localhost:80"` may be one of IPv4 and one of IPv6. A family that this machine does not have is left
    /// out if there is another. Port 0 is any free port, another one for each address.
    ///
    /// `SO_REUSEADDR` is set, so that a restarted server need not wait for the connections of the one before.
    ///
    /// # Errors
    ///
    /// Those of the operating system, with a [`BindError`] inside that names the address; those of [`lookup_host`](crate::net::lookup_host);
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if no connection is allowed or there is no address.
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(
        self,
        address: A,
    ) -> impl Future<Output = io::Result<Bound<TcpListener>>> + Send + use<A> {
        let made_at = Location::caller();
        let target = address.to_target();
        async move {
            self.check()?;
            let addresses: Vec<_> = resolve(target).await?.collect();
            let listeners = self.listen_on_all(&addresses, made_at)?;
            self.from_listeners(listeners)
        }
    }

    fn listen_on_all(
        &self,
        addresses: &[SocketAddr],
        made_at: &'static Location<'static>,
    ) -> io::Result<Vec<TcpListener>> {
        let both =
            addresses.iter().any(SocketAddr::is_ipv4) && addresses.iter().any(SocketAddr::is_ipv6);
        let mut listeners = Vec::new();
        let mut left_out = None;
        for &address in addresses {
            match self.listen(address, both, made_at) {
                Ok(listener) => listeners.push(listener),
                Err(error) if both && family_is_missing(&error) => {
                    left_out = Some(BindError::of(address, error));
                }
                Err(error) => return Err(BindError::of(address, error)),
            }
        }
        match left_out {
            Some(error) if listeners.is_empty() => Err(error),
            _ => Ok(listeners),
        }
    }

    fn listen(
        &self,
        address: SocketAddr,
        only_v6: bool,
        made_at: &'static Location<'static>,
    ) -> io::Result<TcpListener> {
        let socket = TcpSocket::for_address(address)?;
        socket.set_reuse_address(true)?;
        if self.reuse_port {
            #[cfg(not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))]
            socket.set_reuse_port(true)?;
            #[cfg(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))]
            return Err(io::ErrorKind::Unsupported.into());
        }
        if only_v6 && address.is_ipv6() {
            // The IPv4 half has a socket of its own.
            socket.set_only_v6(true)?;
        }
        socket.bind(address)?;
        socket.listen_at(self.backlog, made_at)
    }

    /// Listens at a path on this machine. The socket that a server has left behind there is replaced, and the file removed when accepting stops, if it is still
    /// the same: see [`UnixListener::bind_owned`]. [`backlog`](Self::backlog) does not count here.
    ///
    /// # Errors
    ///
    /// Those of [`UnixListener::bind_owned`].
    #[track_caller]
    pub fn bind_unix(self, path: impl AsRef<Path>) -> io::Result<Bound<UnixListener>> {
        let (listener, path) = UnixListener::bind_owned(path)?;
        let mut bound = self.from_unix_listeners([listener])?;
        bound.listeners[0].0 = Some(path);
        Ok(bound)
    }

    /// Serves sockets that listen already.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no listener or no connection is allowed.
    pub fn from_listeners(
        self,
        listeners: impl IntoIterator<Item = TcpListener>,
    ) -> io::Result<Bound<TcpListener>> {
        let configure = self
            .nodelay
            .then_some((|stream: &TcpStream| stream.set_nodelay(true)) as _);
        self.bound(listeners, configure)
    }

    /// As [`from_listeners`](Self::from_listeners), for Unix sockets. Their files stay when the server stops.
    ///
    /// # Errors
    ///
    /// As [`from_listeners`](Self::from_listeners).
    pub fn from_unix_listeners(
        self,
        listeners: impl IntoIterator<Item = UnixListener>,
    ) -> io::Result<Bound<UnixListener>> {
        self.bound(listeners, None)
    }

    fn bound<L: Accept>(
        self,
        listeners: impl IntoIterator<Item = L>,
        configure: Option<Configure<L::Connection>>,
    ) -> io::Result<Bound<L>> {
        self.check()?;
        let listeners: Vec<_> = listeners.into_iter().map(|one| (None, one)).collect();
        if listeners.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is nothing to listen on: give at least one address or listener",
            ));
        }
        Ok(Bound {
            listeners,
            max_connections: self.max_connections,
            configure,
            stop: Arc::new(Event::new()),
        })
    }

    fn check(&self) -> io::Result<()> {
        if self.max_connections == Some(0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a server that may have no connection would never accept: give `max_connections` at least 1",
            ));
        }
        Ok(())
    }
}

fn family_is_missing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A server could not listen on an address: inside the [`io::Error`] of [`ServerBuilder::bind`], whose kind is that of the cause.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl BindError {
    fn of(address: SocketAddr, source: io::Error) -> io::Error {
        io::Error::new(source.kind(), BindError { address, source })
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.source)
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
