//! tokio's context of a thread as a value that owns what it needs.
//!
//! [`Handle::enter`] gives a guard that borrows the handle. A worker keeps what it entered in one box beside the other things that it undoes when it leaves,
//! so the guard has to own its handle; safe code cannot say that.

use std::fmt;
use std::mem;
use std::sync::Arc;

use tokio::runtime::{EnterGuard, Handle};

/// While it lives, tokio's API on this thread uses the runtime of the handle.
///
/// As with [`EnterGuard`], several on one thread must be dropped in the reverse order of their making; tokio panics otherwise.
pub struct TokioContext {
    // Dropped in this order.
    _guard: EnterGuard<'static>,
    handle: Arc<Handle>,
}

impl TokioContext {
    /// Enters tokio's runtime on this thread.
    pub fn enter(handle: Handle) -> TokioContext {
        let handle = Arc::new(handle);
        let guard = handle.enter();
        // SAFETY: only the lifetime changes. The guard borrows the `Handle` inside of the `Arc`, whose place on the heap does not move with the `Arc` (which,
        // other than a `Box`, claims no unique access when it is moved). This struct keeps the `Arc`, gives out neither it nor the guard, and drops the guard first.
        let guard = unsafe { mem::transmute::<EnterGuard<'_>, EnterGuard<'static>>(guard) };
        TokioContext {
            _guard: guard,
            handle,
        }
    }
}

impl fmt::Debug for TokioContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokioContext").field(&self.handle).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_lasts_as_long_as_the_value_and_survives_its_moves() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("the system gives a thread");
        assert!(Handle::try_current().is_err());
        let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
        let context = TokioContext::enter(runtime.handle().clone());
        kept.push(Box::new((1, context)));
        let kept = kept;
        assert_eq!(Handle::current().id(), runtime.handle().id());
        drop(kept);
        assert!(Handle::try_current().is_err());
    }
}
