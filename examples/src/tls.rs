//! tokio-rustls over divisi's sockets: an echo server and a client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use divisi::JoinHandle;
use divisi::net::{TcpListener, TcpStream};
use divisi::time::timeout;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::Error;

/// How long a client may take for its part of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a server that shows `certificate`.
///
/// # Errors
///
/// If the key does not fit.
pub fn server_config(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
}

/// The settings of a client that trusts `root` alone.
///
/// # Errors
///
/// If that is no certificate.
pub fn client_config(root: CertificateDer<'static>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Accepts connections on `address` and sends back what each sends. Cancel the task to stop.
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    config: ServerConfig,
) -> io::Result<(SocketAddr, JoinHandle<io::Result<()>>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let accepting = divisi::spawn(async move {
        loop {
            let (stream, _peer) = listener.accept().await?;
            let acceptor = acceptor.clone();
            drop(divisi::spawn(async move {
                let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
                echo(stream).await.map_err(Error::from)
            }));
        }
    });
    Ok((address, accepting))
}

/// Sends back what comes until the peer ends its direction, then says good-bye, as TLS wants it.
async fn echo(mut stream: server::TlsStream<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            read => {
                stream.write_all(&buffer[..read]).await?;
                stream.flush().await?;
            }
        }
    }
}

/// Connects to the server at `address`, which must show a certificate for `name`.
///
/// # Errors
///
/// If there is no connection, or the certificate is not trusted.
pub async fn connect(
    address: SocketAddr,
    name: &str,
    config: ClientConfig,
) -> Result<client::TlsStream<TcpStream>, Error> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned())?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = timeout(HANDSHAKE_TIMEOUT, connector.connect(name, stream)).await??;
    Ok(stream)
}
