//! How willing compute threads are to let others have the core.

/// How a pool's compute threads stand back for the other threads of the machine.
///
/// Each compute thread sets this for itself when it starts, once: an ordinary user can make a thread nicer but never
/// less nice again. So compute threads own their role for life.
///
/// The steps are added to the nice value that the pool's threads inherit, up to the system's largest (19). On systems
/// other than Linux and Android a nice value belongs to the whole process; there the pool leaves it alone and counts
/// each thread in [`ComputeMetrics::demotion_failed`](super::ComputeMetrics::demotion_failed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComputePriority {
    /// As the rest of the process. I/O then waits for compute threads to use up their time slices.
    Normal,
    /// Nice 10, the default: I/O goes first, and beside other busy processes of the same group a fair part remains
    /// (about a tenth of the machine beside as many competitors as cores).
    #[default]
    Low,
    /// Nice 19: for work that may nearly stop while others compute.
    Background,
    /// For work that should use idle time only. At present the same as `Background`.
    Idle,
}

impl ComputePriority {
    /// The steps to add to the inherited nice value.
    fn steps(self) -> i32 {
        match self {
            Self::Normal => 0,
            Self::Low => 10,
            Self::Background | Self::Idle => 19,
        }
    }

    /// Makes the calling thread this nice. Returns whether it is now.
    pub(super) fn apply(self) -> bool {
        self.steps() == 0 || demote(self.steps())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn demote(steps: i32) -> bool {
    use rustix::process::{getpriority_process, setpriority_process};

    /// The largest nice value there is.
    const NICEST: i32 = 19;
    // "The calling process" is the calling thread here: Linux keeps the nice value by thread (setpriority(2), NOTES).
    let nice = getpriority_process(None).unwrap_or(0);
    setpriority_process(None, (nice + steps).min(NICEST)).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn demote(_steps: i32) -> bool {
    false
}
