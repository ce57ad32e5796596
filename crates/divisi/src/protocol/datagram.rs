//! Datagrams by callbacks.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::{callback_panicked, cancelled};
use crate::io::WriteLimits;
use crate::net::UdpSocket;

/// The largest datagram that UDP can carry; what is longer cannot arrive.
const LARGEST: usize = 64 * 1024;

/// The callbacks of a UDP socket, in the order `made`, then any of the others, then `lost` exactly once. See the [module](super).
pub trait Datagram: Send + 'static {
    /// The socket is there. Keep a clone of `transport` to send.
    fn made(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// A datagram has come. It may be empty.
    fn received(&mut self, data: &[u8], from: SocketAddr);

    /// The system has told of a failure, such as that nobody listens where a datagram went (ICMP). Receiving goes on.
    fn error(&mut self, error: io::Error) {
        let _ = error;
    }

    /// The socket is gone: `None` if this side closed it, else why.
    fn lost(&mut self, error: Option<io::Error>) {
        let _ = error;
    }

    /// More than the high-water mark waits to be sent: stop producing.
    fn pause_writing(&mut self) {}

    /// No more than the low-water mark waits to be sent: go on.
    fn resume_writing(&mut self) {}
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    #[default]
    Open,
    Close,
    Abort,
}

#[derive(Default)]
struct State {
    outgoing: VecDeque<(Vec<u8>, SocketAddr)>,
    waiting: usize,
    limits: WriteLimits,
    wish: Wish,
    changed: bool,
    lost: bool,
    driver: Option<Waker>,
}

/// A UDP socket as its protocol sees it. Clones are the same socket, and may be used from any thread. No method waits.
#[derive(Clone)]
pub struct DatagramTransport(Arc<Mutex<State>>);

impl DatagramTransport {
    /// As in `Transport`: a request is seen by the driver, or wakes it.
    fn ask(&self, change: impl FnOnce(&mut State)) {
        let driver = {
            let mut state = self.0.lock();
            change(&mut state);
            state.changed = true;
            state.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Sends a datagram after those that wait. What the system does not take at once is kept; [`pause_writing`](Datagram::pause_writing) tells when that becomes much.
    ///
    /// After [`close`](Self::close) or the loss of the socket it does nothing. Failures come to [`error`](Datagram::error).
    pub fn send_to(&self, data: &[u8], to: SocketAddr) {
        self.ask(|state| {
            if state.wish == Wish::Open && !state.lost {
                state.outgoing.push_back((data.to_owned(), to));
                state.waiting += data.len();
            }
        });
    }

    /// Closes the socket after what waits is sent.
    pub fn close(&self) {
        self.ask(|state| state.wish = state.wish.max(Wish::Close));
    }

    /// Closes the socket now; what waits is lost.
    pub fn abort(&self) {
        self.ask(|state| state.wish = Wish::Abort);
    }

    /// Whether the socket is being closed or gone.
    pub fn is_closing(&self) -> bool {
        let state = self.0.lock();
        state.lost || state.wish >= Wish::Close
    }

    /// The number of bytes that wait to be sent.
    pub fn buffered(&self) -> usize {
        self.0.lock().waiting
    }

    /// Sets when the protocol is told to pause and to resume sending: 64 KiB and 16 KiB unless told otherwise.
    pub fn set_write_limits(&self, limits: WriteLimits) {
        self.ask(|state| state.limits = limits);
    }
}

impl fmt::Debug for DatagramTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("buffered", &self.buffered())
            .field("closing", &self.is_closing())
            .finish()
    }
}

/// Drives a UDP socket until it is closed, and gives the protocol back.
///
/// ```
/// use std::net::SocketAddr;
/// use divisi::net::UdpSocket;
/// use divisi::protocol::{self, Datagram, DatagramTransport};
///
/// #[derive(Default)]
/// struct Echo(Option<DatagramTransport>);
///
/// impl Datagram for Echo {
///     fn made(&mut self, transport: &DatagramTransport) {
///         self.0 = Some(transport.clone());
///     }
///
///     fn received(&mut self, data: &[u8], from: SocketAddr) {
///         self.0.as_ref().unwrap().send_to(data, from);
///     }
/// }
///
/// # divisi::run(async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let address = server.local_addr()?;
/// divisi::spawn(protocol::drive_datagrams(server, Echo::default()));
///
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to(b"hello", address).await?;
/// let mut answer = [0; 16];
/// let (length, _) = client.recv_from(&mut answer).await?;
/// assert_eq!(&answer[..length], b"hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Cancel safety
///
/// Dropping the future closes the socket: `lost` is called if `made` was.
pub fn drive_datagrams<P: Datagram>(
    socket: UdpSocket,
    protocol: P,
) -> impl Future<Output = P> + Send {
    let mut driver = Driver {
        socket,
        transport: DatagramTransport(Arc::default()),
        protocol: Some(protocol),
        landing: vec![0; LARGEST],
        made: false,
        lost: false,
        paused: false,
    };
    async move { poll_fn(|cx| driver.poll(cx)).await }
}

struct Driver<P: Datagram> {
    socket: UdpSocket,
    transport: DatagramTransport,
    /// `None` when it was given back.
    protocol: Option<P>,
    landing: Vec<u8>,
    made: bool,
    lost: bool,
    paused: bool,
}

impl<P: Datagram> Driver<P> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<P> {
        drop(self.transport.0.lock().driver.take());
        let waker = cx.waker().clone();
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.round(cx))) {
                Ok(Poll::Ready(error)) => {
                    self.lose(error);
                    return Poll::Ready(self.protocol.take().expect("given back only here"));
                }
                Ok(Poll::Pending) => {
                    let mut state = self.transport.0.lock();
                    if !state.changed {
                        state.driver = Some(waker);
                        return Poll::Pending;
                    }
                }
                Err(panic) => {
                    // If `lost` panics as well, the first panic is the one to tell of.
                    let _ = catch_unwind(AssertUnwindSafe(|| {
                        self.lose(Some(callback_panicked()));
                    }));
                    resume_unwind(panic);
                }
            }
        }
    }

    /// Sends and receives until neither is possible. Ready when the socket is to be closed, with the reason.
    fn round(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Error>> {
        let Driver {
            socket,
            transport,
            protocol,
            landing,
            made,
            paused,
            ..
        } = self;
        let protocol = protocol.as_mut().expect("given back only at the end");
        if !std::mem::replace(made, true) {
            protocol.made(transport);
        }
        loop {
            let (wish, next) = {
                let mut state = transport.0.lock();
                state.changed = false;
                (state.wish, state.outgoing.pop_front())
            };
            if wish == Wish::Abort {
                return Poll::Ready(None);
            }
            let mut moved = false;
            match next {
                None if wish == Wish::Close => return Poll::Ready(None),
                None => {}
                Some((data, to)) => match socket.poll_send_to(cx, &data, to) {
                    Poll::Pending => transport.0.lock().outgoing.push_front((data, to)),
                    Poll::Ready(sent) => {
                        moved = true;
                        transport.0.lock().waiting -= data.len();
                        match sent {
                            Ok(_) => {}
                            Err(error) if is_about_a_datagram(&error) => protocol.error(error),
                            Err(error) => return Poll::Ready(Some(error)),
                        }
                    }
                },
            }
            let (waiting, limits) = {
                let state = transport.0.lock();
                (state.waiting, state.limits)
            };
            if !*paused && waiting > limits.high() {
                *paused = true;
                protocol.pause_writing();
            } else if *paused && waiting <= limits.low() {
                *paused = false;
                protocol.resume_writing();
            }
            if wish == Wish::Open {
                match socket.poll_recv_from(cx, landing) {
                    Poll::Pending => {}
                    Poll::Ready(Ok((length, from))) => {
                        moved = true;
                        protocol.received(&landing[..length], from);
                    }
                    Poll::Ready(Err(error)) if is_about_a_datagram(&error) => {
                        moved = true;
                        protocol.error(error);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(error)),
                }
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    fn lose(&mut self, error: Option<io::Error>) {
        if !self.made || std::mem::replace(&mut self.lost, true) {
            return;
        }
        let left = {
            let mut state = self.transport.0.lock();
            state.lost = true;
            state.waiting = 0;
            (std::mem::take(&mut state.outgoing), state.driver.take())
        };
        drop(left);
        if let Some(protocol) = &mut self.protocol {
            protocol.lost(error);
        }
    }
}

/// Whether only a datagram is concerned and not the socket: what the system says, while it has the socket.
fn is_about_a_datagram(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [Errno::BADF, Errno::NOTSOCK].map(|errno| Some(errno.raw_os_error()));
    error.raw_os_error().is_some() && !gone.contains(&error.raw_os_error())
}

impl<P: Datagram> Drop for Driver<P> {
    fn drop(&mut self) {
        self.lose(Some(cancelled()));
    }
}
