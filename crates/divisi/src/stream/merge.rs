//! Several streams as one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::future::children::Children;

pin_project! {
    /// The stream of [`ConcurrentExt::merge`](super::ConcurrentExt::merge).
    #[must_use = "streams do nothing unless they are polled"]
    pub struct Merge<A, B> {
        // Each is `None` once it has ended.
        #[pin]
        first: Option<A>,
        #[pin]
        second: Option<B>,
        second_goes_first: bool,
    }
}

impl<A, B> Merge<A, B> {
    pub(super) fn new(first: A, second: B) -> Merge<A, B> {
        Merge {
            first: Some(first),
            second: Some(second),
            second_goes_first: false,
        }
    }
}

/// An item, or whether the stream goes on.
fn poll<S: Stream>(mut stream: Pin<&mut Option<S>>, cx: &mut Context<'_>) -> Result<S::Item, bool> {
    match stream
        .as_mut()
        .as_pin_mut()
        .map(|stream| stream.poll_next(cx))
    {
        None => Err(false),
        Some(Poll::Pending) => Err(true),
        Some(Poll::Ready(Some(item))) => Ok(item),
        Some(Poll::Ready(None)) => {
            stream.set(None);
            Err(false)
        }
    }
}

impl<A: Stream, B: Stream<Item = A::Item>> Stream for Merge<A, B> {
    type Item = A::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<A::Item>> {
        let this = self.project();
        let turn = *this.second_goes_first;
        let (mut first, mut second) = (this.first, this.second);
        let mut goes_on = false;
        for second_is_next in [turn, !turn] {
            let polled = if second_is_next {
                poll(second.as_mut(), cx)
            } else {
                poll(first.as_mut(), cx)
            };
            match polled {
                Ok(item) => {
                    *this.second_goes_first = !second_is_next;
                    return Poll::Ready(Some(item));
                }
                Err(open) => goes_on |= open,
            }
        }
        if goes_on {
            Poll::Pending
        } else {
            Poll::Ready(None)
        }
    }
}

/// The items of all streams as they come; ends when all have ended. Streams that have items take turns.
///
/// ```
/// use divisi::stream::{StreamExt, iter, merge_all};
///
/// # divisi::run(async {
/// let mut all: Vec<_> = merge_all([iter(0..100), iter(100..200)]).collect().await;
/// all.sort();
/// assert_eq!(all, (0..200).collect::<Vec<_>>());
/// # });
/// ```
pub fn merge_all<I>(streams: I) -> MergeAll<I::Item>
where
    I: IntoIterator<Item: Stream>,
{
    let mut running = Children::new();
    for stream in streams {
        running.push(Next(Some(Box::pin(stream))));
    }
    MergeAll { running }
}

/// The stream of [`merge_all`].
#[must_use = "streams do nothing unless they are polled"]
pub struct MergeAll<S> {
    running: Children<Next<S>>,
}

// Each stream has an allocation of its own, which does not move.
impl<S> Unpin for MergeAll<S> {}

/// The next item of a stream, with the stream; `None` if it has ended.
struct Next<S>(Option<Pin<Box<S>>>);

impl<S: Stream> Future for Next<S> {
    type Output = Option<(S::Item, Next<S>)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(stream) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let item = ready!(stream.as_mut().poll_next(cx));
        let stream = self.0.take();
        Poll::Ready(item.map(|item| (item, Next(stream))))
    }
}

impl<S: Stream> Stream for MergeAll<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        while let Some((_, next)) = ready!(self.running.poll_next(cx)) {
            if let Some((item, rest)) = next {
                self.running.push(rest);
                return Poll::Ready(Some(item));
            }
        }
        Poll::Ready(None)
    }
}

impl<A, B> fmt::Debug for Merge<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for MergeAll<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergeAll")
            .field("running", &self.running.len())
            .finish()
    }
}
