//! Accepting: permits, back-off, and a task for each connection.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use divisi_sync::{Event, OwnedSemaphorePermit, Semaphore};
use divisi_task::SpawnOptions;
use rustix::io::Errno;

use super::connections::Connections;
use super::{Configure, Listening};
use crate::net::incoming::Sealed;
use crate::net::{Accept, SocketPath};
use crate::runtime::{Handle, Report};
use crate::time::sleep;

/// The pauses after an accept that failed for want of resources; each is twice the one before. The first is short because a connection that ends frees what is
/// missing; the last is asyncio's `ACCEPT_RETRY_DELAY`.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// So many refusals of one connection after the other are taken for a refusal of all: a policy may forbid the call itself with the same errors.
const MOST_REFUSALS: u32 = 16;

/// One listener's accepting.
pub(super) struct Acceptor<L: Accept, H> {
    // Before the listener, since fields are dropped in order: while it listens nobody takes the path over, so the file that goes is this one's.
    pub(super) path: Option<SocketPath>,
    pub(super) listener: L,
    pub(super) handler: Arc<H>,
    pub(super) configure: Option<Configure<L::Connection>>,
    pub(super) permits: Option<Arc<Semaphore>>,
    pub(super) connections: Arc<Connections>,
    pub(super) stop: Arc<Event>,
    pub(super) listening: Still,
    pub(super) runtime: Handle,
    pub(super) served_at: &'static Location<'static>,
}

/// A connection with its address, and its permit where there is a limit.
type Accepted<L> = (
    (<L as Sealed>::Connection, <L as Sealed>::Address),
    Option<OwnedSemaphorePermit>,
);

/// An accept task that has not dropped its listener.
pub(super) struct Still(pub(super) Arc<Listening>);

impl Drop for Still {
    fn drop(&mut self) {
        // Release and acquire: who sees the end sees the sockets closed.
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.closed.set();
        }
    }
}

/// Polls `future` until it is ready, or `stop` is set.
async fn unless_stopped<T>(stop: &Event, future: impl Future<Output = T>) -> Option<T> {
    let mut stopped = pin!(stop.wait());
    let mut future = pin!(future);
    poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

impl<L, H, F, E> Acceptor<L, H>
where
    L: Accept,
    H: Fn(L::Connection, L::Address) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    /// The next connection, and its place among those that are allowed.
    async fn accept(&self) -> io::Result<Accepted<L>> {
        let Some(permits) = &self.permits else {
            let accepted = poll_fn(|cx| self.listener.poll_accept_from(cx)).await?;
            return Ok((accepted, None));
        };
        loop {
            // Without a permit while nobody comes: the peers of another listener may need it.
            poll_fn(|cx| self.listener.poll_acceptable(cx)).await?;
            let permit = permits.clone().acquire_owned(1).await;
            let permit = permit.expect("nobody closes the semaphore");
            match poll_fn(|cx| Poll::Ready(self.listener.poll_accept_from(cx))).await {
                Poll::Ready(accepted) => return Ok((accepted?, Some(permit))),
                // The peer went while this waited for the permit, or another process took it.
                Poll::Pending => {}
            }
        }
    }

    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut refusals = 0;
        let stop = self.stop.clone();
        loop {
            let error = match unless_stopped(&stop, self.accept()).await {
                None => break,
                Some(Ok(((connection, peer), permit))) => {
                    pause = FIRST_PAUSE;
                    refusals = 0;
                    self.spawn(connection, peer, permit);
                    continue;
                }
                Some(Err(error)) => error,
            };
            match Failure::of(&error) {
                Failure::Peer => {}
                Failure::Refused if refusals < MOST_REFUSALS => refusals += 1,
                failure => {
                    if pause == FIRST_PAUSE {
                        self.report(failure.message(), error);
                    }
                    if unless_stopped(&stop, sleep(pause)).await.is_none() {
                        break;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        // In this order: nobody finds the path of a socket that is closed, and whoever waits for the end finds both gone.
        drop(self.path);
        drop(self.listener);
        drop(self.listening);
    }

    fn spawn(
        &self,
        connection: L::Connection,
        peer: L::Address,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        if let Some(configure) = self.configure {
            if configure(&connection).is_err() {
                // It is gone already.
                return;
            }
        }
        let entry = self.connections.enter();
        let id = entry.id();
        let (handler, runtime) = (self.handler.clone(), self.runtime.clone());
        let served_at = self.served_at;
        let connections = self.connections.clone();
        let future = async move {
            // The count and the permit stand for the connection, so they are dropped after it, also by a task that was never polled: what a future has
            // captured is dropped in the order in which it is first named.
            let (connection, peer) = (connection, peer);
            let _held = (permit, entry);
            let peer_name = format!("{peer:?}");
            if let Err(error) = handler(connection, peer).await {
                let task = crate::task::current();
                runtime.report(&Report {
                    task: task.as_ref().map(|task| task.id()),
                    spawned_at: Some(served_at),
                    error: Some(error.into()),
                    ..Report::new(format!(
                        "the handler of the connection from {peer_name} failed"
                    ))
                });
            }
        };
        let options = SpawnOptions::new().location(served_at);
        let task = self.runtime.spawn_with(future, options);
        connections.add_handle(id, task.abort_handle());
    }

    fn report(&self, message: &str, error: io::Error) {
        self.runtime.report(&Report {
            spawned_at: Some(self.served_at),
            error: Some(error.into()),
            ..Report::new(message.to_owned())
        });
    }
}

/// What an error of accept(2) is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The connection that was taken from the queue.
    Peer,
    /// That connection as well, by a firewall's rule, or the call itself, by a policy.
    Refused,
    /// The listener, the process or the system.
    Server,
}

impl Failure {
    fn of(error: &io::Error) -> Failure {
        let Some(number) = error.raw_os_error() else {
            return Failure::Server;
        };
        match Errno::from_raw_os_error(number) {
            Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH => Failure::Peer,
            Errno::OPNOTSUPP | Errno::PERM => Failure::Refused,
            _ => Failure::Server,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Failure::Refused => {
                "a server's connections are refused one after the other, and it goes on trying; look for a firewall's rule or a policy (seccomp, SELinux) that forbids accept(2)"
            }
            Failure::Peer | Failure::Server => {
                "a server cannot accept connections for now and goes on trying; raise the limit of open files, or set `max_connections`"
            }
        }
    }
}
