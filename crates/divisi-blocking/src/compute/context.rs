//! What a compute thread knows about itself: which pool it belongs to, whether a runner is on its stack, and for which job
//! the code on top of the stack works.
//!
//! # Whose code is this
//!
//! A checkpoint has to know which job it may unwind. The thread that runs a job knows it; and so does a part that
//! [`offload_scope`](super::offload_scope) has sent to another thread, because the scope takes the knowledge along and
//! forgets it while it only waits (rayon may run any other job's parts below it meanwhile). What a job hands to rayon
//! directly (`par_iter`, `rayon::join`) is out of sight: a part of it that another thread has taken counts as nobody's there, or,
//! if that thread waits in a `rayon::join` of its own, as that thread's job's. [`checkpoint`](super::checkpoint) tells users.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::checkpoint::Owner;

pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    /// Where the thread's stack begins, as far as the pool is concerned.
    bottom: usize,
    /// When the thread last asked whether to yield or to end.
    pub(super) asked: Cell<Option<Instant>>,
    /// A runner is on this thread's stack.
    serving: Cell<bool>,
    owner: RefCell<Option<Owner>>,
}

impl Context {
    /// How deep in the thread's stack that place is.
    pub(super) fn depth(&self, place: usize) -> usize {
        self.bottom.wrapping_sub(place)
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        self.owner.borrow().clone()
    }
}

thread_local! {
    /// Set once: a compute thread keeps its role for life.
    static CONTEXT: OnceCell<Context> = const { OnceCell::new() };
}

/// Makes the calling thread a compute thread, whose stack begins there.
pub(super) fn enter(shared: Arc<Shared>, bottom: usize) {
    CONTEXT.with(|context| {
        let fresh = context
            .set(Context {
                shared,
                bottom,
                asked: Cell::new(None),
                serving: Cell::new(false),
                owner: RefCell::new(None),
            })
            .is_ok();
        debug_assert!(fresh, "a thread serves one compute pool");
    });
}

/// Calls `f` on a compute thread; `None` elsewhere.
pub(super) fn with<R>(f: impl FnOnce(&Context) -> R) -> Option<R> {
    CONTEXT
        .try_with(|context| context.get().map(f))
        .ok()
        .flatten()
}

/// Whether the calling thread belongs to a compute pool.
///
/// Waiting for an async result on such a thread can deadlock: rayon may run the waited-for work below the waiter on the
/// same stack, or all compute threads may end up waiting. So a runtime refuses to block there.
///
/// ```
/// assert!(!divisi_blocking::compute::on_compute_thread());
/// ```
#[must_use]
pub fn on_compute_thread() -> bool {
    with(|_| ()).is_some()
}

/// Says for whom this thread works, until it is dropped.
pub(super) struct Working(Option<Owner>);

impl Working {
    pub(super) fn for_owner(owner: Option<Owner>) -> Self {
        Self(with(|context| context.owner.replace(owner)).flatten())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let before = self.0.take();
        // The last reference to a job may go here; nothing is borrowed while that happens.
        drop(with(|context| context.owner.replace(before)));
    }
}

/// For whom this thread works.
pub(super) fn owner() -> Option<Owner> {
    with(Context::owner).flatten()
}

/// Says that a runner is on this thread's stack, until it is dropped.
pub(super) struct Serving(());

impl Serving {
    /// `None` if there is one already: the caller was called from within a job that waits for a part of itself.
    pub(super) fn begin() -> Option<Self> {
        let begun = with(|context| !context.serving.replace(true));
        // Made only if it is to be kept: its end takes the word back.
        begun
            .expect("runners run on compute threads")
            .then(|| Self(()))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        with(|context| context.serving.set(false));
    }
}
