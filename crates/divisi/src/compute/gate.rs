//! The gate: does this runtime's own I/O wait for a core that a compute thread could give away?
//!
//! A compute thread that always yields gives its share of the machine to every other program. So it asks first, at most every
//! 100 us: about queued tasks and due timers (a few loads each), and then the kernel, whether any reactor has events that
//! nobody has fetched. That includes the wake-ups of sleeping workers, which go through their reactors. One system call, of some
//! 0.3 us.
//!
//! Nothing here waits: a compute thread that is preempted in the middle keeps nobody else waiting.

use std::time::Instant;

use crate::runtime::Inner;

pub(crate) fn io_waits(runtime: &Inner) -> bool {
    if runtime.scheduler().has_ready_tasks() {
        return true;
    }
    // With a virtual clock nothing becomes due by itself.
    if !runtime.clock().is_virtual() {
        let now = Instant::now();
        // An early deadline (of a timer that was dropped) costs one yield.
        if runtime
            .every_reactor()
            .filter_map(divisi_reactor::Reactor::next_deadline)
            .any(|deadline| deadline <= now)
        {
            return true;
        }
    }
    has_unfetched_events(runtime)
}

#[cfg(unix)]
fn has_unfetched_events(runtime: &Inner) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// Only look.
    const NO_TIME: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut descriptors = Vec::new();
    for reactor in runtime.every_reactor() {
        match reactor.descriptor() {
            Some(descriptor) => {
                descriptors.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            }
            // The portable poller does not tell; better one yield too many.
            None => return true,
        }
    }
    // It fails only for want of memory; the next look is near.
    poll(&mut descriptors, Some(&NO_TIME)).is_ok_and(|ready| ready > 0)
}
