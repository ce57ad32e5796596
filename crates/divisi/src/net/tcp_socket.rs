//! TCP sockets before they connect or listen.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::time::Duration;

use divisi_reactor::{Direction, Progress};
use socket2::{Domain, Socket, TcpKeepalive};

use super::sys::{self, Connecting};
use super::{TcpListener, TcpStream};
use crate::io::wait::Waits;

/// A TCP socket that neither connects nor listens yet, to set options that must be set before.
///
/// ```
/// use divisi::net::TcpSocket;
///
/// # divisi::run(async {
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuse_address(true)?;
/// socket.set_recv_buffer_size(256 * 1024)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(1024)?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// Every method gives the error of the operating system.
#[derive(Debug)]
pub struct TcpSocket {
    socket: Socket,
}

impl TcpSocket {
    /// A socket for IPv4.
    pub fn new_v4() -> io::Result<TcpSocket> {
        sys::stream_socket(Domain::IPV4).map(|socket| TcpSocket { socket })
    }

    /// A socket for IPv6.
    pub fn new_v6() -> io::Result<TcpSocket> {
        sys::stream_socket(Domain::IPV6).map(|socket| TcpSocket { socket })
    }

    pub(super) fn for_address(address: SocketAddr) -> io::Result<TcpSocket> {
        sys::stream_socket(Domain::for_address(address)).map(|socket| TcpSocket { socket })
    }

    /// Binds the socket to an address of this machine.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.socket.bind(&address.into())
    }

    /// Listens. Up to `backlog` connections wait to be accepted; the system may lower it.
    #[track_caller]
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.listen_at(backlog, Location::caller())
    }

    pub(super) fn listen_at(
        self,
        backlog: u32,
        made_at: &'static Location<'static>,
    ) -> io::Result<TcpListener> {
        self.socket
            .listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener::from_listening(self.socket.into(), made_at))
    }

    /// Connects.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up and closes the socket.
    #[track_caller]
    pub fn connect(
        self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<TcpStream>> + Send + use<> {
        self.connect_at(address, Location::caller())
    }

    pub(super) async fn connect_at(
        self,
        address: SocketAddr,
        made_at: &'static Location<'static>,
    ) -> io::Result<TcpStream> {
        match sys::start_connect(self.socket, &address.into())? {
            Connecting::Started(socket) => {
                // On one machine it is established by now, so the first try succeeds without a wait.
                let socket = Waits::new(socket, made_at);
                socket
                    .when_ready(Direction::Write, made_at, |socket| {
                        sys::finish_connect(socket).map(Progress::full)
                    })
                    .await?;
                Ok(TcpStream::from_nonblocking(
                    socket.into_inner().into(),
                    made_at,
                ))
            }
            Connecting::Full => Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the system has no free port for another connection to this address",
            )),
        }
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?;
        address
            .as_socket()
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Sets whether an address may be bound that was in use a moment ago (`SO_REUSEADDR`).
    pub fn set_reuse_address(&self, reuse: bool) -> io::Result<()> {
        self.socket.set_reuse_address(reuse)
    }

    /// Whether an address may be bound that was in use a moment ago.
    pub fn reuse_address(&self) -> io::Result<bool> {
        self.socket.reuse_address()
    }

    /// Sets whether several sockets may listen on the same address; the system spreads the connections over them (`SO_REUSEPORT`).
    #[cfg(not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))]
    pub fn set_reuse_port(&self, reuse: bool) -> io::Result<()> {
        self.socket.set_reuse_port(reuse)
    }

    /// Whether several sockets may listen on the same address.
    #[cfg(not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))]
    pub fn reuse_port(&self) -> io::Result<bool> {
        self.socket.reuse_port()
    }

    /// Sets the size of the send buffer in bytes. Linux doubles it for its own use.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket.set_send_buffer_size(bytes)
    }

    /// The size of the send buffer in bytes.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.socket.send_buffer_size()
    }

    /// Sets the size of the receive buffer in bytes. Linux doubles it for its own use.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket.set_recv_buffer_size(bytes)
    }

    /// The size of the receive buffer in bytes.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket.recv_buffer_size()
    }

    /// Sets whether small writes are sent at once. See [`TcpStream::set_nodelay`].
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.set_tcp_nodelay(nodelay)
    }

    /// Sets how long a close waits for data that was not sent yet. See [`TcpStream::set_linger`].
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket.set_linger(linger)
    }

    /// Sets whether and how the system finds out that a silent peer is gone.
    pub fn set_keepalive(&self, keepalive: Option<&Keepalive>) -> io::Result<()> {
        set_keepalive(&self.socket, keepalive)
    }

    /// Sets whether an IPv6 socket serves IPv6 only, or IPv4 as well.
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        self.socket.set_only_v6(only_v6)
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How the system finds out that a silent peer is gone: after `idle` without traffic it probes, `retries` times with `interval` between.
///
/// What is not set stays as the system has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    idle: Option<Duration>,
    interval: Option<Duration>,
    retries: Option<u32>,
}

impl Keepalive {
    /// As the system has it.
    pub fn new() -> Keepalive {
        Keepalive::default()
    }

    /// Probes after this time without traffic, in whole seconds.
    pub fn idle(mut self, idle: Duration) -> Keepalive {
        self.idle = Some(idle);
        self
    }

    /// The time between probes, in whole seconds. Has no effect on systems that cannot set it.
    pub fn interval(mut self, interval: Duration) -> Keepalive {
        self.interval = Some(interval);
        self
    }

    /// The number of unanswered probes after which the connection fails. Has no effect on systems that cannot set it.
    pub fn retries(mut self, retries: u32) -> Keepalive {
        self.retries = Some(retries);
        self
    }
}

pub(super) fn set_keepalive(socket: &Socket, keepalive: Option<&Keepalive>) -> io::Result<()> {
    let Some(keepalive) = keepalive else {
        return socket.set_keepalive(false);
    };
    let mut parameters = TcpKeepalive::new();
    if let Some(idle) = keepalive.idle {
        parameters = parameters.with_time(idle);
    }
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "vita")))]
    {
        if let Some(interval) = keepalive.interval {
            parameters = parameters.with_interval(interval);
        }
        if let Some(retries) = keepalive.retries {
            parameters = parameters.with_retries(retries);
        }
    }
    socket.set_tcp_keepalive(&parameters)
}
