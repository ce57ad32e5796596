//! The census of a pool: how many jobs were taken in and have not completed.
//!
//! The count is exact in one direction that virtual time depends on: it is raised before a job is published and lowered
//! after the job's joiner has been woken. So whoever reads zero knows that every consequence of every finished job is
//! already visible as a runnable task, and that no job is on its way.
//!
//! One word holds the count and the *closed* bit, so "is the pool open" and "I am in" are one atomic step: after
//! [`Census::close`] returned, every job that will ever be taken in is already counted.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use divisi_task::Closed;

/// Set once the pool takes no more jobs.
const CLOSED: usize = 1;
/// One job in the count, which sits above the closed bit.
const ONE: usize = 2;

/// Called when a pool falls quiet.
pub(crate) type QuietHook = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Census {
    word: AtomicUsize,
    on_quiet: Option<QuietHook>,
}

impl Census {
    pub(crate) fn new(on_quiet: Option<QuietHook>) -> Self {
        Self {
            word: AtomicUsize::new(0),
            on_quiet,
        }
    }

    /// Counts one job in, unless the pool is closed.
    pub(crate) fn enter(&self) -> Result<(), Closed> {
        if self.word.fetch_add(ONE, SeqCst) & CLOSED == 0 {
            Ok(())
        } else {
            self.leave();
            Err(Closed)
        }
    }

    /// Counts one job out. Returns whether it was the last one.
    pub(crate) fn leave(&self) -> bool {
        let before = self.word.fetch_sub(ONE, SeqCst);
        debug_assert!(before >= ONE, "a job left the census that never entered it");
        let last = before & !CLOSED == ONE;
        if last {
            if let Some(hook) = &self.on_quiet {
                // The hook is the runtime's; its panic must not take a pool thread down. The panic hook has reported it.
                drop(catch_unwind(AssertUnwindSafe(|| hook())));
            }
        }
        last
    }

    /// Refuses every later [`enter`](Self::enter). Returns whether this call closed it.
    pub(crate) fn close(&self) -> bool {
        self.word.fetch_or(CLOSED, SeqCst) & CLOSED == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(SeqCst) & CLOSED != 0
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.word.load(SeqCst) / ONE
    }
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census")
            .field("in_flight", &self.in_flight())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_reported_each_time_the_last_job_leaves() {
        let quiet = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&quiet);
        let census = Census::new(Some(Arc::new(move || {
            seen.fetch_add(1, SeqCst);
        })));
        census.enter().unwrap();
        census.enter().unwrap();
        assert!(!census.leave());
        assert_eq!((census.in_flight(), quiet.load(SeqCst)), (1, 0));
        assert!(census.leave());
        census.enter().unwrap();
        assert!(census.leave());
        assert_eq!((census.in_flight(), quiet.load(SeqCst)), (0, 2));
    }

    #[test]
    fn a_closed_census_refuses_and_still_counts_out() {
        let census = Census::new(None);
        census.enter().unwrap();
        assert!(census.close());
        assert!(!census.close());
        assert!(census.enter().is_err());
        assert_eq!(census.in_flight(), 1);
        assert!(census.leave());
        assert!(census.is_closed());
    }

    #[test]
    fn a_panicking_quiet_hook_does_not_reach_the_pool_thread() {
        let census = Census::new(Some(Arc::new(|| panic!("from the hook"))));
        census.enter().unwrap();
        assert!(census.leave());
    }
}
