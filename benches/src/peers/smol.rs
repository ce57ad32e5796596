//! smol: a `StaticExecutor`, its fastest, run by n threads that drive `async-io`, as the documentation of both recommends.

use std::{
    cell::RefCell,
    future::{self, Future},
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Once},
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use async_executor::{Executor, StaticExecutor};
use futures_channel::oneshot;
use smol::{
    Timer,
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::peer::{Blocking, Cancel, Http, Lifecycle, Net, Oneshot, Peer, Remote, Time};

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
    /// The timer is made by the call, as everywhere: its time runs from there.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        let timer = Timer::after(duration);
        async move {
            timer.await;
        }
    }

    /// smol has no timeout of its own: this is the form its documentation gives. The time runs from the first poll that finds the future pending, as
    /// divisi's does.
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

impl Blocking for Smol {
    fn spawn_blocking<T, F>(job: F) -> Self::Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        smol::unblock(job)
    }
}

impl Remote for Smol {
    fn spawn_remote<F>(&self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        EXECUTOR.spawn(future)
    }
}

impl Cancel for Smol {
    async fn cancel_all<T: Send + 'static>(tasks: Vec<Self::Task<T>>) {
        // `Task::cancel` asks when it is first polled and then waits: ask all of them before waiting for the first.
        let mut cancelling: Vec<_> = tasks
            .into_iter()
            .map(|task| Some(Box::pin(task.cancel())))
            .collect();
        smol::future::poll_fn(|cx| {
            for slot in &mut cancelling {
                if slot
                    .as_mut()
                    .is_some_and(|task| task.as_mut().poll(cx).is_ready())
                {
                    *slot = None;
                }
            }
            Poll::Ready(())
        })
        .await;
        for task in cancelling.into_iter().flatten() {
            task.await;
        }
    }
}

/// An executor that can end, which the static one cannot: `Executor` on threads, as its documentation shows it.
struct Life {
    executor: Arc<Executor<'static>>,
}

thread_local! {
    /// The executor of the life that this thread belongs to.
    static LIFE: RefCell<Option<Arc<Executor<'static>>>> = const { RefCell::new(None) };
}

impl Lifecycle for Smol {
    fn live_once<F>(workers: usize, future: F) -> (Duration, Duration)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let begin = Instant::now();
        let life = Life {
            executor: Arc::new(Executor::new()),
        };
        let (stop, stopped) = smol::channel::unbounded::<()>();
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let (executor, stopped) = (life.executor.clone(), stopped.clone());
                thread::spawn(move || {
                    LIFE.set(Some(executor.clone()));
                    // An error is what ends it: the sender is gone.
                    let _ = smol::block_on(executor.run(stopped.recv()));
                    LIFE.set(None);
                })
            })
            .collect();
        let started = smol::block_on(life.executor.spawn(async move {
            let started = begin.elapsed();
            future.await;
            started
        }));
        let end = Instant::now();
        drop(stop);
        for thread in threads {
            thread.join().expect("the executor does not panic");
        }
        drop(life);
        (started, end.elapsed())
    }

    fn spawn_in_life<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        LIFE.with_borrow(|life| {
            life.as_ref()
                .expect("a thread of the life")
                .spawn(future)
                .detach();
        });
    }
}

impl Http for Smol {
    async fn serve_http(stream: TcpStream, steps: u64) {
        super::http::serve(smol_hyper::rt::FuturesIo::new(stream), steps).await;
    }
}
