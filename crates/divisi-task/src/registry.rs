//! All tasks that have not ended.
//!
//! The registry owns one reference to each, so that a task lives until it ends even if nobody else knows it;
//! it gives a task its [`TaskId`]; it lists them; and it is where a shutdown stops new ones from coming.
//!
//! It has no lock. Each [shard] is for one worker's spawning, though any thread may use any; a task leaves
//! the shard it was entered into, on whatever thread it ends.

mod shard;

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::cancel::CancelReason;
use crate::error::Closed;
use crate::header::Header;
use crate::id::{SHARD_BITS, TaskId};
use crate::raw::Reference;
use crate::task_ref::TaskRef;

pub(crate) use shard::Shard;

/// The tasks of a runtime that have not ended.
///
/// It owns one reference to each, so that a task lives until it ends even if nobody else knows it; it gives a
/// task its [`TaskId`]; it lists them; and it is where a shutdown stops new ones from coming. It has no lock.
///
/// Dropping it closes it and [shuts down](TaskRef::shutdown) what is left in it.
pub struct Registry {
    shards: Box<[NonNull<Shard>]>,
}

// SAFETY: shards are shared between threads by design, see `shard`; the pointers are owned.
unsafe impl Send for Registry {}
// SAFETY: as above.
unsafe impl Sync for Registry {}

impl Registry {
    /// The most parts that a registry can have.
    pub const MOST_SHARDS: usize = 1 << SHARD_BITS;

    /// A registry of so many parts, at least 1 and at most [256](Registry::MOST_SHARDS): as many as there are workers that spawn.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let shards = shards.clamp(1, Self::MOST_SHARDS);
        Self {
            shards: (0..shards as u32).map(Shard::allocate).collect(),
        }
    }

    /// Lets no new task in. Tasks that are in stay.
    ///
    /// A spawn at the same moment is either refused or its task is seen by every listing that begins after
    /// this returns.
    pub fn close(&self) {
        for shard in self.shards() {
            shard.close();
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.shards().all(Shard::is_closed)
    }

    /// How many tasks there are that have not ended. Exact while nobody spawns and no task ends.
    pub fn len(&self) -> usize {
        // All of `left` before any of `entered`: a task that enters one shard before its parent leaves another is not missed.
        let left = self.shards().map(Shard::left).fold(0, u64::wrapping_add);
        let entered = self.shards().map(Shard::entered).sum::<u64>();
        entered.wrapping_sub(left) as usize
    }

    /// Whether all tasks have ended. Once closed, a registry that is empty stays so (but for a moment in which a spawn is refused).
    ///
    /// A task counts as ended a moment before its handle can see the outcome.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with every task, in no particular order. Tasks that come or go meanwhile may or may not be
    /// among them.
    pub fn for_each(&self, mut f: impl FnMut(TaskRef)) {
        for shard in self.shards() {
            shard.for_each(|task| f(TaskRef::new(task)));
        }
    }

    /// All tasks, as [`for_each`](Self::for_each) finds them.
    pub fn list(&self) -> Vec<TaskRef> {
        let mut tasks = Vec::with_capacity(self.len());
        self.for_each(|task| tasks.push(task));
        tasks
    }

    /// The task of this id, if it has not ended.
    pub fn get(&self, id: TaskId) -> Option<TaskRef> {
        let shard = *self.shards.get(id.shard() as usize)?;
        // SAFETY: shards live as long as the registry.
        unsafe { shard.as_ref() }.get(id).map(TaskRef::new)
    }

    #[inline]
    pub(crate) fn reserve(&self, shard: usize) -> Result<Reserved<'_>, Closed> {
        // A division would take as long as all the rest, and the number is hardly ever too large.
        let known = self.shards.get(shard);
        let shard = *known.unwrap_or_else(|| &self.shards[shard % self.shards.len()]);
        // SAFETY: shards live as long as the registry.
        let id = unsafe { shard.as_ref() }.reserve()?;
        Ok(Reserved {
            shard,
            id,
            registry: self,
        })
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        // SAFETY: shards live as long as the registry.
        self.shards.iter().map(|shard| unsafe { shard.as_ref() })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.close();
        self.for_each(|task| {
            task.shutdown(CancelReason::new("its runtime was dropped"));
        });
        for &shard in &self.shards {
            // SAFETY: the registry's hold on the shard is given up, and it is not used again.
            unsafe { Shard::release(shard) };
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("shards", &self.shards.len())
            .field("tasks", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// A place in the registry that waits for its task. Dropped, it is free again.
pub(crate) struct Reserved<'a> {
    shard: NonNull<Shard>,
    id: TaskId,
    /// Keeps the shard alive.
    registry: &'a Registry,
}

impl Reserved<'_> {
    #[inline]
    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    #[inline]
    pub(crate) fn shard(&self) -> NonNull<Shard> {
        self.shard
    }

    /// Enters the task; false if the registry was closed, and then nobody has seen it.
    ///
    /// # Safety
    /// The task lives, has this place's id and shard, and one reference to it is the registry's from now on,
    /// if the result is true.
    #[inline]
    pub(crate) unsafe fn publish(self, task: NonNull<Header>) -> bool {
        let place = ManuallyDrop::new(self);
        // SAFETY: the registry keeps the shard alive; the rest is the caller's.
        unsafe { place.shard.as_ref().publish(place.id, task) }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let _alive = self.registry;
        // SAFETY: the registry keeps the shard alive.
        unsafe { self.shard.as_ref() }.give_back(self.id);
    }
}

/// A task found in a shard, pinned there until the caller has its reference.
fn take_reference(task: NonNull<Header>) -> Reference {
    // SAFETY: called while the slot is pinned: the registry's reference cannot be given back meanwhile.
    unsafe { Reference::additional(task) }
}
