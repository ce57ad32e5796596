//! `block_on`: a future that the calling thread drives itself.
//!
//! With a seat, the thread is a worker that also polls the root; without one (somebody else blocks on this scheduler already, or
//! the seat's holder does not leave, being inside a long poll) it polls the root alone and sleeps in between.
//!
//! A wake-up of the root sets `woken` and then unparks the thread, by the driver of its seat or by its own token; both remember an
//! unpark that comes early. The thread reads `woken` after it has announced its sleep. So the wake-up is seen by that read, or
//! its unpark ends the sleep. A wake-up by the root's own thread needs no unpark: that thread reads `woken` before it sleeps.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use divisi_task::budget;

use crate::context;
use crate::monitor;
use crate::seat::Core;
use crate::shared::{Phase, Shared};
use crate::spare;
use crate::worker::Worker;

struct RootWake {
    woken: AtomicBool,
    shared: Arc<Shared>,
    seat: Option<usize>,
    thread: Thread,
}

impl Wake for RootWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Virtual time must not move between the wake-up and the poll that answers it: a seat still counts as asleep for a moment
        // after its thread was woken, and a woken root is in no queue. Held before: whoever answers at once ends this hold.
        self.shared.census.hold();
        if self.woken.swap(true, Ordering::SeqCst) {
            return release(&self.shared);
        }
        match self.seat {
            None => self.thread.unpark(),
            Some(seat) if context::seat_in(&self.shared) == Some(seat) => {}
            Some(seat) => self.shared.seats[seat].driver().unpark(),
        }
    }
}

struct Root {
    wake: Arc<RootWake>,
    waker: Waker,
}

impl Root {
    fn new(shared: &Arc<Shared>, seat: Option<usize>) -> Root {
        let wake = Arc::new(RootWake {
            woken: AtomicBool::new(true),
            shared: shared.clone(),
            seat,
            thread: thread::current(),
        });
        let waker = Waker::from(wake.clone());
        Root { wake, waker }
    }

    fn is_woken(&self) -> bool {
        self.wake.woken.load(Ordering::SeqCst)
    }

    /// Whether there was a wake-up since the last call. The caller takes its hold of the census over, and polls.
    fn take_wake(&self) -> bool {
        // Most looks find none.
        self.is_woken() && self.wake.woken.swap(false, Ordering::SeqCst)
    }

    /// At the end: wake-ups after this hold nothing. Whether there was one that nobody took.
    fn retire(&self) -> bool {
        self.wake.woken.swap(true, Ordering::SeqCst)
    }

    fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        budget::limited(|| poll(&mut Context::from_waker(&self.waker)))
    }
}

/// Runs `future` and, between its polls, the tasks of the seat. `None`: the scheduler was stopped before the future ended.
///
/// As in [`run_alone`], a wake-up holds the census until the poll that answers it.
pub(crate) fn run_on_seat<F: Future>(
    shared: &Arc<Shared>,
    seat: usize,
    core: Box<Core>,
    future: F,
) -> Option<F::Output> {
    let _entered_hook = (shared.enter)(seat);
    let mut future = pin!(future);
    let entered = context::enter(shared, seat, core);
    let worker = Worker::new(entered.context.clone());
    let root = Root::new(shared, Some(seat));
    shared.monitor.stir();
    // Nobody need be told when a hold ends here: this thread is awake, and looks at the census before it sleeps.
    let release = || {
        shared.census.release();
    };
    shared.census.hold();
    // Also if the future panics.
    let _unanswered = OnDrop(|| {
        if root.retire() {
            release();
        }
    });
    loop {
        if root.take_wake() {
            let _held = OnDrop(release);
            worker.end_search();
            if shared.monitor.is_missing() && shared.has_injected() {
                // What a thread of lowered priority left to this worker waits for as long as the root's poll lasts.
                monitor::start(shared);
            }
            shared.seats[seat].counters.root_polls.add(1);
            if let Poll::Ready(output) = root.poll(|cx| future.as_mut().poll(cx)) {
                return Some(output);
            }
        }
        spare::recall(shared, seat);
        let stopping = || shared.phase() != Phase::Running;
        if stopping() {
            return None;
        }
        if !worker.step() {
            worker.sleep(|| root.is_woken() || stopping());
        }
    }
}

/// Runs `future` on a thread that holds no seat. `None`: the scheduler was stopped before the future ended.
///
/// Every wake-up that is not answered yet holds the census once, and the poll that answers it takes that hold over; so does the first poll.
pub(crate) fn run_alone<F: Future>(shared: &Arc<Shared>, future: F) -> Option<F::Output> {
    let _entered_hook = (shared.enter)(0);
    let mut future = pin!(future);
    // Not while the future is dropped, as with a seat.
    let _driving = context::enter_alone();
    // What this root waits for is with the driver of seat 0, whose worker may be stuck.
    monitor::start(shared);
    let root = Root::new(shared, None);
    let this = thread::current();
    shared.alone.lock().push(this.clone());
    let _listed = OnDrop(|| {
        let mut alone = shared.alone.lock();
        if let Some(place) = alone.iter().position(|other| other.id() == this.id()) {
            alone.swap_remove(place);
        }
    });
    shared.census.hold();
    // Runs last, also if the future panics.
    let _unanswered = OnDrop(|| {
        if root.retire() {
            release(shared);
        }
    });
    loop {
        let held = OnDrop(|| release(shared));
        root.take_wake();
        if let Poll::Ready(output) = root.poll(|cx| future.as_mut().poll(cx)) {
            return Some(output);
        }
        drop(held);
        while !root.is_woken() {
            // Whoever stops the scheduler unparks this thread after it has set the phase.
            if shared.phase() != Phase::Running {
                return None;
            }
            thread::park();
        }
    }
}

fn release(shared: &Shared) {
    if shared.census.release() {
        shared.wake_any();
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
