//! What all ends share, and the one place where turns are given.

use std::sync::Arc;

use divisi_task::wait_list::{Locked, Queue, WaitList, Wakers};

use super::store::Store;
use super::{SendError, TryRecvError, TrySendError};

pub(super) struct Chan<T> {
    pub(super) waiters: WaitList<State<T>, Ticket, LANES>,
    pub(super) capacity: usize,
}

/// Who waits to send.
pub(super) const SENDERS: usize = 0;
/// Who waits to receive.
pub(super) const RECEIVERS: usize = 1;
/// Who waits for everything to be done.
pub(super) const JOINERS: usize = 2;
const LANES: usize = 3;

/// What one who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticket {
    /// Nothing: to look again.
    Look,
    /// One of the free slots is for it.
    Slot,
    /// One of the values is for it.
    Value,
}

/// When a value that is received counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Now,
    /// When [`Chan::done`] is called.
    Later,
}

pub(super) struct State<T> {
    values: Box<dyn Store<T>>,
    /// How many values are for receivers that have not run yet.
    promised_values: usize,
    /// How many free slots are for senders that have not run yet, or were reserved.
    promised_slots: usize,
    /// How many values were sent that are not done.
    undone: usize,
    closed: bool,
    senders: usize,
    receivers: usize,
}

pub(super) type LockedChan<'a, T> = Locked<'a, State<T>, Ticket, LANES>;

impl<T> Queue<LANES> for Chan<T> {
    type State = State<T>;
    type Ticket = Ticket;

    fn waiters(&self) -> &WaitList<State<T>, Ticket, LANES> {
        &self.waiters
    }

    fn give_up(&self, ticket: &mut Ticket, chosen: bool) {
        if chosen {
            self.give_back(*ticket);
        }
    }
}

impl<T> Chan<T> {
    pub(super) fn new(capacity: usize, values: Box<dyn Store<T>>) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            waiters: WaitList::new(State {
                values,
                promised_values: 0,
                promised_slots: 0,
                undone: 0,
                closed: false,
                senders: 1,
                receivers: 1,
            }),
        })
    }

    /// Changes the state, gives turns to those who can go on now, and wakes them.
    fn change<R>(&self, change: impl FnOnce(&mut LockedChan<'_, T>) -> R) -> R {
        let mut wakers = Wakers::new();
        let mut locked = self.waiters.lock();
        let result = change(&mut locked);
        self.settle(&mut locked, &mut wakers);
        drop(locked);
        wakers.wake_all();
        result
    }

    /// Gives turns to those who can go on.
    pub(super) fn settle(&self, locked: &mut LockedChan<'_, T>, wakers: &mut Wakers) {
        while locked.free_values() > 0 {
            let Some((state, ticket)) = locked.oldest(RECEIVERS) else {
                break;
            };
            state.promised_values += 1;
            *ticket = Ticket::Value;
            locked.choose(RECEIVERS, wakers);
        }
        while locked.free_slots(self.capacity) > 0 {
            let Some((state, ticket)) = locked.oldest(SENDERS) else {
                break;
            };
            state.promised_slots += 1;
            *ticket = Ticket::Slot;
            locked.choose(SENDERS, wakers);
        }
        if locked.undone == 0 {
            while locked.choose(JOINERS, wakers) {}
        }
        if locked.closed {
            send_away(locked, SENDERS, wakers);
            // A value that is left is promised: if it is given back, one who waits gets it.
            if locked.values.len() == 0 {
                send_away(locked, RECEIVERS, wakers);
            }
        }
    }

    /// Passes on what was promised to one who does not want it any more.
    pub(super) fn give_back(&self, ticket: Ticket) {
        if ticket != Ticket::Look {
            self.change(|locked| locked.redeem(ticket));
        }
    }

    /// Sends if there is a free slot.
    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.change(|locked| {
            if locked.closed {
                Err(TrySendError::Closed(value))
            } else if locked.free_slots(self.capacity) == 0 {
                Err(TrySendError::Full(value))
            } else {
                locked.push(value);
                Ok(())
            }
        })
    }

    /// Takes a free slot, not to be used by others.
    pub(super) fn try_reserve(&self) -> Result<(), TrySendError<()>> {
        self.waiters.lock().reserve(self.capacity)
    }

    /// Sends into a slot that was promised.
    pub(super) fn send_promised(&self, value: T) -> Result<(), SendError<T>> {
        self.change(|locked| {
            locked.redeem(Ticket::Slot);
            if locked.closed {
                return Err(SendError(value));
            }
            locked.push(value);
            Ok(())
        })
    }

    /// Receives if there is a value that is not promised.
    pub(super) fn try_recv(&self, done: Done) -> Result<T, TryRecvError> {
        self.change(|locked| locked.take(done))
    }

    /// Receives a value that was promised. `None` if there is none any more.
    pub(super) fn recv_promised(&self, done: Done) -> Option<T> {
        self.change(|locked| {
            locked.redeem(Ticket::Value);
            locked.pop(done)
        })
    }

    /// A value that was received is done.
    pub(super) fn done(&self) {
        self.change(|locked| locked.undone -= 1);
    }

    pub(super) fn close(&self) {
        self.change(|locked| locked.closed = true);
    }

    /// Closes and takes everything out, in the order in which it would have been received. It counts as done.
    pub(super) fn close_now(&self) -> Vec<T> {
        self.change(|locked| {
            locked.closed = true;
            std::iter::from_fn(|| locked.pop(Done::Now)).collect()
        })
    }

    pub(super) fn add_sender(&self) {
        self.waiters.lock().senders += 1;
    }

    pub(super) fn remove_sender(&self) {
        self.change(|locked| {
            locked.senders -= 1;
            locked.closed |= locked.senders == 0;
        });
    }

    pub(super) fn add_receiver(&self) {
        self.waiters.lock().receivers += 1;
    }

    pub(super) fn remove_receiver(&self) {
        let is_last = self.change(|locked| {
            locked.receivers -= 1;
            locked.receivers == 0
        });
        if is_last {
            // Dropped here, without the lock.
            drop(self.close_now());
        }
    }
}

/// Tells all who wait in a lane to look again.
fn send_away<T>(locked: &mut LockedChan<'_, T>, lane: usize, wakers: &mut Wakers) {
    while let Some((_, ticket)) = locked.oldest(lane) {
        *ticket = Ticket::Look;
        locked.choose(lane, wakers);
    }
}

impl<T> State<T> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many values were sent that are not done.
    pub(super) fn undone(&self) -> usize {
        self.undone
    }

    /// Values that nobody was promised. After a `close_now` there may be promises without a value.
    fn free_values(&self) -> usize {
        self.values.len().saturating_sub(self.promised_values)
    }

    fn free_slots(&self, capacity: usize) -> usize {
        if self.closed {
            return 0;
        }
        capacity - self.values.len() - self.promised_slots
    }

    /// Takes a free slot, not to be used by others.
    pub(super) fn reserve(&mut self, capacity: usize) -> Result<(), TrySendError<()>> {
        if self.closed {
            return Err(TrySendError::Closed(()));
        }
        if self.free_slots(capacity) == 0 {
            return Err(TrySendError::Full(()));
        }
        self.promised_slots += 1;
        Ok(())
    }

    /// Receives a value that is not promised.
    pub(super) fn take(&mut self, done: Done) -> Result<T, TryRecvError> {
        if self.free_values() > 0 {
            return self.pop(done).ok_or(TryRecvError::Empty);
        }
        // If there is a value, it is promised, and free again if it is given back.
        if self.closed && self.values.len() == 0 {
            return Err(TryRecvError::Closed);
        }
        Err(TryRecvError::Empty)
    }

    fn pop(&mut self, done: Done) -> Option<T> {
        if self.values.len() == 0 {
            return None;
        }
        // The order of a user's values may panic, and then the value is lost, but nobody waits for it to be done.
        self.undone -= 1;
        let value = self.values.pop()?;
        if done != Done::Now {
            self.undone += 1;
        }
        Some(value)
    }

    fn push(&mut self, value: T) {
        // Before, as it is among the values even if their order panics.
        self.undone += 1;
        self.values.push(value);
    }

    /// A promise is kept, or not wanted.
    fn redeem(&mut self, ticket: Ticket) {
        match ticket {
            Ticket::Look => {}
            Ticket::Slot => self.promised_slots -= 1,
            Ticket::Value => self.promised_values -= 1,
        }
    }
}
