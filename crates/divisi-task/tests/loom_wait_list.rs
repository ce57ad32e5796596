//! Models of the wait list: choosing against leaving, against a new waker, and what a turn makes visible.
//!
//! ```text
//! RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-task --release --test 'loom_*'
//! ```
//!
//! No bound on the number of switches: these are small enough to be explored whole.
#![cfg(divisi_loom)]

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use divisi_task::wait_list::{Queue, Turn, WaitList, Waiter, Wakers};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

/// Turns that are given out one by one; a turn that nobody waits for is kept.
struct Turns {
    waiters: WaitList<usize, ()>,
    /// Written by who gives a turn, read by who gets it.
    written: UnsafeCell<usize>,
}

impl Turns {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            waiters: WaitList::new(0),
            written: UnsafeCell::new(0),
        })
    }

    fn give(&self) {
        let mut wakers = Wakers::new();
        let mut turns = self.waiters.lock();
        if !turns.choose(0, &mut wakers) {
            *turns += 1;
        }
        drop(turns);
        wakers.wake_all();
    }

    async fn turn(&self) {
        let mut waiter = pin!(Waiter::new(self, ()));
        poll_fn(|cx| self.poll_turn(waiter.as_mut(), cx)).await;
    }

    fn poll_turn(
        &self,
        mut waiter: std::pin::Pin<&mut Waiter<&Self>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match waiter.as_mut().poll_turn(cx) {
            Turn::Free => {
                let took = waiter.join(0, cx, |turns, ()| {
                    **turns = turns.checked_sub(1)?;
                    Some(())
                });
                took.map_or(Poll::Pending, Poll::Ready)
            }
            Turn::Waiting => Poll::Pending,
            Turn::Chosen => {
                waiter.accept();
                Poll::Ready(())
            }
        }
    }
}

impl Queue for Turns {
    type State = usize;
    type Ticket = ();

    fn waiters(&self) -> &WaitList<usize, ()> {
        &self.waiters
    }

    fn give_up(&self, (): &mut (), chosen: bool) {
        if chosen {
            self.give();
        }
    }
}

/// The one who gets a turn sees what was written before it was given, without a lock of its own.
#[test]
fn wait_list_turn_makes_visible() {
    loom::model(|| {
        let turns = Turns::new();
        let gives = thread::spawn({
            let turns = turns.clone();
            move || {
                // SAFETY: read only after the turn. That is what loom checks here.
                turns.written.with_mut(|written| unsafe { *written = 1 });
                turns.give();
            }
        });
        block_on(turns.turn());
        // SAFETY: as above.
        assert_eq!(turns.written.with(|written| unsafe { *written }), 1);
        gives.join().unwrap();
    });
}

/// One who waits leaves while a turn is given: the other one gets it, or finds it kept.
#[test]
fn wait_list_choose_against_leaving() {
    loom::model(|| {
        let turns = Turns::new();
        let leaves = thread::spawn({
            let turns = turns.clone();
            move || {
                let mut turn = pin!(turns.turn());
                let polled = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                polled.is_ready()
            }
        });
        let gives = thread::spawn({
            let turns = turns.clone();
            move || turns.give()
        });
        let took = leaves.join().unwrap();
        if took {
            turns.give();
        }
        block_on(turns.turn());
        gives.join().unwrap();
        assert_eq!(*turns.waiters.lock(), 0);
    });
}

/// Between two who wait, one in the middle of the list leaves while both others are chosen.
#[test]
fn wait_list_leaving_from_the_middle() {
    loom::model(|| {
        let turns = Turns::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(turns.turn());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        let middle = {
            let mut middle = Box::pin({
                let turns = turns.clone();
                async move { turns.turn().await }
            });
            assert!(middle.as_mut().poll(&mut cx).is_pending());
            middle
        };
        let mut last = pin!(turns.turn());
        assert!(last.as_mut().poll(&mut cx).is_pending());
        let leaves = thread::spawn(move || drop(middle));
        turns.give();
        turns.give();
        leaves.join().unwrap();
        assert!(first.as_mut().poll(&mut cx).is_ready());
        assert!(last.as_mut().poll(&mut cx).is_ready());
        assert_eq!(*turns.waiters.lock(), 0);
    });
}

/// The waker is replaced while a turn is given: the new one is woken, or the poll that replaced it sees the turn.
#[test]
fn wait_list_choose_against_a_new_waker() {
    loom::model(|| {
        let turns = Turns::new();
        let mut turn = Box::pin({
            let turns = turns.clone();
            async move { turns.turn().await }
        });
        let polled = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let gives = thread::spawn({
            let turns = turns.clone();
            move || turns.give()
        });
        // Hangs if only the first waker was woken.
        block_on(turn);
        gives.join().unwrap();
    });
}
