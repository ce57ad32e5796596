//! A tiny executor on one reactor, with a time limit on everything that waits.

#![allow(dead_code, reason = "each test file uses its part")]

use divisi_reactor::{Clock, Direction, Progress, Reactor, Scratch, Source, Wait};
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Nothing in these tests takes this long unless it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A waker that counts, and notifies the reactor its task sleeps in.
#[derive(Default)]
pub(crate) struct Count {
    wakes: AtomicUsize,
    reactor: Option<Reactor>,
}

impl Count {
    pub(crate) fn new() -> Arc<Count> {
        Arc::default()
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        if let Some(reactor) = &self.reactor {
            reactor.notify();
        }
    }
}

/// A reactor and the buffers of the thread that turns it.
pub(crate) struct Loop {
    pub(crate) reactor: Reactor,
    pub(crate) scratch: Scratch,
}

impl Loop {
    pub(crate) fn new() -> Loop {
        Loop::with_clock(Clock::real())
    }

    pub(crate) fn with_clock(clock: Clock) -> Loop {
        Loop::on(Reactor::new(clock).unwrap())
    }

    pub(crate) fn on(reactor: Reactor) -> Loop {
        Loop {
            reactor,
            scratch: Scratch::new(64),
        }
    }

    pub(crate) fn home(&self) -> impl Fn() -> io::Result<Reactor> + Clone + use<> {
        let reactor = self.reactor.clone();
        move || Ok(reactor.clone())
    }

    /// Looks once.
    pub(crate) fn poll(&mut self) -> divisi_reactor::Turn {
        self.reactor.turn(&mut self.scratch, Wait::Poll).unwrap()
    }

    /// Turns until `done`.
    pub(crate) fn turn_until(&mut self, mut done: impl FnMut() -> bool) {
        let limit = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < limit, "nothing happened");
            let wait = Wait::Until(Some(limit));
            self.reactor.turn(&mut self.scratch, wait).unwrap();
        }
    }

    /// Looks until the system has nothing more to tell.
    pub(crate) fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            let turn = self.poll();
            quiet = if turn.events == 0 { quiet + 1 } else { 0 };
        }
    }

    pub(crate) fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let count = Arc::new(Count {
            wakes: AtomicUsize::new(0),
            reactor: Some(self.reactor.clone()),
        });
        let waker = Waker::from(count.clone());
        loop {
            let seen = count.wakes();
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            self.turn_until(|| count.wakes() != seen);
        }
    }
}

/// Polls once with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls once for the task that `count` stands for.
pub(crate) fn poll_for<F: Future + Unpin>(count: &Arc<Count>, future: &mut F) -> Poll<F::Output> {
    let waker = Waker::from(count.clone());
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// Reads up to `asked` bytes.
pub(crate) async fn read<T>(
    source: &Source<T>,
    asked: usize,
    home: impl FnMut() -> io::Result<Reactor>,
) -> io::Result<Vec<u8>>
where
    T: AsFd,
    for<'a> &'a T: Read,
{
    source
        .async_io(Direction::Read, home, |mut io| {
            let mut buffer = vec![0; asked];
            let n = io.read(&mut buffer)?;
            buffer.truncate(n);
            let short = 0 < n && n < asked;
            Ok(if short {
                Progress::partial(buffer)
            } else {
                Progress::full(buffer)
            })
        })
        .await
}

/// Writes all of `data`.
pub(crate) async fn write_all<T>(
    source: &Source<T>,
    mut data: &[u8],
    mut home: impl FnMut() -> io::Result<Reactor>,
) -> io::Result<()>
where
    T: AsFd,
    for<'a> &'a T: Write,
{
    while !data.is_empty() {
        let n = source
            .async_io(Direction::Write, &mut home, |mut io| {
                io.write(data).map(|n| Progress::of(n, data.len()))
            })
            .await?;
        data = &data[n..];
    }
    Ok(())
}

/// Both ends of a TCP connection over loopback, non-blocking.
pub(crate) fn tcp_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for end in [&near, &far] {
        end.set_nonblocking(true).unwrap();
        end.set_nodelay(true).unwrap();
    }
    (near, far)
}

/// Both ends of a Unix stream, non-blocking.
pub(crate) fn unix_pair() -> (
    std::os::unix::net::UnixStream,
    std::os::unix::net::UnixStream,
) {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}
