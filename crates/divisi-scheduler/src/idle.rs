//! Who sleeps and who searches: the parking protocol.
//!
//! # Participants and state
//!
//! * A *producer* makes work visible (pushes a task to a queue) and decides whether to wake a worker.
//! * A *worker* that finds nothing announces that it sleeps, looks once more, and sleeps in its driver.
//!
//! One bit a seat says `parked`: the worker has announced its sleep and may be claimed. `searching` counts the workers
//! that were claimed and have not found anything yet. Only these transitions exist:
//!
//! | who | transition | effect |
//! |---|---|---|
//! | worker | [`park`](Idle::park) | sets its own bit |
//! | producer | [`claim`](Idle::claim) | clears one bit and adds 1 to `searching` on behalf of the claimed worker, then unparks its driver |
//! | worker | [`unpark`](Idle::unpark) | clears its own bit if it still stands; learns whether it was claimed |
//! | worker | [`end_search`](Idle::end_search) | `searching` − 1, when it found something or is about to sleep again |
//!
//! # No wake-up is lost
//!
//! A producer does `push; fence P; read searching; read bits`. A worker that goes to sleep does
//! `searching − 1 (if it searched); set bit; fence W; read all queues; sleep`. Both fences are `SeqCst`, so one of them comes first.
//!
//! * *W before P.* The producer's reads come after the worker's writes. If it sees the bit, it may claim it. If it sees the bit
//!   cleared, another producer has claimed the worker, which therefore wakes and later passes through a new `set bit; fence W'`.
//!   If it sees `searching > 0`, some worker has not yet done its `searching − 1`, so that worker's fence `W''` is still to come. In the
//!   last two cases that later fence comes after P (had it come before, the producer would have seen what precedes it), and
//!   the next point applies to it.
//! * *P before W.* The worker's reads come after the push, so it sees the task, or sees that somebody has taken it, and does not sleep on it.
//!
//! The driver's own contract (an `unpark` is remembered until the next `park`) covers a claim between the last read and the sleep.
//! A worker that stops searching as the last one *because it found something* has swallowed wake-ups that producers left out on its
//! account, so it must look whether more work waits and wake a peer for it; [`end_search`](Idle::end_search) tells it that it was the last.
//!
//! Model: `loom_tests` below, on this very module.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, AtomicUsize, Ordering, fence};

const BITS: usize = u64::BITS as usize;

#[derive(Debug)]
pub(crate) struct Idle {
    /// Written at every sleep: lines of their own, as is that of the count.
    parked: Box<[CachePadded<AtomicU64>]>,
    /// Seats that nobody holds: spares that are not needed. They neither sleep nor can be claimed.
    absent: Box<[AtomicU64]>,
    searching: CachePadded<AtomicUsize>,
    seats: usize,
}

impl Idle {
    /// The first `present` of `seats` are held from the start.
    pub(crate) fn new(seats: usize, present: usize) -> Idle {
        let idle = Idle {
            parked: (0..seats.div_ceil(BITS))
                .map(|_| CachePadded::new(AtomicU64::new(0)))
                .collect(),
            absent: (0..seats.div_ceil(BITS))
                .map(|_| AtomicU64::new(0))
                .collect(),
            searching: CachePadded::new(AtomicUsize::new(0)),
            seats,
        };
        (present..seats).for_each(|seat| idle.leave(seat));
        idle
    }

    /// Announces that `seat` sleeps. The caller must look at every queue afterwards and before it sleeps.
    pub(crate) fn park(&self, seat: usize) {
        self.parked[seat / BITS].fetch_or(1 << (seat % BITS), Ordering::SeqCst);
        // Fence W of the module doc.
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back. Returns whether the worker was claimed meanwhile; it then counts as searching.
    pub(crate) fn unpark(&self, seat: usize) -> bool {
        let bit = 1 << (seat % BITS);
        // The common case is a worker that woke by itself: its bit still stands and this is the only locked instruction.
        self.parked[seat / BITS].fetch_and(!bit, Ordering::SeqCst) & bit == 0
    }

    /// The producer's half: to be called after work was made visible. Returns the seat whose driver must be unparked now.
    pub(crate) fn wake_for_work(&self) -> Option<usize> {
        // Fence P of the module doc.
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::SeqCst) > 0 {
            None
        } else {
            self.claim()
        }
    }

    /// The producer's half for work that only the first `seats` may take. Who searches already may be another, so that is not asked.
    pub(crate) fn wake_among(&self, seats: usize) -> Option<usize> {
        // Fence P of the module doc.
        fence(Ordering::SeqCst);
        self.claim_among(seats)
    }

    /// Claims any parked worker; it counts as searching from here on.
    pub(crate) fn claim(&self) -> Option<usize> {
        self.claim_among(self.seats)
    }

    fn claim_among(&self, seats: usize) -> Option<usize> {
        for (word_index, word) in self.parked.iter().enumerate() {
            let in_word = seats.saturating_sub(word_index * BITS);
            let mask = u64::MAX
                .checked_shl(in_word as u32)
                .map_or(u64::MAX, |others| !others);
            let mut bits = word.load(Ordering::SeqCst);
            while bits & mask != 0 {
                let candidates = bits & mask;
                // The lowest seat first: a light load stays on few, warm workers.
                let bit = candidates & candidates.wrapping_neg();
                match word.compare_exchange(bits, bits & !bit, Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(_) => {
                        self.searching.fetch_add(1, Ordering::SeqCst);
                        return Some(word_index * BITS + bit.trailing_zeros() as usize);
                    }
                    Err(now) => bits = now,
                }
            }
        }
        None
    }

    /// Returns whether the caller was the last one that searched. What it sees of the queues afterwards includes all that producers pushed
    /// who left a wake-up out on its account.
    pub(crate) fn end_search(&self) -> bool {
        let last = self.searching.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            // Pairs with fence P of such a producer: it read `searching` before the subtraction.
            fence(Ordering::SeqCst);
        }
        last
    }

    /// A spare takes its seat.
    pub(crate) fn arrive(&self, seat: usize) {
        self.absent[seat / BITS].fetch_and(!(1 << (seat % BITS)), Ordering::SeqCst);
    }

    /// A spare leaves its seat.
    pub(crate) fn leave(&self, seat: usize) {
        self.absent[seat / BITS].fetch_or(1 << (seat % BITS), Ordering::SeqCst);
    }

    pub(crate) fn is_absent(&self, seat: usize) -> bool {
        self.absent[seat / BITS].load(Ordering::SeqCst) & (1 << (seat % BITS)) != 0
    }

    /// Whether nothing is run on this seat now, as far as it has announced.
    pub(crate) fn is_resting(&self, seat: usize) -> bool {
        self.is_parked(seat) || self.is_absent(seat)
    }

    /// How many seats are held.
    pub(crate) fn present(&self) -> usize {
        (0..self.seats)
            .filter(|&seat| !self.is_absent(seat))
            .count()
    }

    pub(crate) fn is_parked(&self, seat: usize) -> bool {
        self.parked[seat / BITS].load(Ordering::SeqCst) & (1 << (seat % BITS)) != 0
    }

    pub(crate) fn any_parked(&self) -> bool {
        self.parked
            .iter()
            .any(|word| word.load(Ordering::Relaxed) != 0)
    }

    pub(crate) fn all_resting(&self) -> bool {
        (0..self.seats).all(|seat| self.is_resting(seat))
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_worker_learns_it_and_counts_as_searching() {
        let idle = Idle::new(70, 70);
        idle.park(3);
        idle.park(69);
        assert_eq!(idle.wake_for_work(), Some(3));
        assert_eq!(idle.wake_for_work(), None, "somebody searches already");
        assert!(idle.unpark(3));
        assert!(idle.end_search());
        assert_eq!(idle.wake_for_work(), Some(69));
        assert!(idle.unpark(69));
    }

    #[test]
    fn only_the_seats_that_may_take_it_are_woken_for_some_work() {
        let idle = Idle::new(130, 130);
        idle.park(66);
        idle.park(129);
        assert_eq!(idle.wake_among(66), None);
        assert_eq!(idle.wake_among(67), Some(66));
        assert_eq!(idle.wake_among(129), None);
        assert_eq!(idle.wake_among(130), Some(129), "whoever searches");
    }

    #[test]
    fn a_worker_that_wakes_by_itself_was_not_claimed() {
        let idle = Idle::new(2, 2);
        idle.park(1);
        assert!(idle.any_parked() && !idle.all_resting());
        assert!(!idle.unpark(1));
        assert!(!idle.any_parked());
        assert_eq!(idle.wake_for_work(), None);
    }
}

/// `RUSTFLAGS="--cfg divisi_loom" cargo test -p divisi-scheduler --release --lib loom`
#[cfg(all(test, divisi_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// The driver's contract: an unpark is remembered until the next park.
    #[derive(Default)]
    struct Driver {
        notified: Mutex<bool>,
        wake: Condvar,
    }

    impl Driver {
        fn park(&self) {
            let mut notified = self.notified.lock().unwrap();
            while !*notified {
                notified = self.wake.wait(notified).unwrap();
            }
            *notified = false;
        }

        fn unpark(&self) {
            *self.notified.lock().unwrap() = true;
            self.wake.notify_one();
        }
    }

    struct Model {
        idle: Idle,
        /// Stands for every queue: tasks that wait. Relaxed on purpose: the protocol's own fences must order it.
        queue: AtomicUsize,
        done: AtomicUsize,
        drivers: Vec<Driver>,
    }

    impl Model {
        fn produce(&self) {
            self.queue.fetch_add(1, Ordering::Relaxed);
            self.wake();
        }

        fn wake(&self) {
            if let Some(seat) = self.idle.wake_for_work() {
                self.drivers[seat].unpark();
            }
        }

        fn take(&self) -> bool {
            let mut n = self.queue.load(Ordering::Relaxed);
            while n > 0 {
                match self
                    .queue
                    .compare_exchange(n, n - 1, Ordering::Relaxed, Ordering::Relaxed)
                {
                    Ok(_) => return true,
                    Err(now) => n = now,
                }
            }
            false
        }

        /// The worker's half exactly as `worker.rs` has it: run until `target` tasks are done by anybody.
        fn work(&self, seat: usize, target: usize) {
            let mut searching = false;
            loop {
                if self.take() {
                    if searching {
                        searching = false;
                        if self.idle.end_search() && self.queue.load(Ordering::Relaxed) > 0 {
                            self.wake();
                        }
                    }
                    if self.done.fetch_add(1, Ordering::SeqCst) + 1 == target {
                        self.drivers.iter().for_each(Driver::unpark);
                        return;
                    }
                    continue;
                }
                if searching {
                    self.idle.end_search();
                }
                self.idle.park(seat);
                if self.queue.load(Ordering::Relaxed) == 0
                    && self.done.load(Ordering::SeqCst) < target
                {
                    self.drivers[seat].park();
                }
                searching = self.idle.unpark(seat);
                if self.done.load(Ordering::SeqCst) >= target {
                    return;
                }
            }
        }
    }

    fn check(workers: usize, producers: usize, tasks_each: usize) {
        let mut builder = loom::model::Builder::new();
        // Three preemptions reach every schedule that two threads on two words need; more does not end in minutes.
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let model = Arc::new(Model {
                idle: Idle::new(workers, workers),
                queue: AtomicUsize::new(0),
                done: AtomicUsize::new(0),
                drivers: (0..workers).map(|_| Driver::default()).collect(),
            });
            let total = producers * tasks_each;
            let threads: Vec<_> = (0..workers)
                .map(|seat| {
                    let model = model.clone();
                    thread::spawn(move || model.work(seat, total))
                })
                .chain((1..producers).map(|_| {
                    let model = model.clone();
                    thread::spawn(move || (0..tasks_each).for_each(|_| model.produce()))
                }))
                .collect();
            (0..tasks_each).for_each(|_| model.produce());
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(model.done.load(Ordering::SeqCst), total);
        });
    }

    // A lost wake-up shows as a deadlock, which loom reports.
    #[test]
    fn loom_one_worker_two_producers_no_wakeup_is_lost() {
        check(1, 2, 1);
    }

    #[test]
    fn loom_two_workers_one_producer_no_wakeup_is_lost() {
        check(2, 1, 2);
    }
}
