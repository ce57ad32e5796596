//! Telling a job that computes from one that waits.
//!
//! A job that computes in this pool is the worst neighbour that I/O can have: with 64 jobs of 10 ms at a time on two cores, echo
//! takes 0.8 s instead of 0.1 ms (measured). A thread's processor time says which kind a job was.

use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use divisi_task::{Runnable, TaskId};

use crate::job;

/// A shorter job is not worth a word. Ours: what the runtime takes for a stuck worker, too.
const LONG: Duration = Duration::from_millis(10);
/// Of the time that it took, a computing job uses at least so many parts in ten of a core. Ours: a job that also reads its
/// input from a file is below.
const COMPUTING_TENTHS: u32 = 9;

/// A job of the blocking pool that computed instead of waiting.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CpuBoundJob {
    /// The job's id.
    pub id: TaskId,
    /// The job's name, if it was given one.
    pub name: Option<Box<str>>,
    /// Where the job was submitted.
    pub spawned_at: &'static Location<'static>,
    /// How long it took.
    pub took: Duration,
    /// How much processor time its thread used meanwhile.
    pub computed: Duration,
}

impl fmt::Display for CpuBoundJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        write!(
            f,
            " computed for {:?} of the {:?} that it took in the pool for closures that wait, where it keeps I/O from its core; \
             give it to `offload`, which stands back for I/O (submitted at {})",
            self.computed, self.took, self.spawned_at
        )
    }
}

pub(super) type CpuBoundHook = Arc<dyn Fn(&CpuBoundJob) + Send + Sync>;

/// Runs the job and tells the hook if it computed.
pub(super) fn run_watched(job: Runnable, hook: &CpuBoundHook) {
    let task = job.task();
    let began = Instant::now();
    let before = time_used();
    job::run(job);
    let (Some(before), Some(after)) = (before, time_used()) else {
        return;
    };
    let (took, computed) = (began.elapsed(), after.saturating_sub(before));
    if !is_computing(took, computed) {
        return;
    }
    let report = CpuBoundJob {
        id: task.id(),
        name: task.name().map(Box::from),
        spawned_at: task.spawned_at(),
        took,
        computed,
    };
    // The hook is foreign; its panic, which the panic hook has reported, must not take the thread down.
    drop(catch_unwind(AssertUnwindSafe(|| hook(&report))));
}

fn is_computing(took: Duration, computed: Duration) -> bool {
    took >= LONG && computed * 10 >= took * COMPUTING_TENTHS
}

/// The processor time of the calling thread so far.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn time_used() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn time_used() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_job_that_computes_most_of_the_time_is_taken_for_one() {
        let ms = Duration::from_millis;
        assert!(is_computing(ms(10), ms(9)));
        assert!(!is_computing(ms(10), ms(8)), "it waited");
        assert!(!is_computing(ms(9), ms(9)), "it was short");
        assert!(!is_computing(ms(1000), ms(0)));
    }
}
