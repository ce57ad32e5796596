//! What both ends share.

use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Waker};

use divisi_task::permits::Permits;

use super::SendError;
use crate::event::Event;
use crate::facade::atomic::{AtomicUsize, Ordering};
use crate::facade::{Arc, Mutex};

pub(super) struct Chan<T> {
    shared: Mutex<Shared<T>>,
    /// One for each free slot; meaningless if the channel is unbounded.
    pub(super) slots: Permits,
    pub(super) capacity: Option<usize>,
    senders: AtomicUsize,
    /// Set when nothing can be sent any more.
    pub(super) closed: Event,
    /// How many values the receiver has taken over in advance. In a cache line of its own, for the receiver changes
    /// it with every value.
    ahead: Padded<AtomicUsize>,
}

/// The values that the receiver has not taken over.
struct Shared<T> {
    values: VecDeque<T>,
    /// Waits for a value.
    receiver: Option<Waker>,
    /// No more values are taken.
    closed: bool,
    /// All senders are gone.
    ended: bool,
}

/// 128 bytes: what the processors of today fetch together (two lines of 64 bytes, or one of 128).
#[repr(align(128))]
struct Padded<T>(T);

/// What the receiver finds.
pub(super) enum Found {
    Values,
    Nothing,
    End,
}

impl<T> Chan<T> {
    pub(super) fn new(capacity: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::new(Shared {
                values: VecDeque::new(),
                receiver: None,
                closed: false,
                ended: false,
            }),
            slots: Permits::new(capacity.unwrap_or(0)),
            capacity,
            senders: AtomicUsize::new(1),
            closed: Event::new(),
            ahead: Padded(AtomicUsize::new(0)),
        })
    }

    /// Sends a value that has a slot.
    pub(super) fn push(&self, value: T) -> Result<(), SendError<T>> {
        let mut shared = self.shared.lock();
        if shared.closed {
            return Err(SendError(value));
        }
        shared.values.push_back(value);
        let receiver = shared.receiver.take();
        drop(shared);
        if let Some(waker) = receiver {
            waker.wake();
        }
        Ok(())
    }

    /// Exchanges the receiver's buffer, which is empty, for the shared one. If there is nothing, and a context, its
    /// task waits from now on.
    pub(super) fn take_all(&self, buffer: &mut VecDeque<T>, cx: Option<&mut Context<'_>>) -> Found {
        debug_assert!(buffer.is_empty());
        // Foreign code: before the lock.
        let mut waker = None;
        let mut shared = self.shared.lock();
        if shared.values.is_empty() && !shared.ended && !shared.closed {
            let Some(cx) = cx else {
                return Found::Nothing;
            };
            if matches!(&shared.receiver, Some(known) if known.will_wake(cx.waker())) {
                return Found::Nothing;
            }
            drop(shared);
            waker = Some(cx.waker().clone());
            shared = self.shared.lock();
        }
        if !shared.values.is_empty() {
            mem::swap(&mut shared.values, buffer);
            drop(shared);
            self.set_ahead(buffer.len());
            return Found::Values;
        }
        if shared.ended || shared.closed {
            return Found::End;
        }
        mem::swap(&mut shared.receiver, &mut waker);
        drop(shared);
        drop(waker);
        Found::Nothing
    }

    /// The receiver has so many values in its buffer.
    pub(super) fn set_ahead(&self, values: usize) {
        self.ahead.0.store(values, Ordering::Relaxed);
    }

    /// A value was received.
    pub(super) fn free_slots(&self, slots: usize) {
        if self.capacity.is_some() && slots > 0 {
            self.slots.add(slots);
        }
    }

    /// From now on nothing can be sent.
    pub(super) fn close(&self) {
        self.shared.lock().closed = true;
        self.slots.close();
        self.closed.set();
    }

    /// The receiver is gone: nothing can be sent, and nobody wants what was.
    pub(super) fn receiver_is_gone(&self) {
        self.close();
        let mut shared = self.shared.lock();
        let (values, waker) = (mem::take(&mut shared.values), shared.receiver.take());
        drop(shared);
        drop((values, waker));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_set()
    }

    pub(super) fn len(&self) -> usize {
        let shared = self.shared.lock().values.len();
        shared + self.ahead.0.load(Ordering::Relaxed)
    }

    pub(super) fn has_no_senders(&self) -> bool {
        self.shared.lock().ended
    }

    pub(super) fn add_sender(&self) {
        // Relaxed: the new one comes from one that is there.
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_sender(&self) {
        // No ordering is needed: what was sent, was sent under the lock, and `ended` is set under it.
        if self.senders.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let mut shared = self.shared.lock();
        shared.ended = true;
        let receiver = shared.receiver.take();
        drop(shared);
        if let Some(waker) = receiver {
            waker.wake();
        }
    }
}
