//! A runner: the loop that serves the queue on a compute thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::checkpoint::{Owner, checkpoint};
use super::context::{Serving, Working};
use super::{Job, Shared, context, nesting};
use crate::job;
use crate::stuck::Running;

/// How often a runner that finds no job yields its core before it leaves: some 10 us if nobody else wants the core, in which
/// a caller that submits one job after the other is back with the next. That caller then need not wake anybody.
/// rayon spends as much again (32 yields) before it lets a thread sleep.
const LINGER_YIELDS: u32 = 32;

/// Takes jobs until there are none. Called by rayon, once for each claim of a runner.
pub(super) fn run(shared: &Arc<Shared>) {
    // A job, or a part of one that rayon moved here, waits on this thread for a part of itself, and rayon fills the time
    // with this call. A job that ran here would hold the waiting one up, and deadlock with it if both use the same lock.
    let is_free = !is_in_a_wait(shared, nesting::here());
    let Some(_serving) = is_free.then(Serving::begin).flatten() else {
        return bounce(shared);
    };
    let seat = rayon::current_thread_index().expect("runners run on compute threads");
    loop {
        if let Some(job) = take(shared, seat) {
            serve(shared, job);
        } else if rayon::yield_local() == Some(rayon::Yield::Executed) {
            // What jobs left behind on this thread (`rayon::spawn`) is run piece by piece, with a look at the queue
            // after each: rayon itself would not look at the queue again before there is none of it.
        } else if !linger(shared) && !shared.admission.leave(|| shared.has_work()) {
            return;
        }
        // The hook is the runtime's; its panic, which the panic hook has reported, must not end the runner.
        drop(catch_unwind(AssertUnwindSafe(checkpoint)));
    }
}

/// Waits a little for the next job. Returns whether there is work.
fn linger(shared: &Shared) -> bool {
    (0..LINGER_YIELDS).any(|_| {
        std::thread::yield_now();
        shared.has_work()
    })
}

/// Runs one job on a thread that is no runner, if one waits.
pub(super) fn run_one(shared: &Arc<Shared>, seat: usize) -> bool {
    let _serving = Serving::begin().expect("a helper does not nest");
    let job = take(shared, seat);
    let found = job.is_some();
    if let Some(job) = job {
        serve(shared, job);
    }
    shared.queue.lock().running[seat] = None;
    found
}

/// Whether a part of a job waits on this thread, below that place in its stack.
fn is_in_a_wait(shared: &Shared, place: usize) -> bool {
    let depth = context::with(|context| context.depth(place));
    let nested = depth.is_some_and(|depth| shared.nesting.is_nested(depth));
    nested && shared.counters.running.load(Relaxed) != 0
}

fn bounce(shared: &Arc<Shared>) {
    if shared.admission.leave(|| shared.has_work()) {
        shared.counters.bounced.fetch_add(1, Relaxed);
        shared.request_later();
    }
}

/// Moves what has come in to the ordered queue and takes the job whose turn it is.
fn take(shared: &Arc<Shared>, seat: usize) -> Option<Job> {
    let now = Instant::now();
    let mut queue = shared.queue.lock();
    queue.running[seat] = None;
    shared.sort_in(&mut queue);
    let job = queue.order.pop(now);
    if let Some(job) = &job {
        queue.running[seat] = Some(Running {
            id: job.runnable.id(),
            since: now,
        });
    }
    let left = shared.note_length(&queue);
    drop(queue);
    // The publisher's part of the protocol: other jobs than the one taken have been moved.
    if left > 0 && shared.admission.claim() {
        shared.request();
    }
    if let Some(job) = &job {
        shared
            .counters
            .waited(now.saturating_duration_since(job.submitted));
    }
    job
}

fn serve(shared: &Arc<Shared>, job: Job) {
    shared.unqueue(&job);
    if shared.census.is_closed() {
        return shared.cancel(job, super::SHUT_DOWN);
    }
    let counters = &shared.counters;
    let running = counters.running.fetch_add(1, Relaxed) + 1;
    counters.running_peak.fetch_max(running, Relaxed);
    if let Some(ticker) = &shared.ticker {
        ticker.job_began();
    }
    let began = Instant::now();
    let outcome = {
        let _working = Working::for_owner(Some(Owner::Job(job.runnable.task())));
        job::run(job.runnable)
    };
    counters.ran(began.elapsed());
    counters.running.fetch_sub(1, Relaxed);
    counters.ended(outcome);
    shared.leave_census();
}
