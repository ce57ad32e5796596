//! A seat: the parts of a worker that others may touch, and the box in which its core changes hands.

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_deque::{Stealer, Worker as Deque};
use crossbeam_utils::CachePadded;
use divisi_task::{RunSlot, Runnable};
use parking_lot::{Condvar, Mutex};

use crate::config::{IDLE_SEAT_PATIENCE, SEAT_PATIENCE, TICKS_PER_MAINTENANCE};
use crate::lookout::Watch;
use crate::metrics::{Counters, WorkerMetrics};
use crate::park::Park;
use crate::settled::settled;

/// What only the thread that holds the seat may use.
pub(crate) struct Core {
    pub(crate) queue: Deque<Runnable>,
    /// Polls since the last maintenance, and the number of them at which the next is due.
    pub(crate) ticks: u32,
    pub(crate) next_maintenance: u32,
    pub(crate) last_maintenance: Instant,
    /// The scheduler's count of looks at the last maintenance.
    pub(crate) looks_seen: u32,
    /// Polls in a row that came from the run slot.
    pub(crate) slot_streak: u32,
    /// Whether this worker counts as searching: another thread claimed it and it has not found anything yet.
    pub(crate) searching: bool,
    /// The last turn left the seat announced as parked (see [`Worker::turn`](crate::worker::Worker::turn)).
    pub(crate) announced: bool,
    /// State of the xorshift generator that picks the first victim.
    pub(crate) random: u32,
    pub(crate) watch: Watch,
    /// When this worker's last poll of a task from the slow lane ended.
    pub(crate) last_slow: Instant,
    /// There was one since the last maintenance.
    pub(crate) ran_slow: bool,
}

pub(crate) struct Seat {
    pub(crate) stealer: Stealer<Runnable>,
    /// Written by the owner at every wake-up and by thieves rarely: a line of its own.
    pub(crate) slot: CachePadded<RunSlot>,
    pub(crate) counters: CachePadded<Counters>,
    /// The driver; a spare gets its own when it is first needed.
    driver: OnceLock<Box<dyn Park>>,
    /// The id of the task that is polled now, as a number; 0 if none is.
    pub(crate) polling: CachePadded<AtomicU64>,
    /// The thread that holds the seat, see `thread_state`.
    pub(crate) thread: AtomicU64,
    /// The monitor has sent a spare to work in this seat's place while it is stuck.
    pub(crate) replaced: AtomicBool,
    chair: Mutex<Chair>,
    chair_changed: Condvar,
    /// Somebody waits for this seat; its holder leaves at the next opportunity.
    wanted: AtomicBool,
}

/// Where the core lies while nobody holds the seat.
struct Chair {
    core: Option<Box<Core>>,
    /// The seat is held by its background thread, which leaves when somebody waits; a thread inside `block_on` does not.
    holder_yields: bool,
    waiting: usize,
}

impl Seat {
    pub(crate) fn new(index: usize, seats: usize, driver: Option<Box<dyn Park>>) -> Seat {
        let queue = Deque::new_fifo();
        let stealer = queue.stealer();
        let core = Core {
            queue,
            ticks: 0,
            next_maintenance: TICKS_PER_MAINTENANCE,
            last_maintenance: Instant::now(),
            looks_seen: 0,
            slot_streak: 0,
            searching: false,
            announced: false,
            // Any odd constant keeps the state from being zero; the golden ratio spreads neighbouring seats.
            random: 0x9E37_79B9_u32.wrapping_mul(2 * index as u32 + 1),
            watch: Watch::new(seats),
            last_slow: Instant::now(),
            ran_slow: false,
        };
        Seat {
            stealer,
            slot: CachePadded::new(RunSlot::new()),
            counters: CachePadded::new(Counters::default()),
            driver: driver.map_or_else(OnceLock::new, OnceLock::from),
            polling: CachePadded::new(AtomicU64::new(0)),
            thread: AtomicU64::new(0),
            replaced: AtomicBool::new(false),
            chair: Mutex::new(Chair {
                core: Some(Box::new(core)),
                holder_yields: false,
                waiting: 0,
            }),
            chair_changed: Condvar::new(),
            wanted: AtomicBool::new(false),
        }
    }

    /// What the seat sleeps in.
    pub(crate) fn driver(&self) -> &dyn Park {
        self.driver
            .get()
            .expect("a seat has a driver before anybody takes it")
            .as_ref()
    }

    /// The driver, unless this is a spare that was never needed.
    pub(crate) fn existing_driver(&self) -> Option<&dyn Park> {
        self.driver.get().map(Box::as_ref)
    }

    /// Gives a spare its driver.
    pub(crate) fn equip(&self, make: impl FnOnce() -> io::Result<Box<dyn Park>>) -> io::Result<()> {
        if self.driver.get().is_none() {
            // Only the monitor equips seats, so nobody can have been faster.
            let _ = self.driver.set(make()?);
        }
        Ok(())
    }

    /// Whether the holder should give the seat up for somebody who waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Takes the seat, asking its holder to leave and waiting for that. `None`: another thread blocks on it, or the holder does not leave in time,
    /// most likely because it is inside a long poll.
    pub(crate) fn take_from_holder(&self) -> Option<Box<Core>> {
        let mut chair = self.chair.lock();
        if let Some(core) = chair.core.take() {
            return Some(core);
        }
        if !chair.holder_yields {
            return None;
        }
        chair.waiting += 1;
        self.wanted.store(true, Ordering::Release);
        self.driver().unpark();
        let asked = Instant::now();
        let core = loop {
            if let Some(core) = chair.core.take() {
                break Some(core);
            }
            if !chair.holder_yields {
                // Another one who waited was faster.
                break None;
            }
            let timed_out = self
                .chair_changed
                .wait_for(&mut chair, SEAT_PATIENCE)
                .timed_out();
            if timed_out && (self.is_polling() || asked.elapsed() >= IDLE_SEAT_PATIENCE) {
                break chair.core.take();
            }
        };
        chair.waiting -= 1;
        if chair.waiting == 0 {
            self.wanted.store(false, Ordering::Release);
            // A background holder waits until nobody else wants the seat.
            self.chair_changed.notify_all();
        }
        core
    }

    /// Whether its holder is inside a poll of a task.
    fn is_polling(&self) -> bool {
        self.polling.load(Ordering::Relaxed) != 0
    }

    /// Takes the seat if it is free this moment.
    pub(crate) fn take_now(&self) -> Option<Box<Core>> {
        self.chair.lock().core.take()
    }

    /// Takes the seat for its background thread: waits as long as others hold it or want it, and gives up when `stopped`.
    pub(crate) fn take_in_background(&self, stopped: impl Fn() -> bool) -> Option<Box<Core>> {
        let mut chair = self.chair.lock();
        loop {
            if stopped() {
                return None;
            }
            if chair.waiting > 0 || chair.core.is_none() {
                self.chair_changed.wait(&mut chair);
            } else {
                chair.holder_yields = true;
                return chair.core.take();
            }
        }
    }

    /// Gives the seat back.
    pub(crate) fn give_back(&self, core: Box<Core>) {
        let mut chair = self.chair.lock();
        chair.core = Some(core);
        chair.holder_yields = false;
        drop(chair);
        self.chair_changed.notify_all();
    }

    /// Lets everybody who waits for the seat look at the scheduler's phase again.
    pub(crate) fn wake_waiting(&self) {
        drop(self.chair.lock());
        self.chair_changed.notify_all();
    }

    pub(crate) fn queue_length(&self) -> usize {
        self.stealer.len() + usize::from(!self.slot.is_empty())
    }

    /// Drops, and so cancels, whatever waits here. For a scheduler that has stopped.
    pub(crate) fn drop_queued(&self) {
        drop(self.slot.take());
        while let Some(task) = settled(|| self.stealer.steal()) {
            drop(task);
        }
    }

    pub(crate) fn metrics(&self) -> WorkerMetrics {
        let counters = &self.counters;
        WorkerMetrics {
            polls: counters.polls.get(),
            steals: counters.steals.get(),
            stolen_tasks: counters.stolen_tasks.get(),
            parks: counters.parks.get(),
            futile_wakeups: counters.futile_wakeups.get(),
            injector_pops: counters.injector_pops.get(),
            looks: counters.looks.get(),
            rescued_drivers: counters.rescued_drivers.get(),
            queue_length: self.queue_length(),
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("metrics", &self.metrics())
            .field("wanted", &self.is_wanted())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    struct NoDriver;

    impl Park for NoDriver {
        fn park(&self, _: Option<Duration>) -> usize {
            0
        }
        fn poll(&self, _: usize) -> usize {
            0
        }
        fn unpark(&self) {}
        fn announce_sleep(&self) -> bool {
            true
        }
        fn has_interest(&self) -> bool {
            false
        }
        fn evacuate(&self) {}
        fn turns(&self) -> u64 {
            0
        }
    }

    #[test]
    fn who_waits_for_a_seat_that_another_one_gets_does_without_at_once() {
        let one_is_refused_at_once = || {
            let seat = Seat::new(0, 1, Some(Box::new(NoDriver)));
            let core = seat.take_in_background(|| false).unwrap();
            let begin = Instant::now();
            let taken: Vec<_> = thread::scope(|scope| {
                let waiting = [(); 2].map(|()| scope.spawn(|| seat.take_from_holder()));
                while seat.chair.lock().waiting < 2 && begin.elapsed() < IDLE_SEAT_PATIENCE {
                    thread::yield_now();
                }
                seat.give_back(core);
                waiting.map(|thread| thread.join().unwrap()).into()
            });
            taken.iter().flatten().count() == 1 && begin.elapsed() < IDLE_SEAT_PATIENCE
        };
        // A machine that others keep busy may take a second for anything, but not every time.
        assert!((0..20).any(|_| one_is_refused_at_once()));
    }
}
