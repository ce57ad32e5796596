//! Not more often than that.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use divisi_reactor::Timer;
use divisi_task::budget;
use divisi_task::freeze::{self, Mode};
use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::time::{Instant, poll_timer};

/// Thins a stream out where only the newest value counts: keystrokes, positions, changed settings.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use divisi::channel::mpsc;
/// use divisi::limit::Throttle;
/// use divisi::prelude::*;
///
/// divisi::run(async {
///     let (sender, receiver) = mpsc::bounded(10);
///     let mut searches = std::pin::pin!(Throttle::debounce(Duration::from_millis(1)).stream(receiver));
///     for text in ["d", "di", "divisi"] {
///         sender.send(text).await.unwrap();
///     }
///     assert_eq!(searches.next().await, Some("divisi"));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    how: How,
    time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Debounce,
    Latest,
}

impl Throttle {
    /// Lets a value through when nothing newer has come for `quiet`. The last one of a stream comes without a wait.
    ///
    /// As long as values come faster than that, none is let through.
    pub fn debounce(quiet: Duration) -> Throttle {
        Throttle {
            how: How::Debounce,
            time: quiet,
        }
    }

    /// Lets the first value through at once, and then the newest one in every `period`, if there is a new one.
    pub fn latest(period: Duration) -> Throttle {
        Throttle {
            how: How::Latest,
            time: period,
        }
    }

    /// The stream, thinned out. It takes from `stream` whatever there is, as soon as it is polled, and keeps the newest.
    #[track_caller]
    pub fn stream<S: Stream>(self, stream: S) -> Throttled<S> {
        Throttled {
            stream,
            throttle: self,
            newest: None,
            timer: None,
            ended: false,
            created_at: Location::caller(),
        }
    }
}

pin_project! {
    /// The stream of [`Throttle::stream`].
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a divisi runtime.
    ///
    /// # Cancel safety
    ///
    /// A poll that was given up loses nothing: the newest value is kept.
    #[must_use = "streams do nothing unless they are polled"]
    pub struct Throttled<S: Stream> {
        #[pin]
        stream: S,
        throttle: Throttle,
        newest: Option<S::Item>,
        // Before it is over, nothing comes through.
        timer: Option<Timer>,
        ended: bool,
        created_at: &'static Location<'static>,
    }
}

impl<S: Stream> Throttled<S> {
    /// The stream inside; the newest value that was not let through is lost.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: Stream> Stream for Throttled<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if freeze::mode() == Mode::Frozen {
            return Poll::Pending;
        }
        let mut this = self.project();
        let mut left = budget::LIMIT;
        // Whether there is nothing newer.
        let mut has_newest = true;
        while !*this.ended {
            if left == 0 {
                // Where there is no budget, a stream that is always ready would keep the thread.
                cx.waker().wake_by_ref();
                has_newest = false;
                break;
            }
            left -= 1;
            let Poll::Ready(charge) = budget::poll_proceed(cx) else {
                has_newest = false;
                break;
            };
            match this.stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(value)) => {
                    charge.made_progress();
                    *this.newest = Some(value);
                    if this.throttle.how == How::Debounce {
                        set(this.timer, this.throttle.time);
                    }
                }
                Poll::Ready(None) => *this.ended = true,
                Poll::Pending => break,
            }
        }
        if this.newest.is_none() {
            return if *this.ended {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        }
        match this.throttle.how {
            // It is woken again, and looks further.
            How::Debounce if !has_newest => return Poll::Pending,
            How::Debounce if *this.ended => {}
            // A spent budget does not matter here: a stream that keeps up spends it in every poll.
            How::Debounce | How::Latest => {
                if let Some(timer) = this.timer.as_mut() {
                    ready!(poll_timer(timer, cx, this.created_at));
                }
            }
        }
        if this.throttle.how == How::Latest {
            set(this.timer, this.throttle.time);
        }
        Poll::Ready(this.newest.take())
    }
}

/// Sets the timer to that time from now.
fn set(timer: &mut Option<Timer>, time: Duration) {
    let deadline = (Instant::now() + time).into_std();
    match timer {
        Some(timer) => timer.reset(deadline),
        None => *timer = Some(Timer::at(deadline)),
    }
}

impl<S: Stream + fmt::Debug> fmt::Debug for Throttled<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttled")
            .field("throttle", &self.throttle)
            .field("stream", &self.stream)
            .field("holds_a_value", &self.newest.is_some())
            .finish_non_exhaustive()
    }
}
