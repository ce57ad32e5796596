//! Async iteration: values that come one after the other.
//!
//! A [`Stream`] is to an iterator what a future is to a function. Every receiver of a [`channel`](crate::channel) or [`queue`](crate::queue) is one, and so is
//! a [`JoinSet`](crate::task::JoinSet). What this module adds:
//!
//! | | |
//! |---|---|
//! | [`generate`], [`try_generate`] | a stream out of an async closure, as Python's async generators |
//! | [`as_completed`] | the outputs of many futures, as they come |
//! | [`buffered`](ConcurrentExt::buffered), [`buffer_unordered`](ConcurrentExt::buffer_unordered) | a stream of futures, several of them at work at a time |
//! | [`merge`](ConcurrentExt::merge), [`merge_all`] | several streams as one |
//!
//! `map`, `filter`, `take`, `fold`, `collect` and some sixty other methods are those of [`futures_lite`]'s [`StreamExt`], which divisi needs anyway, so that they
//! cost no further dependency; it has nothing that runs several futures at a time, which is what is here. The streams are those of `futures_core`, so the
//! combinators of other crates fit too.
//!
//! ```
//! use divisi::stream::{self, ConcurrentExt, StreamExt};
//!
//! # divisi::run(async {
//! let numbers = stream::generate(async |out| {
//!     for n in 1..=10 {
//!         out.emit(n).await;
//!     }
//! });
//! // Four squares at a time, in the order of the numbers.
//! let squares: Vec<u32> = numbers.map(async |n: u32| n * n).buffered(4).collect().await;
//! assert_eq!(squares[9], 100);
//! # });
//! ```
//!
//! # Several at a time is not in parallel
//!
//! `buffered` and its like poll the futures in the task that polls the stream. To use all cores let the futures be tasks: `.map(|n| divisi::spawn(work(n)))`.
//! Such a task goes on when the stream is dropped; a [`JoinSet`](crate::task::JoinSet) cancels its tasks.

mod buffered;
mod completed;
mod generate;
mod merge;

#[doc(no_inline)]
pub use futures_lite::stream::{
    Stream, StreamExt, empty, iter, once, pending, poll_fn, repeat, unfold,
};

pub use buffered::{BufferUnordered, Buffered};
pub use completed::{AsCompleted, as_completed};
pub use generate::{Emitter, Generate, TryGenerate, generate, try_generate};
pub use merge::{Merge, MergeAll, merge_all};

use std::future::Future;

/// Methods on streams that run several things at a time.
pub trait ConcurrentExt: Stream + Sized {
    /// Runs up to `limit` of the stream's futures at a time and gives their outputs **in the order of the stream**. An output that comes early waits for those
    /// before it, and counts as one of the `limit`.
    ///
    /// The stream is asked for a future when there is room, so it feels back-pressure.
    ///
    /// # Panics
    ///
    /// If `limit` is 0.
    ///
    /// # Cancel safety
    ///
    /// `next()` on it loses nothing when dropped. Dropping the stream drops the futures at work.
    #[track_caller]
    fn buffered(self, limit: usize) -> Buffered<Self>
    where
        Self::Item: Future,
    {
        Buffered::new(self, limit)
    }

    /// Runs up to `limit` of the stream's futures at a time and gives their outputs **as they come**.
    ///
    /// Otherwise as [`buffered`](Self::buffered).
    ///
    /// # Panics
    ///
    /// If `limit` is 0.
    #[track_caller]
    fn buffer_unordered(self, limit: usize) -> BufferUnordered<Self>
    where
        Self::Item: Future,
    {
        BufferUnordered::new(self, limit)
    }

    /// The items of both streams as they come; ends when both have ended. Where both have items they take turns.
    ///
    /// ```
    /// use divisi::stream::{ConcurrentExt, StreamExt, iter};
    ///
    /// # divisi::run(async {
    /// let all: Vec<_> = iter([1, 3, 5]).merge(iter([2, 4])).collect().await;
    /// assert_eq!(all, [1, 2, 3, 4, 5]);
    /// # });
    /// ```
    fn merge<S: Stream<Item = Self::Item>>(self, other: S) -> Merge<Self, S> {
        Merge::new(self, other)
    }
}

impl<S: Stream> ConcurrentExt for S {}
