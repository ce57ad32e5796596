//! A batch: many small pieces of one piece of work, run by a few *lanes*.
//!
//! # How it runs
//!
//! A batch is a task cell whose future waits for the lanes, and as many jobs (the lanes) as there are compute threads and
//! pieces. A lane takes the next piece's number from a counter until there is none. It is an ordinary job for admission, and after
//! [`LANE_TURN`] it makes room if other jobs wait: it ends, and a job of the same priority and caller goes on in its place.
//! So a batch of any length neither starves other jobs nor takes more than its caller's share. No
//! rayon is involved in between, which would put its own pieces before all of the queue.
//!
//! # Its end, exactly once
//!
//! - *All pieces done*: whoever brings `left` to zero wakes the future, which collects the results on that compute thread.
//! - *A piece panics*: the first payload is kept, the batch is stopped and the future woken, which panics with it.
//! - *Cancelled*, or its handle dropped: the cell drops the future, whose destructor stops the batch.
//! - *A lane is dropped unrun* (shutdown, no threads): it cancels the cell with the reason.
//!
//! `stopped` is looked at before each piece, and at each checkpoint inside one. The last lane keeps the batch's memory alive,
//! not the cell; the cell's reference in `cell` goes when the batch does, and the cell's to the batch when it ends, so no
//! cycle outlives the batch's end.
//!
//! The cell is polled, or dropped, by whoever wakes or cancels it, right there: there is nothing to wait for.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use divisi_task::{
    AbortHandle, Cause, JoinHandle, Runnable, Schedule, SpawnOptions, UnhandledPanic,
};
use parking_lot::Mutex;

use super::checkpoint::{Caught, MISLED, Owner, caught_in_batch, checkpoint};
use super::context::Working;
use super::{OffloadOptions, Shared};
use crate::error::SpawnError;

/// After how long a lane makes room for other jobs. Ours: long against what that costs (some microseconds), short against
/// what others wait for.
const LANE_TURN: Duration = Duration::from_millis(1);

/// Runs the piece of that number.
type Piece = Box<dyn Fn(usize) + Send + Sync>;

pub(super) struct Batch {
    piece: Piece,
    pieces: usize,
    /// The number of the next piece.
    next: AtomicUsize,
    /// Pieces that have not been run to their end.
    left: AtomicUsize,
    stopped: AtomicBool,
    waker: OnceLock<Waker>,
    cell: OnceLock<AbortHandle>,
    /// Written before the batch is stopped for it, and read by the future after that.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    options: LaneOptions,
}

/// What all lanes of a batch have in common.
struct LaneOptions {
    priority: super::Priority,
    spawn: SpawnOptions,
}

/// Puts a batch's cell where it belongs: nowhere, it runs at once.
struct AtOnce(Arc<Shared>);

impl Schedule for AtOnce {
    fn schedule(&self, task: Runnable, _cause: Cause) {
        let _ = task.run();
    }

    fn unhandled_panic(&self, report: UnhandledPanic) {
        self.0.unhandled_panic(report);
    }
}

/// Waits for the lanes and collects what they have made.
struct Lanes<F> {
    batch: Arc<Batch>,
    collect: Option<F>,
}

impl<F> Unpin for Lanes<F> {}

impl<F, R> Future for Lanes<F>
where
    F: FnOnce() -> R,
{
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        self.batch.waker.get_or_init(|| cx.waker().clone());
        if self.batch.is_stopped() {
            if let Some(payload) = self.batch.panic.lock().take() {
                resume_unwind(payload);
            }
        }
        // Acquire: the results.
        if self.batch.left.load(Acquire) > 0 {
            return Poll::Pending;
        }
        let collect = self
            .collect
            .take()
            .expect("a cell is not polled after its end");
        Poll::Ready(collect())
    }
}

impl<F> Drop for Lanes<F> {
    fn drop(&mut self) {
        self.batch.stopped.store(true, Relaxed);
    }
}

impl Batch {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Acquire)
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    fn fail(&self, payload: Box<dyn Any + Send>) {
        let mut panic = self.panic.lock();
        let kept = panic.is_none();
        let later = if kept {
            panic.replace(payload)
        } else {
            Some(payload)
        };
        drop(panic);
        // The payload's destructor is foreign code.
        drop(later);
        self.stopped.store(true, Release);
        self.wake();
    }

    /// Runs the piece of that number, and the checkpoint that belongs to it.
    fn run(self: &Arc<Self>, number: usize) {
        let _working = Working::for_owner(Some(Owner::Batch(Arc::clone(self))));
        let run = catch_unwind(AssertUnwindSafe(|| {
            (self.piece)(number);
            // Release: the results, for the future; whoever comes last acquires the others'.
            if self.left.fetch_sub(1, AcqRel) == 1 {
                self.wake();
            } else {
                checkpoint();
            }
        }));
        if let Err(payload) = run {
            match caught_in_batch(payload, self) {
                Caught::Cancelled => {}
                Caught::Misled => self.fail(Box::new(MISLED)),
                Caught::Panic(payload) => self.fail(payload),
            }
        }
    }
}

/// One lane, as long as it runs or waits in the queue.
struct Lane {
    shared: Arc<Shared>,
    batch: Arc<Batch>,
    ran: bool,
}

impl Lane {
    fn submit(self) -> Result<(), SpawnError> {
        let shared = Arc::clone(&self.shared);
        let options = OffloadOptions {
            priority: self.batch.options.priority,
            spawn: self.batch.options.spawn.clone(),
        };
        shared.room.take_anyway();
        shared.offload(options, move || self.run()).map(drop)
    }

    fn run(mut self) {
        self.ran = true;
        let began = Instant::now();
        while !self.batch.is_stopped() {
            let number = self.batch.next.fetch_add(1, Relaxed);
            if number >= self.batch.pieces {
                return;
            }
            self.batch.run(number);
            if self.shared.has_work() && began.elapsed() >= LANE_TURN {
                let next = Self {
                    shared: Arc::clone(&self.shared),
                    batch: Arc::clone(&self.batch),
                    ran: false,
                };
                // If the pool takes no more jobs, the lane that was refused has cancelled the batch.
                let _ = next.submit();
                return;
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !self.ran {
            if let Some(cell) = self.batch.cell.get() {
                cell.cancel("the compute pool was shut down, or could start no thread, before the work was done");
            }
        }
    }
}

/// Runs `piece` for each number below `pieces` on the compute threads and then `collect`, whose value the handle gets.
pub(super) fn start<R, F>(
    shared: &Arc<Shared>,
    options: OffloadOptions,
    pieces: usize,
    piece: Piece,
    collect: F,
) -> Result<JoinHandle<R>, SpawnError>
where
    R: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
{
    if shared.census.is_closed() {
        return Err(SpawnError::Closed);
    }
    let lane = options.spawn.clone().unnamed();
    let batch = Arc::new(Batch {
        piece,
        pieces,
        next: AtomicUsize::new(0),
        left: AtomicUsize::new(pieces),
        stopped: AtomicBool::new(false),
        waker: OnceLock::new(),
        cell: OnceLock::new(),
        panic: Mutex::new(None),
        options: LaneOptions {
            priority: options.priority,
            spawn: lane,
        },
    });
    let future = Lanes {
        batch: Arc::clone(&batch),
        collect: Some(collect),
    };
    let (cell, handle) = divisi_task::spawn(
        divisi_task::budget::unconstrained(future),
        Arc::new(AtOnce(Arc::clone(shared))),
        &shared.registry,
        options.spawn,
    )?;
    batch.cell.get_or_init(|| handle.abort_handle());
    // Leaves its waker; with no piece to wait for, it is complete after this.
    let _ = cell.run();
    for _ in 0..pieces.min(shared.admission.limit()) {
        let lane = Lane {
            shared: Arc::clone(shared),
            batch: Arc::clone(&batch),
            ran: false,
        };
        lane.submit()?;
    }
    Ok(handle)
}
