//! What both ends share.

use std::collections::VecDeque;
use std::sync::Arc;

use divisi_task::wait_list::{Queue, WaitList, Wakers};

use super::RecvError;
use crate::mpsc::SendError;

pub(super) struct Chan<T> {
    pub(super) waiters: WaitList<State<T>, ()>,
}

pub(super) struct State<T> {
    /// The values that somebody has to see yet, oldest first.
    values: VecDeque<Slot<T>>,
    /// The number of the first of `values`; values are numbered from 0. A 64-bit number does not wrap in a lifetime.
    first: u64,
    capacity: usize,
    /// How many can send: none any more after a close.
    senders: usize,
    receivers: usize,
}

struct Slot<T> {
    value: Arc<T>,
    /// How many receivers have not seen it.
    unseen: usize,
}

/// Those who wait for a value.
pub(super) const NEWS: usize = 0;

impl<T> Queue for Chan<T> {
    type State = State<T>;
    type Ticket = ();

    fn waiters(&self) -> &WaitList<State<T>, ()> {
        &self.waiters
    }

    /// All who waited were woken: nothing is to be passed on.
    fn give_up(&self, (): &mut (), _chosen: bool) {}
}

impl<T> Chan<T> {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            waiters: WaitList::new(State {
                values: VecDeque::new(),
                first: 0,
                capacity,
                senders: 1,
                receivers: 1,
            }),
        })
    }

    pub(super) fn send(&self, value: T) -> Result<usize, SendError<T>> {
        // Allocated before the lock is taken.
        let value = Arc::new(value);
        let mut wakers = Wakers::new();
        let mut locked = self.waiters.lock();
        let receivers = locked.receivers;
        if receivers == 0 || locked.senders == 0 {
            drop(locked);
            return Err(SendError(
                Arc::into_inner(value).expect("nobody else has it yet"),
            ));
        }
        let overtaken = if locked.values.len() == locked.capacity {
            locked.first += 1;
            locked.values.pop_front()
        } else {
            None
        };
        locked.values.push_back(Slot {
            value,
            unseen: receivers,
        });
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

    /// A sender less: without any, nobody waits for news.
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
        }
        drop(locked);
        wakers.wake_all();
    }

    /// A receiver more, and the number of the first value that it sees.
    pub(super) fn add_receiver(&self) -> u64 {
        let mut locked = self.waiters.lock();
        locked.receivers += 1;
        locked.next()
    }

    /// A receiver more, which sees what another sees that wants `next`.
    pub(super) fn add_receiver_at(&self, next: u64) {
        let mut locked = self.waiters.lock();
        locked.receivers += 1;
        for slot in locked.from(next) {
            slot.unseen += 1;
        }
    }

    /// A receiver less, which wanted `next`.
    pub(super) fn remove_receiver(&self, next: u64) {
        let mut locked = self.waiters.lock();
        locked.receivers -= 1;
        for slot in locked.from(next) {
            slot.unseen -= 1;
        }
        let seen = locked.take_seen();
        drop(locked);
        drop(seen);
    }
}

impl<T> State<T> {
    /// The number of the value that is sent next.
    fn next(&self) -> u64 {
        self.first + self.values.len() as u64
    }

    /// The values that a receiver still has to see that wants `next`.
    fn from(&mut self, next: u64) -> impl Iterator<Item = &mut Slot<T>> {
        let skipped = next.saturating_sub(self.first);
        let skipped = usize::try_from(skipped).expect("no receiver is ahead of the senders");
        self.values.iter_mut().skip(skipped)
    }

    pub(super) fn senders(&self) -> usize {
        self.senders
    }

    pub(super) fn receivers(&self) -> usize {
        self.receivers
    }

    /// How many values are kept.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// How many values there are for a receiver that wants `next`, the missed ones not counted.
    pub(super) fn len_from(&self, next: u64) -> usize {
        let unseen = self.next() - next.max(self.first);
        usize::try_from(unseen).expect("no more than are kept")
    }

    /// The value that a receiver wants, or why there is none; `None` if it may still come.
    pub(super) fn take(&mut self, next: &mut u64) -> Option<Result<Arc<T>, RecvError>> {
        if *next < self.first {
            let missed = self.first - *next;
            *next = self.first;
            return Some(Err(RecvError::Lagged(missed)));
        }
        let Some(slot) = self.from(*next).next() else {
            return (self.senders == 0).then_some(Err(RecvError::Closed));
        };
        slot.unseen -= 1;
        *next += 1;
        if slot.unseen > 0 {
            return Some(Ok(slot.value.clone()));
        }
        // Receivers see values in order, so that those before it have been seen too.
        debug_assert_eq!(*next, self.first + 1);
        self.first += 1;
        let slot = self.values.pop_front().expect("it is the first");
        Some(Ok(slot.value))
    }

    /// The values that nobody has to see any more.
    fn take_seen(&mut self) -> Vec<Arc<T>> {
        let mut seen = Vec::new();
        while self.values.front().is_some_and(|slot| slot.unseen == 0) {
            self.first += 1;
            seen.extend(self.values.pop_front().map(|slot| slot.value));
        }
        seen
    }
}
