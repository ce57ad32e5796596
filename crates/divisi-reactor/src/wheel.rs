//! The hierarchical timer wheel: a data structure without clock, lock or waker policy.
//!
//! Time is a `u64` of nanoseconds. A *tick* is 1.024 µs (2^10 ns), a level has 64 slots, and nine
//! levels of 6 bits each above the tick cover all 64 bits:
//!
//! | level | a slot spans | the level spans |
//! |---|---|---|
//! | 0 | 1.024 µs | 65.5 µs |
//! | 1 | 65.5 µs | 4.19 ms |
//! | 2 | 4.19 ms | 268 ms |
//! | 3 | 268 ms | 17.2 s |
//! | ... | ... | ... |
//! | 8 | 9.1 years | 584 years |
//!
//! # Invariants
//! 1. Every entry keeps its exact deadline. Slots only sort roughly, so nothing fires early and
//!    nothing is rounded.
//! 2. `elapsed` is a tick at or before the present, and no linked entry belongs to an earlier slot.
//!    An entry is on the level of the highest 6-bit digit in which its tick differs from `elapsed`.
//!    So the entries of a level all come before those of the next, and the slots of a level are in
//!    order of their index: the first occupied slot of the first occupied level holds the earliest
//!    entry.
//! 3. A slot's `min` is a lower bound of its deadlines, exact unless the entry that made it was
//!    removed. So the next deadline needs no scan, a high slot is opened when its first entry is
//!    due and not when the slot begins, and a removed entry causes at most one look too many.
//! 4. Deadlines of `NEVER` are not linked at all: they never fire.
//!
//! # Advancing
//! [`Wheel::advance`] opens the slots whose `min` is due, in order. The entries of a high slot are
//! *cascaded*: `elapsed` jumps to the slot's `min`, so that the earliest lands on level 0 directly.
//! Due entries of a level-0 slot go, sorted by deadline and order of arming, to the `due` queue,
//! from which at most a batch fires. Cascading is bounded for each call as well; what is left is
//! taken up by the next one, and [`Wheel::next_deadline`] says "now" meanwhile. Timers fire in the
//! order of their deadlines, then of arming, also across calls.
//!
//! Entries live in a slab and are linked by index: arming and removing allocate nothing once the
//! slab has grown to the largest number of timers that were armed at once.

use slab::Slab;
use std::collections::VecDeque;
use std::task::Waker;

/// The deadline of a timer that never fires.
pub(crate) const NEVER: u64 = u64::MAX;

const TICK_BITS: u32 = 10;
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = ((u64::BITS - TICK_BITS) / LEVEL_BITS) as usize;
/// No entry: the end of a list.
const NIL: u32 = u32::MAX;

/// Entries that one `advance` may move to lower levels: some 10 ns each, so about 50 µs.
const CASCADE_BATCH: usize = 4096;

/// A handle of an armed or fired entry. Whoever got it from [`Wheel::insert`] owns the entry until
/// it passes it to [`Wheel::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u32);

impl Key {
    pub(crate) fn index(self) -> u32 {
        self.0
    }

    /// The key that has this [`index`](Key::index).
    pub(crate) fn from_index(index: u32) -> Key {
        Key(index)
    }
}

#[derive(Debug)]
pub(crate) struct Wheel {
    entries: Slab<Entry>,
    levels: Box<[Level; LEVELS]>,
    elapsed: u64,
    /// The latest time `advance` was told.
    now: u64,
    /// The high slot that is being cascaded. It belongs to the present, so by invariant 2 nothing
    /// new is linked there.
    cascade: Option<(usize, usize)>,
    /// Entries that are due, in the order in which they fire. An item whose entry was removed or
    /// armed anew is stale: its `seq` is no longer that of the entry.
    due: VecDeque<Due>,
    /// Armed entries, those that are due included.
    armed: usize,
    /// Counts armings.
    seq: u64,
}

#[derive(Debug)]
struct Level {
    /// One bit for each slot that is not empty.
    occupied: u64,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The entry that was linked last.
    head: u32,
    min: u64,
}

#[derive(Debug)]
struct Entry {
    deadline: u64,
    /// Which arming this is: breaks ties, and tells stale `due` items.
    seq: u64,
    place: Place,
    next: u32,
    prev: u32,
    /// Taken when the entry fires.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not linked, with a deadline of `NEVER`.
    Never,
    Slot {
        level: u8,
        slot: u8,
    },
    /// In the `due` queue.
    Due,
    Fired,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    deadline: u64,
    seq: u64,
    key: u32,
}

impl Slot {
    const EMPTY: Slot = Slot {
        head: NIL,
        min: NEVER,
    };
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        const LEVEL: Level = Level {
            occupied: 0,
            slots: [Slot::EMPTY; SLOTS],
        };
        Wheel {
            entries: Slab::new(),
            levels: Box::new([LEVEL; LEVELS]),
            elapsed: 0,
            now: 0,
            cascade: None,
            due: VecDeque::new(),
            armed: 0,
            seq: 0,
        }
    }

    /// Arms a timer. A deadline in the past fires in the next [`advance`](Wheel::advance).
    pub(crate) fn insert(&mut self, deadline: u64, waker: Waker) -> Key {
        let key = self.entries.insert(Entry {
            deadline,
            seq: 0,
            place: Place::Fired,
            next: NIL,
            prev: NIL,
            waker: Some(waker),
        });
        // Four billion armed timers would need 200 GB.
        let key = u32::try_from(key).expect("more than 2^32 timers in one reactor");
        self.arm(key, deadline);
        Key(key)
    }

    /// Gives an entry that has not fired a new deadline. False (and no change) if it has fired.
    pub(crate) fn rearm(&mut self, key: Key, deadline: u64) -> bool {
        if self.has_fired(key) {
            return false;
        }
        self.disarm(key.0);
        self.arm(key.0, deadline);
        true
    }

    /// Ends an entry, fired or not, and returns the waker it still has.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        if !self.has_fired(key) {
            self.disarm(key.0);
        }
        self.entries.remove(key.0 as usize).waker
    }

    pub(crate) fn has_fired(&self, key: Key) -> bool {
        self.entries[key.0 as usize].place == Place::Fired
    }

    /// The waker that the entry will wake; `None` once it has fired.
    pub(crate) fn waker_mut(&mut self, key: Key) -> &mut Option<Waker> {
        &mut self.entries[key.0 as usize].waker
    }

    /// Fires what is due at `now`, at most `limit` entries, earliest first; moves their wakers to
    /// `wakers`. Returns how many fired.
    pub(crate) fn advance(&mut self, now: u64, limit: usize, wakers: &mut Vec<Waker>) -> usize {
        self.now = self.now.max(now);
        let mut budget = CASCADE_BATCH;
        let mut fired = 0;
        while fired < limit {
            self.let_earlier_ones_in();
            let Some(due) = self.due.pop_front() else {
                if self.collect(&mut budget) {
                    continue;
                }
                break;
            };
            let Some(entry) = self.entries.get_mut(due.key as usize) else {
                continue;
            };
            if entry.seq != due.seq || entry.place != Place::Due {
                continue;
            }
            entry.place = Place::Fired;
            wakers.extend(entry.waker.take());
            self.armed -= 1;
            fired += 1;
        }
        fired
    }

    /// The earliest deadline: exact, or early after a removal, never late. `None` if no timer will
    /// ever fire. A time in the past if the last `advance` left something over.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if !self.due.is_empty() || self.cascade.is_some() {
            return Some(self.now);
        }
        self.first_slot()
            .map(|(level, slot)| self.levels[level].slots[slot].min)
    }

    /// The latest time the wheel was told: a lower bound of the present.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Timers that are armed and have not fired.
    pub(crate) fn armed(&self) -> usize {
        self.armed
    }

    /// Fires everything at once, whatever its deadline, and collects the wakers.
    pub(crate) fn fire_all(&mut self, wakers: &mut Vec<Waker>) {
        for level in self.levels.iter_mut() {
            level.occupied = 0;
            level.slots = [Slot::EMPTY; SLOTS];
        }
        self.cascade = None;
        self.due.clear();
        self.armed = 0;
        for (_, entry) in &mut self.entries {
            entry.place = Place::Fired;
            wakers.extend(entry.waker.take());
        }
    }

    /// Opens slots until the `due` queue has something. False if nothing is due, or the budget for
    /// cascading is spent.
    fn collect(&mut self, budget: &mut usize) -> bool {
        while self.due.is_empty() {
            if let Some((level, slot)) = self.cascade {
                self.cascade_from(level, slot, budget);
                if self.cascade.is_some() {
                    return false;
                }
            }
            let Some((level, slot)) = self.first_slot() else {
                return false;
            };
            let min = self.levels[level].slots[slot].min;
            if min > self.now {
                return false;
            }
            // By invariant 2 no linked entry is earlier than this slot's, so `elapsed` may go there.
            self.elapsed = self.elapsed.max(min >> TICK_BITS);
            if level == 0 {
                self.drain_slot(slot);
            } else {
                self.cascade = Some((level, slot));
            }
        }
        true
    }

    /// A timer armed in the past while later ones wait in the `due` queue comes before them.
    fn let_earlier_ones_in(&mut self) {
        let Some(front) = self.due.front() else {
            return;
        };
        let occupied = self.levels[0].occupied;
        if occupied == 0 {
            return;
        }
        let slot = occupied.trailing_zeros() as usize;
        if self.levels[0].slots[slot].min < front.deadline {
            self.drain_slot(slot);
            self.due
                .make_contiguous()
                .sort_unstable_by_key(|due| (due.deadline, due.seq));
        }
    }

    /// Moves entries of a high slot to lower levels, as many as the budget allows.
    fn cascade_from(&mut self, level: usize, slot: usize, budget: &mut usize) {
        loop {
            let key = self.levels[level].slots[slot].head;
            if key == NIL {
                self.cascade = None;
                return;
            }
            if *budget == 0 {
                return;
            }
            self.unlink(key);
            self.link(key, self.entries[key as usize].deadline);
            *budget -= 1;
        }
    }

    /// Queues the due entries of a level-0 slot and makes its `min` exact for the rest.
    fn drain_slot(&mut self, slot: usize) {
        let start = self.due.len();
        let mut key = self.levels[0].slots[slot].head;
        let mut min = NEVER;
        while key != NIL {
            let entry = &self.entries[key as usize];
            let (next, deadline, seq) = (entry.next, entry.deadline, entry.seq);
            if deadline <= self.now {
                self.unlink(key);
                self.entries[key as usize].place = Place::Due;
                self.due.push_back(Due { deadline, seq, key });
            } else {
                min = min.min(deadline);
            }
            key = next;
        }
        self.levels[0].slots[slot].min = min;
        self.due.make_contiguous()[start..].sort_unstable_by_key(|due| (due.deadline, due.seq));
    }

    fn first_slot(&self) -> Option<(usize, usize)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        Some((level, self.levels[level].occupied.trailing_zeros() as usize))
    }

    fn arm(&mut self, key: u32, deadline: u64) {
        self.seq += 1;
        let entry = &mut self.entries[key as usize];
        entry.deadline = deadline;
        entry.seq = self.seq;
        self.armed += 1;
        if deadline == NEVER {
            entry.place = Place::Never;
        } else {
            self.link(key, deadline);
        }
    }

    /// Puts an unlinked entry into the slot of its deadline.
    fn link(&mut self, key: u32, deadline: u64) {
        // What is past belongs to the current slot; its own may have been passed already.
        let tick = (deadline >> TICK_BITS).max(self.elapsed);
        let differs = tick ^ self.elapsed;
        // `| 1`: an equal tick is on level 0.
        let level = ((differs | 1).ilog2() / LEVEL_BITS) as usize;
        let slot = (tick >> (level as u32 * LEVEL_BITS)) as usize % SLOTS;

        let target = &mut self.levels[level];
        target.occupied |= 1 << slot;
        let target = &mut target.slots[slot];
        target.min = target.min.min(deadline);
        let head = std::mem::replace(&mut target.head, key);
        if head != NIL {
            self.entries[head as usize].prev = key;
        }
        let entry = &mut self.entries[key as usize];
        entry.place = Place::Slot {
            level: level as u8,
            slot: slot as u8,
        };
        entry.prev = NIL;
        entry.next = head;
    }

    /// Takes an armed entry out of wherever it is. Its place is meaningless afterwards.
    fn disarm(&mut self, key: u32) {
        self.armed -= 1;
        match self.entries[key as usize].place {
            Place::Slot { .. } => self.unlink(key),
            // Its item in the queue is recognised as stale. If nothing is armed, all are.
            Place::Due if self.armed == 0 => self.due.clear(),
            Place::Due | Place::Never => {}
            Place::Fired => unreachable!("a fired entry is not armed"),
        }
    }

    /// Takes an entry out of its slot.
    fn unlink(&mut self, key: u32) {
        let Entry {
            next, prev, place, ..
        } = self.entries[key as usize];
        let Place::Slot { level, slot } = place else {
            unreachable!("only entries of a slot are linked");
        };
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        if prev != NIL {
            self.entries[prev as usize].next = next;
            return;
        }
        let level = &mut self.levels[level as usize];
        let target = &mut level.slots[slot as usize];
        debug_assert_eq!(target.head, key);
        target.head = next;
        if next == NIL {
            target.min = NEVER;
            level.occupied &= !(1 << slot);
        }
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests;
