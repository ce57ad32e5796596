//! One future, awaited by many.
//!
//! Whoever polls first takes the future out of the common state, polls it without holding the lock, and puts it back; who comes meanwhile leaves a note, and the
//! poller, which looks at the note before it lets go, polls once more. The future's waker wakes all who wait, so it does not matter which of them goes on, nor
//! that the one who polled last was dropped.
//!
//! It belongs to no scope, since those who wait may be in different ones: it is polled behind a shield that holds nobody.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker, ready};

use divisi_task::budget;
use divisi_task::freeze::{self, Mode};
use parking_lot::Mutex;
use slab::Slab;

use crate::scope::node::Node;
use crate::scope::stack::{self, Kind};

/// A future that can be cloned; each clone gives a clone of the output. Made by [`FutureExt::shared`](crate::future::FutureExt::shared).
///
/// The future makes progress while any clone is polled. (A task does so anyhow: `handle.shared()` is the way for many to await one task.) It is dropped with
/// the last clone; a task is detached by that, as by dropping its handle, and a panic that no clone has seen goes to the exception handler.
///
/// # Cancel safety
///
/// Dropping a clone, or cancelling a scope in which one waits, takes nothing from the others.
///
/// ```
/// use divisi::future::FutureExt;
///
/// # divisi::run(async {
/// let config = divisi::spawn(async { "config".to_owned() }).shared();
/// let readers: Vec<_> = (0..3).map(|_| divisi::spawn(config.clone())).collect();
/// for reader in readers {
///     assert_eq!(reader.await.unwrap().unwrap(), "config");
/// }
/// # });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Shared<F: Future> {
    inner: Arc<Inner<F>>,
    /// This clone's place among the waiters.
    place: Option<usize>,
}

struct Inner<F: Future> {
    output: OnceLock<F::Output>,
    state: Mutex<State<F>>,
    waiters: Arc<Waiters>,
}

struct State<F> {
    /// `None` while it is being polled, when it is done, and after a panic.
    future: Option<Behind<F>>,
    /// Somebody wanted to poll while it was being polled.
    again: bool,
    panicked: bool,
}

/// The future, and the node of the shield that it is polled behind.
struct Behind<F> {
    future: Pin<Box<F>>,
    shield: Option<Arc<Node>>,
}

impl<F: Future> Behind<F> {
    /// With a budget of its own: the caller has charged for it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Behind { future, shield } = self;
        stack::enter(shield, Kind::Shield, Mode::Live, None, || {
            budget::limited(|| future.as_mut().poll(cx))
        })
    }
}

/// Apart from the rest, so that the future's waker neither owns the future nor takes the lock of whoever polls it.
#[derive(Default)]
struct Waiters {
    wakers: Mutex<Slab<Option<Waker>>>,
}

impl Waiters {
    fn wake_all(&self) {
        let woken: Vec<Waker> = {
            let mut wakers = self.wakers.lock();
            wakers
                .iter_mut()
                .filter_map(|(_, waker)| waker.take())
                .collect()
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

impl<F: Future> Shared<F> {
    pub(crate) fn new(future: F) -> Shared<F> {
        Shared {
            inner: Arc::new(Inner {
                output: OnceLock::new(),
                state: Mutex::new(State {
                    future: Some(Behind {
                        future: Box::pin(future),
                        shield: None,
                    }),
                    again: false,
                    panicked: false,
                }),
                waiters: Arc::default(),
            }),
            place: None,
        }
    }

    /// The output, if some clone has seen it.
    pub fn peek(&self) -> Option<&F::Output> {
        self.inner.output.get()
    }
}

/// Puts the future back, or notes that it panicked.
struct Polling<'a, F: Future> {
    inner: &'a Inner<F>,
    future: Option<Behind<F>>,
}

impl<F: Future> Drop for Polling<'_, F> {
    fn drop(&mut self) {
        if self.future.is_some() {
            // Only a panic leaves it here.
            self.inner.state.lock().panicked = true;
            self.inner.waiters.wake_all();
        }
    }
}

impl<F: Future> Inner<F> {
    /// Polls the future if nobody does. True if there is an output now.
    fn advance(&self) -> bool {
        // For those who came while it was polled; who comes during the second poll makes all try anew, so that this one returns in any case.
        let mut polled_again = false;
        loop {
            let future = {
                let mut state = self.state.lock();
                assert!(
                    !state.panicked,
                    "a shared future was polled after it had panicked"
                );
                state.again = state.future.is_none();
                state.future.take()
            };
            let Some(future) = future else {
                return self.output.get().is_some();
            };
            let mut polling = Polling {
                inner: self,
                future: Some(future),
            };
            let waker = Waker::from(self.waiters.clone());
            let polled = match &mut polling.future {
                Some(future) => future.poll(&mut Context::from_waker(&waker)),
                None => unreachable!("it was put there just now"),
            };
            let future = polling.future.take();
            match polled {
                Poll::Ready(output) => {
                    let set = self.output.set(output);
                    debug_assert!(set.is_ok(), "only one polls at a time");
                    self.waiters.wake_all();
                    // Last: its destructor may panic.
                    drop(future);
                    return true;
                }
                Poll::Pending => {
                    let mut state = self.state.lock();
                    state.future = future;
                    if !std::mem::take(&mut state.again) {
                        return false;
                    }
                    if std::mem::replace(&mut polled_again, true) {
                        drop(state);
                        self.waiters.wake_all();
                        return false;
                    }
                }
            }
        }
    }
}

impl<F: Future<Output: Clone>> Future for Shared<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let charge = ready!(budget::poll_proceed(cx));
        if self.inner.output.get().is_none() {
            self.register(cx.waker());
            if !self.inner.advance() {
                if freeze::mode() != Mode::Live {
                    // It stands still from now on.
                    self.leave();
                }
                return Poll::Pending;
            }
        }
        charge.made_progress();
        self.leave();
        let output = self.inner.output.get().expect("seen above, and it stays");
        Poll::Ready(output.clone())
    }
}

impl<F: Future> Shared<F> {
    fn register(&mut self, waker: &Waker) {
        // A waker's clone and destructor are foreign code: outside the lock.
        let waker = waker.clone();
        let mut wakers = self.inner.waiters.wakers.lock();
        let place = *self.place.get_or_insert_with(|| wakers.insert(None));
        let stale = wakers[place].replace(waker);
        drop(wakers);
        drop(stale);
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            let waker = self.inner.waiters.wakers.lock().remove(place);
            drop(waker);
        }
    }
}

// Nothing in a clone is pinned: the future has an allocation of its own.
impl<F: Future> Unpin for Shared<F> {}

impl<F: Future> Clone for Shared<F> {
    fn clone(&self) -> Shared<F> {
        Shared {
            inner: self.inner.clone(),
            place: None,
        }
    }
}

impl<F: Future> Drop for Shared<F> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<F: Future<Output: fmt::Debug>> fmt::Debug for Shared<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("output", &self.peek())
            .finish_non_exhaustive()
    }
}
