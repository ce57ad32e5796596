//! What needs a look inside: which locks are taken where.

use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::{future::Future, pin::pin};

use super::*;
use crate::offload::Offload;

/// Far longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

fn poll<F: Future + Unpin>(future: &mut F) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(future).poll(&mut cx).is_ready()
}

struct Nowhere;

impl Schedule for Nowhere {
    fn schedule(&self, task: Runnable, _cause: Cause) {
        drop(task);
    }

    fn unhandled_panic(&self, _report: UnhandledPanic) {}
}

/// A compute thread that was preempted with the lock held keeps it for as long as other programs like. Here this thread
/// holds it, and another does all that an async worker ever does with a pool.
#[test]
fn async_workers_never_want_the_lock_that_compute_threads_share() {
    let pool = Arc::new(
        ComputePool::builder()
            .threads(2)
            .queue_bound(Some(1))
            .build()
            .expect("the settings are sound"),
    );
    // The pool has its threads.
    let first = pool.offload(|| ()).expect("it takes jobs");
    futures_lite::future::block_on(first).expect("it returns");

    let lock = pool.shared.queue.lock();
    let (done, all_done) = mpsc::channel();
    let worker = thread::spawn({
        let pool = Arc::clone(&pool);
        move || {
            let mut job = pool.offload(|| 1).expect("it takes jobs");
            assert!(!poll(&mut job));
            let cancelled = pool.offload(|| 2).expect("it takes jobs");
            cancelled.cancel("not wanted");
            drop(cancelled);
            drop(pool.try_offload(|| 3));
            let mut room = pool.reserve();
            let _ = poll(&mut room);
            drop(room);
            let map = pool.map(OffloadOptions::new(), 0..100, |n| n);
            drop(map.expect("it takes jobs"));
            let (work, handle) = Work::new(
                || 4,
                Arc::new(Nowhere),
                &pool.shared.registry,
                SpawnOptions::new(),
            )
            .expect("the registry is open");
            pool.execute(work);
            drop(handle);
            let _ = (pool.metrics(), pool.in_flight());
            done.send(job).expect("the test waits");
        }
    });
    let job = all_done
        .recv_timeout(PATIENCE)
        .expect("the worker has waited for the lock");
    drop(lock);
    worker.join().expect("checked above");
    let value = futures_lite::future::block_on(job).expect("it returns");
    assert_eq!(value, 1);
    assert!(pool.shutdown(PATIENCE).is_empty());
}
