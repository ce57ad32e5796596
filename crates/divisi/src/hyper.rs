//! [hyper] 1.x on divisi: its I/O traits on our streams, its executor and its timer.
//!
//! With the feature `hyper`, [`TcpStream`] and [`UnixStream`] are [`hyper::rt::Read`] and [`hyper::rt::Write`]: a connection goes to hyper as it is,
//! without an adapter. [`DivisiExecutor`] spawns what hyper wants in the background (HTTP/2 streams) and [`DivisiTimer`] serves its time limits; both
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

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Executor, Read, ReadBufCursor, Sleep, Timer, Write};

use crate::net::{TcpStream, UnixStream};
use crate::{task, time};

/// The most that one read takes. hyper's own buffers start at half of it and rarely grow beyond.
const CHUNK: usize = 16 * 1024;

thread_local! {
    /// Where bytes land on their way into hyper's buffers, whose memory may be uninitialized, so that safe code can append to them but not read into them.
    /// A copy within the cache costs a fraction of the system call that went before.
    static LANDING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn poll_read_into(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    mut into: ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    LANDING.with(|landing| {
        let mut landing = landing.borrow_mut();
        landing.resize(CHUNK, 0);
        let room = into.remaining().min(CHUNK);
        let read = ready!(Pin::new(stream).poll_read(cx, &mut landing[..room]))?;
        into.put_slice(&landing[..read]);
        Poll::Ready(Ok(()))
    })
}

macro_rules! hyper_io {
    ($stream:ty) => {
        impl Read for $stream {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                into: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                poll_read_into(&mut *self, cx, into)
            }
        }

        impl Write for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                AsyncWrite::poll_write(self, cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncWrite::poll_flush(self, cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncWrite::poll_close(self, cx)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                AsyncWrite::poll_write_vectored(self, cx, bufs)
            }
        }
    };
}

hyper_io!(TcpStream);
hyper_io!(UnixStream);

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
