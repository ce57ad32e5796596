//! The client's end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;

use super::pki_types::pem::PemObject;
use super::pki_types::{CertificateDer, ServerName};
use super::rustls::{ClientConfig, RootCertStore};
use super::{ConfigError, HandshakeError, Limits, TlsStream, protocols, provider};
use crate::time::timeout;

/// Makes the client's end of TLS connections. Clones share their configuration, and sessions that can be resumed.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    limits: Limits,
}

impl Connector {
    /// With a configuration of rustls.
    pub fn new(config: impl Into<Arc<ClientConfig>>) -> Connector {
        Connector {
            config: config.into(),
            limits: Limits::default(),
        }
    }

    /// Trusts servers whose certificates these authorities have signed, and shows no certificate of its own.
    ///
    /// divisi brings no authorities: those of the system come from the crate rustls-native-certs, those of the browsers from webpki-roots.
    ///
    /// # Errors
    ///
    /// If rustls does not support what the configuration needs.
    pub fn with_roots(roots: impl Into<Arc<RootCertStore>>) -> Result<Connector, ConfigError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Connector::new(config))
    }

    /// Trusts servers whose certificates one of the authorities in `pem` has signed, and nobody else.
    ///
    /// # Errors
    ///
    /// If `pem` is not valid or has no certificate.
    pub fn trusting_pem(pem: &[u8]) -> Result<Connector, ConfigError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err(ConfigError::NoCertificate);
        }
        Connector::with_roots(roots)
    }

    /// The protocols to offer, best first (ALPN). [`TlsStream::alpn`] tells which one the server has chosen.
    pub fn alpn<T: AsRef<[u8]>>(mut self, names: impl IntoIterator<Item = T>) -> Connector {
        Arc::make_mut(&mut self.config).alpn_protocols = protocols(names);
        self
    }

    /// The time for a handshake, 60 s unless told otherwise.
    pub fn handshake_limit(mut self, limit: Duration) -> Connector {
        self.limits.handshake = limit;
        self
    }

    /// The time for a shutdown, 30 s unless told otherwise. See [`TlsStream::shutdown`].
    pub fn shutdown_limit(mut self, limit: Duration) -> Connector {
        self.limits.shutdown = limit;
        self
    }

    /// Does the handshake over `stream`. `name` is the host name or the address that the server's certificate must be for.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The stream is closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    pub async fn connect<S>(&self, name: &str, stream: S) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| HandshakeError::InvalidName(name.to_owned()))?;
        let handshake = TlsConnector::from(self.config.clone()).connect(server, stream);
        match timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => Ok(TlsStream::new(stream.into(), self.limits.shutdown)),
            Ok(Err(error)) => Err(HandshakeError::of(error)),
            Err(_elapsed) => Err(HandshakeError::TimedOut(self.limits.handshake)),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
