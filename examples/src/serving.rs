//! Serving HTTP connections until told to stop: the accept loop that hyper leaves to its users.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use divisi::JoinHandle;
use divisi::channel::oneshot;
use divisi::channel::oneshot_types::{Receiver, Sender};
use divisi::hyper::{DivisiExecutor, DivisiTimer};
use divisi::net::{TcpListener, TcpStream};
use divisi::time::{sleep, timeout};
use hyper::body::{Body, Incoming};
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};

use crate::Error;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept. Most failures are a lack of descriptors, which takes a while to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server. Dropping it ends the accept loop; connections go on until they end by themselves.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stop: Sender<()>,
    accepting: JoinHandle<GracefulShutdown>,
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets requests that are being answered finish, and closes connections as soon as they are idle.
    ///
    /// Returns whether all was done within `grace`.
    pub async fn shutdown(self, grace: Duration) -> bool {
        drop(self.stop);
        match self.accepting.await {
            Ok(connections) => timeout(grace, connections.shutdown()).await.is_ok(),
            Err(_) => false,
        }
    }
}

/// Serves HTTP/1 and HTTP/2 on one port: hyper tells them apart by the first bytes. Upgrades (WebSocket) are allowed.
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve<S, B>(address: SocketAddr, service: S) -> io::Result<Serving>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Error>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Error>,
    DivisiExecutor: Http2ServerConnExec<S::Future, B>,
{
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot();
    let accepting = divisi::spawn(accept(listener, service, stopped));
    Ok(Serving {
        address,
        stop,
        accepting,
    })
}

async fn accept<S, B>(
    listener: TcpListener,
    service: S,
    mut stopped: Receiver<()>,
) -> GracefulShutdown
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Error>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Error>,
    DivisiExecutor: Http2ServerConnExec<S::Future, B>,
{
    let connections = GracefulShutdown::new();
    loop {
        let accepted = divisi::select! {
            biased;
            _ = &mut stopped => return connections,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => {
                // A failed connection is its client's affair; a server would log it.
                drop(divisi::spawn(connection(
                    stream,
                    service.clone(),
                    connections.watcher(),
                )));
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection<S, B>(stream: TcpStream, service: S, watcher: Watcher) -> Result<(), Error>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Error>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Error>,
    DivisiExecutor: Http2ServerConnExec<S::Future, B>,
{
    // An answer in several writes must not wait for the client's acknowledgement of the first.
    stream.set_nodelay(true)?;
    let mut builder = auto::Builder::new(DivisiExecutor::new());
    builder
        .http1()
        .timer(DivisiTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(DivisiTimer::new());
    let connection = builder
        .serve_connection_with_upgrades(stream, service)
        .into_owned();
    pin!(watcher.watch(connection)).await
}
