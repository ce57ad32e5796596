//! Racing attempts: [`staggered`].

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use divisi_reactor::Timer;
use divisi_task::CancelReason;
use divisi_task::freeze::{self, Mode};

use super::children::Children;
use crate::scope::{Cut, Step};
use crate::time::{Instant, poll_timer};

/// Starts attempts one after the other, `delay` apart, until one succeeds. The losers are cancelled, as by a [scope](crate::scope): it returns when their clean-ups
/// and shielded parts have come to their end.
///
/// The next attempt starts when `delay` has passed since the last start, or as soon as the last one fails. Without a delay (`None`) they are tried strictly one
/// after the other. The iterator is asked for an attempt when that is to start, so a lazy one makes no future in vain.
/// When a scope around it was cancelled it starts no further attempt.
///
/// It is what "happy eyeballs" does with the addresses of a host, and what hedged requests do with its replicas. As asyncio's internal `staggered_race`.
///
/// # Errors
///
/// [`AllFailed`], with every attempt's error, if the iterator ends and none has succeeded; also for an iterator that is empty.
///
/// # Panics
///
/// With a delay, when it must wait outside a divisi runtime.
///
/// # Cancel safety
///
/// Dropping it drops the attempts that run, and the errors so far.
///
/// ```
/// use std::time::Duration;
/// use divisi::future::race;
///
/// # divisi::run(async {
/// let replicas = ["down", "slow", "quick"];
/// let attempts = replicas.iter().map(async |replica| match *replica {
///     "down" => Err("no answer"),
///     "slow" => std::future::pending().await,
///     other => Ok(other),
/// });
/// let won = race::staggered(attempts, Duration::from_millis(5)).await.unwrap();
/// assert_eq!((won.value, won.index), ("quick", 2));
/// assert_eq!(won.errors, [(0, "no answer")]);
/// # });
/// ```
#[track_caller]
pub fn staggered<I, T, E>(
    attempts: I,
    delay: impl Into<Option<Duration>>,
) -> Staggered<I::IntoIter, <I::Item as IntoFuture>::IntoFuture, T, E>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    Staggered {
        attempts: Some(attempts.into_iter()),
        running: Children::new(),
        indices: Vec::new(),
        delay: delay.into(),
        timer: None,
        created_at: Location::caller(),
        started: 0,
        errors: Vec::new(),
        won: None,
        cut: Cut::new(),
    }
}

/// The attempt that succeeded; see [`staggered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Won<T, E> {
    /// What it gave.
    pub value: T,
    /// Which one it was, counted from 0.
    pub index: usize,
    /// The attempts that had failed before, with their indices, in the order in which they failed.
    pub errors: Vec<(usize, E)>,
}

/// No attempt succeeded; see [`staggered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllFailed<E> {
    /// Every attempt's error, with its index, in the order in which they failed.
    pub errors: Vec<(usize, E)>,
}

impl<E: fmt::Display> fmt::Display for AllFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.errors.is_empty() {
            return f.write_str("there was nothing to attempt: give at least one attempt");
        }
        write!(f, "all {} attempts failed", self.errors.len())?;
        for (n, (index, error)) in self.errors.iter().enumerate() {
            let separator = if n == 0 { ':' } else { ';' };
            write!(f, "{separator} attempt {index}: {error}")?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug + fmt::Display> Error for AllFailed<E> {}

/// The future of [`staggered`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Staggered<I, F, T, E> {
    /// `None` once it has ended.
    attempts: Option<I>,
    running: Children<F>,
    /// By the attempt's place among the running.
    indices: Vec<usize>,
    delay: Option<Duration>,
    /// Runs while there may be a further attempt.
    timer: Option<Timer>,
    created_at: &'static Location<'static>,
    started: usize,
    errors: Vec<(usize, E)>,
    /// The value and its attempt, while the losers clean up.
    won: Option<(T, usize)>,
    cut: Cut,
}

// Each attempt has an allocation of its own, and nothing else is pinned.
impl<I, F, T, E> Unpin for Staggered<I, F, T, E> {}

impl<I, F, T, E> Staggered<I, F, T, E>
where
    I: Iterator<Item: IntoFuture<IntoFuture = F>>,
    F: Future<Output = Result<T, E>>,
{
    /// Starts the next attempt, if there is one.
    fn start(&mut self) {
        self.timer = None;
        let Some(attempts) = &mut self.attempts else {
            return;
        };
        let Some(attempt) = attempts.next() else {
            self.attempts = None;
            return;
        };
        let place = self.running.push(attempt.into_future());
        if place >= self.indices.len() {
            self.indices.resize(place + 1, 0);
        }
        self.indices[place] = self.started;
        self.started += 1;
        self.timer = self.delay.map(|delay| {
            let due = if delay == Duration::MAX {
                Instant::far_future()
            } else {
                Instant::now() + delay
            };
            Timer::at(due.into_std())
        });
    }
}

impl<I, F, T, E> Future for Staggered<I, F, T, E>
where
    I: Iterator<Item: IntoFuture<IntoFuture = F>>,
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Won<T, E>, AllFailed<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Taken out, so that the scope's content is the rest.
        let mut cut = std::mem::take(&mut this.cut);
        let had_won = this.won.is_some();
        let mut step = cut.poll_undecided(cx, None, |cx| this.advance(cx));
        if matches!(step, Step::Waits) && this.won.is_some() && !had_won {
            cut.cancel(|| CancelReason::new("another attempt in `race::staggered` succeeded"));
            step = cut.settle(cx, None, |cx| this.advance(cx));
        }
        this.cut = cut;
        if matches!(step, Step::Waits) {
            this.cut.end_task_if_over(cx);
            return Poll::Pending;
        }
        this.running.clear();
        let errors = std::mem::take(&mut this.errors);
        Poll::Ready(match this.won.take() {
            Some((value, index)) => Ok(Won {
                value,
                index,
                errors,
            }),
            None => Err(AllFailed { errors }),
        })
    }
}

impl<I, F, T, E> Staggered<I, F, T, E>
where
    I: Iterator<Item: IntoFuture<IntoFuture = F>>,
    F: Future<Output = Result<T, E>>,
{
    /// Runs the attempts. Ready when none is left; pending also at a success, to have the losers cancelled: their last try polls them again.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // If not, a scope around this one was cancelled: those that run come to their end, and no other begins.
        let live = freeze::mode() == Mode::Live;
        let mut by_timer = false;
        loop {
            match self.running.poll_next(cx) {
                Poll::Ready(Some((place, output))) => {
                    let index = self.indices[place];
                    if self.won.is_some() {
                        // What comes of a loser.
                        continue;
                    }
                    match output {
                        Ok(value) => {
                            self.won = Some((value, index));
                            self.attempts = None;
                            self.timer = None;
                            if live {
                                return Poll::Pending;
                            }
                            // The losers have had their last try: nobody else polls them and has them told whom to wake.
                            continue;
                        }
                        Err(error) => self.errors.push((index, error)),
                    }
                    if live && index + 1 == self.started {
                        self.start();
                    }
                    continue;
                }
                Poll::Ready(None) => {
                    if self.attempts.is_none() {
                        return Poll::Ready(());
                    }
                    if !live {
                        return Poll::Pending;
                    }
                    self.start();
                    continue;
                }
                Poll::Pending => {}
            }
            if !live {
                // It would wake in vain.
                self.timer = None;
                return Poll::Pending;
            }
            // It charges nothing: attempts that spend the budget must not keep the next one from its start.
            match &mut self.timer {
                Some(timer) => ready!(poll_timer(timer, cx, self.created_at)),
                None => return Poll::Pending,
            }
            self.start();
            if std::mem::replace(&mut by_timer, true) {
                // Without a delay to speak of: others have a turn in between.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl<I, F, T, E: fmt::Debug> fmt::Debug for Staggered<I, F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staggered")
            .field("started", &self.started)
            .field("errors", &self.errors)
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}
