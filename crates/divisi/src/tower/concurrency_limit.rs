//! So many requests at once.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::limit::{AcquireSlot, Concurrency, Slot};

/// Puts a [`Concurrency`] limit in front of a service: it is ready when there is a slot, which the request has until its response is there or dropped.
///
/// Every service that this layer makes, and every clone of one, shares the limit, first come first served. A limit that adapts counts a response as success; errors
/// and dropped requests tell it nothing.
///
/// See the [module](super) for an example.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitLayer {
    limit: Concurrency,
}

impl ConcurrencyLimitLayer {
    /// By this limit, which may be in use elsewhere too.
    #[must_use]
    pub fn new(limit: Concurrency) -> ConcurrencyLimitLayer {
        ConcurrencyLimitLayer { limit }
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimit<S> {
        ConcurrencyLimit {
            inner,
            limit: self.limit.clone(),
            turn: Turn::None,
        }
    }
}

/// The service of a [`ConcurrencyLimitLayer`].
pub struct ConcurrencyLimit<S> {
    inner: S,
    limit: Concurrency,
    turn: Turn,
}

enum Turn {
    None,
    Waits(Pin<Box<AcquireSlot>>),
    Has(Slot),
}

impl<S: Clone> Clone for ConcurrencyLimit<S> {
    fn clone(&self) -> Self {
        // Its turn is its own.
        Self {
            inner: self.inner.clone(),
            limit: self.limit.clone(),
            turn: Turn::None,
        }
    }
}

impl<S: Service<R>, R> Service<R> for ConcurrencyLimit<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = LimitedResponse<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        loop {
            match &mut self.turn {
                Turn::None => self.turn = Turn::Waits(Box::pin(self.limit.acquire())),
                Turn::Waits(wait) => {
                    self.turn = Turn::Has(ready!(wait.as_mut().poll(cx)).undecided());
                }
                Turn::Has(_) => return self.inner.poll_ready(cx),
            }
        }
    }

    fn call(&mut self, request: R) -> LimitedResponse<S::Future> {
        let Turn::Has(mut slot) = std::mem::replace(&mut self.turn, Turn::None) else {
            panic!("a limited service was called before `poll_ready` said that it is ready");
        };
        // A service may be ready for long before it is called.
        slot.begin();
        LimitedResponse {
            response: self.inner.call(request),
            slot: Some(slot),
        }
    }
}

pin_project! {
    /// The response of a [`ConcurrencyLimit`].
    pub struct LimitedResponse<F> {
        #[pin]
        response: F,
        slot: Option<Slot>,
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for LimitedResponse<F> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = self.project();
        let response = ready!(this.response.poll(cx));
        if let (Some(slot), Ok(_)) = (this.slot.take(), &response) {
            slot.done();
        }
        Poll::Ready(response)
    }
}

impl<S: fmt::Debug> fmt::Debug for ConcurrencyLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("inner", &self.inner)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl<F: fmt::Debug> fmt::Debug for LimitedResponse<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedResponse")
            .field("response", &self.response)
            .finish_non_exhaustive()
    }
}
