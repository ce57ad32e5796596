//! The state word of a task: who may do what next, how many references there are, how often it was polled.
//!
//! ```text
//!  63                    36 35                     8 7   0
//! +------------------------+------------------------+-----+
//! | polls (28 bits, wraps) | references (28 bits)   |flags|
//! +------------------------+------------------------+-----+
//! ```
//!
//! Every change is one atomic read-modify-write of the whole word, made by a named transition below; nothing
//! outside this file knows the bits. Because *all* stores to the word are read-modify-writes, each of them
//! continues the release sequences before it: whoever acquires the word sees everything that any earlier
//! releasing transition published.
//!
//! # What the flags grant
//!
//! | flags | means | who may touch the stage (future or output) |
//! |---|---|---|
//! | `SCHEDULED`, not `RUNNING` | exactly one `Runnable` exists | nobody until a claim |
//! | `RUNNING` | one thread claimed the task | that thread |
//! | `SCHEDULED` and `RUNNING` | woken while it runs: the runner will schedule it again (a claim by `shutdown` leaves it set and finishes the task instead) | the runner |
//! | none of them | waiting for a wake-up | nobody |
//! | `COMPLETE` and `JOIN_INTEREST` | the output waits for the handle | the handle |
//! | `COMPLETE`, no `JOIN_INTEREST` at the moment of completing | the handle had left before | the thread that completed it |
//!
//! `COMPLETE` is final; `RUNNING` and `COMPLETE` are never set together.
//!
//! | flags | who may touch the join waker |
//! |---|---|
//! | `JOIN_INTEREST`, no `JOIN_WAKER` | the handle, exclusively |
//! | `JOIN_WAKER`, not `COMPLETE` | the handle may read it |
//! | `JOIN_WAKER` and `COMPLETE` | both may read it; the completing thread then clears `JOIN_WAKER` |
//! | neither `JOIN_WAKER` nor `JOIN_INTEREST` | whoever cleared the second of the two drops it |
//!
//! The transitions are unit-tested one by one, and checked against each other by the models in `tests/loom_task.rs`.

use std::fmt;

use crate::sync::{AtomicU64, Ordering};

/// A `Runnable` exists, or will be made by the thread that runs the task.
const SCHEDULED: u64 = 1 << 0;
/// A thread has the exclusive right to the future: it polls it or drops it.
const RUNNING: u64 = 1 << 1;
/// The output is stored, or there never will be one. Never cleared.
const COMPLETE: u64 = 1 << 2;
/// Somebody asked for the end of the task. Never cleared; whoever sets it has published the reason before, or has claimed the task with it
/// and keeps it.
const CANCELLED: u64 = 1 << 3;
/// The join handle exists. Only the handle clears it, never sets it again.
const JOIN_INTEREST: u64 = 1 << 4;
/// The join waker is stored and belongs to the thread that will complete the task.
const JOIN_WAKER: u64 = 1 << 5;

const REF_SHIFT: u32 = 8;
const REF_BITS: u32 = 28;
const REF_ONE: u64 = 1 << REF_SHIFT;
const REF_MASK: u64 = ((1 << REF_BITS) - 1) << REF_SHIFT;
/// Half of what fits. A thread that finds more stops the process before it makes another, so that wrapping
/// would take as many threads as there are references left: 2^27.
const REF_LIMIT: u64 = 1 << (REF_BITS - 1);

const POLL_SHIFT: u32 = REF_SHIFT + REF_BITS;
const POLL_ONE: u64 = 1 << POLL_SHIFT;

/// A runnable, a join handle, the registry.
const INITIAL_REFERENCES: u64 = 3;

/// See the module documentation.
pub(crate) struct State(AtomicU64);

/// A value of the state word at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

/// What the holder of a runnable may do after it tried to start the task.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToRunning {
    /// The caller has claimed the task and polls it.
    Poll,
    /// The caller has claimed the task and drops the future.
    Cancel,
    /// The task was claimed or completed by `shutdown`: the runnable's reference is all that is left to give
    /// back.
    Stale,
}

/// What happened to the task while it was polled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToIdle {
    /// The task waits. The runner's reference is gone: it must not touch the task any more.
    Idle,
    /// The task was woken. The runner's reference is for the new runnable; one more was made, so that the
    /// runner may use the scheduler while it schedules.
    Yielded,
    /// The task was cancelled. The caller still has the claim and drops the future.
    Cancelled,
}

/// What a wake-up or a cancellation has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToScheduled {
    /// A runnable was created (with a reference of its own): the caller schedules it.
    Submit,
    /// Somebody else takes care of it, or the task is complete.
    Nothing,
}

/// What a waker that is used up has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToScheduledByValue {
    /// As [`ToScheduled::Submit`]; the waker's own reference is still there and keeps the scheduler alive
    /// meanwhile.
    Submit,
    /// The waker's reference was given back.
    Released,
    /// The waker's reference was the last one: the caller frees the task.
    Last,
}

/// What the claimant of a shutdown found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToShutdown {
    /// The caller has claimed the task (with a reference for the claim) and drops the future.
    Claimed,
    /// Another thread runs the task, and has not been asked to end it.
    Running,
    /// Another thread runs the task and will see the request, or ends it.
    Ending,
    /// The task is complete.
    Finished,
}

/// How far a leaving join handle got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinLeave {
    /// Interest and reference are given back.
    Left,
    /// The same, and the reference was the last one: the caller frees the task.
    Last,
    /// The handle has got exclusive access to the join waker back. It drops it and tries again.
    TakeWaker,
    /// The task has completed meanwhile: the handle drops the output first and then leaves with
    /// `leave_complete`.
    TakeOutput,
}

impl State {
    /// Scheduled for the first time: the runnable, the handle and the registry have one reference each.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(
            SCHEDULED | JOIN_INTEREST | (INITIAL_REFERENCES * REF_ONE),
        ))
    }

    pub(crate) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Applies `next` until it either declines (`Err`) or its value is stored (`Ok`).
    ///
    /// The word is loaded with `Acquire`, so that any decision may rely on what the word published. `success`
    /// needs `Acquire` only where what counts can come between the load and the exchange without changing the
    /// value: a wake-up of a task that is scheduled already.
    #[inline(always)]
    fn update<R>(
        &self,
        success: Ordering,
        mut next: impl FnMut(Snapshot) -> Result<(u64, R), R>,
    ) -> R {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            let (new, result) = match next(Snapshot(current)) {
                Ok(step) => step,
                Err(declined) => return declined,
            };
            match self
                .0
                .compare_exchange_weak(current, new, success, Ordering::Acquire)
            {
                Ok(_) => return result,
                Err(actual) => current = actual,
            }
        }
    }

    /// The holder of the runnable claims the task and counts the poll.
    ///
    /// Acquires what the last runner left in the future, and what every waker wrote before it woke the task.
    pub(crate) fn to_running(&self) -> ToRunning {
        self.update(Ordering::Acquire, |s| {
            if s.0 & (RUNNING | COMPLETE) != 0 {
                return Err(ToRunning::Stale);
            }
            debug_assert!(s.is_scheduled(), "a runnable of {s:?}");
            let claimed = (s.0 & !SCHEDULED) | RUNNING;
            Ok(if s.is_cancelled() {
                (claimed, ToRunning::Cancel)
            } else {
                (claimed.wrapping_add(POLL_ONE), ToRunning::Poll)
            })
        })
    }

    /// The holder of a runnable that will never run claims the task in order to cancel it.
    pub(crate) fn to_abandoned(&self) -> ToRunning {
        self.update(Ordering::Acquire, |s| {
            if s.0 & (RUNNING | COMPLETE) != 0 {
                return Err(ToRunning::Stale);
            }
            let claimed = (s.0 & !SCHEDULED) | RUNNING | CANCELLED;
            Ok((claimed, ToRunning::Cancel))
        })
    }

    /// The poll returned `Pending`.
    ///
    /// Releases the state of the future to the next runner.
    pub(crate) fn to_idle(&self) -> ToIdle {
        self.update(Ordering::Release, |s| {
            debug_assert!(s.is_running(), "to_idle of {s:?}");
            if s.is_cancelled() {
                return Err(ToIdle::Cancelled);
            }
            let idle = s.0 & !RUNNING;
            Ok(if s.is_scheduled() {
                (idle + REF_ONE, ToIdle::Yielded)
            } else {
                debug_assert!(s.references() > 1, "the registry holds a reference: {s:?}");
                (idle - REF_ONE, ToIdle::Idle)
            })
        })
    }

    /// The output is stored, or nobody comes for it. Returns the word after the transition.
    ///
    /// Releases the output to the handle; acquires the join waker.
    pub(crate) fn to_complete(&self) -> Snapshot {
        let before = Snapshot(self.0.fetch_xor(RUNNING | COMPLETE, Ordering::AcqRel));
        debug_assert!(before.is_running() && !before.is_complete());
        Snapshot(before.0 ^ (RUNNING | COMPLETE))
    }

    /// A waker is used by reference.
    ///
    /// A task that is scheduled already needs no second runnable, but the word is written all the same: what
    /// the waker's owner wrote before must be visible to the poll that comes, and a mere load would publish
    /// nothing (the owner's store could still be on its way when the runner clears `SCHEDULED` and looks).
    pub(crate) fn wake_by_ref(&self) -> ToScheduled {
        self.update(Ordering::Release, |s| {
            if s.is_complete() {
                return Err(ToScheduled::Nothing);
            }
            Ok(if s.is_idle() {
                s.check_overflow();
                ((s.0 | SCHEDULED) + REF_ONE, ToScheduled::Submit)
            } else {
                (s.0 | SCHEDULED, ToScheduled::Nothing)
            })
        })
    }

    /// A waker is used up.
    ///
    /// `Acquire`, for the last reference, is in the load: once that finds a single reference, nobody is left
    /// to change the word.
    pub(crate) fn wake_by_value(&self) -> ToScheduledByValue {
        self.update(Ordering::Release, |s| {
            Ok(if s.is_complete() {
                let left = s.0 - REF_ONE;
                if left & REF_MASK == 0 {
                    (left, ToScheduledByValue::Last)
                } else {
                    (left, ToScheduledByValue::Released)
                }
            } else if s.is_idle() {
                s.check_overflow();
                ((s.0 | SCHEDULED) + REF_ONE, ToScheduledByValue::Submit)
            } else {
                debug_assert!(s.references() > 1, "whoever will run it holds one: {s:?}");
                ((s.0 | SCHEDULED) - REF_ONE, ToScheduledByValue::Released)
            })
        })
    }

    /// Asks for the end of the task. The reason has been stored before; this releases it.
    pub(crate) fn to_cancelled(&self) -> ToScheduled {
        self.update(Ordering::Release, |s| {
            if s.0 & (COMPLETE | CANCELLED) != 0 {
                return Err(ToScheduled::Nothing);
            }
            Ok(if s.is_idle() {
                s.check_overflow();
                ((s.0 | CANCELLED | SCHEDULED) + REF_ONE, ToScheduled::Submit)
            } else {
                (s.0 | CANCELLED, ToScheduled::Nothing)
            })
        })
    }

    /// Claims the task for its end if nobody runs it; if somebody does, asks for its end, for which the reason must have been stored before.
    ///
    /// A runnable that exists becomes stale by this.
    pub(crate) fn to_shutdown(&self, reason_is_stored: bool) -> ToShutdown {
        self.update(Ordering::AcqRel, |s| {
            if s.is_complete() {
                return Err(ToShutdown::Finished);
            }
            if !s.is_running() {
                s.check_overflow();
                return Ok(((s.0 | RUNNING | CANCELLED) + REF_ONE, ToShutdown::Claimed));
            }
            if s.is_cancelled() {
                Err(ToShutdown::Ending)
            } else if reason_is_stored {
                Ok((s.0 | CANCELLED, ToShutdown::Ending))
            } else {
                Err(ToShutdown::Running)
            }
        })
    }

    /// Makes a reference from an existing one.
    pub(crate) fn ref_inc(&self) {
        // Relaxed: as with `Arc`, the new reference is derived from one that keeps the task alive.
        let before = Snapshot(self.0.fetch_add(REF_ONE, Ordering::Relaxed));
        before.check_overflow();
    }

    /// Gives `count` references back; true if they were the last: the caller frees the task.
    #[must_use]
    pub(crate) fn ref_dec(&self, count: u64) -> bool {
        // Release: whatever was done through the reference is over. Acquire, for the last one: all of it was.
        let before = Snapshot(self.0.fetch_sub(count * REF_ONE, Ordering::AcqRel));
        debug_assert!(before.references() >= count, "{before:?} - {count}");
        before.references() == count
    }

    /// Hands the stored join waker over to the completing thread; false if the task has completed.
    #[must_use]
    pub(crate) fn set_join_waker(&self) -> bool {
        self.update(Ordering::Release, |s| {
            debug_assert!(s.has_join_interest() && !s.has_join_waker());
            if s.is_complete() {
                return Err(false);
            }
            Ok((s.0 | JOIN_WAKER, true))
        })
    }

    /// Takes the join waker back; false if the task has completed.
    ///
    /// Relaxed: the waker was written by this handle, and nobody else reads it before the task completes.
    #[must_use]
    pub(crate) fn unset_join_waker(&self) -> bool {
        self.update(Ordering::Relaxed, |s| {
            debug_assert!(s.has_join_interest() && s.has_join_waker());
            if s.is_complete() {
                return Err(false);
            }
            Ok((s.0 & !JOIN_WAKER, true))
        })
    }

    /// The completing thread has woken the join waker. Returns the word after the transition: without
    /// `JOIN_INTEREST` the caller drops the waker, otherwise the handle does.
    pub(crate) fn unset_join_waker_after_complete(&self) -> Snapshot {
        let before = Snapshot(self.0.fetch_and(!JOIN_WAKER, Ordering::AcqRel));
        debug_assert!(before.is_complete() && before.has_join_waker());
        Snapshot(before.0 & !JOIN_WAKER)
    }

    /// The handle leaves a task that has not completed, if that is so.
    pub(crate) fn leave_incomplete(&self) -> JoinLeave {
        self.update(Ordering::Release, |s| {
            debug_assert!(s.has_join_interest());
            if s.is_complete() {
                return Err(JoinLeave::TakeOutput);
            }
            Ok(if s.has_join_waker() {
                (s.0 & !JOIN_WAKER, JoinLeave::TakeWaker)
            } else {
                debug_assert!(s.references() > 1, "the registry holds a reference: {s:?}");
                (s.0 - JOIN_INTEREST - REF_ONE, JoinLeave::Left)
            })
        })
    }

    /// The handle leaves a completed task whose output is gone. `waker_dropped` tells whether the handle has
    /// dropped the join waker, which it may do only once `JOIN_WAKER` is clear.
    pub(crate) fn leave_complete(&self, waker_dropped: bool) -> JoinLeave {
        self.update(Ordering::Release, |s| {
            debug_assert!(s.has_join_interest() && s.is_complete());
            if !s.has_join_waker() && !waker_dropped {
                return Err(JoinLeave::TakeWaker);
            }
            let left = s.0 - JOIN_INTEREST - REF_ONE;
            Ok(if left & REF_MASK == 0 {
                (left, JoinLeave::Last)
            } else {
                (left, JoinLeave::Left)
            })
        })
    }
}

impl Snapshot {
    pub(crate) fn is_scheduled(self) -> bool {
        self.0 & SCHEDULED != 0
    }

    pub(crate) fn is_running(self) -> bool {
        self.0 & RUNNING != 0
    }

    pub(crate) fn is_complete(self) -> bool {
        self.0 & COMPLETE != 0
    }

    pub(crate) fn is_cancelled(self) -> bool {
        self.0 & CANCELLED != 0
    }

    pub(crate) fn has_join_interest(self) -> bool {
        self.0 & JOIN_INTEREST != 0
    }

    pub(crate) fn has_join_waker(self) -> bool {
        self.0 & JOIN_WAKER != 0
    }

    pub(crate) fn references(self) -> u64 {
        (self.0 & REF_MASK) >> REF_SHIFT
    }

    pub(crate) fn polls(self) -> u64 {
        self.0 >> POLL_SHIFT
    }

    fn is_idle(self) -> bool {
        self.0 & (SCHEDULED | RUNNING | COMPLETE) == 0
    }

    fn overflows(self) -> bool {
        self.references() >= REF_LIMIT
    }

    #[inline(always)]
    fn check_overflow(self) {
        if self.overflows() {
            abort_on_overflow();
        }
    }
}

/// Wrapped references would free a task that is in use, so nothing short of ending the process is sound.
#[cold]
fn abort_on_overflow() -> ! {
    eprintln!(
        "divisi: more than {REF_LIMIT} wakers or handles of one task exist: some code leaks them"
    );
    std::process::abort();
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (SCHEDULED, "SCHEDULED"),
            (RUNNING, "RUNNING"),
            (COMPLETE, "COMPLETE"),
            (CANCELLED, "CANCELLED"),
            (JOIN_INTEREST, "JOIN_INTEREST"),
            (JOIN_WAKER, "JOIN_WAKER"),
        ];
        for (bit, name) in flags {
            if self.0 & bit != 0 {
                write!(f, "{name} | ")?;
            }
        }
        write!(
            f,
            "references: {} | polls: {}",
            self.references(),
            self.polls()
        )
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests;
