//! smol: a `StaticExecutor`, its fastest, run by n threads that drive `async-io`, as the documentation of both recommends.

use std::{
    future::{self, Future},
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Once,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use async_executor::StaticExecutor;
use futures_channel::oneshot;
use smol::{
    Timer,
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::peer::{Blocking, Net, Oneshot, Peer, Time};

static EXECUTOR: StaticExecutor = StaticExecutor::new();
static WORKERS: Once = Once::new();

/// smol's executor and reactor. They are the process's own, so the first start decides the number of workers.
#[derive(Debug)]
pub struct Smol(());

impl Peer for Smol {
    const NAME: &'static str = "smol";

    type Task<T: Send + 'static> = async_executor::Task<T>;

    fn start(workers: usize) -> Self {
        WORKERS.call_once(|| {
            for worker in 0..workers {
                thread::Builder::new()
                    .name(format!("smol-{worker}"))
                    .spawn(|| smol::block_on(EXECUTOR.run(future::pending::<()>())))
                    .expect("a worker thread starts");
            }
        });
        Self(())
    }

    fn block_on<F: Future>(&self, root: F) -> F::Output {
        smol::block_on(root)
    }

    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        EXECUTOR.spawn(future)
    }

    fn spawn_detached<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        EXECUTOR.spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        smol::future::yield_now()
    }
}

/// A received value without the `Result` around it: no sender of the workloads is dropped unused.
#[derive(Debug)]
pub struct Receiver<T>(oneshot::Receiver<T>);

impl<T> Future for Receiver<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|value| value.expect("the sender sends"))
    }
}

/// smol has no channel for one value: that of `futures` is the usual choice.
impl Oneshot for Smol {
    type Sender<T: Send + 'static> = oneshot::Sender<T>;
    type Receiver<T: Send + 'static> = Receiver<T>;

    fn oneshot<T: Send + 'static>() -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (sender, Receiver(receiver))
    }

    fn send<T: Send + 'static>(sender: Self::Sender<T>, value: T) {
        assert!(sender.send(value).is_ok(), "the receiver waits");
    }
}

impl Time for Smol {
    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }

    /// smol has no timeout of its own: this is the form its documentation gives.
    async fn timeout<F: Future + Send>(duration: Duration, future: F) -> Option<F::Output>
    where
        F::Output: Send,
    {
        let expired = async {
            Timer::after(duration).await;
            None
        };
        smol::future::or(async { Some(future.await) }, expired).await
    }
}

impl Net for Smol {
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

impl Blocking for Smol {
    fn spawn_blocking<T, F>(job: F) -> Self::Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        smol::unblock(job)
    }
}
