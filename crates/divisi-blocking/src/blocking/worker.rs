//! The life of one thread of the blocking pool.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::roster::{Duty, SeatId};
use super::{Shared, misuse};
use crate::job;

/// Runs until the roster lets the thread go.
pub(super) fn run(shared: &Arc<Shared>, seat: SeatId, doorbell: &Receiver<()>) {
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
    let empty = shared.roster.lock().left();
    if empty {
        shared.empty.notify_all();
    }
}
