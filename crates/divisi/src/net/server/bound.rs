//! A server that listens and does not accept yet.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use divisi_sync::{Event, Semaphore};
use divisi_task::SpawnOptions;

use super::accept::{Acceptor, Still};
use super::connections::Connections;
use super::{Configure, Listening, Server, Shared};
use crate::net::{Accept, SocketPath, TcpListener};
use crate::runtime::Handle;

/// Sockets that listen, of a server that does not accept yet: peers wait in the system's queue. [`serve`](Bound::serve) starts it.
///
/// Between the two is the time to give up privileges and to tell a service manager that the server is ready.
#[must_use = "nobody accepts until `serve` is called"]
pub struct Bound<L: Accept> {
    /// Each with the file that goes with it; that goes first, see [`Acceptor`].
    pub(super) listeners: Vec<(Option<SocketPath>, L)>,
    pub(super) max_connections: Option<usize>,
    pub(super) configure: Option<Configure<L::Connection>>,
    pub(super) stop: Arc<Event>,
}

impl Bound<TcpListener> {
    /// The addresses that the server listens on.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter();
        addresses
            .filter_map(|(_, listener)| listener.local_addr().ok())
            .collect()
    }
}

impl<L: Accept + Send + Sync + 'static> Bound<L> {
    /// The listening sockets, to set options.
    pub fn listeners(&self) -> impl Iterator<Item = &L> {
        self.listeners.iter().map(|(_, listener)| listener)
    }

    /// Something for handlers to watch: it is set when the server stops accepting, so that connections which wait for their next request may end.
    ///
    /// ```
    /// use std::time::Duration;
    /// use divisi::io::StreamReader;
    /// use divisi::net::Server;
    ///
    /// # divisi::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// # let client = divisi::net::TcpStream::connect(server.local_addrs()[0]).await?;
    /// let stopping = server.stopping();
    /// let server = server.serve(move |stream, _peer| {
    ///     let stopping = stopping.clone();
    ///     async move {
    ///         let mut stream = StreamReader::new(stream);
    ///         loop {
    ///             let request = divisi::select! {
    ///                 request = stream.read_line() => request?,
    ///                 () = stopping.wait() => None,
    ///             };
    ///             let Some(_request) = request else { break };
    ///             stream.get_ref().write_all(b"done\n").await?;
    ///         }
    ///         Ok::<(), std::io::Error>(())
    ///     }
    /// });
    /// # while server.connections() == 0 { divisi::yield_now().await }
    /// let report = server.shutdown(Duration::from_secs(60)).await;
    /// assert_eq!((report.finished, report.cancelled), (1, 0));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn stopping(&self) -> Stopping {
        Stopping(self.stop.clone())
    }

    /// Accepts, and calls `handler` in a task of its own for each connection. The tasks belong to the current runtime.
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread; the message says what to do.
    #[track_caller]
    pub fn serve<H, F, E>(self, handler: H) -> Server
    where
        H: Fn(L::Connection, L::Address) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        let served_at = Location::caller();
        let runtime = Handle::current();
        let handler = Arc::new(handler);
        let connections = Connections::new();
        let listening = Arc::new(Listening {
            left: AtomicUsize::new(self.listeners.len()),
            closed: Event::new(),
        });
        let permits = self
            .max_connections
            .map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))));
        let acceptors = self.listeners.into_iter().map(|(path, listener)| {
            let acceptor = Acceptor {
                path,
                listener,
                handler: handler.clone(),
                configure: self.configure,
                permits: permits.clone(),
                connections: connections.clone(),
                stop: self.stop.clone(),
                listening: Still(listening.clone()),
                runtime: runtime.clone(),
                served_at,
            };
            let options = SpawnOptions::new().location(served_at);
            runtime.spawn_with(acceptor.run(), options).abort_handle()
        });
        let acceptors = acceptors.collect();
        Server {
            shared: Arc::new(Shared {
                stop: self.stop,
                connections,
                acceptors,
                listening,
            }),
        }
    }
}

impl<L: Accept> fmt::Debug for Bound<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("listeners", &self.listeners.len())
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// Tells the handlers of a server that it stops accepting; see [`Bound::stopping`].
#[derive(Clone, Debug)]
pub struct Stopping(Arc<Event>);

impl Stopping {
    /// Waits until the server stops accepting.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn wait(&self) {
        self.0.wait().await;
    }

    /// Whether the server has been told to stop accepting.
    pub fn is_set(&self) -> bool {
        self.0.is_set()
    }
}
