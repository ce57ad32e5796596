//! The future that drives a stream and its protocol.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use divisi_task::JoinHandle;
use futures_io::{AsyncRead, AsyncWrite};

use super::transport::{Transport, Wish};
use super::{AfterEof, BufProtocol, Protocol, callback_panicked, cancelled};
use crate::io::backlog::Backlog;
use crate::task;

/// The most that one read takes: what a socket holds with the system's defaults.
const CHUNK: usize = 64 * 1024;

thread_local! {
    /// Where data lands on its way to a callback. Taken out while it is in use, so that a callback may drive another connection.
    static LANDING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Drives a connection until it is lost, and gives the protocol back.
///
/// # Cancel safety
///
/// Dropping the future ends the connection: `lost` is called if `made` was.
pub fn drive<S, P>(stream: S, protocol: P) -> impl Future<Output = P> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    P: Protocol,
{
    let driving = Drive::new(stream, Plain(protocol));
    async move { driving.await.0 }
}

/// As [`drive`], for a [`BufProtocol`].
pub fn drive_buffered<S, P>(stream: S, protocol: P) -> impl Future<Output = P> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    P: BufProtocol,
{
    let driving = Drive::new(stream, Buffered(protocol));
    async move { driving.await.0 }
}

/// Drives a connection in a task of its own. The transport may be used at once.
///
/// # Panics
///
/// If there is no runtime on this thread; the message says what to do.
#[track_caller]
pub fn spawn<S, P>(stream: S, protocol: P) -> (Transport, JoinHandle<P>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Protocol,
{
    let driving = Drive::new(stream, Plain(protocol));
    let transport = driving.transport.clone();
    (transport, task::spawn(async move { driving.await.0 }))
}

/// The two kinds of protocol as one.
trait Callbacks {
    fn made(&mut self, transport: &Transport);
    /// Reads once and hands on what came; zero is the end.
    fn poll_receive<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>>;
    fn eof(&mut self) -> AfterEof;
    fn lost(&mut self, error: Option<io::Error>);
    fn pause_writing(&mut self);
    fn resume_writing(&mut self);
}

struct Plain<P>(P);
struct Buffered<P>(P);

macro_rules! same_callbacks {
    () => {
        fn made(&mut self, transport: &Transport) {
            self.0.made(transport);
        }

        fn eof(&mut self) -> AfterEof {
            self.0.eof()
        }

        fn lost(&mut self, error: Option<io::Error>) {
            self.0.lost(error);
        }

        fn pause_writing(&mut self) {
            self.0.pause_writing();
        }

        fn resume_writing(&mut self) {
            self.0.resume_writing();
        }
    };
}

impl<P: Protocol> Callbacks for Plain<P> {
    same_callbacks!();

    fn poll_receive<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let mut landing = LANDING.take();
        landing.resize(CHUNK, 0);
        let polled = Pin::new(stream).poll_read(cx, &mut landing);
        if let Poll::Ready(Ok(length @ 1..)) = polled {
            self.0.data(&landing[..length]);
        }
        LANDING.set(landing);
        polled
    }
}

impl<P: BufProtocol> Callbacks for Buffered<P> {
    same_callbacks!();

    fn poll_receive<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let buffer = self.0.buffer(CHUNK);
        if buffer.is_empty() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a `BufProtocol` gave an empty buffer, into which nothing can be read: give at least one byte",
            )));
        }
        let length = ready!(Pin::new(stream).poll_read(cx, buffer))?;
        if length > 0 {
            self.0.filled(length);
        }
        Poll::Ready(Ok(length))
    }
}

/// The future behind [`drive`].
struct Drive<S, C: Callbacks> {
    stream: S,
    transport: Transport,
    /// `None` when it was given back.
    callbacks: Option<C>,
    outgoing: Backlog,
    phase: Phase,
    /// The protocol was told to pause.
    paused: bool,
    /// Written and not flushed.
    dirty: bool,
    read_ended: bool,
    write_ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Made,
    Lost,
}

/// Why a round of the driver ends.
enum Round {
    /// Something happened: look again.
    Again,
    /// Nothing can be done until a wake-up.
    Wait,
    /// The connection is over.
    Over(Option<io::Error>),
}

impl<S, C> Drive<S, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Callbacks,
{
    fn new(stream: S, callbacks: C) -> Drive<S, C> {
        Drive {
            stream,
            transport: Transport::new(),
            callbacks: Some(callbacks),
            outgoing: Backlog::default(),
            phase: Phase::New,
            paused: false,
            dirty: false,
            read_ended: false,
            write_ended: false,
        }
    }

    fn callbacks(&mut self) -> &mut C {
        self.callbacks.as_mut().expect("given back only at the end")
    }

    /// Everything that can be done now in both directions.
    fn round(&mut self, cx: &mut Context<'_>) -> Round {
        if self.phase == Phase::New {
            self.phase = Phase::Made;
            let transport = self.transport.clone();
            self.callbacks().made(&transport);
        }
        let (wish, reading_paused) = {
            let mut state = self.transport.state();
            state.changed = false;
            if self.outgoing.is_empty() {
                std::mem::swap(&mut self.outgoing, &mut state.incoming);
                state.taken = self.outgoing.len();
            }
            (state.wish, state.reading_paused)
        };
        if wish == Wish::Abort {
            return Round::Over(None);
        }
        let mut moved = false;
        match self.write(cx, wish, &mut moved) {
            Ok(()) => {}
            Err(error) => return Round::Over(Some(error)),
        }
        self.tell_pressure();
        if self.write_ended && (self.read_ended || wish == Wish::Close) {
            return Round::Over(None);
        }
        if !reading_paused && !self.read_ended && wish < Wish::Close {
            let Drive {
                callbacks, stream, ..
            } = self;
            let callbacks = callbacks.as_mut().expect("given back only at the end");
            match callbacks.poll_receive(cx, stream) {
                Poll::Ready(Ok(0)) => {
                    self.read_ended = true;
                    if self.callbacks().eof() == AfterEof::Close {
                        self.transport.close();
                    }
                    moved = true;
                }
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(error)) => return Round::Over(Some(error)),
                Poll::Pending => {}
            }
        }
        if moved { Round::Again } else { Round::Wait }
    }

    /// Writes what waits; then flushes, and ends this direction if that is wished.
    fn write(&mut self, cx: &mut Context<'_>, wish: Wish, moved: &mut bool) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self
                .outgoing
                .poll_write_to(Pin::new(&mut self.stream), cx)?
            {
                Poll::Ready(()) => {
                    (*moved, self.dirty) = (true, true);
                    self.transport.state().taken = self.outgoing.len();
                }
                Poll::Pending => return Ok(()),
            }
        }
        if self.dirty {
            match Pin::new(&mut self.stream).poll_flush(cx)? {
                Poll::Ready(()) => self.dirty = false,
                Poll::Pending => return Ok(()),
            }
        }
        let all_sent = self.transport.state().incoming.is_empty();
        if all_sent && wish > Wish::Open && !self.write_ended {
            match Pin::new(&mut self.stream).poll_close(cx)? {
                Poll::Ready(()) => (*moved, self.write_ended) = (true, true),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    fn tell_pressure(&mut self) {
        let (waiting, limits) = {
            let state = self.transport.state();
            (state.incoming.len() + state.taken, state.limits)
        };
        if !self.paused && waiting > limits.high() {
            self.paused = true;
            self.callbacks().pause_writing();
        } else if self.paused && waiting <= limits.low() {
            self.paused = false;
            self.callbacks().resume_writing();
        }
    }
}

impl<S, C: Callbacks> Drive<S, C> {
    /// Ends the transport, and tells the protocol that the connection is gone if it knows of it; once.
    fn lose(&mut self, error: Option<io::Error>) {
        let former = std::mem::replace(&mut self.phase, Phase::Lost);
        if former == Phase::Lost {
            return;
        }
        let left = {
            let mut state = self.transport.state();
            state.lost = true;
            state.taken = 0;
            (std::mem::take(&mut state.incoming), state.driver.take())
        };
        drop(left);
        match &mut self.callbacks {
            Some(callbacks) if former == Phase::Made => callbacks.lost(error),
            _ => {}
        }
    }
}

/// Nothing inside is pinned.
impl<S, C: Callbacks> Unpin for Drive<S, C> {}

impl<S, C> Future for Drive<S, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Callbacks,
{
    type Output = C;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C> {
        let this = &mut *self;
        // A wake-up that is under way finds nobody to wake: this poll sees what it was for.
        drop(this.transport.state().driver.take());
        let waker = cx.waker().clone();
        loop {
            let round = match catch_unwind(AssertUnwindSafe(|| this.round(cx))) {
                Ok(round) => round,
                Err(panic) => {
                    // If `lost` panics as well, the first panic is the one to tell of.
                    let _ = catch_unwind(AssertUnwindSafe(|| {
                        this.lose(Some(callback_panicked()));
                    }));
                    resume_unwind(panic);
                }
            };
            match round {
                Round::Again => {}
                Round::Wait => {
                    let mut state = this.transport.state();
                    if !state.changed {
                        state.driver = Some(waker);
                        return Poll::Pending;
                    }
                }
                Round::Over(error) => {
                    this.lose(error);
                    let callbacks = this.callbacks.take();
                    return Poll::Ready(callbacks.expect("given back only here"));
                }
            }
        }
    }
}

impl<S, C: Callbacks> Drop for Drive<S, C> {
    fn drop(&mut self) {
        self.lose(Some(cancelled()));
    }
}

impl<S, C: Callbacks> fmt::Debug for Drive<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
