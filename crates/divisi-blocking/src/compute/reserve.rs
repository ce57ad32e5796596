//! Waiting for room in a bounded queue.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use divisi_task::JoinHandle;

use super::room::Waiter;
use super::{ComputePool, OffloadOptions};
use crate::error::SpawnError;

/// A future that resolves to a [`Permit`]. Made by [`ComputePool::reserve`].
///
/// # Cancel safety
/// Dropping it gives up the place in the line, and a place in the queue if it has been granted one.
#[must_use = "futures do nothing unless awaited"]
pub struct Reserve<'a> {
    pool: &'a ComputePool,
    waiter: Option<Arc<Waiter>>,
}

impl<'a> Reserve<'a> {
    pub(super) fn new(pool: &'a ComputePool) -> Self {
        Self { pool, waiter: None }
    }
}

impl<'a> Future for Reserve<'a> {
    type Output = Result<Permit<'a>, SpawnError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pool = self.pool;
        let shared = &pool.shared;
        let waiter = match &self.waiter {
            Some(waiter) => waiter,
            None => {
                if shared.census.is_closed() {
                    return Poll::Ready(Err(SpawnError::Closed));
                }
                if shared.room.try_take() {
                    return Poll::Ready(Ok(Permit { pool }));
                }
                let waiter = self
                    .waiter
                    .insert(shared.room.join_line(cx.waker().clone()));
                // Should no dispatcher be startable, the queue is emptied, and the line is served from the room that
                // this makes. What nobody serves then waits for the next who gives room back.
                let _ = shared.kick(None);
                waiter
            }
        };
        // A dispatcher that has ended does not answer any more. It ends after the pool was closed.
        let closed = shared.census.is_closed();
        match waiter.poll(cx.waker()) {
            Poll::Pending if !closed => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.waiter = None;
                Poll::Ready(Ok(Permit { pool }))
            }
            Poll::Pending | Poll::Ready(Err(_)) => Poll::Ready(Err(SpawnError::Closed)),
        }
    }
}

impl Drop for Reserve<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            if waiter.give_up() {
                self.pool.shared.release_room();
            } else {
                // Whoever stands behind may be served now, if this one stood at the front.
                self.pool.shared.wake_dispatcher();
            }
        }
    }
}

impl fmt::Debug for Reserve<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve")
            .field("waiting", &self.waiter.is_some())
            .finish_non_exhaustive()
    }
}

/// Room for one job in the queue. Dropping it gives the room back.
#[must_use = "a permit holds room in the queue until it is used or dropped"]
pub struct Permit<'a> {
    pool: &'a ComputePool,
}

impl Permit<'_> {
    /// Submits a job in the room that was reserved.
    ///
    /// # Errors
    /// As [`ComputePool::offload`].
    #[track_caller]
    pub fn offload<F, T>(self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.offload_with(OffloadOptions::new(), f)
    }

    /// [`offload`](Self::offload) with a priority, a name, or a parent.
    ///
    /// # Errors
    /// As [`ComputePool::offload`].
    pub fn offload_with<F, T>(
        self,
        options: OffloadOptions,
        f: F,
    ) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let pool = self.pool;
        // The room goes to the job, which gives it back when it is taken from the queue.
        std::mem::forget(self);
        pool.shared.offload(options, f)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.pool.shared.release_room();
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
