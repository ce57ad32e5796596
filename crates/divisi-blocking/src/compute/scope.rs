//! Fork and join inside an offloaded job, with borrowed data.

use std::fmt;

use super::checkpoint::{Owner, checkpoint};
use super::context::{self, Working, on_compute_thread};

/// A scope in which parts of a job run in parallel and borrow from it. Made by [`offload_scope`].
pub struct OffloadScope<'r, 'scope> {
    rayon: &'r rayon::Scope<'scope>,
    /// The job that the parts belong to.
    owner: Option<Owner>,
}

/// Runs `f`, and all that it spawns into the scope, to the end, on the compute pool that the caller runs on.
///
/// What is spawned may borrow everything that outlives the call. While it waits, the thread helps with the parts.
/// There is a [`checkpoint`] after each part. If the job is cancelled, parts that come to a checkpoint are unwound, and
/// when all parts have ended so is the job.
///
/// # Panics
/// If it is not called on a compute thread (from inside an offloaded job), because it would then block an async worker
/// or a foreign pool; and with the panic of `f` or of any part, after all parts have ended.
///
/// # Examples
/// ```
/// use divisi_blocking::{ComputePool, offload_scope};
///
/// let pool = ComputePool::builder().threads(2).build()?;
/// let job = pool.offload(|| {
///     let mut halves = [0_u64; 2];
///     let (low, high) = halves.split_at_mut(1);
///     offload_scope(|scope| {
///         scope.spawn(|_| low[0] = (0..500_u64).sum());
///         scope.spawn(|_| high[0] = (500..1000_u64).sum());
///     });
///     halves.iter().sum::<u64>()
/// })?;
/// assert_eq!(futures_lite::future::block_on(job)?, 499_500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn offload_scope<'scope, F, R>(f: F) -> R
where
    F: for<'r> FnOnce(&OffloadScope<'r, 'scope>) -> R + Send,
    R: Send,
{
    assert!(
        on_compute_thread(),
        "offload_scope was called outside a compute pool; call it inside a closure given to `offload`"
    );
    let owner = context::owner();
    // While it only waits for its parts, the thread may run any other job's, so it works for nobody in particular.
    let _waiting = Working::for_owner(None);
    rayon::scope(|rayon| {
        let _working = Working::for_owner(owner.clone());
        f(&OffloadScope { rayon, owner })
    })
}

impl<'scope> OffloadScope<'_, 'scope> {
    /// Runs `part` on any thread of the pool, before the scope ends.
    pub fn spawn<F>(&self, part: F)
    where
        F: for<'r> FnOnce(&OffloadScope<'r, 'scope>) + Send + 'scope,
    {
        let owner = self.owner.clone();
        self.rayon.spawn(move |rayon| {
            let _working = Working::for_owner(owner.clone());
            part(&OffloadScope { rayon, owner });
            checkpoint();
        });
    }
}

impl fmt::Debug for OffloadScope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffloadScope").finish_non_exhaustive()
    }
}
