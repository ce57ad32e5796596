//! So many requests in so much time.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tower_layer::Layer;
use tower_service::Service;

use crate::limit::{OwnedPass, OwnedWait, RateLimiter};

/// Puts a [`RateLimiter`] in front of a service: it is ready when the next request may pass.
///
/// Every service that this layer makes, and every clone of one, shares the limit, first come first served. A service that was ready and is dropped unused gives its
/// pass back.
///
/// See the [module](super) for an example.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    limiter: RateLimiter,
}

impl RateLimitLayer {
    /// By this limiter, which may be in use elsewhere too.
    #[must_use]
    pub fn new(limiter: RateLimiter) -> RateLimitLayer {
        RateLimitLayer { limiter }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit {
            inner,
            limiter: self.limiter.clone(),
            turn: Turn::None,
        }
    }
}

/// The service of a [`RateLimitLayer`].
pub struct RateLimit<S> {
    inner: S,
    limiter: RateLimiter,
    turn: Turn,
}

enum Turn {
    None,
    Waits(Pin<Box<OwnedWait>>),
    Passes(OwnedPass),
}

impl<S: Clone> Clone for RateLimit<S> {
    fn clone(&self) -> Self {
        // Its turn is its own.
        Self {
            inner: self.inner.clone(),
            limiter: self.limiter.clone(),
            turn: Turn::None,
        }
    }
}

impl<S: Service<R>, R> Service<R> for RateLimit<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // First, so that the pass is used when it is given.
        ready!(self.inner.poll_ready(cx))?;
        loop {
            match &mut self.turn {
                Turn::None => {
                    let wait = self.limiter.wait(1, Location::caller());
                    self.turn = Turn::Waits(Box::pin(wait));
                }
                Turn::Waits(wait) => self.turn = Turn::Passes(ready!(wait.as_mut().poll(cx))),
                Turn::Passes(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn call(&mut self, request: R) -> S::Future {
        match std::mem::replace(&mut self.turn, Turn::None) {
            Turn::Passes(pass) => pass.make(),
            _ => panic!(
                "a rate-limited service was called before `poll_ready` said that it is ready"
            ),
        }
        self.inner.call(request)
    }
}

impl<S: fmt::Debug> fmt::Debug for RateLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}
