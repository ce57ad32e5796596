//! UDP sockets.

use std::future::{Future, ready};
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::Location;
use std::task::{Context, Poll};

use super::ToSocketAddrs;
use super::address::first_that_works;
use super::datagram::Datagrams;
use super::faces::{datagram_face, socket_face};

/// A UDP socket.
///
/// It sends to any address with [`send_to`](Self::send_to), or to one after [`connect`](Self::connect). Any number of tasks may use it by reference. See
/// the [module](super) for what holds for all sockets.
///
/// ```
/// use divisi::net::UdpSocket;
///
/// # divisi::run(async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
///
/// client.send_to(b"hello", server.local_addr()?).await?;
/// let mut buf = [0; 1500];
/// let (length, peer) = server.recv_from(&mut buf).await?;
/// assert_eq!((&buf[..length], peer), (b"hello".as_slice(), client.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct UdpSocket {
    inner: Datagrams<net::UdpSocket>,
}

impl UdpSocket {
    /// A socket that receives at an address, the first of `address` that can be had. Port 0 is any free port.
    ///
    /// # Errors
    ///
    /// Those of the operating system and of [`lookup_host`](super::lookup_host).
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(
        address: A,
    ) -> impl Future<Output = io::Result<UdpSocket>> + Send + use<A> {
        let made_at = Location::caller();
        let target = address.to_target();
        first_that_works(target, move |address| async move {
            let socket = net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(UdpSocket::from_nonblocking(socket, made_at))
        })
    }

    /// Sets the address that [`send`](Self::send) sends to; only datagrams from there are received from now on.
    ///
    /// # Errors
    ///
    /// Those of the operating system and of [`lookup_host`](super::lookup_host).
    pub fn connect<A: ToSocketAddrs>(
        &self,
        address: A,
    ) -> impl Future<Output = io::Result<()>> + Send + use<'_, A> {
        let target = address.to_target();
        first_that_works(target, move |address| {
            ready(self.inner.get_ref().connect(address))
        })
    }

    /// Sends a datagram to an address; if `address` is a name, to the first that the system can send to.
    ///
    /// # Errors
    ///
    /// Those of the operating system and of [`lookup_host`](super::lookup_host).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing.
    #[track_caller]
    pub fn send_to<'a, A: ToSocketAddrs>(
        &'a self,
        buf: &'a [u8],
        address: A,
    ) -> impl Future<Output = io::Result<usize>> + Send + use<'a, A> {
        let called_at = Location::caller();
        let target = address.to_target();
        first_that_works(target, move |address| {
            self.inner
                .send(called_at, move |socket| socket.send_to(buf, address))
        })
    }

    /// As [`recv`](Self::recv), but leaves the datagram for the next receive.
    #[track_caller]
    pub fn peek<'a>(
        &'a self,
        buf: &'a mut [u8],
    ) -> impl Future<Output = io::Result<usize>> + Send + use<'a> {
        self.inner
            .receive(Location::caller(), move |socket| socket.peek(buf))
    }

    /// As [`recv_from`](Self::recv_from), but leaves the datagram for the next receive.
    #[track_caller]
    pub fn peek_from<'a>(
        &'a self,
        buf: &'a mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send + use<'a> {
        self.inner
            .receive(Location::caller(), move |socket| socket.peek_from(buf))
    }

    /// As [`send_to`](Self::send_to), to an address, without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the system takes no datagram now.
    pub fn try_send_to(&self, buf: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.inner.try_send(|socket| socket.send_to(buf, address))
    }

    /// As [`recv_from`](Self::recv_from), for hand-written futures: only the task that polled last is woken.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.inner.poll_receive(cx, |socket| socket.recv_from(buf))
    }

    /// As [`send_to`](Self::send_to), to an address, for hand-written futures: only the task that polled last is woken.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        address: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.inner
            .poll_send(cx, |socket| socket.send_to(buf, address))
    }
}

datagram_face!(UdpSocket, std: net::UdpSocket, address: SocketAddr);

/// Options; each gives the error of the operating system.
impl UdpSocket {
    /// Whether datagrams may be sent to a broadcast address.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.inner.get_ref().broadcast()
    }

    /// Sets whether datagrams may be sent to a broadcast address.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.inner.get_ref().set_broadcast(broadcast)
    }

    /// The time to live (hop limit) of the packets that are sent.
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.get_ref().ttl()
    }

    /// Sets the time to live (hop limit) of the packets that are sent.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.get_ref().set_ttl(ttl)
    }

    /// Receives what is sent to the group `group`, on the interface with the address `interface` (unspecified: the system chooses).
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.inner.get_ref().join_multicast_v4(&group, &interface)
    }

    /// Leaves a group, see [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.inner.get_ref().leave_multicast_v4(&group, &interface)
    }

    /// Receives what is sent to the group `group`, on the interface with the index `interface` (0: the system chooses).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.get_ref().join_multicast_v6(group, interface)
    }

    /// Leaves a group, see [`join_multicast_v6`](Self::join_multicast_v6).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.get_ref().leave_multicast_v6(group, interface)
    }

    /// Whether this machine receives what it sends to an IPv4 group.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.inner.get_ref().multicast_loop_v4()
    }

    /// Sets whether this machine receives what it sends to an IPv4 group.
    pub fn set_multicast_loop_v4(&self, receive: bool) -> io::Result<()> {
        self.inner.get_ref().set_multicast_loop_v4(receive)
    }

    /// Whether this machine receives what it sends to an IPv6 group.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.inner.get_ref().multicast_loop_v6()
    }

    /// Sets whether this machine receives what it sends to an IPv6 group.
    pub fn set_multicast_loop_v6(&self, receive: bool) -> io::Result<()> {
        self.inner.get_ref().set_multicast_loop_v6(receive)
    }

    /// The time to live of what is sent to an IPv4 group.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.inner.get_ref().multicast_ttl_v4()
    }

    /// Sets the time to live of what is sent to an IPv4 group.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.inner.get_ref().set_multicast_ttl_v4(ttl)
    }
}
