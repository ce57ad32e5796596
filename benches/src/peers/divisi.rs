//! divisi with its default settings.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use divisi::{
    JoinHandle, Runtime,
    channel::oneshot_types,
    net::{TcpListener, TcpStream},
    prelude::*,
};

use crate::peer::{Blocking, Cancel, Http, Lifecycle, Net, Oneshot, Peer, Remote, Time};

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

impl Divisi {
    /// Starts a runtime with settings of one's own.
    pub fn of(builder: divisi::runtime::Builder) -> Self {
        Self(builder.build().expect("the runtime starts"))
    }

    /// The runtime itself, for its metrics.
    pub const fn runtime(&self) -> &Runtime {
        &self.0
    }
}

impl Peer for Divisi {
    const NAME: &'static str = "divisi";

    type Task<T: Send + 'static> = Task<T>;

    fn start(workers: usize) -> Self {
        Self::of(Runtime::builder().worker_threads(workers))
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

    async fn adopt(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        TcpStream::try_from(stream)
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

impl Remote for Divisi {
    fn spawn_remote<F>(&self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Task(self.0.spawn(future))
    }
}

impl Cancel for Divisi {
    async fn cancel_all<T: Send + 'static>(tasks: Vec<Self::Task<T>>) {
        for task in &tasks {
            task.0.cancel("the bench is over");
        }
        for task in tasks {
            assert!(task.0.await.is_err(), "the task did not end by itself");
        }
    }
}

impl Lifecycle for Divisi {
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

impl Http for Divisi {
    async fn serve_http(stream: TcpStream, steps: u64) {
        super::http::serve(stream, steps).await;
    }
}
