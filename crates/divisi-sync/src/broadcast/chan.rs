//! What both ends share.

use std::ops::Range;
use std::sync::Arc;

use divisi_task::wait_list::{Queue, WaitList, Wakers};

use super::RecvError;
use super::ring::Ring;
use crate::audience::{Audience, LANES, SENDERS};
use crate::mpsc::SendError;

pub(super) struct Chan<T> {
    pub(super) waiters: WaitList<State<T>, (), LANES>,
}

pub(super) struct State<T> {
    /// Values are put into it under this lock, and taken out of it by receivers without.
    ring: Arc<Ring<T>>,
    /// The number of the value that is sent next; values are numbered from 0. A 64-bit number does not wrap in a lifetime.
    next: u64,
    capacity: u64,
    /// How many can send: none any more after a close.
    senders: usize,
    receivers: usize,
}

/// How far a receiver has come.
pub(super) struct Cursor<T> {
    /// The channel's ring, or an empty one that it had before.
    ring: Arc<Ring<T>>,
    /// The number of the value that it wants.
    next: u64,
}

/// Those who wait for a value.
pub(super) const NEWS: usize = 0;

impl<T> Queue<LANES> for Chan<T> {
    type State = State<T>;
    type Ticket = ();

    fn waiters(&self) -> &WaitList<State<T>, (), LANES> {
        &self.waiters
    }

    /// All who waited were woken: nothing is to be passed on.
    fn give_up(&self, (): &mut (), _chosen: bool) {}
}

impl<T> Audience for State<T> {
    fn is_gone(&self) -> bool {
        self.receivers == 0 || self.senders == 0
    }
}

impl<T> Chan<T> {
    /// With one sender and one receiver, whose cursor it is.
    pub(super) fn new(capacity: usize) -> (Arc<Self>, Cursor<T>) {
        let state = State {
            ring: Arc::new(Ring::new(capacity)),
            next: 0,
            capacity: capacity as u64,
            senders: 1,
            receivers: 1,
        };
        let cursor = state.cursor(0);
        let waiters = WaitList::new(state);
        (Arc::new(Self { waiters }), cursor)
    }

    pub(super) fn send(&self, value: T) -> Result<usize, SendError<T>> {
        // Allocated before the lock is taken.
        let value = Arc::new(value);
        let mut wakers = Wakers::new();
        let mut locked = self.waiters.lock();
        let receivers = locked.receivers;
        if locked.is_gone() {
            drop(locked);
            return Err(SendError(
                Arc::into_inner(value).expect("nobody else has it yet"),
            ));
        }
        let overtaken = locked.put(value);
        while locked.choose(NEWS, &mut wakers) {}
        drop(locked);
        wakers.wake_all();
        drop(overtaken);
        Ok(receivers)
    }

    /// A sender more.
    pub(super) fn add_sender(&self) {
        let mut locked = self.waiters.lock();
        if locked.senders > 0 {
            locked.senders += 1;
        }
    }

    /// A sender less: without any, nobody waits.
    pub(super) fn remove_sender(&self) {
        self.change_senders(|senders| senders.saturating_sub(1));
    }

    /// No sender any more.
    pub(super) fn close(&self) {
        self.change_senders(|_| 0);
    }

    fn change_senders(&self, change: fn(usize) -> usize) {
        let mut wakers = Wakers::new();
        let mut locked = self.waiters.lock();
        locked.senders = change(locked.senders);
        if locked.senders == 0 {
            while locked.choose(NEWS, &mut wakers) {}
            while locked.choose(SENDERS, &mut wakers) {}
        }
        drop(locked);
        wakers.wake_all();
    }

    /// A receiver more, which sees what is sent from now on.
    pub(super) fn add_receiver(&self) -> Cursor<T> {
        let mut locked = self.waiters.lock();
        locked.receivers += 1;
        locked.cursor(locked.next)
    }

    /// A receiver more, which sees what another sees.
    pub(super) fn add_receiver_at(&self, other: &Cursor<T>) -> Cursor<T> {
        let mut locked = self.waiters.lock();
        locked.receivers += 1;
        for number in locked.numbers_from(other) {
            locked.ring.add_unseen(number);
        }
        locked.cursor(other.next)
    }

    /// A receiver less.
    pub(super) fn remove_receiver(&self, cursor: &Cursor<T>) {
        let mut wakers = Wakers::new();
        let mut locked = self.waiters.lock();
        locked.receivers -= 1;
        if locked.receivers == 0 {
            while locked.choose(SENDERS, &mut wakers) {}
        }
        let mut seen = Vec::new();
        for number in locked.numbers_from(cursor) {
            seen.extend(locked.ring.take(number));
        }
        drop(locked);
        wakers.wake_all();
        drop(seen);
    }
}

impl<T> State<T> {
    fn cursor(&self, next: u64) -> Cursor<T> {
        Cursor {
            ring: self.ring.clone(),
            next,
        }
    }

    /// The number of the oldest value that may be kept.
    fn oldest(&self) -> u64 {
        self.next.saturating_sub(self.capacity)
    }

    /// The numbers of the values that are there for a receiver.
    fn numbers_from(&self, cursor: &Cursor<T>) -> Range<u64> {
        cursor.next.max(self.oldest())..self.next
    }

    /// Keeps a value for all receivers. Returns the one that there is no room for any more.
    fn put(&mut self, value: Arc<T>) -> Option<Arc<T>> {
        let number = self.next;
        self.next += 1;
        let overtaken = number
            .checked_sub(self.capacity)
            .and_then(|number| self.ring.overtake(number));
        if let Err(value) = self.ring.put(number, value, self.receivers) {
            // What is in its place is not overtaken: so the ring is smaller than the capacity. In one twice as large,
            // the place was not taken yet.
            self.ring = Arc::new(self.ring.grow());
            let put = self.ring.put(number, value, self.receivers);
            assert!(put.is_ok(), "the larger half is empty");
        }
        overtaken
    }

    pub(super) fn senders(&self) -> usize {
        self.senders
    }

    pub(super) fn receivers(&self) -> usize {
        self.receivers
    }

    /// How many values are kept.
    pub(super) fn len(&self) -> usize {
        // Receivers see values in order, so that those before one that all have seen, all have seen too.
        let (mut first, mut end) = (self.oldest(), self.next);
        while first < end {
            let middle = first + (end - first) / 2;
            if self.ring.keeps(middle) {
                end = middle;
            } else {
                first = middle + 1;
            }
        }
        count(first..self.next)
    }

    /// How many values there are for a receiver, the missed ones not counted.
    pub(super) fn len_from(&self, cursor: &Cursor<T>) -> usize {
        count(self.numbers_from(cursor))
    }

    /// The value that a receiver wants, or why there is none; `None` if it may still come.
    pub(super) fn take(&mut self, cursor: &mut Cursor<T>) -> Option<Result<Arc<T>, RecvError>> {
        let missed = self.oldest().saturating_sub(cursor.next);
        if missed > 0 {
            cursor.next += missed;
            return Some(Err(RecvError::Lagged(missed)));
        }
        if cursor.next == self.next {
            return (self.senders == 0).then_some(Err(RecvError::Closed));
        }
        if !Arc::ptr_eq(&cursor.ring, &self.ring) {
            cursor.ring = self.ring.clone();
        }
        let value = cursor.take();
        Some(Ok(value.expect("it is kept until all have seen it")))
    }
}

impl<T> Cursor<T> {
    /// The value that the receiver wants, if it is where it was last seen to be kept. Otherwise [`State::take`] knows more.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Arc<T>> {
        let value = self.ring.take(self.next)?;
        self.next += 1;
        Some(value)
    }
}

fn count(numbers: Range<u64>) -> usize {
    usize::try_from(numbers.end - numbers.start).expect("no more than are kept")
}
