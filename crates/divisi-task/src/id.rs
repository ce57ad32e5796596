//! The name of a task: where it sits in the registry, and how many tasks sat there before.

use std::fmt;
use std::num::NonZeroU64;

pub(crate) const SLOT_BITS: u32 = 28;
pub(crate) const SHARD_BITS: u32 = 8;
pub(crate) const GENERATION_BITS: u32 = 64 - SLOT_BITS - SHARD_BITS;

/// Identifies a task within its [`Registry`](crate::Registry), and is never given to another task there.
///
/// Prints as `slot.generation`, with the number of the shard before it where that is not the first: `17.2`,
/// `3:17.2`.
///
/// ```
/// # use std::sync::Arc;
/// # use divisi_task::{Cause, Registry, Runnable, Schedule, SpawnOptions, UnhandledPanic};
/// # struct Drop;
/// # impl Schedule for Drop {
/// #     fn schedule(&self, _: Runnable, _: Cause) {}
/// #     fn unhandled_panic(&self, _: UnhandledPanic) {}
/// # }
/// let registry = Registry::new(1);
/// let (task, _handle) = divisi_task::spawn(async {}, Arc::new(Drop), &registry, SpawnOptions::new())?;
/// assert_eq!(task.id().to_string(), "0.1");
/// # Ok::<_, divisi_task::Closed>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    /// `generation` is at least 1, which keeps the whole from being zero.
    pub(crate) fn new(shard: u32, slot: u32, generation: u32) -> Self {
        debug_assert!(shard < 1 << SHARD_BITS && slot < 1 << SLOT_BITS);
        debug_assert!(generation < 1 << GENERATION_BITS);
        let packed = u64::from(generation) << (SLOT_BITS + SHARD_BITS)
            | u64::from(shard) << SLOT_BITS
            | u64::from(slot);
        Self(NonZeroU64::new(packed).expect("the generation of a task is at least 1"))
    }

    /// The number as such: for logs and tables of other tools.
    pub fn as_u64(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0.get() & ((1 << SLOT_BITS) - 1)) as u32
    }

    /// The shard of the [`Registry`](crate::Registry) that it is in: what [`SpawnOptions::shard`](crate::SpawnOptions::shard) asked for.
    pub fn shard(self) -> u32 {
        ((self.0.get() >> SLOT_BITS) & ((1 << SHARD_BITS) - 1)) as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0.get() >> (SLOT_BITS + SHARD_BITS)) as u32
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shard() != 0 {
            write!(f, "{}:", self.shard())?;
        }
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_survive_packing_at_their_limits() {
        let (shard, slot, generation) = (
            (1 << SHARD_BITS) - 1,
            (1 << SLOT_BITS) - 1,
            (1 << GENERATION_BITS) - 1,
        );
        let id = TaskId::new(shard, slot, generation);
        assert_eq!(
            (id.shard(), id.slot(), id.generation()),
            (shard, slot, generation)
        );
        let id = TaskId::new(0, 0, 1);
        assert_eq!((id.shard(), id.slot(), id.generation()), (0, 0, 1));
    }

    #[test]
    fn it_prints_short() {
        assert_eq!(TaskId::new(0, 17, 2).to_string(), "17.2");
        assert_eq!(TaskId::new(3, 17, 2).to_string(), "3:17.2");
        assert_eq!(format!("{:?}", TaskId::new(0, 17, 2)), "TaskId(17.2)");
    }
}
