//! TCP, UDP and Unix sockets.
//!
//! | | stream | listener | datagrams |
//! |---|---|---|---|
//! | Internet | [`TcpStream`] | [`TcpListener`] | [`UdpSocket`] |
//! | one machine | [`UnixStream`] | [`UnixListener`] | [`UnixDatagram`] |
//!
//! [`Server`] accepts connections and handles each in a task of its own; [`Inherited`] is what a service manager such as systemd opened for it. [`TcpSocket`] sets options before a TCP socket connects or listens, [`TcpConnector`] says
//! how to connect. [`lookup_host`] resolves names.
//!
//! # What holds for all of them
//!
//! **An operation tries before it waits.** If the system can serve it at once, it takes one system call and never leaves the task. A socket is registered with
//! the worker's reactor only when an operation first has to wait. So sockets may be made anywhere, even before there is a runtime; an operation that must wait
//! where there is none gives an error that says so.
//!
//! **`&self` methods may run concurrently**, from any number of tasks: they are each woken when there is something to do. So a socket in
//! an [`Arc`](std::sync::Arc) serves many tasks. The poll methods of [`AsyncRead`](crate::io::AsyncRead) and [`AsyncWrite`](crate::io::AsyncWrite), which the
//! sockets and references to them implement, keep one place for each direction: of several tasks that wait through the same trait,
//! only the last is woken.
//!
//! **`try_` methods never wait.** They give [`WouldBlock`](std::io::ErrorKind::WouldBlock) where the others would wait, and belong after `readable` and
//! `writable`. Those two tell what is known: readiness stays until an operation finds nothing.
//!
//! **Cancel safety.** A future that is dropped before it is ready has done nothing: no byte or datagram is lost, no connection accepted. The methods that do several
//! steps (`read_exact`, `write_all`, `connect`) are the exceptions and say what is lost.
//!
//! **Errors** are those of the operating system, and those of waiting: no runtime on this thread, or a runtime that was shut down. An error of an accept such
//! as "too many open files" leaves the listener usable; wait a moment before the next try, or the loop spins.
//!
//! ```
//! use divisi::io::{AsyncReadExt, AsyncWriteExt};
//! use divisi::net::{TcpListener, TcpStream};
//!
//! # divisi::run(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//!
//! divisi::spawn(async move {
//!     let (connection, _peer) = listener.accept().await?;
//!     divisi::io::copy(&connection, &connection).await
//! });
//!
//! let mut stream = TcpStream::connect(address).await?;
//! stream.write_all(b"hello").await?;
//! let mut answer = [0; 5];
//! stream.read_exact(&mut answer).await?;
//! assert_eq!(&answer, b"hello");
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

mod address;
mod connector;
mod datagram;
mod eyeballs;
mod faces;
mod incoming;
mod inherited;
mod listener;
mod resolver;
mod send_file;
mod server;
mod socket_path;
mod split;
mod stream;
mod sys;
mod tcp_listener;
mod tcp_socket;
mod tcp_stream;
mod udp;
mod unix_datagram;
mod unix_listener;
mod unix_stream;

pub use address::{ToSocketAddrs, lookup_host};
pub use connector::TcpConnector;
pub use eyeballs::ConnectError;
pub use incoming::{Accept, Incoming};
pub use inherited::{InheritError, Inherited};
pub use resolver::LookupError;
pub(crate) use resolver::Resolver;
pub use send_file::send_file;
pub use server::{BindError, Bound, Server, ServerBuilder, ServerReport, Stopping};
pub use socket_path::SocketPath;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
pub(crate) use split::Sealed as StreamInside;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, StreamSocket, WriteHalf};
#[doc(no_inline)]
pub use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
pub use tcp_listener::TcpListener;
pub use tcp_socket::{Keepalive, TcpSocket};
pub use tcp_stream::TcpStream;
pub use udp::UdpSocket;
pub use unix_datagram::UnixDatagram;
pub use unix_listener::UnixListener;
pub use unix_stream::{PeerCredentials, UnixStream};
