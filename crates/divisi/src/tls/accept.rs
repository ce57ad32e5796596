//! The server's end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsAcceptor;

use super::pki_types::pem::PemObject;
use super::pki_types::{CertificateDer, PrivateKeyDer};
use super::rustls::ServerConfig;
use super::{ConfigError, HandshakeError, Limits, TlsStream, protocols, provider};
use crate::time::timeout;

/// Makes the server's end of TLS connections. Clones share their configuration.
///
/// In a [`Server`](crate::net::Server) do the handshake in the handler, not before the next accept: then a slow peer holds up nobody else.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    limits: Limits,
}

impl Acceptor {
    /// With a configuration of rustls.
    pub fn new(config: impl Into<Arc<ServerConfig>>) -> Acceptor {
        Acceptor {
            config: config.into(),
            limits: Limits::default(),
        }
    }

    /// Shows a certificate, followed by those of the authorities between it and one that clients know, and asks clients for none.
    ///
    /// # Errors
    ///
    /// If the key does not belong to the certificate, or is of an unknown kind.
    pub fn with_certificate(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Acceptor, ConfigError> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Acceptor::new(config))
    }

    /// As [`with_certificate`](Self::with_certificate), from texts in PEM.
    ///
    /// # Errors
    ///
    /// If a text is not valid or has not what is needed, and those of [`with_certificate`](Self::with_certificate).
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Acceptor, ConfigError> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
        if chain.is_empty() {
            return Err(ConfigError::NoCertificate);
        }
        Acceptor::with_certificate(chain, PrivateKeyDer::from_pem_slice(key)?)
    }

    /// The protocols to choose from, best first (ALPN). A client that offers others only is refused; one that offers none is not.
    pub fn alpn<T: AsRef<[u8]>>(mut self, names: impl IntoIterator<Item = T>) -> Acceptor {
        Arc::make_mut(&mut self.config).alpn_protocols = protocols(names);
        self
    }

    /// The time for a handshake, 60 s unless told otherwise.
    pub fn handshake_limit(mut self, limit: Duration) -> Acceptor {
        self.limits.handshake = limit;
        self
    }

    /// The time for a shutdown, 30 s unless told otherwise. See [`TlsStream::shutdown`].
    pub fn shutdown_limit(mut self, limit: Duration) -> Acceptor {
        self.limits.shutdown = limit;
        self
    }

    /// Does the handshake over `stream`.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The stream is closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    pub async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(self.config.clone()).accept(stream);
        match timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => Ok(TlsStream::new(stream.into(), self.limits.shutdown)),
            Ok(Err(error)) => Err(HandshakeError::of(error)),
            Err(_elapsed) => Err(HandshakeError::TimedOut(self.limits.handshake)),
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
