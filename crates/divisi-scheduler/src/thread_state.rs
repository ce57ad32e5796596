//! What the operating system says a worker's thread is doing: a thread that waits for a core is not stuck.
//!
//! A poll that lasts long on the clock may be blocked, may compute, or may be ready to go on and not get a core, because other programs use them. In
//! the last case a spare worker would only wait for a core as well. Linux tells them apart in `/proc`; elsewhere only the clock counts.

use std::time::Duration;

/// A thread as the operating system knows it; zero for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadNumber(u64);

impl ThreadNumber {
    pub(crate) fn current() -> ThreadNumber {
        ThreadNumber(sys::current())
    }

    pub(crate) fn from_raw(raw: u64) -> ThreadNumber {
        ThreadNumber(raw)
    }

    pub(crate) fn as_raw(self) -> u64 {
        self.0
    }
}

/// A moment in the life of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Neither running nor ready to run.
    pub(crate) blocked: bool,
    /// Nanoseconds of processor time used so far.
    pub(crate) used: u64,
}

impl Sample {
    /// `None` if the system does not tell, or the thread is gone.
    pub(crate) fn of(thread: ThreadNumber) -> Option<Sample> {
        sys::sample(thread.0)
    }
}

/// Processor time that the calling thread has used so far; `None` if the system does not tell.
pub(crate) fn processor_time() -> Option<Duration> {
    sys::processor_time()
}

#[cfg(target_os = "linux")]
mod sys {
    use super::Sample;
    use rustix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    pub(super) fn processor_time() -> Option<Duration> {
        clock_gettime(ClockId::ThreadCPUTime).try_into().ok()
    }

    pub(super) fn current() -> u64 {
        rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs()
            .into()
    }

    pub(super) fn sample(thread: u64) -> Option<Sample> {
        let read = |file| std::fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).ok();
        // `pid (name) S ...`: the name may contain anything, parentheses too.
        let stat = read("stat")?;
        let state = stat[stat.rfind(')')? + 1..].trim_start().chars().next()?;
        // `used waited slices`; no slices on kernels that do not count.
        let schedstat = read("schedstat")?;
        let mut fields = schedstat.split_whitespace().map(str::parse::<u64>);
        let (used, slices) = (fields.next()?.ok()?, fields.nth(1)?.ok()?);
        (slices > 0).then_some(Sample {
            blocked: state != 'R',
            used,
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod sys {
    use super::Sample;

    pub(super) fn processor_time() -> Option<std::time::Duration> {
        None
    }

    pub(super) fn current() -> u64 {
        1
    }

    pub(super) fn sample(_thread: u64) -> Option<Sample> {
        None
    }
}

#[cfg(all(test, target_os = "linux", not(divisi_loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_thread_that_waits_is_blocked_and_one_that_asks_is_not() {
        let (tell, told) = mpsc::channel();
        let (open, closed) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(ThreadNumber::current()).unwrap();
            let _ = closed.recv();
        });
        let number = told.recv().unwrap();
        while !Sample::of(number).is_some_and(|sample| sample.blocked) {
            std::thread::yield_now();
        }
        drop(open);
        thread.join().unwrap();
        assert!(!Sample::of(ThreadNumber::current()).unwrap().blocked);
    }

    #[test]
    fn processor_time_grows_with_use() {
        let number = ThreadNumber::current();
        let before = Sample::of(number).unwrap().used;
        while Sample::of(number).unwrap().used == before {
            std::hint::black_box((0..1000).sum::<u64>());
        }
    }
}
