//! Checkpoints: where a long computation lets others have the core, and ends if nobody wants its result any more.

use std::any::Any;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use divisi_task::{TaskId, TaskRef, TaskState};

use super::batch::Batch;
use super::context;

/// Answers whether somebody who does I/O waits for a core.
pub(super) type YieldHook = Arc<dyn Fn() -> bool + Send + Sync>;

/// How often a thread asks at most. The hook costs a system call, some 0.3 us, and giving way another 0.2 us; every 100 us that
/// is lost in the noise, and I/O under full load still waits little longer than that (measured: p99 0.2 ms instead of 4 ms).
const ASK_EVERY: Duration = Duration::from_micros(100);

/// When compute threads give their core away, between jobs and at [`checkpoint`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComputeYield {
    /// Every 100 us, whoever may want the core. The best for I/O, and for clients on the same machine, which this process
    /// cannot see waiting. The price: beside another program that keeps the cores busy, in the same control group, a
    /// pool at nice 0 keeps 7 % of the machine instead of 49 %, one at nice 10 keeps 4.5 % instead of 9.5 % (measured).
    Always,
    /// Every 100 us, if the process itself has I/O or tasks that wait for a core. Costs nothing beside other programs.
    #[default]
    WhenIoWaits,
    /// Never; the kernel alone decides. Busy I/O then waits for the kernel's tick now and then (p99.9 some 4 ms).
    Never,
}

/// The job that code on a compute thread works for.
#[derive(Clone)]
pub(super) enum Owner {
    Job(TaskRef),
    Batch(Arc<Batch>),
}

/// Which owner: what is thrown has to be told apart, not kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Job(TaskId),
    Batch(usize),
}

impl Owner {
    fn is_cancelled(&self) -> bool {
        match self {
            Self::Job(job) => job.state() == TaskState::Cancelling,
            Self::Batch(batch) => batch.is_stopped(),
        }
    }

    fn name(&self) -> Name {
        match self {
            Self::Job(job) => Name::Job(job.id()),
            Self::Batch(batch) => Name::Batch(Arc::as_ptr(batch).addr()),
        }
    }
}

/// What a cancelled job is unwound with.
struct Unwound(Name);

/// How an unwinding that was caught at the bottom of a job came about.
pub(crate) enum Caught {
    /// A checkpoint of this job has ended it.
    Cancelled,
    /// A checkpoint has ended another job, but in code of this one.
    Misled,
    /// An ordinary panic.
    Panic(Box<dyn Any + Send>),
}

/// Tells a job's own end from a panic.
pub(crate) fn caught_in_job(payload: Box<dyn Any + Send>, job: Option<TaskId>) -> Caught {
    caught(payload, job.map(Name::Job))
}

pub(super) fn caught_in_batch(payload: Box<dyn Any + Send>, batch: &Arc<Batch>) -> Caught {
    caught(payload, Some(Owner::Batch(Arc::clone(batch)).name()))
}

fn caught(payload: Box<dyn Any + Send>, own: Option<Name>) -> Caught {
    match payload.downcast::<Unwound>() {
        Ok(unwound) if Some(unwound.0) == own => Caught::Cancelled,
        Ok(_) => Caught::Misled,
        Err(payload) => Caught::Panic(payload),
    }
}

/// What the awaiter of a misled job is told.
pub(crate) const MISLED: &str = "a checkpoint in a part of this job ended it for another job, which was cancelled: rayon ran the part on that job's \
     thread. Use `offload_scope`, `map` or `chunks` for parts that call `checkpoint`";

/// Whether a payload is a cancelled job's unwinding.
pub(super) fn is_unwinding_of_a_job(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Unwound>()
}

/// Lets I/O have the core, if any waits for it, and ends the job, if it was cancelled. Call it every now and then from a long
/// computation. It is cheap: it reads the clock, and at most every 100 us looks further. On a thread that is not a compute
/// thread it does nothing.
///
/// The pool calls it between jobs, and for each part of [`offload_scope`](super::offload_scope),
/// [`map`](crate::ComputePool::map) and [`chunks`](crate::ComputePool::chunks), by itself.
///
/// # Cancelling
///
/// If the job was cancelled, the call does not return: the job's stack is unwound (destructors run, the panic hook does not), and its
/// handle resolves to an error that says cancelled. Code that catches panics should pass on what it does not know.
/// Nothing is unwound while a panic is under way, nor in programs built with `panic = "abort"`.
///
/// What a job hands to rayon directly (`par_iter`, `rayon::join`) is not seen as part of it once another thread has
/// taken it. There a checkpoint lets I/O through but does not end the job; and if it happens on the thread of *another* job that waits
/// for rayon and was cancelled, it ends both, this one with a panic that says so. Use the pool's own helpers where
/// jobs are cancelled.
///
/// ```
/// use divisi_blocking::compute;
///
/// let mut sum = 0_u64;
/// for chunk in (0..1_000_000_u64).collect::<Vec<_>>().chunks(10_000) {
///     sum += chunk.iter().sum::<u64>();
///     compute::checkpoint();
/// }
/// # assert_eq!(sum, 499_999_500_000);
/// ```
pub fn checkpoint() {
    let look = context::with(|context| {
        let now = Instant::now();
        if let Some(asked) = context.asked.get() {
            if now.saturating_duration_since(asked) < ASK_EVERY {
                return None;
            }
        }
        context.asked.set(Some(now));
        Some((Arc::clone(&context.shared), context.owner()))
    });
    let Some((shared, owner)) = look.flatten() else {
        return;
    };
    if let Some(owner) = owner.filter(Owner::is_cancelled) {
        if cfg!(panic = "unwind") && !thread::panicking() {
            let unwound = Unwound(owner.name());
            drop((owner, shared));
            panic::resume_unwind(Box::new(unwound));
        }
    }
    let give_way = match shared.yields {
        ComputeYield::Always => true,
        ComputeYield::WhenIoWaits => shared.yield_when.as_ref().is_some_and(|waits| waits()),
        ComputeYield::Never => false,
    };
    if give_way {
        shared.counters.yields.fetch_add(1, Relaxed);
        thread::yield_now();
    }
}
