//! Data-parallel helpers on top of batches: `map` and `chunks`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use divisi_task::{JoinError, JoinHandle};
use parking_lot::Mutex;

use super::checkpoint::checkpoint;
use super::{ComputePool, OffloadOptions, batch};
use crate::error::SpawnError;

/// Pieces a thread. Ours: enough that threads end at about the same time although items take different times, few enough that
/// a piece of a short map is worth its bookkeeping.
const PIECES_PER_THREAD: usize = 8;

/// The results of [`ComputePool::map`] or [`ComputePool::chunks`], in order: a future.
///
/// # Cancel safety
/// Dropping it before it is ready cancels the work: pieces that have not begun never run, and those that run end at their
/// next [`checkpoint`](super::checkpoint). [`detach`](Self::detach) gives a handle that can be dropped.
#[must_use = "dropping it cancels the work"]
pub struct Parallel<R> {
    /// `None` once it is detached.
    handle: Option<JoinHandle<R>>,
}

impl<R> Parallel<R> {
    /// The same as an ordinary handle, which does not cancel when it is dropped.
    pub fn detach(mut self) -> JoinHandle<R> {
        self.handle
            .take()
            .expect("only this method takes the handle, and the value with it")
    }
}

impl<R> From<JoinHandle<R>> for Parallel<R> {
    /// A handle that cancels when it is dropped.
    fn from(handle: JoinHandle<R>) -> Self {
        Self {
            handle: Some(handle),
        }
    }
}

impl<R> Future for Parallel<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.handle.as_mut().expect("a detached handle is not here");
        Pin::new(handle).poll(cx)
    }
}

impl<R> Drop for Parallel<R> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.as_ref().filter(|handle| !handle.is_finished()) {
            handle.cancel("the future that waited for the results was dropped");
        }
    }
}

impl<R> fmt::Debug for Parallel<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parallel").field(&self.handle).finish()
    }
}

/// What goes into a piece of a map, and what comes out. Locked by the one lane that runs the piece, and by the collector when
/// all lanes are done with it: nobody waits for it.
enum Slot<T, R> {
    Items(Vec<T>),
    Running,
    Results(Vec<R>),
}

impl ComputePool {
    /// Applies `f` to each item on the compute threads; the results come in the order of the items.
    ///
    /// The items are taken from the iterator now, here. There is a [`checkpoint`](super::checkpoint) after each. Long
    /// maps make room for other jobs every millisecond. A panic of `f` ends the whole and comes back through the future.
    ///
    /// # Errors
    /// As [`offload`](Self::offload).
    ///
    /// # Examples
    /// ```
    /// use divisi_blocking::ComputePool;
    ///
    /// let pool = ComputePool::builder().threads(2).build()?;
    /// let squares = pool.map(Default::default(), 1..=4_u32, |n| n * n)?;
    /// assert_eq!(futures_lite::future::block_on(squares)?, [1, 4, 9, 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map<I, F, R>(
        &self,
        options: OffloadOptions,
        items: I,
        f: F,
    ) -> Result<Parallel<Vec<R>>, SpawnError>
    where
        I: IntoIterator<Item: Send + 'static>,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        let items: Vec<_> = items.into_iter().collect();
        let length = items.len();
        let each = length
            .div_ceil(self.thread_limit().saturating_mul(PIECES_PER_THREAD))
            .max(1);
        let mut items = items.into_iter();
        let slots: Arc<[_]> = (0..length.div_ceil(each))
            .map(|_| Mutex::new(Slot::Items(items.by_ref().take(each).collect())))
            .collect();
        let results = Arc::clone(&slots);
        let pieces = slots.len();
        let piece = Box::new(move |number: usize| {
            let taken = std::mem::replace(&mut *slots[number].lock(), Slot::Running);
            let Slot::Items(items) = taken else {
                unreachable!("each piece is run once");
            };
            let made = items.into_iter().map(|item| {
                let result = f(item);
                checkpoint();
                result
            });
            let made = made.collect();
            *slots[number].lock() = Slot::Results(made);
        });
        let collect = move || {
            let mut all = Vec::with_capacity(length);
            for slot in results.iter() {
                match std::mem::replace(&mut *slot.lock(), Slot::Running) {
                    Slot::Results(results) => all.extend(results),
                    _ => unreachable!("all pieces have been run"),
                }
            }
            all
        };
        batch::start(&self.shared, options, pieces, piece, collect).map(Parallel::from)
    }

    /// Applies `f` to consecutive chunks of `chunk_len` elements (the last may be shorter) on the compute threads; the results
    /// come in the order of the chunks. The data can be anything that owns or shares a slice: a `Vec`, an `Arc<[T]>`, a `&'static [T]`.
    ///
    /// Otherwise as [`map`](Self::map), with a checkpoint after each chunk.
    ///
    /// # Errors
    /// As [`offload`](Self::offload).
    ///
    /// # Panics
    /// If `chunk_len` is 0.
    ///
    /// # Examples
    /// ```
    /// use divisi_blocking::ComputePool;
    ///
    /// let pool = ComputePool::builder().threads(2).build()?;
    /// let data: Vec<u64> = (0..10).collect();
    /// let sums = pool.chunks(Default::default(), data, 4, |chunk| chunk.iter().sum::<u64>())?;
    /// assert_eq!(futures_lite::future::block_on(sums)?, [6, 22, 17]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn chunks<S, T, F, R>(
        &self,
        options: OffloadOptions,
        data: S,
        chunk_len: usize,
        f: F,
    ) -> Result<Parallel<Vec<R>>, SpawnError>
    where
        S: AsRef<[T]> + Send + Sync + 'static,
        F: Fn(&[T]) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        assert!(chunk_len > 0, "chunks of no elements would never end");
        let pieces = data.as_ref().len().div_ceil(chunk_len);
        let slots: Arc<[Mutex<Option<R>>]> = (0..pieces).map(|_| Mutex::new(None)).collect();
        let results = Arc::clone(&slots);
        let piece = Box::new(move |number: usize| {
            let data = data.as_ref();
            let begin = number * chunk_len;
            let end = data.len().min(begin.saturating_add(chunk_len));
            let result = f(&data[begin..end]);
            *slots[number].lock() = Some(result);
        });
        let collect = move || {
            let result = |slot: &Mutex<Option<R>>| slot.lock().take();
            results
                .iter()
                .map(|slot| result(slot).expect("all chunks have been worked on"))
                .collect()
        };
        batch::start(&self.shared, options, pieces, piece, collect).map(Parallel::from)
    }
}
