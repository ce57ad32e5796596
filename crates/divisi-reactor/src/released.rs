//! Timers that were dropped on a thread that must not take the timers' lock.
//!
//! Compute threads run at a lowered priority. One that is preempted while it holds a lock keeps whoever wants the lock waiting for as
//! long as other programs keep the cores busy, and the lock of a reactor's timers is one that its worker takes in every
//! turn. So a lowered thread ([`crate::thread_priority`]) that drops a timer leaves the key here, and whoever takes the
//! lock next for the reactor's own purposes ends the entry.
//!
//! # Nothing is lost, nobody waits
//!
//! A releaser puts its key into an empty slot (one compare-and-exchange that succeeds, or the next slot) and then raises `any`. A collector
//! lowers `any` and then empties all slots. A key that is put in after its slot was looked at is followed by a raise that comes after the
//! lowering; so it is found by the next collector. Raising is an exchange, so that a collector that reads the raise of one releaser also
//! acquires those before it. If no slot is empty, the releaser is told so, and takes the lock
//! after all: [`SLOTS`] timers dropped before their owner turns, or arms another, are rare on threads that compute.
//!
//! An entry ends late this way, but it is never used again before: its key is free only after it was collected.

use crate::wheel::Key;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Keys that fit. Ours: half a KiB, and more than a job's timers.
const SLOTS: usize = 128;
/// No key. Others are stored with one added, which fits: the wheel's last index means "none" to it, too.
const EMPTY: u32 = 0;

#[derive(Debug)]
pub(crate) struct Released {
    any: AtomicBool,
    slots: [AtomicU32; SLOTS],
}

impl Released {
    pub(crate) fn new() -> Released {
        Released {
            any: AtomicBool::new(false),
            slots: [const { AtomicU32::new(EMPTY) }; SLOTS],
        }
    }

    /// Leaves a key. False if there is no room.
    #[must_use = "a key that was not taken in has to be ended otherwise"]
    pub(crate) fn put(&self, key: Key) -> bool {
        let word = key.index() + 1;
        let taken = self.slots.iter().any(|slot| {
            slot.load(Ordering::Relaxed) == EMPTY
                && slot
                    // Release: whatever the releaser did with the timer comes before its end.
                    .compare_exchange(EMPTY, word, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
        });
        if taken {
            // An exchange, not a store: it keeps the raises of others in the release sequence that the collector acquires.
            self.any.swap(true, Ordering::Release);
        }
        taken
    }

    /// Whether there may be keys.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Takes all keys out. Costs one load if there are none.
    pub(crate) fn take_all(&self, mut each: impl FnMut(Key)) {
        // Acquire: the slots that were filled before the raise.
        if !self.any() || !self.any.swap(false, Ordering::Acquire) {
            return;
        }
        for slot in &self.slots {
            if slot.load(Ordering::Relaxed) != EMPTY {
                let word = slot.swap(EMPTY, Ordering::Acquire);
                each(Key::from_index(word - 1));
            }
        }
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn all(released: &Released) -> Vec<u32> {
        let mut keys = Vec::new();
        released.take_all(|key| keys.push(key.index()));
        keys
    }

    #[test]
    fn each_key_comes_out_once() {
        let released = Released::new();
        assert!(all(&released).is_empty());
        assert!(released.put(Key::from_index(0)) && released.put(Key::from_index(7)));
        assert_eq!(all(&released), [0, 7]);
        assert!(all(&released).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let released = Released::new();
        assert!((0..SLOTS as u32).all(|index| released.put(Key::from_index(index))));
        assert!(!released.put(Key::from_index(99)));
        assert_eq!(all(&released).len(), SLOTS);
        assert!(released.put(Key::from_index(99)));
    }

    #[test]
    fn no_key_is_lost_between_threads() {
        const EACH: u32 = 20_000;
        let released = Released::new();
        let collected = AtomicUsize::new(0);
        let refused = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let putters: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for index in 0..EACH {
                            if !released.put(Key::from_index(index)) {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    })
                })
                .collect();
            while !putters.iter().all(|putter| putter.is_finished()) {
                released.take_all(|_| _ = collected.fetch_add(1, Ordering::Relaxed));
            }
        });
        released.take_all(|_| _ = collected.fetch_add(1, Ordering::Relaxed));
        let (collected, refused) = (collected.into_inner(), refused.into_inner());
        assert_eq!(collected + refused, 2 * EACH as usize);
    }
}
