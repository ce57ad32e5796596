//! Streams out of async closures.
//!
//! The closure's future lives in the stream and is polled by whoever polls the stream. An item passes through a line that both share: `emit` puts it in and
//! waits until the poll of the stream has taken it out. So the line is as long as there are `emit`s under way, mostly one. There is no task and no channel, the
//! body is never ahead of the consumer, and dropping the stream drops the body where it waits: it cannot outlive the stream.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use divisi_task::budget::{self, Charge};
use divisi_task::freeze::{self, Mode};
use futures_core::Stream;
use parking_lot::Mutex;

/// A stream of what `body` emits; it ends when `body` returns. As Python's async generators.
///
/// The body runs when the stream is polled and waits in [`emit`](Emitter::emit) until its item was taken. **Dropping the stream drops the body** where it waits,
/// with all that it holds, at once; nothing goes on in the background.
///
/// The body's time is the consumer's: a time-out around an `emit` also counts how long the consumer takes with the item.
///
/// ```
/// use divisi::stream::{StreamExt, generate};
///
/// # divisi::run(async {
/// let mut countdown = generate(async |out| {
///     for n in (0..3).rev() {
///         out.emit(n).await;
///     }
/// });
/// assert_eq!(countdown.next().await, Some(2));
/// assert_eq!(countdown.collect::<Vec<_>>().await, [1, 0]);
/// # });
/// ```
pub fn generate<T, F, B>(body: F) -> Generate<T, B>
where
    F: FnOnce(Emitter<T>) -> B,
    B: Future<Output = ()>,
{
    let shared = Arc::new(Shared::default());
    let emitter = Emitter {
        shared: shared.clone(),
    };
    Generate {
        shared,
        body: Some(Box::pin(body(emitter))),
    }
}

/// As [`generate`], for a body that can fail: its error is the last item.
///
/// ```
/// use divisi::stream::{StreamExt, try_generate};
///
/// # divisi::run(async {
/// let numbers = try_generate(async |out| {
///     for word in ["1", "2", "three", "4"] {
///         out.emit(word.parse::<u8>()?).await;
///     }
///     Ok(())
/// });
/// let items: Vec<Result<u8, std::num::ParseIntError>> = numbers.collect().await;
/// assert_eq!(items.len(), 3);
/// assert!(items[2].is_err());
/// # });
/// ```
pub fn try_generate<T, E, F, B>(body: F) -> TryGenerate<T, B>
where
    F: FnOnce(Emitter<T>) -> B,
    B: Future<Output = Result<(), E>>,
{
    let shared = Arc::new(Shared::default());
    let emitter = Emitter {
        shared: shared.clone(),
    };
    TryGenerate {
        shared,
        body: Some(Box::pin(body(emitter))),
        returned: None,
    }
}

/// The end of a [`generate`]d stream that items go into.
pub struct Emitter<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    line: Mutex<Line<T>>,
}

struct Line<T> {
    items: VecDeque<T>,
    /// Items taken since the beginning.
    taken: u64,
    /// Of those that wait in `emit`.
    emitting: Vec<Waker>,
    /// Of the stream's consumer, while it waits.
    consumer: Option<Waker>,
    /// The stream has ended or is gone.
    closed: bool,
}

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared {
            line: Mutex::new(Line {
                items: VecDeque::new(),
                taken: 0,
                emitting: Vec::new(),
                consumer: None,
                closed: false,
            }),
        }
    }
}

impl<T> Emitter<T> {
    /// Gives an item to the stream and waits until it was taken.
    ///
    /// Several may be under way at a time (in a [`join!`](crate::join), for instance); their items come in the order in which they were polled.
    ///
    /// # Panics
    ///
    /// The future panics when it is polled after the stream has ended, which only code outside of the body can do: emit from inside of it.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled the item may be on its way, and is not taken back.
    pub fn emit(&self, item: T) -> Emit<'_, T> {
        Emit {
            shared: &self.shared,
            item: Some(item),
            number: 0,
        }
    }
}

/// The future of [`Emitter::emit`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Emit<'a, T> {
    shared: &'a Shared<T>,
    /// `None` once it is in the line.
    item: Option<T>,
    /// How many items went before it, once it is in the line.
    number: u64,
}

// The item is not pinned: it is moved into the line.
impl<T> Unpin for Emit<'_, T> {}

impl<T> Future for Emit<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Foreign code: before the lock.
        let waker = cx.waker().clone();
        let mut line = this.shared.line.lock();
        let mut consumer = None;
        if this.item.is_none() && line.taken > this.number {
            return Poll::Ready(());
        }
        if line.closed {
            drop(line);
            panic!(
                "`emit` after the stream has ended: use the emitter inside of the closure that was given to `generate` only"
            );
        }
        if let Some(item) = this.item.take() {
            this.number = line.taken + line.items.len() as u64;
            line.items.push_back(item);
            consumer = line.consumer.take();
        }
        line.emitting.push(waker);
        drop(line);
        // Only if this was polled by somebody else than the stream.
        if let Some(consumer) = consumer {
            consumer.wake();
        }
        Poll::Pending
    }
}

impl<T> Shared<T> {
    fn take(&self) -> Option<T> {
        let mut line = self.line.lock();
        let item = line.items.pop_front()?;
        line.taken += 1;
        Some(item)
    }

    /// Lets the body be polled: whoever emits through a waker of its own (inside a `join_all`, say) hears that its item was taken.
    fn resume(&self, own: &Waker) {
        let (emitting, consumer) = {
            let mut line = self.line.lock();
            (std::mem::take(&mut line.emitting), line.consumer.take())
        };
        drop(consumer);
        for waker in emitting {
            if !waker.will_wake(own) {
                waker.wake();
            }
        }
    }

    /// The body has been polled and waits: an item that it emitted, or the consumer's waker is kept for one that comes from elsewhere.
    fn take_or_wait(&self, own: &Waker) -> Option<T> {
        // Foreign code, as the destructor of the one before: outside the lock.
        let own = own.clone();
        let mut line = self.line.lock();
        let item = line.items.pop_front();
        let stale = if item.is_some() {
            line.taken += 1;
            Some(own)
        } else {
            line.consumer.replace(own)
        };
        drop(line);
        drop(stale);
        item
    }

    fn close(&self) {
        let mut line = self.line.lock();
        line.closed = true;
        let items = std::mem::take(&mut line.items);
        let emitting = std::mem::take(&mut line.emitting);
        let consumer = line.consumer.take();
        drop(line);
        // Outside the lock: foreign code. Who emits from elsewhere hears that nobody will take the item.
        emitting.into_iter().for_each(Waker::wake);
        drop((items, consumer));
    }
}

/// What a poll of a generated stream came to.
enum Step<T, R> {
    Item(T),
    Pending,
    /// The body has returned.
    Returned(R),
    Ended,
}

/// A body that is always ready must let others run, whether or not it awaits anything else: each item is charged for. Not in a scope that was cancelled, where
/// the body must be polled in any case, for it may have clean-ups.
fn poll_proceed(cx: &mut Context<'_>) -> Poll<Option<Charge>> {
    if freeze::mode() == Mode::Live {
        budget::poll_proceed(cx).map(Some)
    } else {
        Poll::Ready(None)
    }
}

fn step<T, B: Future>(
    shared: &Shared<T>,
    body: &mut Option<Pin<Box<B>>>,
    cx: &mut Context<'_>,
) -> Step<T, B::Output> {
    if let Some(item) = shared.take() {
        return Step::Item(item);
    }
    shared.resume(cx.waker());
    let Some(running) = body.as_mut() else {
        return Step::Ended;
    };
    match running.as_mut().poll(cx) {
        Poll::Pending => match shared.take_or_wait(cx.waker()) {
            Some(item) => Step::Item(item),
            None => Step::Pending,
        },
        Poll::Ready(returned) => {
            *body = None;
            Step::Returned(returned)
        }
    }
}

/// The stream of [`generate`]. It is `Unpin`.
#[must_use = "streams do nothing unless they are polled"]
pub struct Generate<T, B> {
    shared: Arc<Shared<T>>,
    /// `None` once it has returned.
    body: Option<Pin<Box<B>>>,
}

// The body has an allocation of its own, and no item is pinned.
impl<T, B> Unpin for Generate<T, B> {}

impl<T, B> Drop for Generate<T, B> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T, B: Future<Output = ()>> Stream for Generate<T, B> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let charge = ready!(poll_proceed(cx));
        let this = &mut *self;
        loop {
            match step(&this.shared, &mut this.body, cx) {
                Step::Item(item) => {
                    if let Some(charge) = charge {
                        charge.made_progress();
                    }
                    return Poll::Ready(Some(item));
                }
                Step::Pending => return Poll::Pending,
                // An `emit` may have been given up with its item in the line.
                Step::Returned(()) => {}
                Step::Ended => {
                    this.shared.close();
                    return Poll::Ready(None);
                }
            }
        }
    }
}

/// The stream of [`try_generate`]. It is `Unpin`.
#[must_use = "streams do nothing unless they are polled"]
pub struct TryGenerate<T, B: Future> {
    shared: Arc<Shared<T>>,
    /// `None` once it has returned.
    body: Option<Pin<Box<B>>>,
    /// What it returned, until the items before it are given out.
    returned: Option<B::Output>,
}

// As above.
impl<T, B: Future> Unpin for TryGenerate<T, B> {}

impl<T, B: Future> Drop for TryGenerate<T, B> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T, E, B: Future<Output = Result<(), E>>> Stream for TryGenerate<T, B> {
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let charge = ready!(poll_proceed(cx));
        let this = &mut *self;
        loop {
            match step(&this.shared, &mut this.body, cx) {
                Step::Item(item) => {
                    if let Some(charge) = charge {
                        charge.made_progress();
                    }
                    return Poll::Ready(Some(Ok(item)));
                }
                Step::Pending => return Poll::Pending,
                Step::Returned(result) => this.returned = Some(result),
                Step::Ended => {
                    this.shared.close();
                    return Poll::Ready(match this.returned.take() {
                        Some(Err(error)) => Some(Err(error)),
                        Some(Ok(())) | None => None,
                    });
                }
            }
        }
    }
}

impl<T> fmt::Debug for Emitter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Emit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit").finish_non_exhaustive()
    }
}

impl<T, B> fmt::Debug for Generate<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generate")
            .field("ended", &self.body.is_none())
            .finish_non_exhaustive()
    }
}

impl<T, B: Future> fmt::Debug for TryGenerate<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryGenerate")
            .field("ended", &self.body.is_none())
            .finish_non_exhaustive()
    }
}
