//! The part of a task that is the same for every future: what a pointer to a task can reach without knowing
//! its type.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};

use crate::cancel::CancelReason;
use crate::cell::VTable;
use crate::context::Context;
use crate::harness;
use crate::id::TaskId;
use crate::registry::Shard;
use crate::state::State;
use crate::sync::{AtomicPtr, Ordering, UnsafeCell};

use std::task::Waker;

/// What every access to a task touches. 64 bytes.
pub(crate) struct Header {
    pub(crate) state: State,
    pub(crate) vtable: &'static VTable,
    /// An `Arc` of the scheduler, turned raw; its type is known to the vtable. Owned by the task, immutable.
    pub(crate) scheduler: *const (),
    pub(crate) id: TaskId,
    pub(crate) parent: Option<TaskId>,
    pub(crate) spawned_at: &'static Location<'static>,
    /// Where the task said that it waits, null while it runs and if it said nothing. Written by the runner.
    waits_at: AtomicPtr<Location<'static>>,
    /// Null until the task has a name, a context or a reason to end that another thread must find. Owned by the task; once set it stays.
    cold: AtomicPtr<Cold>,
}

#[cfg(all(not(divisi_loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<Header>() == 64);

/// What only the join handle, the completion and the registry touch. 32 bytes.
pub(crate) struct Trailer {
    /// Who may touch it when: see [`crate::state`].
    pub(crate) join_waker: UnsafeCell<Option<Waker>>,
    /// Where the task is registered. The shard outlives the registration.
    pub(crate) shard: NonNull<Shard>,
    /// The number of the only thread that may touch the stage, or [`ANY_THREAD`](crate::local::ANY_THREAD).
    pub(crate) owner: u32,
    /// What the stage holds. Touched only by who may touch the stage.
    pub(crate) content: UnsafeCell<Content>,
    /// Shows loom every access to the task and its end, so that it finds those that are not ordered.
    #[cfg(divisi_loom)]
    pub(crate) alive: UnsafeCell<()>,
    #[cfg(divisi_loom)]
    pub(crate) _leak_check: loom::alloc::Track<()>,
}

#[cfg(all(not(divisi_loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<Trailer>() == 32);

/// What the stage of a task holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Future,
    Output,
    Nothing,
    /// The future of a local task whose end was decided on another thread. It may neither be dropped there
    /// nor may its memory be reused (it is pinned), so it stays for ever, and the allocation with it.
    LeakedFuture,
}

/// Header and trailer as they lie at the beginning of every task.
#[repr(C)]
pub(crate) struct Prefix {
    pub(crate) header: Header,
    pub(crate) trailer: Trailer,
}

/// What few tasks have.
#[derive(Default)]
pub(crate) struct Cold {
    pub(crate) name: Option<Box<str>>,
    pub(crate) context: Option<Context>,
    /// Why the task shall end, if that was known when this was made.
    reason: Option<CancelReason>,
    #[cfg(divisi_loom)]
    seen: crate::sync::Witness,
    /// The same if it came later: null until the first request to cancel; once set it stays. Owned.
    cancel: AtomicPtr<Given>,
}

/// A published reason.
struct Given {
    reason: CancelReason,
    #[cfg(divisi_loom)]
    seen: crate::sync::Witness,
}

impl Header {
    /// Inlined, so that the fields are written where the task will lie and not copied there.
    #[inline(always)]
    pub(crate) fn new(
        vtable: &'static VTable,
        scheduler: *const (),
        id: TaskId,
        parent: Option<TaskId>,
        spawned_at: &'static Location<'static>,
        cold: Option<Box<Cold>>,
    ) -> Self {
        Self {
            state: State::new(),
            vtable,
            scheduler,
            id,
            parent,
            spawned_at,
            waits_at: AtomicPtr::new(ptr::null_mut()),
            cold: AtomicPtr::new(cold.map_or(ptr::null_mut(), Box::into_raw)),
        }
    }

    pub(crate) fn waits_at(&self) -> Option<&'static Location<'static>> {
        let location = self.waits_at.load(Ordering::Relaxed);
        // SAFETY: `note_wait` stores nothing but pointers made from `&'static Location`, or null.
        unsafe { location.cast_const().as_ref() }
    }

    pub(crate) fn note_wait(&self, at: Option<&'static Location<'static>>) {
        let location = at.map_or(ptr::null(), ptr::from_ref).cast_mut();
        // Relaxed: the location itself is immutable and as old as the program.
        self.waits_at.store(location, Ordering::Relaxed);
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.cold()?.name.as_deref()
    }

    pub(crate) fn context(&self) -> Option<&Context> {
        self.cold()?.context.as_ref()
    }

    pub(crate) fn cancel_reason(&self) -> Option<&CancelReason> {
        let cold = self.cold()?;
        #[cfg(divisi_loom)]
        cold.seen.look();
        if cold.reason.is_some() {
            return cold.reason.as_ref();
        }
        let given = cold.cancel.load(Ordering::Acquire);
        // SAFETY: null, or a leaked box that the task owns and never replaces; `offer_cancel_reason` released
        // it.
        let given = unsafe { given.cast_const().as_ref() }?;
        #[cfg(divisi_loom)]
        given.seen.look();
        Some(&given.reason)
    }

    /// Stores the reason unless there is one: the first wins.
    pub(crate) fn offer_cancel_reason(&self, reason: CancelReason) {
        let (cold, reason) = self.cold_or_new(reason);
        let Some(reason) = reason.filter(|_| cold.reason.is_none()) else {
            return;
        };
        let offered = Box::into_raw(Box::new(Given {
            reason,
            #[cfg(divisi_loom)]
            seen: crate::sync::Witness::default(),
        }));
        // Release: the reason, for `cancel_reason`. Who comes too late does not look at what is there.
        let stored = cold.cancel.compare_exchange(
            ptr::null_mut(),
            offered,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if stored.is_err() {
            // SAFETY: made from a box above and not published.
            drop(unsafe { Box::from_raw(offered) });
        }
    }

    fn cold(&self) -> Option<&Cold> {
        // SAFETY: null, or a leaked box that lives as long as the header and was published with release.
        unsafe { self.cold.load(Ordering::Acquire).cast_const().as_ref() }
    }

    /// What there is, and the reason; or without the reason, which is in what was made for it.
    fn cold_or_new(&self, reason: CancelReason) -> (&Cold, Option<CancelReason>) {
        if let Some(cold) = self.cold() {
            return (cold, Some(reason));
        }
        let mut offered = Box::<Cold>::default();
        offered.reason = Some(reason);
        let offered = Box::into_raw(offered);
        let stored = self.cold.compare_exchange(
            ptr::null_mut(),
            offered,
            Ordering::Release,
            Ordering::Acquire,
        );
        match stored {
            // SAFETY: made from a box above; from now on it is never replaced while the header lives.
            Ok(_) => (unsafe { &*offered }, None),
            Err(winner) => {
                // SAFETY: made from a box above and not published.
                let mut offered = unsafe { Box::from_raw(offered) };
                // SAFETY: as in `cold`; the failed exchange has acquired it.
                (unsafe { &*winner }, offered.reason.take())
            }
        }
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        // Relaxed: whoever frees a task has acquired all that was done to it. (`load` and not `get_mut`,
        // which loom's atomics do not have.)
        let cold = self.cold.load(Ordering::Relaxed);
        if !cold.is_null() {
            // SAFETY: a leaked box that only the header owns; the header is going away.
            drop(unsafe { Box::from_raw(cold) });
        }
    }
}

/// Name and context, for another task.
impl Clone for Cold {
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        clone.name.clone_from(&self.name);
        clone.context.clone_from(&self.context);
        clone
    }
}

impl Drop for Cold {
    fn drop(&mut self) {
        // Relaxed: as in the header's destructor.
        let reason = self.cancel.load(Ordering::Relaxed);
        if !reason.is_null() {
            // SAFETY: a leaked box that only this owns.
            drop(unsafe { Box::from_raw(reason) });
        }
        // Last, and caught: it may be the end of values of the user's, on whatever thread dropped a waker.
        let context = self.context.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(context))) {
            harness::discard(payload);
        }
    }
}
