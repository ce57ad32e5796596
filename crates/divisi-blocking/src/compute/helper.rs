//! The starvation guard: a helper of the process's own priority runs a job when the compute threads do not get to run.
//!
//! Compute threads stand back for everybody, other programs too. On a machine whose cores are kept busy at the ordinary priority
//! a pool at nice 19 has some 1 % of it, and a job that somebody awaits may wait for minutes. So while jobs wait, the
//! dispatcher looks every [`WINDOW`] what the kernel says about the compute threads, and if they *starve*, it sends the
//! helper to run one job.
//!
//! They starve if all of them together got less than a tenth of one core ([`LEAST_SHARE`]) over a window at whose
//! beginning and end jobs waited and at least one of them wanted to run. A long queue alone is no starvation (the threads run),
//! and neither is a pool whose jobs all wait for something (they do not want to).
//!
//! It is sent, too, if runners [bounce](super::bounces) for that long and no job begins.
//!
//! The helper is a rayon pool of one thread, so that `par_iter` and the like inside that job stay on it: the pool's own threads
//! are those that do not get to run (or have parts enough), and a part that one of them took would hold the job up.
//!
//! An idle pool is not looked at: after a window without a waiting job the dispatcher dozes, until somebody's job finds no
//! runner to claim, or until it is woken for something else.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Shared, context, nesting, runner};

/// Over how long a time starvation is judged. Ours: many of the kernel's time slices (3 ms), and below what a user notices.
pub(super) const WINDOW: Duration = Duration::from_millis(50);
/// Of one core: compute threads that together get less than one part in so many starve. One thread at nice 10 gets a little less beside
/// one busy neighbour (weights 110 and 1024), so two of them with a neighbour each are not taken for it.
const LEAST_SHARE: u32 = 10;

/// What the dispatcher knows of the compute threads.
#[derive(Default)]
pub(super) struct Watch {
    last: Option<Sample>,
    helper: Option<ThreadPool>,
}

struct Sample {
    taken: Instant,
    /// Processor time of all compute threads so far.
    used: Duration,
    /// Jobs wait, and a compute thread wants to run.
    starving: bool,
    /// Jobs wait.
    waiting: bool,
}

impl Watch {
    /// Looks if it is time to, and sends the helper if need be. Returns how long to sleep; `None` if there is nothing to watch.
    pub(super) fn look(&mut self, shared: &Arc<Shared>) -> Option<Duration> {
        if !shared.helps {
            return None;
        }
        let now = Instant::now();
        if let Some(last) = &self.last {
            let age = now.saturating_duration_since(last.taken);
            if age < WINDOW {
                return Some(WINDOW - age);
            }
        }
        let Some(used) = kernel::time_used(shared.compute_threads.numbers()) else {
            // The threads have not begun, or the kernel does not tell.
            self.last = None;
            return shared.has_work().then_some(WINDOW);
        };
        let waiting = shared.has_work();
        let sample = Sample {
            taken: now,
            used,
            starving: waiting && kernel::any_wants_to_run(shared.compute_threads.numbers()),
            waiting,
        };
        let last = self.last.take();
        // Watched for one window after the last job that waited, so that few bursts need to wake the dispatcher for it.
        if !sample.waiting && last.as_ref().is_some_and(|last| !last.waiting) {
            return None;
        }
        if let Some(last) = last {
            if is_short_of_time(&last, &sample) {
                self.send_helper(shared);
            }
        }
        self.last = Some(sample);
        Some(WINDOW)
    }

    pub(super) fn send_helper(&mut self, shared: &Arc<Shared>) {
        if shared.helping.swap(true, SeqCst) {
            return;
        }
        if self.helper.is_none() {
            self.helper = start(shared);
        }
        let Some(helper) = &self.helper else {
            // No thread to be had. It is tried again after the next window.
            shared.helping.store(false, SeqCst);
            return;
        };
        let shared = Arc::clone(shared);
        helper.spawn(move || {
            let seat = shared.admission.limit();
            if runner::run_one(&shared, seat) {
                shared.counters.helped.fetch_add(1, Relaxed);
            }
            shared.helping.store(false, SeqCst);
        });
    }
}

/// Whether the compute threads got too little between two looks at each of which jobs waited and a thread wanted to run.
fn is_short_of_time(before: &Sample, after: &Sample) -> bool {
    let over = after.taken.saturating_duration_since(before.taken);
    let used = after.used.saturating_sub(before.used);
    before.starving && after.starving && used * LEAST_SHARE < over
}

fn start(shared: &Arc<Shared>) -> Option<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(1)
        .panic_handler({
            let shared = Arc::clone(shared);
            move |payload| shared.stray_panic(payload)
        })
        .spawn_handler(|thread| {
            let own = Arc::clone(shared);
            let body = Box::new(move || {
                context::enter(Arc::clone(&own), nesting::here());
                own.threads.started();
                thread.run();
                own.threads.stopping();
                own.living.leave();
            });
            shared.living.enter();
            shared
                .threads
                .start("helper", body)
                .inspect_err(|_| shared.living.leave())
        })
        .build()
        .ok()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel {
    use std::fs;
    use std::time::Duration;

    /// The processor time that threads of this process have used, all together. `None` if the kernel does not tell. A thread that
    /// is not there (any more) has used none.
    pub(super) fn time_used(threads: impl Iterator<Item = i32>) -> Option<Duration> {
        let mut nanos = 0;
        let mut known = false;
        for thread in threads {
            let Ok(text) = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")) else {
                continue;
            };
            nanos += nanos_on_core(&text)?;
            known = true;
        }
        known.then(|| Duration::from_nanos(nanos))
    }

    /// Whether any of the threads runs or waits for a core.
    pub(super) fn any_wants_to_run(mut threads: impl Iterator<Item = i32>) -> bool {
        threads.any(|thread| {
            fs::read_to_string(format!("/proc/self/task/{thread}/stat"))
                .is_ok_and(|text| state(&text) == Some('R'))
        })
    }

    /// The first field of a schedstat line (kernel documentation: scheduler/sched-stats).
    fn nanos_on_core(schedstat: &str) -> Option<u64> {
        schedstat.split_whitespace().next()?.parse().ok()
    }

    /// The third field of a stat line, which follows the name in parentheses (proc_pid_stat(5)).
    fn state(stat: &str) -> Option<char> {
        let (_, fields) = stat.rsplit_once(')')?;
        fields.trim_start().chars().next()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_lines_of_proc_are_read() {
            assert_eq!(nanos_on_core("5194797 1209 17\n"), Some(5_194_797));
            assert_eq!(nanos_on_core(""), None);
            assert_eq!(state("17 (a) b) R 1 2"), Some('R'));
            assert_eq!(state("17 (divisi) S 1 2"), Some('S'));
            assert_eq!(state("17"), None);
        }

        #[test]
        fn the_kernel_tells_of_this_thread() {
            let own = || std::iter::once(rustix::thread::gettid().as_raw_nonzero().get());
            assert!(any_wants_to_run(own()));
            assert!(time_used(own()).is_some());
            assert_eq!(time_used(std::iter::empty()), None);
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod kernel {
    use std::time::Duration;

    pub(super) fn time_used(_threads: impl Iterator<Item = i32>) -> Option<Duration> {
        None
    }

    pub(super) fn any_wants_to_run(_threads: impl Iterator<Item = i32>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short_of_time(over_ms: u64, used_ms: u64, starving: [bool; 2]) -> bool {
        let begin = Instant::now();
        let before = Sample {
            taken: begin,
            used: Duration::from_secs(1),
            starving: starving[0],
            waiting: true,
        };
        let after = Sample {
            taken: begin + Duration::from_millis(over_ms),
            used: Duration::from_secs(1) + Duration::from_millis(used_ms),
            starving: starving[1],
            waiting: true,
        };
        is_short_of_time(&before, &after)
    }

    #[test]
    fn less_than_a_tenth_of_a_core_is_too_little() {
        assert!(short_of_time(50, 4, [true, true]));
        assert!(!short_of_time(50, 5, [true, true]));
        assert!(!short_of_time(50, 100, [true, true]));
        // The dispatcher itself came late: a longer window asks for more.
        assert!(short_of_time(500, 40, [true, true]));
    }

    #[test]
    fn nobody_starves_who_did_not_want_to_run_all_the_time() {
        assert!(!short_of_time(50, 0, [false, true]));
        assert!(!short_of_time(50, 0, [true, false]));
    }
}
