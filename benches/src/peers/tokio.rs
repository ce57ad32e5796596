//! tokio: the multi-thread runtime with its default settings.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
};

use crate::peer::{Blocking, Cancel, Http, Lifecycle, Net, Oneshot, Peer, Remote, Time};

/// tokio's multi-thread runtime.
#[derive(Debug)]
pub struct Tokio(Runtime);

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

impl Peer for Tokio {
    const NAME: &'static str = "tokio";

    type Task<T: Send + 'static> = Task<T>;

    fn start(workers: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build();
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
        Task(tokio::spawn(future))
    }

    fn spawn_detached<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(tokio::spawn(future));
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
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

impl Oneshot for Tokio {
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

impl Time for Tokio {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    async fn timeout<F: Future + Send>(duration: Duration, future: F) -> Option<F::Output>
    where
        F::Output: Send,
    {
        tokio::time::timeout(duration, future).await.ok()
    }
}

impl Net for Tokio {
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

    async fn adopt(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }

    async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer).await
    }

    async fn write_all(stream: &mut TcpStream, data: &[u8]) -> io::Result<()> {
        stream.write_all(data).await
    }
}

impl Blocking for Tokio {
    fn spawn_blocking<T, F>(job: F) -> Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Task(tokio::task::spawn_blocking(job))
    }
}

impl Remote for Tokio {
    fn spawn_remote<F>(&self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Task(self.0.spawn(future))
    }
}

impl Cancel for Tokio {
    async fn cancel_all<T: Send + 'static>(tasks: Vec<Self::Task<T>>) {
        for task in &tasks {
            task.0.abort();
        }
        for task in tasks {
            assert!(task.0.await.is_err(), "the task did not end by itself");
        }
    }
}

impl Lifecycle for Tokio {
    fn live_once<F>(workers: usize, future: F) -> (Duration, Duration)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let begin = Instant::now();
        let runtime = Self::start(workers);
        let started = runtime.block_on(async {
            Self::spawn(async move {
                let started = begin.elapsed();
                future.await;
                started
            })
            .await
        });
        let end = Instant::now();
        drop(runtime);
        (started, end.elapsed())
    }

    fn spawn_in_life<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::spawn_detached(future);
    }
}

impl Http for Tokio {
    async fn serve_http(stream: TcpStream, steps: u64) {
        super::http::serve(hyper_util::rt::TokioIo::new(stream), steps).await;
    }
}
