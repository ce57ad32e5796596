//! Room in a bounded queue, and the line of those who wait for it.
//!
//! Async workers and compute threads share no blocking lock, so neither touches the line: a waiter joins through an
//! inbox that never waits, and only the dispatcher moves the line on ([`Room::serve`]). Whoever gives room back wakes the
//! dispatcher if somebody waits.
//!
//! # No waiter is forgotten
//!
//! A waiter **W1** raises `waiters`, **W2** joins the inbox, **W3** wakes the dispatcher. A releaser **R1** lowers `taken`,
//! **R2** reads `waiters` and wakes the dispatcher if it is not zero. All four are `SeqCst`. If R2 reads zero, R1 came
//! before W1, and the dispatcher that W3 wakes sees the room. Otherwise the dispatcher is woken after R1 and serves.
//! A wake-up of the dispatcher is kept until it looks (`std::thread::park` holds one token), so it looks after each.
//!
//! The line is first come, first served: while somebody is in it, nobody is let past.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Poll, Waker};

use divisi_task::Inbox;
use parking_lot::Mutex;

pub(super) struct Room {
    bound: Option<usize>,
    /// Places in use: waiting jobs, and reservations.
    taken: AtomicUsize,
    waiters: AtomicUsize,
    joining: Inbox<Arc<Waiter>>,
    /// Touched by the dispatcher, or by whoever could not start one.
    line: Mutex<VecDeque<Arc<Waiter>>>,
}

/// One who waits for room.
#[derive(Debug)]
pub(super) struct Waiter {
    place: Mutex<Place>,
}

#[derive(Debug)]
enum Place {
    Waiting(Waker),
    /// A place is taken in the waiter's name.
    Granted,
    /// The pool was closed.
    Closed,
    /// The waiter has its answer, or has gone away.
    Gone,
}

impl Room {
    pub(super) fn new(bound: Option<usize>) -> Self {
        Self {
            bound,
            taken: AtomicUsize::new(0),
            waiters: AtomicUsize::new(0),
            joining: Inbox::new(),
            line: Mutex::new(VecDeque::new()),
        }
    }

    /// Takes a place if there is one and nobody waits for it.
    pub(super) fn try_take(&self) -> bool {
        match self.bound {
            None => true,
            Some(bound) => self.waiters.load(SeqCst) == 0 && self.take_below(bound),
        }
    }

    /// Takes a place even if there is none.
    pub(super) fn take_anyway(&self) {
        if self.bound.is_some() {
            self.taken.fetch_add(1, SeqCst);
        }
    }

    /// Gives a place back. Returns whether the dispatcher has to be woken for somebody in the line.
    #[must_use = "somebody may wait for the place"]
    pub(super) fn release(&self) -> bool {
        if self.bound.is_none() {
            return false;
        }
        let before = self.taken.fetch_sub(1, SeqCst);
        debug_assert!(before > 0, "a place was given back that nobody had");
        self.waiters.load(SeqCst) > 0
    }

    /// Joins the line. The caller wakes the dispatcher after that.
    pub(super) fn join_line(&self, waker: Waker) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter {
            place: Mutex::new(Place::Waiting(waker)),
        });
        self.waiters.fetch_add(1, SeqCst);
        self.joining.push(Arc::clone(&waiter));
        waiter
    }

    /// Moves the line on as far as there is room; if `closed`, sends everybody home.
    pub(super) fn serve(&self, closed: bool) {
        let Some(bound) = self.bound else { return };
        loop {
            let mut line = self.line.lock();
            line.extend(self.joining.take_all());
            let Some(first) = line.front() else { return };
            let gone = first.has_gone();
            if !gone && !closed && !self.take_below(bound) {
                return;
            }
            let first = line.pop_front().expect("the front was just seen");
            drop(line);
            self.waiters.fetch_sub(1, SeqCst);
            match (gone, closed) {
                (true, _) => {}
                (false, true) => first.answer(Place::Closed, self),
                (false, false) => first.answer(Place::Granted, self),
            }
        }
    }

    fn take_below(&self, bound: usize) -> bool {
        self.taken
            .fetch_update(SeqCst, SeqCst, |taken| (taken < bound).then_some(taken + 1))
            .is_ok()
    }
}

impl Waiter {
    /// Whether the wait is over: with a place, or because the pool was closed.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Result<(), divisi_task::Closed>> {
        // Foreign code, so outside the lock: this clone, and the drop of the waker that it replaces.
        let mut waker = waker.clone();
        let mut place = self.place.lock();
        match &mut *place {
            Place::Waiting(old) => {
                std::mem::swap(old, &mut waker);
                drop(place);
                Poll::Pending
            }
            Place::Granted => {
                *place = Place::Gone;
                Poll::Ready(Ok(()))
            }
            Place::Closed | Place::Gone => Poll::Ready(Err(divisi_task::Closed)),
        }
    }

    /// Goes away. Returns whether a place was granted that has to be given back.
    #[must_use = "the place has to be given back"]
    pub(super) fn give_up(&self) -> bool {
        let before = std::mem::replace(&mut *self.place.lock(), Place::Gone);
        matches!(before, Place::Granted)
    }

    fn has_gone(&self) -> bool {
        matches!(*self.place.lock(), Place::Gone)
    }

    /// Tells the waiter; if it has gone away with a place taken for it, gives that back.
    fn answer(&self, answer: Place, room: &Room) {
        let mut place = self.place.lock();
        if let Place::Waiting(_) = *place {
            let Place::Waiting(waker) = std::mem::replace(&mut *place, answer) else {
                unreachable!("matched above, under the same lock");
            };
            drop(place);
            // A foreign waker's panic must not take the dispatcher down.
            drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
        } else if let Place::Granted = answer {
            drop(place);
            // The caller serves on until the room is used up, so nobody else has to be told.
            let _ = room.release();
        }
    }
}
