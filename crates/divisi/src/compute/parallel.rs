//! `map` and `chunks`: a collection's worth of the same computation.

use std::panic::Location;

pub use divisi_blocking::Parallel;

use super::{Builder, refused_job};
use crate::context;

/// Applies `f` to each item on the compute threads, and gives the results in the order of the items.
///
/// The items are taken from the iterator now, here. There is a [`checkpoint`](super::checkpoint) after each, and a long map makes room for
/// other jobs every millisecond. A panic of `f` ends the whole and comes back through the future.
///
/// # Cancel safety
///
/// Dropping the future cancels the work: items that have not begun never run, and those that run end at their next checkpoint.
///
/// # Panics
///
/// If there is no runtime on this thread; the message says what to do.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     let lengths = divisi::compute::map(["a", "bc"], |word| word.len()).await.unwrap();
///     assert_eq!(lengths, [1, 2]);
/// });
/// ```
#[track_caller]
pub fn map<I, F, R>(items: I, f: F) -> Parallel<Vec<R>>
where
    I: IntoIterator<Item: Send + 'static>,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    Builder::new().map(items, f)
}

/// Applies `f` to consecutive chunks of `chunk_len` elements (the last may be shorter) on the compute threads, and gives the
/// results in the order of the chunks. The data is anything that owns or shares a slice: a `Vec`, an `Arc<[T]>`, a `&'static [T]`.
///
/// Otherwise as [`map`], with a checkpoint after each chunk.
///
/// # Panics
///
/// If `chunk_len` is 0, or if there is no runtime on this thread; the message says what to do.
///
/// # Examples
///
/// ```
/// divisi::run(async {
///     let data: Vec<u64> = (0..1_000_000).collect();
///     let sums = divisi::compute::chunks(data, 100_000, |chunk| chunk.iter().sum::<u64>()).await.unwrap();
///     assert_eq!(sums.len(), 10);
///     assert_eq!(sums.iter().sum::<u64>(), 499_999_500_000);
/// });
/// ```
#[track_caller]
pub fn chunks<S, T, F, R>(data: S, chunk_len: usize, f: F) -> Parallel<Vec<R>>
where
    S: AsRef<[T]> + Send + Sync + 'static,
    F: Fn(&[T]) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    Builder::new().chunks(data, chunk_len, f)
}

impl Builder {
    /// As [`map`], with this priority and name.
    ///
    /// # Panics
    ///
    /// As [`map`].
    #[track_caller]
    pub fn map<I, F, R>(self, items: I, f: F) -> Parallel<Vec<R>>
    where
        I: IntoIterator<Item: Send + 'static>,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        let runtime = context::handle();
        let options = self.options(runtime.inner());
        let location = Location::caller();
        let pool = runtime.inner().compute();
        pool.map(options, items, f)
            .unwrap_or_else(|error| refused_job(location, &error).into())
    }

    /// As [`chunks`], with this priority and name.
    ///
    /// # Panics
    ///
    /// As [`chunks`].
    #[track_caller]
    pub fn chunks<S, T, F, R>(self, data: S, chunk_len: usize, f: F) -> Parallel<Vec<R>>
    where
        S: AsRef<[T]> + Send + Sync + 'static,
        F: Fn(&[T]) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        let runtime = context::handle();
        let options = self.options(runtime.inner());
        let location = Location::caller();
        let pool = runtime.inner().compute();
        pool.chunks(options, data, chunk_len, f)
            .unwrap_or_else(|error| refused_job(location, &error).into())
    }
}
