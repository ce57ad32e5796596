//! Timer slack: how much the kernel may delay a thread's timed waits to batch them.

use std::fmt;
use std::marker::PhantomData;

/// Lowers the calling thread's timer slack to 1 ns while it lives.
///
/// Linux lets a timed wait end up to 50 µs late by default. On systems without such a setting the
/// guard does nothing.
///
/// The guard belongs to the thread that made it and cannot leave it. Threads started meanwhile
/// inherit the lowered value.
///
/// ```
/// let slack = divisi_reactor::TimerSlack::lower();
/// // ... turns of this thread end within microseconds of their deadline ...
/// drop(slack); // the old value is back
/// ```
#[must_use = "the old timer slack is restored when this guard is dropped"]
pub struct TimerSlack {
    #[cfg(target_os = "linux")]
    old: Option<std::num::NonZeroU64>,
    /// The setting is the thread's: dropping the guard elsewhere would change another thread.
    _not_send: PhantomData<*const ()>,
}

impl TimerSlack {
    /// Lowers the slack of the calling thread. If the kernel refuses, nothing changes: waits then
    /// end later, never earlier.
    pub fn lower() -> TimerSlack {
        TimerSlack {
            #[cfg(target_os = "linux")]
            old: linux::lower(),
            _not_send: PhantomData,
        }
    }
}

impl Drop for TimerSlack {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        linux::restore(self.old);
    }
}

impl fmt::Debug for TimerSlack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerSlack").finish_non_exhaustive()
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{current_timer_slack, set_current_timer_slack};
    use std::num::NonZeroU64;

    /// The value that was in force, unless the kernel did not let us change it.
    pub(super) fn lower() -> Option<NonZeroU64> {
        let old = NonZeroU64::new(current_timer_slack().ok()?)?;
        set_current_timer_slack(Some(NonZeroU64::MIN)).ok()?;
        Some(old)
    }

    pub(super) fn restore(old: Option<NonZeroU64>) {
        if old.is_some() {
            // It was accepted before, and a refusal could not be acted upon.
            let _ = set_current_timer_slack(old);
        }
    }
}

#[cfg(all(test, target_os = "linux", not(divisi_loom)))]
mod tests {
    use super::*;
    use rustix::thread::current_timer_slack;

    #[test]
    fn the_slack_is_one_nanosecond_inside_and_restored_outside() {
        std::thread::spawn(|| {
            let before = current_timer_slack().unwrap();
            let outer = TimerSlack::lower();
            assert_eq!(current_timer_slack().unwrap(), 1);
            drop(TimerSlack::lower());
            assert_eq!(current_timer_slack().unwrap(), 1, "guards nest");
            drop(outer);
            assert_eq!(current_timer_slack().unwrap(), before);
        })
        .join()
        .unwrap();
    }
}
