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

use divisi_sync::{Event, Semaphore};
use divisi_task::SpawnOptions;
use rustix::io::Errno;

use super::connections::Connections;
use super::{Configure, Listening};
use crate::net::{Accept, SocketPath};
use crate::runtime::{Handle, Report};
use crate::time::sleep;

/// The pauses after an accept that failed for want of resources; each is twice the one before. The first is short because a connection that ends frees what is
/// missing; the last is asyncio's `ACCEPT_RETRY_DELAY`.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One listener's accepting.
pub(super) struct Acceptor<L: Accept, H> {
    pub(super) listener: L,
    pub(super) path: Option<SocketPath>,
    pub(super) handler: Arc<H>,
    pub(super) configure: Option<Configure<L::Connection>>,
    pub(super) permits: Option<Arc<Semaphore>>,
    pub(super) connections: Arc<Connections>,
    pub(super) stop: Arc<Event>,
    pub(super) listening: Still,
    pub(super) runtime: Handle,
    pub(super) served_at: &'static Location<'static>,
}

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
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let stop = self.stop.clone();
        loop {
            let permit = match &self.permits {
                None => None,
                Some(permits) => {
                    match unless_stopped(&stop, permits.clone().acquire_owned(1)).await {
                        Some(Ok(permit)) => Some(permit),
                        _ => break,
                    }
                }
            };
            let accept = poll_fn(|cx| self.listener.poll_accept_from(cx));
            match unless_stopped(&stop, accept).await {
                None => break,
                Some(Ok((connection, peer))) => {
                    pause = FIRST_PAUSE;
                    self.spawn(connection, peer, permit);
                }
                // The peer's failure, not ours.
                Some(Err(error)) if concerns_one_connection(&error) => {}
                Some(Err(error)) => {
                    if pause == FIRST_PAUSE {
                        self.report(
                            "a server cannot accept connections for now and goes on trying; raise the limit of open files, or set `max_connections`",
                            error,
                        );
                    }
                    drop(permit);
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
        permit: Option<divisi_sync::OwnedSemaphorePermit>,
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

/// What accept(2) says about the connection that it took from the queue, and not about the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    let Some(number) = error.raw_os_error() else {
        return false;
    };
    let errno = Errno::from_raw_os_error(number);
    let network = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        // A firewall's rule.
        Errno::PERM,
    ];
    network.contains(&errno)
}
