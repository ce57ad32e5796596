//! Real threads on real tasks, for the sanitizers and for what models are too small to show.
#![cfg(not(divisi_loom))]

mod support;

use std::collections::HashSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use divisi_task::{
    CancelReason, Cause, Inbox, JoinHandle, Registry, RunSlot, Runnable, Schedule, SpawnOptions,
    TaskId, UnhandledPanic,
};

/// Enough to meet most interleavings of two cores, few enough for a sanitizer on a busy machine.
const ROUNDS: usize = if cfg!(debug_assertions) {
    2_000
} else {
    20_000
};

/// Worker threads that take from one queue.
struct Pool {
    queue: Mutex<Option<Vec<Runnable>>>,
    filled: Condvar,
    completed: AtomicUsize,
    panics: AtomicUsize,
}

impl Schedule for Pool {
    fn schedule(&self, task: Runnable, _: Cause) {
        let refused = match &mut *self.queue.lock().unwrap() {
            Some(queue) => {
                queue.push(task);
                None
            }
            None => Some(task),
        };
        // Dropped outside the lock: it cancels, which may schedule others.
        drop(refused);
        self.filled.notify_one();
    }

    fn unhandled_panic(&self, _: UnhandledPanic) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    fn completed(&self, _: TaskId) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Some(Vec::new())),
            filled: Condvar::new(),
            completed: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
        })
    }

    fn work(&self) {
        loop {
            let mut queue = self.queue.lock().unwrap();
            let task = loop {
                match queue.as_mut() {
                    None => return,
                    Some(tasks) => match tasks.pop() {
                        Some(task) => break task,
                        None => queue = self.filled.wait(queue).unwrap(),
                    },
                }
            };
            drop(queue);
            task.run();
        }
    }

    fn close(&self) {
        let rest = self.queue.lock().unwrap().take();
        drop(rest);
        self.filled.notify_all();
    }
}

fn spawn<F>(future: F, pool: &Arc<Pool>, registry: &Registry, shard: usize) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let options = SpawnOptions::new().shard(shard);
    let (task, handle) = divisi_task::spawn(future, pool.clone(), registry, options).unwrap();
    pool.schedule(task, Cause::Spawned);
    handle
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Counts itself, so that a leak or a double drop shows.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives its waker to another thread and waits for the flag; the flag's visibility rests on the wake-up
/// alone.
struct Handshake {
    flag: Arc<AtomicBool>,
    wakers: Sender<(Waker, Arc<AtomicBool>)>,
    sent: bool,
    _alive: Alive,
}

impl Future for Handshake {
    type Output = Alive;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Alive> {
        if self.flag.load(Ordering::Relaxed) {
            return Poll::Ready(Alive::new(&self._alive.0));
        }
        if !self.sent {
            self.sent = true;
            let _ = self.wakers.send((cx.waker().clone(), self.flag.clone()));
            // The other thread may wake the task while it still runs.
            thread::yield_now();
        }
        Poll::Pending
    }
}

fn wake_what_comes(wakers: Receiver<(Waker, Arc<AtomicBool>)>) {
    for (nth, (waker, flag)) in wakers.into_iter().enumerate() {
        waker.wake_by_ref();
        flag.store(true, Ordering::Relaxed);
        if nth % 2 == 0 {
            waker.wake();
        } else {
            waker.wake_by_ref();
        }
    }
}

#[test]
fn wakes_from_another_thread_are_never_lost_and_nothing_leaks() {
    let (pool, registry) = (Pool::new(), Registry::new(2));
    let alive = Arc::<AtomicUsize>::default();
    let (wakers, incoming) = channel();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| pool.work());
        }
        scope.spawn(move || wake_what_comes(incoming));
        for round in 0..ROUNDS {
            let future = Handshake {
                flag: Arc::default(),
                wakers: wakers.clone(),
                sent: false,
                _alive: Alive::new(&alive),
            };
            let handle = spawn(future, &pool, &registry, round);
            match round % 3 {
                0 => drop(block_on(handle).unwrap()),
                // Somewhere between never run and complete.
                1 => {
                    handle.cancel("round");
                    drop(block_on(handle));
                }
                _ => drop(handle),
            }
        }
        drop(wakers);
        while !registry.is_empty() {
            thread::yield_now();
        }
        pool.close();
    });
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    assert_eq!(pool.completed.load(Ordering::Relaxed), ROUNDS);
    assert_eq!(pool.panics.load(Ordering::Relaxed), 0);
    assert_eq!(Arc::strong_count(&pool), 1);
}

#[test]
fn a_shutdown_amid_everything_ends_every_task_once() {
    for round in 0..ROUNDS / 100 {
        let (pool, registry) = (Pool::new(), Registry::new(2));
        let alive = Arc::<AtomicUsize>::default();
        let (wakers, incoming) = channel();
        let spawned = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| pool.work());
            }
            scope.spawn(move || wake_what_comes(incoming));
            scope.spawn(|| {
                for nth in 0.. {
                    let future = Handshake {
                        flag: Arc::default(),
                        wakers: wakers.clone(),
                        sent: false,
                        _alive: Alive::new(&alive),
                    };
                    let options = SpawnOptions::new().shard(nth);
                    let Ok((task, handle)) =
                        divisi_task::spawn(future, pool.clone(), &registry, options)
                    else {
                        break;
                    };
                    spawned.fetch_add(1, Ordering::Relaxed);
                    pool.schedule(task, Cause::Spawned);
                    drop(handle);
                }
                drop(wakers);
            });
            for _ in 0..round % 50 {
                thread::yield_now();
            }
            registry.close();
            for task in registry.list() {
                task.shutdown(CancelReason::new("closing"));
            }
            while !registry.is_empty() {
                thread::yield_now();
            }
            pool.close();
        });
        assert_eq!(alive.load(Ordering::Relaxed), 0);
        assert_eq!(pool.completed.load(Ordering::Relaxed), spawned.into_inner());
        assert_eq!(Arc::strong_count(&pool), 1);
    }
}

#[test]
fn registrations_from_all_sides_neither_meet_nor_vanish() {
    const THREADS: usize = 4;
    let (scheduler, registry) = (support::Manual::new(), Registry::new(2));
    let start = Barrier::new(THREADS + 1);
    let going = AtomicUsize::new(THREADS);
    let ids = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, registry, scheduler, ids, going) =
                (&start, &registry, &scheduler, &ids, &going);
            scope.spawn(move || {
                start.wait();
                let mut mine = Vec::new();
                for round in 0..ROUNDS {
                    // All threads use both shards, so that they meet there.
                    let options = SpawnOptions::new().shard(thread + round);
                    let (task, handle) =
                        divisi_task::spawn(async {}, scheduler.clone(), registry, options).unwrap();
                    mine.push(task.id());
                    assert_eq!(registry.get(task.id()).unwrap().id(), task.id());
                    assert!(!registry.is_empty());
                    task.run();
                    assert!(registry.get(handle.id()).is_none());
                }
                ids.lock().unwrap().extend(mine);
                going.fetch_sub(1, Ordering::Relaxed);
            });
        }
        start.wait();
        while going.load(Ordering::Relaxed) > 0 {
            registry.for_each(|task| assert!(task.spawned_at().file() == file!()));
            thread::yield_now();
        }
    });
    assert!(registry.is_empty() && registry.list().is_empty());
    assert_eq!(
        ids.into_inner().unwrap().len(),
        THREADS * ROUNDS,
        "no id twice"
    );
    assert_eq!(scheduler.completed.lock().unwrap().len(), THREADS * ROUNDS);
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn what_goes_through_slots_and_inboxes_comes_out_once() {
    let (scheduler, registry) = (support::Manual::new(), Registry::new(1));
    let (slot, inbox) = (RunSlot::new(), Inbox::new());
    let (ran, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = |task: Option<Runnable>| {
        if let Some(task) = task {
            task.run();
            ran.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                run(slot.take());
                inbox.take_all().for_each(|task| run(Some(task)));
            }
        });
        for round in 0..ROUNDS {
            let options = SpawnOptions::new();
            let (task, handle) =
                divisi_task::spawn(async {}, scheduler.clone(), &registry, options).unwrap();
            drop(handle);
            if round % 2 == 0 {
                run(slot.replace(task));
            } else {
                inbox.push(task);
            }
        }
        done.store(true, Ordering::Release);
    });
    run(slot.take());
    inbox.take_all().for_each(|task| run(Some(task)));
    assert_eq!(ran.into_inner(), ROUNDS);
    assert!(registry.is_empty());
}
