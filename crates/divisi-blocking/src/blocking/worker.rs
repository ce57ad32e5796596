//! The life of one thread of the blocking pool.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::roster::{Duty, SeatId};
use super::{Shared, misuse};
use crate::job;

thread_local! {
    /// The address of the pool that this thread belongs to; 0 on others' threads.
    static POOL: Cell<usize> = const { Cell::new(0) };
}

/// Whether the calling thread is one of the pool's.
pub(super) fn is_own(shared: &Arc<Shared>) -> bool {
    // A pool lives as long as any of its threads, so none can have the address of another's.
    POOL.get() == Arc::as_ptr(shared).addr()
}

/// Runs until the roster lets the thread go.
pub(super) fn run(shared: &Arc<Shared>, seat: SeatId, doorbell: &Receiver<()>) {
    POOL.set(Arc::as_ptr(shared).addr());
    // A new thread was summoned. It takes its job and summons the next thread before the start hook runs, so that a
    // slow hook keeps no other job waiting.
    let mut duty = shared.roster.lock().arrive(seat, Instant::now());
    shared.threads.started();
    loop {
        duty = match duty {
            Duty::Run(job, summons) => {
                shared.answer(summons);
                match &shared.cpu_bound {
                    None => drop(job::run(job)),
                    Some(hook) => misuse::run_watched(job, hook),
                }
                shared.census.leave();
                let now = Instant::now();
                shared.roster.lock().next(seat, now)
            }
            // `recv_timeout` spins for some microseconds before it sleeps (crossbeam's back-off: 127 spin hints and 4
            // yields of the core), so that a caller who submits one job after the other finds the thread awake.
            Duty::Rest => match doorbell.recv_timeout(shared.keep_alive) {
                Ok(()) => shared.roster.lock().arrive(seat, Instant::now()),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    shared.roster.lock().time_out(seat, Instant::now())
                }
            },
            Duty::Leave => break,
        };
    }
    shared.threads.stopping();
    let down = shared.roster.lock().left();
    if down {
        shared.empty.notify_all();
    }
}
