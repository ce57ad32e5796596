//! Connecting to one of several addresses: happy eyeballs (RFC 8305).
//!
//! The addresses are tried in the order given, families in turns. The next attempt begins when one has failed or the delay is over; earlier ones go on. The first
//! that succeeds wins and the others are dropped, which closes their sockets.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::time::{Sleep, sleep, timeout};

/// How long an attempt is alone: the value that RFC 8305 recommends, and asyncio's users do.
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// When attempts begin and end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// `None`: one after the other.
    pub(super) delay: Option<Duration>,
    /// For all attempts together.
    pub(super) limit: Option<Duration>,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            delay: Some(ATTEMPT_DELAY),
            limit: None,
        }
    }
}

/// The result of the first attempt that succeeds.
pub(super) async fn first_to_connect<R, F>(
    addresses: impl Iterator<Item = SocketAddr>,
    schedule: Schedule,
    attempt: impl FnMut(SocketAddr) -> F,
) -> io::Result<R>
where
    F: Future<Output = io::Result<R>>,
{
    let mut race = Race {
        waiting: in_turns(addresses),
        running: Vec::new(),
        failed: Vec::new(),
        next: None,
        delay: schedule.delay,
        attempt,
    };
    let outcome = match schedule.limit {
        None => poll_fn(|cx| race.poll(cx)).await,
        Some(limit) => {
            let raced = timeout(limit, poll_fn(|cx| race.poll(cx))).await;
            raced.unwrap_or_else(|_elapsed| {
                race.give_up();
                None
            })
        }
    };
    outcome.ok_or_else(|| ConnectError::of(race.failed))
}

/// Families in turns, the first address's first.
fn in_turns(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut addresses = addresses.peekable();
    let Some(first) = addresses.peek().map(SocketAddr::is_ipv4) else {
        return VecDeque::new();
    };
    let (mut preferred, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.partition(|address| address.is_ipv4() == first);
    let mut ordered = VecDeque::with_capacity(preferred.len() + other.len());
    while let Some(address) = preferred.pop_front() {
        ordered.push_back(address);
        ordered.extend(other.pop_front());
    }
    ordered.extend(other);
    ordered
}

struct Race<A, F> {
    waiting: VecDeque<SocketAddr>,
    running: Vec<(SocketAddr, Pin<Box<F>>)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// When the next attempt begins.
    next: Option<Sleep>,
    delay: Option<Duration>,
    attempt: A,
}

impl<A, F, R> Race<A, F>
where
    A: FnMut(SocketAddr) -> F,
    F: Future<Output = io::Result<R>>,
{
    /// The result, or `None` when every attempt has failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<R>> {
        let mut start = self.running.is_empty();
        loop {
            if start {
                if let Some(address) = self.waiting.pop_front() {
                    self.running
                        .push((address, Box::pin((self.attempt)(address))));
                }
                self.next = match self.delay {
                    Some(delay) if !self.waiting.is_empty() => Some(sleep(delay)),
                    _ => None,
                };
            }
            start = false;
            let mut at = 0;
            while let Some((address, running)) = self.running.get_mut(at) {
                match running.as_mut().poll(cx) {
                    Poll::Ready(Ok(result)) => return Poll::Ready(Some(result)),
                    Poll::Ready(Err(error)) => {
                        self.failed.push((*address, error));
                        self.running.remove(at);
                        start = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            if self.running.is_empty() && self.waiting.is_empty() {
                return Poll::Ready(None);
            }
            if !start {
                // Polled only while an attempt waits, so there is a runtime.
                let over = self.next.as_mut().map(|next| Pin::new(next).poll(cx));
                if over != Some(Poll::Ready(())) {
                    return Poll::Pending;
                }
                start = true;
            }
        }
    }

    /// The time is over for all that have not failed.
    fn give_up(&mut self) {
        let began = self.running.drain(..).map(|(address, _)| address);
        let in_time = io::Error::new(
            io::ErrorKind::TimedOut,
            "the connection was not established in the time it was given",
        );
        let mut failed: Vec<_> = began.map(|address| (address, clone(&in_time))).collect();
        if self.failed.is_empty() && failed.is_empty() {
            failed.extend(
                self.waiting
                    .drain(..)
                    .map(|address| (address, clone(&in_time))),
            );
        }
        self.failed.append(&mut failed);
    }
}

fn clone(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// None of several addresses could be connected to: inside the [`io::Error`] of [`TcpStream::connect`](super::TcpStream::connect), whose kind is that of the last
/// failure. If there was one address only, its error comes as it is.
///
/// ```
/// use divisi::net::{ConnectError, TcpStream};
///
/// # divisi::run(async {
/// let nobody = ["127.0.0.1:1".parse().unwrap(), "127.0.0.2:1".parse().unwrap()];
/// let error = TcpStream::connect(nobody).await.unwrap_err();
/// let each = error.get_ref().unwrap().downcast_ref::<ConnectError>().unwrap();
/// assert_eq!(each.attempts().len(), 2);
/// # });
/// ```
#[derive(Debug)]
pub struct ConnectError {
    attempts: Vec<(SocketAddr, io::Error)>,
}

impl ConnectError {
    /// The addresses that were tried, in the order in which they failed, and why each did.
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        &self.attempts
    }

    fn of(mut attempts: Vec<(SocketAddr, io::Error)>) -> io::Error {
        match attempts.len() {
            0 => io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is no address to use: the list was empty, or the name has no address",
            ),
            1 => attempts.remove(0).1,
            _ => {
                let kind = attempts[attempts.len() - 1].1.kind();
                io::Error::new(kind, ConnectError { attempts })
            }
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {} addresses answered", self.attempts.len())?;
        for (address, error) in &self.attempts {
            write!(f, "; {address}: {error}")?;
        }
        Ok(())
    }
}

/// The source is the last failure.
impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.attempts.last().map(|(_, error)| error as _)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    use super::*;
    use crate::time::Instant;
    use crate::{Clock, Runtime};

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn virtually<R>(future: impl Future<Output = R>) -> R {
        let runtime = Runtime::builder()
            .worker_threads(1)
            .clock(Clock::Virtual)
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(address);
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(address);
        assert_eq!(in_turns(given.into_iter()), expected);
        assert!(in_turns(std::iter::empty()).is_empty());
    }

    #[test]
    fn an_address_that_does_not_answer_costs_the_delay_and_not_more() {
        virtually(async {
            let addresses = [address("[::1]:1"), address("1.1.1.1:1")];
            let begin = Instant::now();
            let dropped = Cell::new(false);
            struct NoteDrop<'a>(&'a Cell<bool>);
            impl Drop for NoteDrop<'_> {
                fn drop(&mut self) {
                    self.0.set(true);
                }
            }
            let winner = first_to_connect(addresses.into_iter(), Schedule::default(), |to| {
                let dropped = &dropped;
                async move {
                    if to.is_ipv6() {
                        let _note = NoteDrop(dropped);
                        std::future::pending::<()>().await;
                    }
                    Ok(to)
                }
            })
            .await;
            assert_eq!(winner.unwrap(), addresses[1]);
            assert_eq!(begin.elapsed(), ATTEMPT_DELAY);
            assert!(dropped.get(), "the loser is given up");
        });
    }

    #[test]
    fn a_failure_starts_the_next_attempt_at_once_and_every_error_is_kept() {
        virtually(async {
            let addresses = ["1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1"].map(address);
            let begin = Instant::now();
            let error = first_to_connect(addresses.into_iter(), Schedule::default(), |_| async {
                Err::<(), _>(refused())
            })
            .await
            .unwrap_err();
            assert_eq!(begin.elapsed(), Duration::ZERO);
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let each = error.get_ref().unwrap().downcast_ref::<ConnectError>();
            let tried: Vec<_> = each.unwrap().attempts().iter().map(|(to, _)| *to).collect();
            assert_eq!(tried, addresses);
            for to in addresses {
                assert!(error.to_string().contains(&to.to_string()), "{error}");
            }
        });
    }

    #[test]
    fn a_slow_attempt_may_win_after_a_later_one_has_failed() {
        virtually(async {
            let addresses = ["1.1.1.1:1", "1.1.1.2:1"].map(address);
            let winner = first_to_connect(
                addresses.into_iter(),
                Schedule::default(),
                |to| async move {
                    if to == addresses[1] {
                        return Err(refused());
                    }
                    sleep(Duration::from_secs(5)).await;
                    Ok(to)
                },
            );
            assert_eq!(winner.await.unwrap(), addresses[0]);
        });
    }

    #[test]
    fn without_a_delay_attempts_follow_each_other() {
        virtually(async {
            let addresses = ["1.1.1.1:1", "1.1.1.2:1"].map(address);
            let running = RefCell::new(0);
            let schedule = Schedule {
                delay: None,
                limit: None,
            };
            let begin = Instant::now();
            let result = first_to_connect(addresses.into_iter(), schedule, |_| async {
                *running.borrow_mut() += 1;
                assert_eq!(*running.borrow(), 1);
                sleep(Duration::from_secs(5)).await;
                *running.borrow_mut() -= 1;
                Err::<(), _>(refused())
            });
            assert!(result.await.is_err());
            assert_eq!(begin.elapsed(), Duration::from_secs(10));
        });
    }

    #[test]
    fn the_limit_ends_all_attempts_and_names_them() {
        virtually(async {
            let addresses = ["1.1.1.1:1", "[::1]:1", "1.1.1.2:1"].map(address);
            let schedule = Schedule {
                limit: Some(Duration::from_secs(3)),
                ..Schedule::default()
            };
            let begin = Instant::now();
            let error = first_to_connect(addresses.into_iter(), schedule, |_| {
                std::future::pending::<io::Result<()>>()
            })
            .await
            .unwrap_err();
            assert_eq!(begin.elapsed(), Duration::from_secs(3));
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            let each = error.get_ref().unwrap().downcast_ref::<ConnectError>();
            assert_eq!(each.unwrap().attempts().len(), 3);
        });
    }
}
