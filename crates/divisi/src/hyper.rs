//! [hyper] 1.x on divisi: its I/O traits on our streams, its executor and its timer.
//!
//! With the feature `hyper`, [`TcpStream`], [`UnixStream`] and [`Async`] are [`hyper::rt::Read`] and [`hyper::rt::Write`]: a connection goes to hyper as it is,
//! without an adapter, and the sockets read right into hyper's buffers. [`HyperIo`] does it for other streams of futures-io. [`DivisiExecutor`] spawns what hyper wants in the background (HTTP/2 streams) and [`DivisiTimer`] serves its time limits; both
//! belong to the runtime they are used in. What is built on these traits (axum by way of hyper-util's services, tonic) runs too; nothing needs a
//! tokio runtime.
//!
//! ```
//! use std::time::Duration;
//! use divisi::hyper::DivisiTimer;
//! use hyper::rt::Timer;
//!
//! # divisi::run(async {
//! DivisiTimer::new().sleep(Duration::from_millis(1)).await;
//! # });
//! ```
//!
//! [hyper]: https://docs.rs/hyper/1

use std::cell::Cell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use divisi_reactor::read_to_hyper;
use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Executor, Read, ReadBufCursor, Sleep, Timer, Write};

use crate::io::{Async, StreamReader};
use crate::net::{StreamInside, TcpStream, UnixStream};
use crate::{task, time};

/// The most that one read takes where it cannot go right into hyper's buffer. hyper's own buffers start at half of it and rarely grow beyond.
const CHUNK: usize = 16 * 1024;

thread_local! {
    /// Where bytes land on their way into hyper's buffers, whose memory may be uninitialized, so that safe code can append to them but not read into them.
    /// A copy within the cache costs a fraction of the system call that went before.
    static LANDING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads from anything that reads into initialized memory.
fn poll_read_into(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    into: &mut ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    // Taken, not borrowed: a stream that is made of streams may come here again.
    let mut landing = LANDING.take();
    landing.resize(CHUNK, 0);
    let room = into.remaining().min(CHUNK);
    let polled = Pin::new(stream).poll_read(cx, &mut landing[..room]);
    if let Poll::Ready(Ok(read)) = &polled {
        into.put_slice(&landing[..*read]);
    }
    LANDING.set(landing);
    polled.map_ok(drop)
}

/// Reads right into hyper's buffer.
fn poll_read_uninit(
    socket: &mut impl StreamInside,
    cx: &mut Context<'_>,
    into: &mut ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    let room = into.remaining();
    let stream = socket.stream();
    let polled = stream.poll_read_by(cx, room, |fd| read_to_hyper(fd, into));
    polled.map_ok(drop)
}

/// hyper's traits by those of futures-io, with a way of reading that suits hyper's buffers. `$io` is the stream in `$this`.
macro_rules! hyper_io {
    (impl [$($generics:tt)*] for $type:ty, |$this:ident| $io:expr, read: $read:expr $(, where $($bounds:tt)*)?) => {
        impl<$($generics)*> Read for $type $(where $($bounds)*)? {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                mut into: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                let $this = &mut *self;
                $read($io, cx, &mut into)
            }
        }

        impl<$($generics)*> Write for $type $(where $($bounds)*)? {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = &mut *self;
                AsyncWrite::poll_write(Pin::new($io), cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = &mut *self;
                AsyncWrite::poll_flush(Pin::new($io), cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = &mut *self;
                AsyncWrite::poll_close(Pin::new($io), cx)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = &mut *self;
                AsyncWrite::poll_write_vectored(Pin::new($io), cx, bufs)
            }
        }
    };
}

hyper_io!(impl [] for TcpStream, |this| this, read: poll_read_uninit);
hyper_io!(impl [] for UnixStream, |this| this, read: poll_read_uninit);
hyper_io!(
    impl [T: AsFd + Unpin] for Async<T>, |this| this, read: poll_read_into,
    where for<'io> &'io T: std::io::Read + std::io::Write
);
hyper_io!(
    impl [T: AsyncRead + AsyncWrite + Unpin] for HyperIo<T>, |this| &mut this.0, read: poll_read_into
);
// What was read before the connection went to hyper is part of the first request.
hyper_io!(
    impl [S: AsyncRead + AsyncWrite + Unpin] for StreamReader<S>, |this| this, read: poll_read_into
);
#[cfg(feature = "tls")]
hyper_io!(
    impl [S: AsyncRead + AsyncWrite + Unpin] for crate::tls::TlsStream<S>, |this| this, read: poll_read_into
);

/// A stream of the traits of futures-io as hyper wants it: a TLS stream, say, or one that counts.
///
/// [`TcpStream`], [`UnixStream`] and [`Async`] need no such wrapper. Bytes that are read are copied once, within the cache.
///
/// ```
/// use divisi::hyper::{DivisiTimer, HyperIo};
/// use divisi::io::BufReader;
/// use divisi::net::UnixStream;
/// use hyper::service::service_fn;
///
/// # divisi::run(async {
/// let (near, far) = UnixStream::pair().unwrap();
/// let serving = divisi::spawn(async move {
///     let hello = service_fn(async |_| Ok::<_, std::convert::Infallible>(hyper::Response::new("hello".to_owned())));
///     hyper::server::conn::http1::Builder::new().timer(DivisiTimer::new()).serve_connection(HyperIo::new(BufReader::new(far)), hello).await
/// });
/// let (mut client, connection) = hyper::client::conn::http1::handshake(near).await.unwrap();
/// drop(divisi::spawn(connection));
/// let answer = client.send_request(hyper::Request::new(String::new())).await.unwrap();
/// assert_eq!(answer.status(), 200);
/// # drop((client, answer));
/// # serving.await.unwrap().unwrap();
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HyperIo<T>(T);

impl<T> HyperIo<T> {
    /// Wraps a stream.
    pub fn new(stream: T) -> HyperIo<T> {
        HyperIo(stream)
    }

    /// The stream.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Spawns hyper's background work in the current runtime.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DivisiExecutor;

impl DivisiExecutor {
    /// The executor; it belongs to whatever runtime it is used in.
    pub fn new() -> DivisiExecutor {
        DivisiExecutor
    }
}

impl<F> Executor<F> for DivisiExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// # Panics
    ///
    /// If there is no divisi runtime on this thread.
    fn execute(&self, future: F) {
        drop(task::spawn(future));
    }
}

/// hyper's timer on the clock of the current runtime.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DivisiTimer;

impl DivisiTimer {
    /// The timer; it belongs to whatever runtime it is used in.
    pub fn new() -> DivisiTimer {
        DivisiTimer
    }
}

impl Timer for DivisiTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(time::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(time::sleep_until(deadline))
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }

    /// Moves the deadline in place, without another allocation.
    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<time::Sleep>() {
            Some(sleep) => sleep.get_mut().reset(new_deadline),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

impl Sleep for time::Sleep {}
