//! What UDP and Unix datagram sockets have in common.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::task::{Context, Poll};

use divisi_reactor::{Direction, Progress};

use crate::io::wait::Waits;

/// The inside of the datagram sockets.
///
/// One datagram says nothing about the next, so only `WouldBlock` ends readiness.
pub(super) struct Datagrams<S: AsFd>(Waits<S>);

impl<S: AsFd> Datagrams<S> {
    /// `socket` must be in non-blocking mode.
    pub(super) fn new(socket: S, made_at: &'static Location<'static>) -> Datagrams<S> {
        Datagrams(Waits::new(socket, made_at))
    }

    pub(super) fn get_ref(&self) -> &S {
        self.0.get_ref()
    }

    pub(super) fn waits(&self) -> &Waits<S> {
        &self.0
    }

    pub(super) fn into_inner(self) -> S {
        self.0.into_inner()
    }

    pub(super) fn receive<R, F>(
        &self,
        called_at: &'static Location<'static>,
        mut receive: F,
    ) -> impl Future<Output = io::Result<R>> + use<'_, S, R, F>
    where
        F: FnMut(&S) -> io::Result<R>,
    {
        self.0
            .when_ready(Direction::Read, called_at, move |socket| {
                receive(socket).map(Progress::full)
            })
    }

    pub(super) fn send<R, F>(
        &self,
        called_at: &'static Location<'static>,
        mut send: F,
    ) -> impl Future<Output = io::Result<R>> + use<'_, S, R, F>
    where
        F: FnMut(&S) -> io::Result<R>,
    {
        self.0
            .when_ready(Direction::Write, called_at, move |socket| {
                send(socket).map(Progress::full)
            })
    }

    pub(super) fn poll_receive<R>(
        &self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.0.poll(cx, Direction::Read, |socket| {
            receive(socket).map(Progress::full)
        })
    }

    pub(super) fn poll_send<R>(
        &self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.0.poll(cx, Direction::Write, |socket| {
            send(socket).map(Progress::full)
        })
    }

    pub(super) fn try_receive<R>(
        &self,
        mut receive: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        self.0.now(Direction::Read, |socket| {
            receive(socket).map(Progress::full)
        })
    }

    pub(super) fn try_send<R>(&self, mut send: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        self.0
            .now(Direction::Write, |socket| send(socket).map(Progress::full))
    }
}

impl<S: AsFd + fmt::Debug> fmt::Debug for Datagrams<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}
