//! How a TCP connection is made.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use super::address::{Target, resolve};
use super::eyeballs::{Schedule, first_to_connect};
use super::{TcpSocket, TcpStream, ToSocketAddrs};

/// How a TCP connection is made, where [`TcpStream::connect`] has not enough to say.
///
/// ```
/// use std::time::Duration;
/// use divisi::net::{TcpConnector, TcpListener};
///
/// # divisi::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let connector = TcpConnector::new().limit(Duration::from_secs(5)).nodelay(true);
/// let stream = connector.connect(listener.local_addr()?).await?;
/// assert!(stream.nodelay()?);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct TcpConnector {
    schedule: Schedule,
    local: Option<SocketAddr>,
    nodelay: bool,
}

impl TcpConnector {
    /// As [`TcpStream::connect`] does it.
    pub fn new() -> TcpConnector {
        TcpConnector::default()
    }

    /// The time after which the next address is tried while earlier ones have not answered: 250 ms unless told otherwise. `None` tries one after the other.
    pub fn attempt_delay(mut self, delay: impl Into<Option<Duration>>) -> TcpConnector {
        self.schedule.delay = delay.into();
        self
    }

    /// The time for all attempts together, from the first on; looking the name up is not part of it. There is none but the system's unless told otherwise.
    pub fn limit(mut self, limit: Duration) -> TcpConnector {
        self.schedule.limit = Some(limit);
        self
    }

    /// The address of this machine to connect from. Addresses of the other family are not tried.
    pub fn local_addr(mut self, local: SocketAddr) -> TcpConnector {
        self.local = Some(local);
        self
    }

    /// Whether small writes are sent at once. See [`TcpStream::set_nodelay`].
    pub fn nodelay(mut self, nodelay: bool) -> TcpConnector {
        self.nodelay = nodelay;
        self
    }

    /// Connects. See [`TcpStream::connect`].
    ///
    /// # Errors
    ///
    /// Those of [`TcpStream::connect`], [`TimedOut`](io::ErrorKind::TimedOut) when the limit is over, and [`InvalidInput`](io::ErrorKind::InvalidInput) if no address
    /// is of the local address's family.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives all attempts up and closes their sockets.
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(
        &self,
        address: A,
    ) -> impl Future<Output = io::Result<TcpStream>> + Send + use<A> {
        connect(address.to_target(), self.clone(), Location::caller())
    }
}

/// Connects to the first of `target` that answers.
pub(super) async fn connect(
    target: Target,
    how: TcpConnector,
    made_at: &'static Location<'static>,
) -> io::Result<TcpStream> {
    let attempt = |address: SocketAddr| {
        let how = &how;
        async move {
            let socket = TcpSocket::for_address(address)?;
            if let Some(local) = how.local {
                // With a port of its own, the attempts side by side share it: they go to different addresses.
                socket.set_reuse_address(local.port() != 0)?;
                socket.bind(local)?;
            }
            if how.nodelay {
                socket.set_nodelay(true)?;
            }
            socket.connect_at(address, made_at).await
        }
    };
    // The common case needs neither a list nor a timer.
    if let (Target::Address(address), None, None) = (&target, how.schedule.limit, how.local) {
        return attempt(*address).await;
    }
    let usable = |address: &SocketAddr| {
        how.local
            .is_none_or(|local| local.is_ipv4() == address.is_ipv4())
    };
    let addresses = resolve(target).await?.filter(usable);
    first_to_connect(addresses, how.schedule, attempt).await
}
