//! The values that are kept, each under a lock of its own.

use std::sync::Arc;

use crate::facade::Mutex;

/// Room for so many values at first. It doubles when receivers are further behind, so that a large capacity costs
/// nothing as long as they are not. A model has as little as there can be.
const FIRST_SIZE: usize = if cfg!(divisi_loom) { 1 } else { 16 };

/// Slots for values, which are numbered: each number has its slot, which it shares with those that are a multiple of
/// the size away.
pub(super) struct Ring<T> {
    /// A power of two of them.
    slots: Box<[Mutex<Slot<T>>]>,
}

struct Slot<T> {
    number: u64,
    /// How many receivers have not seen the value. Without any, there is none.
    unseen: usize,
    value: Option<Arc<T>>,
}

impl<T> Slot<T> {
    const EMPTY: Self = Self {
        number: 0,
        unseen: 0,
        value: None,
    };

    fn keeps(&self, number: u64) -> bool {
        self.unseen > 0 && self.number == number
    }
}

impl<T> Ring<T> {
    /// For a channel of that capacity.
    pub(super) fn new(capacity: usize) -> Self {
        Self::with_size(capacity.min(FIRST_SIZE).next_power_of_two())
    }

    fn with_size(size: usize) -> Self {
        Self {
            slots: (0..size).map(|_| Mutex::new(Slot::EMPTY)).collect(),
        }
    }

    #[inline]
    fn slot(&self, number: u64) -> &Mutex<Slot<T>> {
        let mask = self.slots.len() as u64 - 1;
        let index = usize::try_from(number & mask).expect("less than there are slots");
        &self.slots[index]
    }

    /// The value for one of those that have not seen it, if it is kept here. The last one gets it out of the ring.
    #[inline]
    pub(super) fn take(&self, number: u64) -> Option<Arc<T>> {
        let mut slot = self.slot(number).lock();
        if !slot.keeps(number) {
            return None;
        }
        slot.unseen -= 1;
        if slot.unseen == 0 {
            slot.value.take()
        } else {
            slot.value.clone()
        }
    }

    /// Keeps a value for so many receivers. Gives it back if there is another in its place.
    pub(super) fn put(&self, number: u64, value: Arc<T>, unseen: usize) -> Result<(), Arc<T>> {
        let mut slot = self.slot(number).lock();
        if slot.unseen > 0 {
            return Err(value);
        }
        *slot = Slot {
            number,
            unseen,
            value: Some(value),
        };
        Ok(())
    }

    /// Keeps a value no longer, whoever has not seen it.
    pub(super) fn overtake(&self, number: u64) -> Option<Arc<T>> {
        let mut slot = self.slot(number).lock();
        if !slot.keeps(number) {
            return None;
        }
        slot.unseen = 0;
        slot.value.take()
    }

    pub(super) fn keeps(&self, number: u64) -> bool {
        self.slot(number).lock().keeps(number)
    }

    /// One more receiver is to see a value that is kept.
    pub(super) fn add_unseen(&self, number: u64) {
        let mut slot = self.slot(number).lock();
        debug_assert!(slot.keeps(number), "somebody has not seen it yet");
        slot.unseen += 1;
    }

    /// A ring twice as large with all values; this one has none any more.
    pub(super) fn grow(&self) -> Self {
        let larger = Self::with_size(2 * self.slots.len());
        for slot in &self.slots {
            let slot = std::mem::replace(&mut *slot.lock(), Slot::EMPTY);
            if slot.unseen > 0 {
                let mut place = larger.slot(slot.number).lock();
                *place = slot;
            }
        }
        larger
    }
}
