//! Several futures of a stream at a time.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::future::children::Children;

#[track_caller]
fn check(limit: usize) -> usize {
    assert!(
        limit > 0,
        "a buffer of 0 futures would never give anything: allow at least 1"
    );
    limit
}

pin_project! {
    /// The stream of [`ConcurrentExt::buffer_unordered`](super::ConcurrentExt::buffer_unordered).
    #[must_use = "streams do nothing unless they are polled"]
    pub struct BufferUnordered<S: Stream> {
        // `None` once it has ended.
        #[pin]
        source: Option<S>,
        running: Children<S::Item>,
        limit: usize,
    }
}

impl<S: Stream> BufferUnordered<S>
where
    S::Item: Future,
{
    #[track_caller]
    pub(super) fn new(source: S, limit: usize) -> Self {
        BufferUnordered {
            source: Some(source),
            running: Children::new(),
            limit: check(limit),
        }
    }
}

impl<S: Stream> Stream for BufferUnordered<S>
where
    S::Item: Future,
{
    type Item = <S::Item as Future>::Output;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        while this.running.len() < *this.limit {
            let Some(source) = this.source.as_mut().as_pin_mut() else {
                break;
            };
            match source.poll_next(cx) {
                Poll::Ready(Some(future)) => drop(this.running.push(future)),
                // What the source holds goes as soon as it has no more to give.
                Poll::Ready(None) => this.source.set(None),
                Poll::Pending => break,
            }
        }
        match ready!(this.running.poll_next(cx)) {
            Some((_, output)) => Poll::Ready(Some(output)),
            None if this.source.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        hint(self.source.as_ref(), self.running.len())
    }
}

pin_project! {
    /// The stream of [`ConcurrentExt::buffered`](super::ConcurrentExt::buffered).
    #[must_use = "streams do nothing unless they are polled"]
    pub struct Buffered<S: Stream>
    where
        S::Item: Future,
    {
        // `None` once it has ended.
        #[pin]
        source: Option<S>,
        running: Children<S::Item>,
        // The number of each running future in the order of the stream, by its place.
        numbers: Vec<u64>,
        // Of the futures from number `given` on: the outputs that are there.
        outputs: VecDeque<Option<<S::Item as Future>::Output>>,
        given: u64,
        limit: usize,
    }
}

impl<S: Stream> Buffered<S>
where
    S::Item: Future,
{
    #[track_caller]
    pub(super) fn new(source: S, limit: usize) -> Self {
        Buffered {
            source: Some(source),
            running: Children::new(),
            numbers: Vec::new(),
            outputs: VecDeque::new(),
            given: 0,
            limit: check(limit),
        }
    }
}

impl<S: Stream> Stream for Buffered<S>
where
    S::Item: Future,
{
    type Item = <S::Item as Future>::Output;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        while this.outputs.len() < *this.limit {
            let Some(source) = this.source.as_mut().as_pin_mut() else {
                break;
            };
            match source.poll_next(cx) {
                Poll::Ready(Some(future)) => {
                    let place = this.running.push(future);
                    if place >= this.numbers.len() {
                        this.numbers.resize(place + 1, 0);
                    }
                    this.numbers[place] = *this.given + this.outputs.len() as u64;
                    this.outputs.push_back(None);
                }
                Poll::Ready(None) => this.source.set(None),
                Poll::Pending => break,
            }
        }
        loop {
            if let Some(Some(_)) = this.outputs.front() {
                *this.given += 1;
                return Poll::Ready(this.outputs.pop_front().flatten());
            }
            match ready!(this.running.poll_next(cx)) {
                Some((place, output)) => {
                    let position = (this.numbers[place] - *this.given) as usize;
                    this.outputs[position] = Some(output);
                }
                None if this.source.is_none() => return Poll::Ready(None),
                None => return Poll::Pending,
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        hint(self.source.as_ref(), self.outputs.len())
    }
}

/// Of a source that may have ended and `taken` items of it that were not given out.
fn hint<S: Stream>(source: Option<&S>, taken: usize) -> (usize, Option<usize>) {
    let (least, most) = source.map_or((0, Some(0)), S::size_hint);
    (
        least.saturating_add(taken),
        most.and_then(|most| most.checked_add(taken)),
    )
}

impl<S: Stream> fmt::Debug for BufferUnordered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferUnordered")
            .field("limit", &self.limit)
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

impl<S: Stream> fmt::Debug for Buffered<S>
where
    S::Item: Future,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffered")
            .field("limit", &self.limit)
            .field("running", &self.running.len())
            .field("waiting", &(self.outputs.len() - self.running.len()))
            .finish_non_exhaustive()
    }
}
