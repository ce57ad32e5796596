//! A server: sockets that listen, and a task for each connection.
//!
//! ```text
//!   ServerBuilder --bind--> Bound (listens; peers queue) --serve--> Server
//!
//!   accept task, one a listener:  permit -> accept -> connection task, which holds the permit
//!                                    \-> out of descriptors: report once, back off
//! ```
//!
//! The accept tasks end when accepting stops, and drop their listeners then. Connection tasks are entered in a table (`connections.rs`) from which they are
//! cancelled, and which tells when it is empty.

mod accept;
mod bound;
mod builder;
mod connections;

pub use bound::{Bound, Stopping};
pub use builder::{BindError, ServerBuilder};

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use connections::Connections;
use divisi_sync::Event;
use divisi_task::AbortHandle;

use crate::time::timeout;

/// How long [`Server::shutdown`] waits for connections that it has cancelled. A task ends at its next await, so only one that blocks its thread takes longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A running server: listening sockets, and a task for each connection.
///
/// [`builder`](Server::builder) sets one up; [`Bound::serve`] starts it. Dropping the `Server` stops it as [`abort`](Server::abort) does.
///
/// * A connection is handled in a task of its own by the handler given to `serve`. An `Err` of the handler goes to the runtime's [exception
///   handler](crate::runtime::Builder::exception_handler), and so does a panic; the other connections go on.
/// * With [`max_connections`](ServerBuilder::max_connections), peers beyond it wait in the system's queue.
/// * When the process or the system is out of file descriptors or memory, that is reported once, and accepting goes on after a pause that grows from 5 ms to
///   1 s; connections that are open are served meanwhile.
///
/// ```
/// use std::time::Duration;
/// use divisi::io::StreamReader;
/// use divisi::net::{Server, TcpStream};
///
/// # divisi::run(async {
/// let server = Server::builder().max_connections(1000).nodelay(true).bind("127.0.0.1:0").await?;
/// let address = server.local_addrs()[0];
/// let server = server.serve(|stream, _peer| async move {
///     let mut stream = StreamReader::new(stream);
///     while let Some(line) = stream.read_line().await? {
///         let reply = line.to_uppercase();
///         stream.get_ref().write_all(reply.as_bytes()).await?;
///     }
///     Ok::<(), std::io::Error>(())
/// });
///
/// let mut client = StreamReader::new(TcpStream::connect(address).await?);
/// client.get_ref().write_all(b"hello\n").await?;
/// assert_eq!(client.read_line().await?, Some("HELLO\n"));
/// drop(client);
///
/// let report = server.shutdown(Duration::from_secs(5)).await;
/// assert_eq!(report.cancelled, 0);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "dropping a server stops it"]
pub struct Server {
    shared: Arc<Shared>,
}

/// Sets a new connection's options.
type Configure<C> = fn(&C) -> io::Result<()>;

/// What the server and its tasks share.
struct Shared {
    /// Set once: accepting is to stop.
    stop: Arc<Event>,
    connections: Arc<Connections>,
    acceptors: Vec<AbortHandle>,
    /// Counts the accept tasks that have not dropped their listener.
    listening: Arc<Listening>,
}

/// Tells when no accept task is left.
struct Listening {
    left: AtomicUsize,
    closed: Event,
}

/// What became of the connections in a [`Server::shutdown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// Connections that ended by themselves within the grace.
    pub finished: usize,
    /// Connections that were cancelled when it was over.
    pub cancelled: usize,
    /// Of these, connections that have not ended: their tasks block their threads.
    pub stuck: usize,
}

impl Server {
    /// Starts to set a server up.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// The number of connections that are open: those whose handler has not ended.
    pub fn connections(&self) -> usize {
        self.shared.connections.count()
    }

    /// Stops accepting, and waits until the listening sockets are closed and their files removed. Connections go on.
    ///
    /// Peers that wait in the system's queue by then are reset. The future that [`Bound::stopping`] has given is ready from now on.
    ///
    /// # Cancel safety
    ///
    /// Accepting stops whether or not the future is awaited to its end, once it was polled.
    pub async fn stop_accepting(&self) {
        self.shared.stop.set();
        self.shared.listening.closed.wait().await;
    }

    /// Waits until accepting has stopped and no connection is left: for ever, unless somebody stops the server.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn wait(&self) {
        self.shared.listening.closed.wait().await;
        self.shared.connections.wait_empty().await;
    }

    /// Stops accepting, gives the connections time to end, and cancels those that have not.
    ///
    /// Handlers see that it is time to end by [`Bound::stopping`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, which cancels the connections.
    pub async fn shutdown(self, grace: Duration) -> ServerReport {
        self.stop_accepting().await;
        let connections = &self.shared.connections;
        let open = connections.count();
        if timeout(grace, connections.wait_empty()).await.is_ok() {
            return ServerReport {
                finished: open,
                cancelled: 0,
                stuck: 0,
            };
        }
        let cancelled = connections.cancel_all(
            "the server was shut down, and the connection did not end within the grace",
        );
        let _ = timeout(PATIENCE, connections.wait_empty()).await;
        ServerReport {
            finished: open - cancelled,
            cancelled,
            stuck: connections.count(),
        }
    }

    /// Stops accepting and cancels all connections: each ends at its next await, without sending what it may have buffered.
    pub fn abort(&self) {
        self.shared.stop.set();
        for acceptor in &self.shared.acceptors {
            acceptor.cancel("the server was aborted");
        }
        self.shared.connections.cancel_all("the server was aborted");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.abort();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("connections", &self.connections())
            .field("accepting", &!self.shared.listening.closed.is_set())
            .finish()
    }
}
