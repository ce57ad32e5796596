//! The door between a worker that has nothing to run and the driver that knows when there will be something again.

use std::time::Duration;

/// What a seat sleeps in. The reactor of the runtime implements it; tests implement it with a condition variable.
///
/// All methods may be called from any thread and at the same time: an idle worker polls the driver of a busy one.
/// While a driver handles events it wakes tasks; on a worker those land in that worker's own run queue.
pub trait Park: Send + Sync + 'static {
    /// Blocks until an event was handled, [`unpark`](Park::unpark) was called, or `limit` has passed (`None`: no limit).
    ///
    /// An `unpark` that came since the last return from `park` makes it return at once. Spurious returns are allowed.
    /// Returns the number of events and timers that were handled.
    fn park(&self, limit: Option<Duration>) -> usize;

    /// Handles what is ready now without waiting, at most about `limit` events. Returns how many.
    fn poll(&self, limit: usize) -> usize;

    /// Makes the thread inside [`park`](Park::park) return, or the next call of it if nobody is inside.
    fn unpark(&self);

    /// Says that the caller is about to wait for this driver's descriptor in an event loop of its own: until the next call of
    /// [`poll`](Park::poll) or [`park`](Park::park), an [`unpark`](Park::unpark) must make that descriptor readable. Returns false if something
    /// is pending already, so that the caller must poll first.
    fn announce_sleep(&self) -> bool;

    /// Whether anything is registered here that may become ready or due.
    fn has_interest(&self) -> bool;

    /// The tasks that this driver's worker runs until the next [`poll`](Park::poll) or [`park`](Park::park) came to stay: what they wait for
    /// may move here at once.
    fn adopt(&self) {}

    /// Nobody will sleep here any more: forgets what is registered and wakes all who wait for it, so that they register elsewhere.
    fn evacuate(&self);

    /// How often this driver was polled so far, by any thread. A helper that sees the same number twice knows that nobody
    /// looked in between.
    fn turns(&self) -> u64;
}
