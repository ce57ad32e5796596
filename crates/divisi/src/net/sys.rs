//! The system calls that differ between platforms: sockets that are non-blocking from their first moment.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net as unix;
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that may wait to be accepted. The system lowers it to its own limit, which is this by default on Linux (`net.core.somaxconn`).
pub(super) const BACKLOG: u32 = 4096;

/// A non-blocking stream socket.
pub(super) fn stream_socket(domain: Domain) -> io::Result<Socket> {
    let protocol = (domain != Domain::UNIX).then_some(Protocol::TCP);
    #[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))]
    return Socket::new(domain, Type::STREAM.nonblocking(), protocol);
    #[cfg(not(any(target_os = "android", target_os = "freebsd", target_os = "linux")))]
    {
        let socket = Socket::new(domain, Type::STREAM, protocol)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// A connection and its peer; the connection is non-blocking.
#[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))]
pub(super) fn accept(
    listener: &std::net::TcpListener,
) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    let (connection, peer) =
        acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.ok_or(io::ErrorKind::InvalidData)?;
    Ok((connection.into(), SocketAddr::try_from(peer)?))
}

/// A connection and its peer; the connection is non-blocking.
#[cfg(not(any(target_os = "android", target_os = "freebsd", target_os = "linux")))]
pub(super) fn accept(
    listener: &std::net::TcpListener,
) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (connection, peer) = listener.accept()?;
    connection.set_nonblocking(true)?;
    Ok((connection, peer))
}

/// A connection and its peer; the connection is non-blocking.
pub(super) fn accept_unix(
    listener: &unix::UnixListener,
) -> io::Result<(unix::UnixStream, unix::SocketAddr)> {
    let (connection, peer) = listener.accept()?;
    connection.set_nonblocking(true)?;
    Ok((connection, peer))
}

/// How far a connect has got.
pub(super) enum Connecting {
    /// Connected, or waiting for the other side: writability tells.
    Started(Socket),
    /// The other side cannot take another connection now, and nothing will tell when it can.
    Full,
}

/// Begins to connect `socket`, which must be non-blocking.
pub(super) fn start_connect(socket: Socket, address: &SockAddr) -> io::Result<Connecting> {
    match socket.connect(address) {
        Ok(()) => Ok(Connecting::Started(socket)),
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Ok(Connecting::Started(socket))
        }
        // Unix sockets only: their listener's queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Connecting::Full),
        Err(error) => Err(error),
    }
}

/// Whether a connect that was started has come to its end: `WouldBlock` as long as it has not.
pub(super) fn finish_connect(socket: &Socket) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            // It may have failed between the two questions, and the error is told only once.
            Err(socket
                .take_error()?
                .unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
        }
        Err(error) => Err(error),
    }
}

/// The address of a path; a path that begins with NUL is an abstract name on Linux.
pub(super) fn unix_address(path: &Path) -> io::Result<SockAddr> {
    SockAddr::unix(path)
}

/// Reads without taking.
pub(super) fn peek(socket: &unix::UnixStream, buf: &mut [u8]) -> io::Result<usize> {
    let (_, peeked) = rustix::net::recv(socket, buf, rustix::net::RecvFlags::PEEK)?;
    Ok(peeked)
}

/// A non-blocking listener at a path.
pub(super) fn listen_unix(path: &Path) -> io::Result<unix::UnixListener> {
    let socket = stream_socket(Domain::UNIX)?;
    socket.bind(&unix_address(path)?)?;
    socket.listen(BACKLOG as i32)?;
    Ok(socket.into())
}
