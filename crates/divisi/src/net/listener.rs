//! What TCP and Unix listeners have in common.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::task::{Context, Poll};

use divisi_reactor::{Direction, Progress};

use crate::io::wait::Waits;

/// The inside of the listeners.
pub(super) struct Listener<L: AsFd>(Waits<L>);

impl<L: AsFd> Listener<L> {
    /// `socket` must be in non-blocking mode.
    pub(super) fn new(socket: L, made_at: &'static Location<'static>) -> Listener<L> {
        Listener(Waits::new(socket, made_at))
    }

    pub(super) fn get_ref(&self) -> &L {
        self.0.get_ref()
    }

    pub(super) fn waits(&self) -> &Waits<L> {
        &self.0
    }

    pub(super) fn into_inner(self) -> L {
        self.0.into_inner()
    }

    pub(super) fn accept<R, F>(
        &self,
        called_at: &'static Location<'static>,
        mut accept: F,
    ) -> impl Future<Output = io::Result<R>> + use<'_, L, R, F>
    where
        F: FnMut(&L) -> io::Result<R>,
    {
        self.0
            .when_ready(Direction::Read, called_at, move |socket| {
                next(socket, &mut accept)
            })
    }

    pub(super) fn poll_accept<R>(
        &self,
        cx: &mut Context<'_>,
        mut accept: impl FnMut(&L) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.0
            .poll(cx, Direction::Read, |socket| next(socket, &mut accept))
    }

    pub(super) fn poll_acceptable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(cx, Direction::Read, |_| Ok(Progress::full(())))
    }

    pub(super) fn try_accept<R>(
        &self,
        mut accept: impl FnMut(&L) -> io::Result<R>,
    ) -> io::Result<R> {
        self.0
            .now(Direction::Read, |socket| next(socket, &mut accept))
    }
}

/// The next connection that is still alive: that a peer went away while it was waiting is not the listener's failure.
fn next<L, R>(socket: &L, accept: &mut impl FnMut(&L) -> io::Result<R>) -> io::Result<Progress<R>> {
    loop {
        match accept(socket) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // One connection says nothing about the next.
            result => return result.map(Progress::full),
        }
    }
}

impl<L: AsFd + fmt::Debug> fmt::Debug for Listener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}
