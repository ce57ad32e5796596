//! tokio-tungstenite: an echo server, a client, and the upgrade of a request that came to a web server.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use divisi::JoinHandle;
use divisi::net::{TcpListener, TcpStream};
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::server::conn::auto::upgrade;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::Error;

/// A WebSocket over a socket of divisi's.
pub type Socket = WebSocketStream<TcpStream>;

/// Sends every message back until the peer closes.
///
/// # Errors
///
/// If the connection breaks, or the peer breaks the protocol.
pub async fn echo(mut socket: Socket) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let message = message?;
        // Pings and the closing handshake are answered by the library.
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Accepts connections on `address` and serves each by [`echo`]. Cancel the task to stop.
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve(address: SocketAddr) -> io::Result<(SocketAddr, JoinHandle<io::Result<()>>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let accepting = divisi::spawn(async move {
        loop {
            let (stream, _peer) = listener.accept().await?;
            drop(divisi::spawn(async move {
                echo(tokio_tungstenite::accept_async(stream).await?).await
            }));
        }
    });
    Ok((address, accepting))
}

/// Connects to the server at `address`.
///
/// # Errors
///
/// If there is no connection, or the server speaks no WebSocket.
pub async fn connect(address: SocketAddr, path: &str) -> Result<Socket, Error> {
    let stream = TcpStream::connect(address).await?;
    let (socket, _response) =
        tokio_tungstenite::client_async(format!("ws://{address}{path}"), stream).await?;
    Ok(socket)
}

/// Answers a request that asks for a WebSocket, and serves it by `serve` in a task once the answer is out.
///
/// # Errors
///
/// If the request asks for something else.
pub fn accept_upgrade<B, F>(
    request: Request<B>,
    serve: impl FnOnce(Socket) -> F + Send + 'static,
) -> Result<Response<Empty<Bytes>>, Error>
where
    F: Future<Output = Result<(), Error>> + Send,
    B: Send + 'static,
{
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    let key = key.ok_or("this page is a WebSocket: connect with ws://")?;
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(request);
    drop(divisi::spawn(async move {
        // The connection comes back as what it was, with what was read from it beyond the request.
        let parts = upgrade::downcast::<TcpStream>(upgraded.await?)
            .map_err(|_| "the connection is not one of `serving`'s")?;
        let read = parts.read_buf.to_vec();
        serve(WebSocketStream::from_partially_read(parts.io, read, Role::Server, None).await).await
    }));
    Ok(Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(Empty::new())?)
}
