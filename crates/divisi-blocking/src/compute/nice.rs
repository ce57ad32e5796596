//! How willing compute threads are to let others have the core.

use std::io;
use std::sync::Arc;

/// How a pool's compute threads stand back for the other threads of the machine.
///
/// Each compute thread sets this for itself when it starts, once: an ordinary user can make a thread nicer but never
/// less nice again. So compute threads own their role for life. Threads and processes that a job starts inherit it.
///
/// # The price
///
/// Standing back for I/O means standing back for everybody. What is left of a two-core machine to the pool beside another
/// program that keeps both cores busy at the ordinary priority, *in the same control group and session* (measured, Linux
/// 6.18):
///
/// | | share of the machine |
/// |---|---|
/// | `Normal` | 49 % |
/// | `Low` | 9.5 % |
/// | `Background` | 1.5 % |
/// | `Idle` | 0.3 % |
///
/// Services that have control groups of their own (systemd, Kubernetes) share by the groups' weights instead, and lose
/// nothing there. A job that holds a lock while its thread is kept off the core keeps whoever wants the lock waiting for as
/// long: up to 264 ms were seen. Share no lock that blocks between jobs and tasks.
///
/// # Where it cannot be had
///
/// `Low` and `Background` add to the nice value that the pool's threads inherit, up to the system's largest (19). On systems
/// other than Linux and Android a nice value belongs to the whole process; there the pool leaves it alone. Where lowering
/// fails, the pool runs as it is, and counts each thread in
/// [`ComputeMetrics::demotion_failed`](super::ComputeMetrics::demotion_failed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComputePriority {
    /// As the rest of the process. I/O then waits for compute threads to use up their time slices.
    Normal,
    /// Nice 10, the default: I/O goes first, and beside other busy programs a tenth of the machine remains.
    #[default]
    Low,
    /// Nice 19: for work that may nearly stop while others compute.
    Background,
    /// The kernel's idle class (Linux: `SCHED_IDLE`): for work that should use idle time only. Where the class cannot be
    /// had, the thread counts as failed and has nice 19.
    Idle,
}

/// Moves the calling thread to the system's idle class.
pub(super) type IdleClass = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

impl ComputePriority {
    /// Lowers the calling thread. Returns whether it is as low now as was asked for.
    pub(super) fn apply(self, idle_class: Option<&IdleClass>) -> bool {
        match self {
            Self::Normal => true,
            Self::Low => demote(LOW),
            Self::Background => demote(NICEST),
            Self::Idle => {
                let moved = idle_class.is_some_and(|become_idle| become_idle().is_ok());
                if !moved {
                    // The next best, which does not change the answer.
                    let _ = demote(NICEST);
                }
                moved
            }
        }
    }
}

/// The steps of [`ComputePriority::Low`]: echo's p99 falls from 4.0 to 0.26 ms, and a tenth of the machine is left beside
/// busy neighbours (measured; the kernel gives each step a tenth less).
const LOW: i32 = 10;
/// The largest nice value there is.
const NICEST: i32 = 19;

#[cfg(any(target_os = "linux", target_os = "android"))]
fn demote(steps: i32) -> bool {
    use rustix::process::{getpriority_process, setpriority_process};

    // "The calling process" is the calling thread here: Linux keeps the nice value by thread (setpriority(2), NOTES).
    let nice = getpriority_process(None).unwrap_or(0);
    setpriority_process(None, (nice + steps).min(NICEST)).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn demote(_steps: i32) -> bool {
    false
}
