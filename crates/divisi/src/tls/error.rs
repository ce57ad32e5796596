//! What can be wrong with TLS.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::{pki_types, rustls};

/// Why there is no TLS connection. The stream is closed by then.
///
/// It converts into an [`io::Error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer did not come to an end with its part in this time.
    TimedOut(Duration),
    /// The name is neither a host name nor an address.
    InvalidName(String),
    /// The two sides do not agree: a certificate that is not trusted or for another name, no common version or protocol, or a peer that does not speak TLS.
    Tls(rustls::Error),
    /// The stream below failed; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the peer ended it.
    Io(io::Error),
}

impl HandshakeError {
    pub(super) fn of(error: io::Error) -> HandshakeError {
        match error.get_ref().and_then(|inside| inside.downcast_ref()) {
            Some(tls) => HandshakeError::Tls(rustls::Error::clone(tls)),
            None => HandshakeError::Io(error),
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::TimedOut(limit) => write!(
                f,
                "the TLS handshake was not complete after {limit:?}: the peer is slow, or does not speak TLS"
            ),
            HandshakeError::InvalidName(name) => write!(
                f,
                "`{name}` is no name to check a certificate for: give a host name or an address, without a port"
            ),
            HandshakeError::Tls(error) => write!(f, "the TLS handshake failed: {error}"),
            HandshakeError::Io(error) => write!(f, "the stream of a TLS handshake failed: {error}"),
        }
    }
}

impl Error for HandshakeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            HandshakeError::Tls(error) => Some(error),
            HandshakeError::Io(error) => Some(error),
            HandshakeError::TimedOut(_) | HandshakeError::InvalidName(_) => None,
        }
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> io::Error {
        let kind = match &error {
            HandshakeError::TimedOut(_) => io::ErrorKind::TimedOut,
            HandshakeError::InvalidName(_) => io::ErrorKind::InvalidInput,
            HandshakeError::Tls(_) => io::ErrorKind::InvalidData,
            HandshakeError::Io(error) => error.kind(),
        };
        io::Error::new(kind, error)
    }
}

/// Why a [`Connector`](super::Connector) or [`Acceptor`](super::Acceptor) cannot be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is no PEM, or has not what is needed: a certificate, or a private key.
    Pem(pki_types::pem::Error),
    /// There is no certificate in the text.
    NoCertificate,
    /// rustls refuses them, for example a key that does not belong to its certificate.
    Tls(rustls::Error),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Pem(error) => write!(f, "certificate or key cannot be read: {error}"),
            ConfigError::NoCertificate => f.write_str(
                "the text has no certificate: give one in PEM, between `BEGIN CERTIFICATE` and `END CERTIFICATE`",
            ),
            ConfigError::Tls(error) => write!(f, "certificate or key is not usable: {error}"),
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ConfigError::Pem(error) => Some(error),
            ConfigError::NoCertificate => None,
            ConfigError::Tls(error) => Some(error),
        }
    }
}

impl From<rustls::Error> for ConfigError {
    fn from(error: rustls::Error) -> ConfigError {
        ConfigError::Tls(error)
    }
}

impl From<pki_types::pem::Error> for ConfigError {
    fn from(error: pki_types::pem::Error) -> ConfigError {
        ConfigError::Pem(error)
    }
}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}
