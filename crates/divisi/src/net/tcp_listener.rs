//! Waiting for TCP connections.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::panic::Location;

use super::address::first_that_works;
use super::faces::{listener_face, socket_face};
use super::listener::Listener;
use super::{TcpSocket, TcpStream, ToSocketAddrs, sys};

/// A socket that waits for TCP connections.
///
/// See the [module](super) for what holds for all sockets.
///
/// ```no_run
/// use divisi::io::AsyncWriteExt;
/// use divisi::net::TcpListener;
///
/// # divisi::run(async {
/// let listener = TcpListener::bind("0.0.0.0:8080").await?;
/// loop {
///     let (mut connection, peer) = listener.accept().await?;
///     divisi::spawn(async move { connection.write_all(format!("hello {peer}\n").as_bytes()).await });
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct TcpListener {
    pub(super) inner: Listener<net::TcpListener>,
}

impl TcpListener {
    /// Listens on an address, the first of `address` that can be had. Port 0 is any free port.
    ///
    /// `SO_REUSEADDR` is set, so that a restarted server need not wait for the connections of the one before. Use [`TcpSocket`] for other
    /// options and another length of the queue.
    ///
    /// # Errors
    ///
    /// Those of the operating system and of [`lookup_host`](super::lookup_host).
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(
        address: A,
    ) -> impl Future<Output = io::Result<TcpListener>> + Send + use<A> {
        let made_at = Location::caller();
        let target = address.to_target();
        first_that_works(target, move |address| async move {
            let socket = TcpSocket::for_address(address)?;
            socket.set_reuse_address(true)?;
            socket.bind(address)?;
            socket.listen_at(sys::BACKLOG, made_at)
        })
    }
}

listener_face!(TcpListener, std: net::TcpListener, address: SocketAddr, stream: TcpStream, accept: sys::accept);

impl TcpListener {
    pub(super) fn from_listening(
        socket: net::TcpListener,
        made_at: &'static Location<'static>,
    ) -> TcpListener {
        TcpListener::from_nonblocking(socket, made_at)
    }

    /// The time to live (hop limit) of the packets that are sent.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.get_ref().ttl()
    }

    /// Sets the time to live (hop limit) of the packets that are sent; connections inherit it.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.get_ref().set_ttl(ttl)
    }
}
