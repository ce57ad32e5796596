//! TLS over any stream, by [rustls] with ring's cryptography (feature `tls`).
//!
//! A [`Connector`] makes a client's end, an [`Acceptor`] a server's. Both take a stream that is connected already, be it just now or in the middle of a conversation
//! (`STARTTLS`): a [`StreamReader`](crate::io::StreamReader) is taken with the bytes that it has read, which belong to the handshake.
//!
//! Handshakes and shutdowns have a limit of time, so a peer that goes silent costs no task for ever. Dropping a handshake closes the connection.
//!
//! [`TlsStream`] implements the traits of futures-io, and with the features those of tokio's `io` and of hyper.
//!
//! ```
//! use divisi::io::{AsyncReadExt, AsyncWriteExt};
//! use divisi::net::{TcpListener, TcpStream};
//! use divisi::tls::{Acceptor, Connector};
//!
//! # const CERTIFICATE: &[u8] = include_bytes!("../../tests/tls/certificate.pem");
//! # const KEY: &[u8] = include_bytes!("../../tests/tls/key.pem");
//! # const AUTHORITY: &[u8] = include_bytes!("../../tests/tls/authority.pem");
//! # divisi::run(async {
//! let acceptor = Acceptor::from_pem(CERTIFICATE, KEY)?.alpn(["echo"]);
//! let connector = Connector::trusting_pem(AUTHORITY)?.alpn(["echo"]);
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let server = divisi::spawn(async move {
//!     let (stream, _peer) = listener.accept().await?;
//!     let mut stream = acceptor.accept(stream).await?;
//!     let mut request = [0; 5];
//!     stream.read_exact(&mut request).await?;
//!     stream.write_all(&request).await?;
//!     stream.shutdown().await
//! });
//!
//! let stream = TcpStream::connect(address).await?;
//! let mut stream = connector.connect("localhost", stream).await?;
//! assert_eq!(stream.alpn(), Some(&b"echo"[..]));
//! stream.write_all(b"hello").await?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer).await?;
//! assert_eq!(answer, "hello");
//! stream.shutdown().await?;
//! server.await.unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! [rustls]: https://docs.rs/rustls

mod accept;
mod connect;
mod error;
mod stream;

pub use accept::Acceptor;
pub use connect::Connector;
pub use error::{ConfigError, HandshakeError};
#[doc(no_inline)]
pub use futures_rustls::{pki_types, rustls};
pub use stream::TlsStream;

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;

/// The limits unless told otherwise: those of asyncio.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
struct Limits {
    handshake: Duration,
    shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handshake: HANDSHAKE_LIMIT,
            shutdown: SHUTDOWN_LIMIT,
        }
    }
}

/// Named, so that it does not matter which providers other crates have switched on.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The protocols in the form that rustls wants.
fn protocols<T: AsRef<[u8]>>(names: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    names
        .into_iter()
        .map(|name| name.as_ref().to_vec())
        .collect()
}
