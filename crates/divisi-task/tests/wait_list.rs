//! Waiters whose wakers misbehave. What is ordered between threads is in `loom_wait_list.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use divisi_task::wait_list::{Queue, Turn, WaitList, Waiter, Wakers};

const LANE: usize = 0;

struct Gate {
    waiters: WaitList<(), ()>,
    given_up: AtomicUsize,
}

impl Gate {
    fn new() -> Gate {
        Gate {
            waiters: WaitList::new(()),
            given_up: AtomicUsize::new(0),
        }
    }
}

impl Queue for Gate {
    type State = ();
    type Ticket = ();

    fn waiters(&self) -> &WaitList<(), ()> {
        &self.waiters
    }

    fn give_up(&self, (): &mut (), _chosen: bool) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }
}

fn join(waiter: Pin<&mut Waiter<&Gate>>, waker: &Waker) {
    let mut cx = Context::from_waker(waker);
    assert!(waiter.join(LANE, &mut cx, |_, ()| None::<()>).is_none());
}

/// The last of such wakers panics when it is dropped.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("a waker's destructor"));
    }
}

#[test]
fn a_waiter_whose_waker_panics_when_it_is_dropped_has_left_all_the_same() {
    let gate = Gate::new();
    let mut first = pin!(Waiter::new(&gate, ()));
    let mut second = pin!(Waiter::new(&gate, ()));
    join(first.as_mut(), &Waker::from(Arc::new(Bomb)));
    join(second.as_mut(), Waker::noop());

    let left = catch_unwind(AssertUnwindSafe(|| first.as_mut().leave()));
    assert!(left.is_err());
    assert!(first.is_free());
    assert_eq!(gate.given_up.load(Ordering::Relaxed), 1);
    assert_eq!(gate.waiters.lock().waiting(LANE), 1);

    // It can wait again, and the one behind it has its turn.
    join(first.as_mut(), Waker::noop());
    let mut wakers = Wakers::new();
    let mut locked = gate.waiters.lock();
    while locked.choose(LANE, &mut wakers) {}
    drop(locked);
    wakers.wake_all();
    let mut cx = Context::from_waker(Waker::noop());
    for waiter in [&mut first, &mut second] {
        assert_eq!(waiter.as_mut().poll_turn(&mut cx), Turn::Chosen);
        waiter.as_mut().accept();
    }
}
