//! divisi with its default settings.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use divisi::{
    JoinHandle, Runtime,
    channel::oneshot_types,
    net::{TcpListener, TcpStream},
    prelude::*,
};

use crate::peer::{Blocking, Net, Oneshot, Peer, Time};

/// divisi's multi-threaded runtime.
#[derive(Debug)]
pub struct Divisi(Runtime);

/// A task's value without the `Result` around it: no task of the workloads panics or is cancelled.
#[derive(Debug)]
pub struct Task<T>(JoinHandle<T>);

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|output| output.expect("the task neither panics nor is cancelled"))
    }
}

impl Peer for Divisi {
    const NAME: &'static str = "divisi";

    type Task<T: Send + 'static> = Task<T>;

    fn start(workers: usize) -> Self {
        let runtime = Runtime::builder().worker_threads(workers).build();
        Self(runtime.expect("the runtime starts"))
    }

    fn block_on<F: Future>(&self, root: F) -> F::Output {
        self.0.block_on(root)
    }

    fn spawn<F>(future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Task(divisi::spawn(future))
    }

    fn spawn_detached<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(divisi::spawn(future));
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        divisi::yield_now()
    }
}

/// A received value without the `Result` around it: no sender of the workloads is dropped unused.
#[derive(Debug)]
pub struct Receiver<T>(oneshot_types::Receiver<T>);

impl<T> Future for Receiver<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|value| value.expect("the sender sends"))
    }
}

impl Oneshot for Divisi {
    type Sender<T: Send + 'static> = oneshot_types::Sender<T>;
    type Receiver<T: Send + 'static> = Receiver<T>;

    fn oneshot<T: Send + 'static>() -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = divisi::channel::oneshot();
        (sender, Receiver(receiver))
    }

    fn send<T: Send + 'static>(sender: Self::Sender<T>, value: T) {
        assert!(sender.send(value).is_ok(), "the receiver waits");
    }
}

impl Time for Divisi {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        divisi::time::sleep(duration)
    }

    async fn timeout<F: Future + Send>(duration: Duration, future: F) -> Option<F::Output>
    where
        F::Output: Send,
    {
        divisi::time::timeout(duration, future).await.ok()
    }
}

impl Net for Divisi {
    type Listener = TcpListener;
    type Stream = TcpStream;

    async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer).await
    }

    async fn write_all(stream: &mut TcpStream, data: &[u8]) -> io::Result<()> {
        stream.write_all(data).await
    }
}

impl Blocking for Divisi {
    fn spawn_blocking<T, F>(job: F) -> Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Task(divisi::spawn_blocking(job))
    }
}
