//! The way of a job into the pool, and out of it without having run.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

use divisi_task::{JoinHandle, Runnable};

use super::order::Caller;
use super::{Job, OffloadOptions, Priority, Queue, Shared};
use crate::error::SpawnError;
use crate::job::{self, Outcome};

impl Shared {
    /// Submits a job for which a place in the queue has been taken.
    pub(super) fn offload<F, T>(
        self: &Arc<Self>,
        options: OffloadOptions,
        f: F,
    ) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.enter()?;
        let OffloadOptions { priority, spawn } = options;
        let caller = spawn.spawned_by();
        match divisi_task::spawn(job::once(f), Arc::clone(self), &self.registry, spawn) {
            Ok((runnable, handle)) => self.submit(runnable, priority, caller).map(|()| handle),
            Err(closed) => {
                self.release_room();
                self.leave_census();
                Err(closed.into())
            }
        }
    }

    /// Counts a job in, or gives the place back that was taken for it.
    pub(super) fn enter(self: &Arc<Self>) -> Result<(), SpawnError> {
        self.census.enter().map_err(|closed| {
            self.release_room();
            // Who was counted in for a moment may have been the last in the eyes of the job that was, or of the dispatcher.
            self.wake_dispatcher();
            closed.into()
        })
    }

    /// Queues a job that was counted in.
    pub(super) fn submit(
        self: &Arc<Self>,
        runnable: Runnable,
        priority: Priority,
        caller: Caller,
    ) -> Result<(), SpawnError> {
        let id = runnable.id();
        self.counters.submitted.fetch_add(1, Relaxed);
        self.counters.queued[priority.index()].fetch_add(1, Relaxed);
        self.inbox.push(Job {
            runnable,
            priority,
            caller,
            submitted: Instant::now(),
        });
        if self.admission.claim() {
            return self.try_request(Some(id));
        }
        // The first: closed after this job was counted in, and the dispatcher may have emptied the queue just before the push.
        // The second: the dispatcher sleeps without watching over jobs that wait. Ordered by the fence in `claim`.
        if self.census.is_closed() || self.dozing.load(SeqCst) && self.dozing.swap(false, SeqCst) {
            self.wake_dispatcher();
        }
        Ok(())
    }

    pub(super) fn has_work(&self) -> bool {
        !self.inbox.is_empty() || self.ordered.load(Relaxed) > 0
    }

    /// Moves what has come in to the ordered queue.
    pub(super) fn sort_in(&self, queue: &mut Queue) {
        for job in self.inbox.take_all() {
            queue
                .order
                .push(job.priority, job.caller, job.submitted, job);
        }
    }

    /// Makes the length of the ordered queue known, before its lock is let go of.
    pub(super) fn note_length(&self, queue: &Queue) -> usize {
        let length = queue.order.len();
        // Ordered against the look of a runner that leaves by the fences of `Admission`.
        self.ordered.store(length, Relaxed);
        length
    }

    /// A job has been taken from the queue.
    pub(super) fn unqueue(self: &Arc<Self>, job: &Job) {
        self.counters.queued[job.priority.index()].fetch_sub(1, Relaxed);
        self.release_room();
    }

    /// Ends a job without running it.
    pub(super) fn cancel(&self, job: Job, why: impl Into<Cow<'static, str>>) {
        job::cancel(job.runnable, why);
        self.counters.ended(Outcome::Cancelled);
        self.leave_census();
    }

    pub(super) fn release_room(self: &Arc<Self>) {
        if self.room.release() {
            let _ = self.kick(None);
        }
    }

    pub(super) fn leave_census(&self) {
        if self.census.leave() && self.census.is_closed() {
            self.wake_dispatcher();
        }
    }

    pub(super) fn close(&self) {
        self.census.close();
        self.wake_dispatcher();
    }
}
