//! What the workloads ask of a runtime: one trait an ability.

use std::{future::Future, io, net::SocketAddr, time::Duration};

/// A multi-threaded runtime with a number of workers.
pub trait Peer: Sized + Send + Sync + 'static {
    /// The name in tables.
    const NAME: &'static str;

    /// A spawned task, awaited for its value. Dropping it before it is done may cancel the task: see [`spawn_detached`](Self::spawn_detached).
    type Task<T: Send + 'static>: Future<Output = T> + Send + Unpin + 'static;

    /// Starts the runtime.
    fn start(workers: usize) -> Self;

    /// Runs a future on the calling thread. The other functions are called from inside.
    fn block_on<F: Future>(&self, root: F) -> F::Output;

    /// Starts a task.
    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Starts a task that nobody waits for.
    fn spawn_detached<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static;

    /// Lets other tasks run.
    fn yield_now() -> impl Future<Output = ()> + Send;
}

/// A channel for one value.
pub trait Oneshot: Peer {
    /// The sending half.
    type Sender<T: Send + 'static>: Send + 'static;
    /// The receiving half; it is a future of the value.
    type Receiver<T: Send + 'static>: Future<Output = T> + Send + 'static;

    /// Makes the two halves.
    fn oneshot<T: Send + 'static>() -> (Self::Sender<T>, Self::Receiver<T>);

    /// Sends the value; the receiver must still be there.
    fn send<T: Send + 'static>(sender: Self::Sender<T>, value: T);
}

/// Timers.
pub trait Time: Peer {
    /// Waits that long, from the call and not from the first poll.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;

    /// Gives the future that long; `None` when it was not done in time.
    fn timeout<F: Future + Send>(
        duration: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + Send
    where
        F::Output: Send;
}

/// TCP.
pub trait Net: Peer {
    /// A listening socket.
    type Listener: Send + Sync + 'static;
    /// A connection, with `TCP_NODELAY`.
    type Stream: Send + 'static;

    /// Listens on a free port of the loopback interface.
    fn listen() -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;

    /// Waits for a connection.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Connects.
    fn connect(address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Takes over a socket that was accepted elsewhere; called in the runtime.
    fn adopt(stream: std::net::TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Reads what is there, at most the buffer's length.
    fn read(
        stream: &mut Self::Stream,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// Writes all of it.
    fn write_all(
        stream: &mut Self::Stream,
        data: &[u8],
    ) -> impl Future<Output = io::Result<()>> + Send;
}

/// HTTP/1.1 by hyper.
pub trait Http: Net {
    /// Serves requests on a connection until the client closes it. Each gets the same small answer after that many steps of work.
    fn serve_http(stream: Self::Stream, steps: u64) -> impl Future<Output = ()> + Send;
}

/// A pool for closures that block.
pub trait Blocking: Peer {
    /// Runs the closure on a thread of the pool.
    fn spawn_blocking<T, F>(job: F) -> Self::Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static;
}

/// Tasks started by threads that are not the runtime's.
pub trait Remote: Peer {
    /// Starts a task from anywhere.
    fn spawn_remote<F>(&self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;
}

/// Cancelling.
pub trait Cancel: Peer {
    /// Asks for the end of all these tasks, then waits until they have ended.
    fn cancel_all<T: Send + 'static>(tasks: Vec<Self::Task<T>>) -> impl Future<Output = ()> + Send;
}

/// Runtimes that begin and end.
pub trait Lifecycle: Peer {
    /// Starts a runtime of its own, runs the future in it as a task until it is done, and ends the runtime with all its tasks. Returns how
    /// long the start took, up to the first poll of that task, and how long the end.
    fn live_once<F>(workers: usize, future: F) -> (Duration, Duration)
    where
        F: Future<Output = ()> + Send + 'static;

    /// Starts a task on the runtime that [`live_once`](Self::live_once) runs; only for use inside.
    fn spawn_in_life<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static;
}

/// Locks, channels for many values, and limits. What it returns is never closed: nothing of the workloads is dropped while it is used.
pub trait Primitives: Peer {
    /// A lock around a number.
    type Mutex: Send + Sync + 'static;
    /// Permits for so many at once.
    type Semaphore: Send + Sync + 'static;
    /// The sending end of a bounded channel.
    type Sender: Clone + Send + Sync + 'static;
    /// The receiving end of a bounded channel.
    type Receiver: Send + 'static;
    /// The writing end of a watched number.
    type WatchSender: Send + Sync + 'static;
    /// The reading end of a watched number.
    type WatchReceiver: Clone + Send + 'static;
    /// The sending end of a broadcast.
    type BroadcastSender: Send + Sync + 'static;
    /// A receiving end of a broadcast.
    type BroadcastReceiver: Send + 'static;
    /// A limit that is never reached.
    type Limiter: Send + Sync + 'static;

    /// A lock around zero.
    fn mutex() -> Self::Mutex;

    /// Adds one under the lock.
    fn count(mutex: &Self::Mutex) -> impl Future<Output = ()> + Send;

    /// As many permits.
    fn semaphore(permits: usize) -> Self::Semaphore;

    /// Does the work with a permit.
    fn with_permit<F: Future<Output = ()> + Send>(
        semaphore: &Self::Semaphore,
        work: F,
    ) -> impl Future<Output = ()> + Send;

    /// A channel for many senders.
    fn mpsc(capacity: usize) -> (Self::Sender, Self::Receiver);

    /// Sends, and waits for room.
    fn send_to(sender: &Self::Sender, value: u64) -> impl Future<Output = ()> + Send;

    /// The next value; `None` when all senders are gone.
    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>> + Send;

    /// A watched zero.
    fn watch() -> (Self::WatchSender, Self::WatchReceiver);

    /// Changes the watched number.
    fn set(sender: &Self::WatchSender, value: u64);

    /// Waits until it has changed, and looks.
    fn changed(receiver: &mut Self::WatchReceiver) -> impl Future<Output = u64> + Send;

    /// A broadcast with so many receivers.
    fn broadcast(
        capacity: usize,
        receivers: usize,
    ) -> (Self::BroadcastSender, Vec<Self::BroadcastReceiver>);

    /// Sends to all receivers; there is room.
    fn tell(sender: &Self::BroadcastSender, value: u64);

    /// The next value of a broadcast.
    fn hear(receiver: &mut Self::BroadcastReceiver) -> impl Future<Output = u64> + Send;

    /// A limiter of a rate beyond what anybody can make.
    fn limiter() -> Self::Limiter;

    /// Passes it without a wait; whether it may.
    fn pass(limiter: &Self::Limiter) -> bool;
}

/// A runtime that all workloads run on.
pub trait FullPeer:
    Oneshot + Time + Net + Blocking + Remote + Cancel + Lifecycle + Primitives
{
}

impl<P: Oneshot + Time + Net + Blocking + Remote + Cancel + Lifecycle + Primitives> FullPeer for P {}
