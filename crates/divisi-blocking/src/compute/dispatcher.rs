//! The dispatcher: one thread, as nice as the process, that does for async workers what they must not do themselves.
//!
//! Async workers never call rayon: `ThreadPool::spawn` takes the sleep lock of a compute thread, which may have been
//! preempted with the lock held, for as long as other processes like. So a submitter that has claimed a runner raises
//! `wanted` and unparks the dispatcher (no lock, at most a futex wake), and the dispatcher calls rayon. It also moves the
//! line of those who wait for room, and empties the queue when the pool is closed.
//!
//! # Life
//!
//! | phase | meaning | left by |
//! |---|---|---|
//! | `IDLE` | no dispatcher | the first who wants one, to `STARTING` |
//! | `STARTING` | a thread is being started | the dispatcher, which publishes itself; a failure, back to `IDLE` |
//!
//! A request is never lost between the two: the requester **1** raises `wanted`, **2** fence, **3** looks for a published
//! dispatcher; the dispatcher **1** publishes itself, **2** fence, **3** reads `wanted`. One of them sees the other. If
//! starting fails, the phase goes back to `IDLE` first, and then the claims are withdrawn and the queue is emptied. So a
//! requester that still found `STARTING` had its job in the queue before it was emptied, and a later one finds `IDLE`
//! and starts a dispatcher itself.
//!
//! The dispatcher ends when the pool is closed and the census is zero. It then drops the rayon pool, whose threads end.
//!
//! # Bounces
//!
//! rayon may begin a runner on a thread that is in the middle of a job, or of a part of one that rayon moved there, and that waits for a part of its
//! own. The job that it ran would hold the waiting one up, and if it took a lock that the other holds across its parallel section, they would
//! deadlock. Such a runner returns at once (a thread knows its runner, and module [`nesting`](super::nesting) how parts are found out), and its claim is
//! kept and tried again a little later (module [`bounces`](super::bounces)), until another compute thread is free to begin it or there is no work left.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{Ordering::SeqCst, fence};
use std::thread;
use std::time::Duration;

use divisi_task::TaskId;

use super::bounces::Bounces;
use super::helper::Watch;
use super::{Job, Shared, runner, worker};
use crate::error::{SpawnError, no_thread};

pub(super) const IDLE: u8 = 0;
const STARTING: u8 = 1;

impl Shared {
    /// Has a runner begun, for a claim that was made.
    pub(super) fn request(self: &Arc<Self>) {
        // If no dispatcher can be started, the queue has been emptied, each handle told, and the claim withdrawn.
        let _ = self.try_request(None);
    }

    /// As [`request`](Self::request). If no dispatcher can be started, and the caller's `own` job was among those that
    /// were ended for it, the error is for the caller.
    pub(super) fn try_request(self: &Arc<Self>, own: Option<TaskId>) -> Result<(), SpawnError> {
        self.wanted.fetch_add(1, SeqCst);
        self.kick(own)
    }

    /// Has a runner begun for a kept claim, when a little time has passed.
    pub(super) fn request_later(&self) {
        // It has been told of the others.
        if self.bounced.fetch_add(1, SeqCst) == 0 {
            self.wake_dispatcher();
        }
    }

    /// Wakes the dispatcher, if there is one.
    pub(super) fn wake_dispatcher(&self) -> bool {
        // Pairs with the fence of a dispatcher that publishes itself.
        fence(SeqCst);
        self.dispatcher.get().map(thread::Thread::unpark).is_some()
    }

    /// Wakes the dispatcher, or starts it.
    pub(super) fn kick(self: &Arc<Self>, own: Option<TaskId>) -> Result<(), SpawnError> {
        if self.wake_dispatcher() {
            return Ok(());
        }
        if self
            .phase
            .compare_exchange(IDLE, STARTING, SeqCst, SeqCst)
            .is_err()
        {
            return Ok(());
        }
        let shared = Arc::clone(self);
        self.living.enter();
        let body = Box::new(move || {
            run(&shared);
            shared.living.leave();
        });
        self.threads.start("dispatch", body).or_else(|error| {
            self.living.leave();
            self.start_failed(error, own)
        })
    }

    /// Ends all that waits for a pool that has no threads and gets none.
    fn start_failed(
        self: &Arc<Self>,
        error: io::Error,
        own: Option<TaskId>,
    ) -> Result<(), SpawnError> {
        self.phase.store(IDLE, SeqCst);
        self.admission.withdraw(self.wanted.swap(0, SeqCst));
        let mut is_own = false;
        for job in self.drain() {
            is_own |= Some(job.runnable.id()) == own;
            self.unqueue(&job);
            self.cancel(job, no_thread(&error));
        }
        self.room.serve(self.census.is_closed());
        if is_own {
            Err(SpawnError::NoThread(error))
        } else {
            Ok(())
        }
    }

    fn drain(&self) -> Vec<Job> {
        let mut queue = self.queue.lock();
        self.sort_in(&mut queue);
        let jobs = queue.order.drain();
        self.note_length(&queue);
        jobs
    }
}

/// The dispatcher's whole life.
fn run(shared: &Arc<Shared>) {
    let pool = match worker::start_all(shared) {
        Ok(pool) => pool,
        Err(error) => {
            // There is no caller to hand an error to; each job's handle says what happened.
            let _ = shared.start_failed(error, None);
            return;
        }
    };
    let published = shared.dispatcher.set(thread::current());
    debug_assert!(published.is_ok(), "a pool has one dispatcher");
    // Pairs with the fence in `wake_dispatcher`.
    fence(SeqCst);
    if let Some(ticker) = &shared.ticker {
        ticker.start(shared);
    }
    let mut watch = Watch::default();
    let mut bounces = Bounces::default();
    loop {
        for _ in 0..shared.wanted.swap(0, SeqCst) {
            let shared = Arc::clone(shared);
            pool.spawn(move || runner::run(&shared));
        }
        let closed = shared.census.is_closed();
        shared.room.serve(closed);
        if closed {
            for job in shared.drain() {
                shared.unqueue(&job);
                shared.cancel(job, super::SHUT_DOWN);
            }
            if shared.census.in_flight() == 0 {
                if let Some(ticker) = &shared.ticker {
                    ticker.end();
                }
                return;
            }
        }
        let retry = bounces.look(shared, &mut watch);
        if retry == Some(Duration::ZERO) {
            continue;
        }
        let look = watch.look(shared);
        // The wakers and destructors above are foreign code, which may have parked this thread itself and taken the wake-ups of others.
        if has_duty(shared, closed, retry.is_some()) {
            continue;
        }
        match retry.into_iter().chain(look).min() {
            Some(time) => thread::park_timeout(time),
            None => doze(shared),
        }
    }
}

/// Whether there is something to do that the dispatcher did not find when it looked last.
fn has_duty(shared: &Shared, saw_closed: bool, saw_bounced: bool) -> bool {
    shared.wanted.load(SeqCst) != 0
        || shared.census.is_closed() && (!saw_closed || shared.census.in_flight() == 0)
        || !saw_bounced && shared.bounced.load(SeqCst) != 0
}

/// Sleeps until somebody wakes the dispatcher: for a duty, or because a job waits that it has to watch over.
fn doze(shared: &Shared) {
    if !shared.helps {
        return thread::park();
    }
    shared.dozing.store(true, SeqCst);
    // Pairs with the fence in `Admission::claim`, by which a submitter orders its push before it looks here.
    fence(SeqCst);
    if !shared.has_work() {
        thread::park();
    }
    shared.dozing.store(false, SeqCst);
}
