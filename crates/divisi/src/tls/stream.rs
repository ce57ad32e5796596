//! A TLS connection.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use super::pki_types::CertificateDer;
use super::rustls::{CommonState, ProtocolVersion};
use crate::time::{Sleep, sleep, timeout};

/// What a shutdown reads and throws away at a time.
const DISCARD: usize = 4 * 1024;

/// A TLS connection, from a [`Connector`](super::Connector) or an [`Acceptor`](super::Acceptor).
///
/// A peer that ends the stream below without saying so by TLS (`close_notify`) may have been cut off by somebody in between: reading gives
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) then, and the end of the stream only where the peer has said it.
///
/// End with [`shutdown`](Self::shutdown), or with [`close`](crate::io::AsyncWriteExt::close), which says that this side has ended and does not wait for the other.
/// Dropping it says nothing.
///
/// # Cancel safety
///
/// Reads and writes lose nothing.
pub struct TlsStream<S> {
    inner: futures_rustls::TlsStream<S>,
    shutdown_limit: Duration,
    /// Runs while a close waits.
    closing: Option<Sleep>,
}

impl<S> TlsStream<S> {
    pub(super) fn new(
        inner: futures_rustls::TlsStream<S>,
        shutdown_limit: Duration,
    ) -> TlsStream<S> {
        TlsStream {
            inner,
            shutdown_limit,
            closing: None,
        }
    }

    fn session(&self) -> &CommonState {
        self.inner.get_ref().1
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref().0
    }

    /// The protocol that both sides have agreed on (ALPN), if there is one.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session().alpn_protocol()
    }

    /// The version of TLS.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.session().protocol_version()
    }

    /// The peer's certificate, followed by those of its authorities. A server has none unless its configuration asks clients for them.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.session().peer_certificates()
    }

    /// On a server, the name that the client has asked for (SNI).
    pub fn server_name(&self) -> Option<&str> {
        match &self.inner {
            futures_rustls::TlsStream::Server(stream) => stream.get_ref().1.server_name(),
            futures_rustls::TlsStream::Client(_) => None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Ends the connection on both sides: sends what waits, says that this side has ended, and reads until the peer has said so too, throwing away what it
    /// sends meanwhile. The whole has the shutdown limit of time.
    ///
    /// That a peer just closes the connection instead, as many do, is no error here.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) when the limit is over, and those of the stream below. It is closed in any case.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    pub async fn shutdown(mut self) -> io::Result<()> {
        let limit = self.shutdown_limit;
        let ended = timeout(limit, async {
            poll_fn(|cx| Pin::new(&mut self.inner).poll_close(cx)).await?;
            let mut discarded = [0; DISCARD];
            loop {
                let read =
                    poll_fn(|cx| Pin::new(&mut self.inner).poll_read(cx, &mut discarded)).await;
                match read {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        });
        ended.await.unwrap_or_else(|_| Err(timed_out(limit)))
    }
}

fn timed_out(limit: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "the TLS connection was not ended after {limit:?}: the peer does not read or answer"
        ),
    )
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read_vectored(cx, bufs)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Says that this side has ended, after what waits. A peer that does not read ends it with [`TimedOut`](io::ErrorKind::TimedOut) after the shutdown limit.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_close(cx);
        if polled.is_ready() {
            this.closing = None;
            return polled;
        }
        let limit = this.shutdown_limit;
        let closing = this.closing.get_or_insert_with(|| sleep(limit));
        Pin::new(closing).poll(cx).map(|()| Err(timed_out(limit)))
    }
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("stream", self.get_ref())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
