//! A scheduler that does nothing by itself: tests run its queue by hand.
#![allow(dead_code)] // Each test uses a part of it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use divisi_task::{
    Cause, JoinError, JoinHandle, Ran, Registry, Runnable, Schedule, SpawnOptions, TaskId,
    UnhandledPanic,
};

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Manual {
    pub(crate) queue: Mutex<Vec<(Runnable, Cause)>>,
    pub(crate) panics: Mutex<Vec<UnhandledPanic>>,
    pub(crate) completed: Mutex<Vec<TaskId>>,
}

impl Schedule for Manual {
    fn schedule(&self, task: Runnable, cause: Cause) {
        self.queue.lock().unwrap().push((task, cause));
    }

    fn unhandled_panic(&self, report: UnhandledPanic) {
        self.panics.lock().unwrap().push(report);
    }

    fn completed(&self, task: TaskId) {
        self.completed.lock().unwrap().push(task);
    }
}

impl Manual {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The oldest runnable.
    pub(crate) fn next(&self) -> Option<(Runnable, Cause)> {
        let mut queue = self.queue.lock().unwrap();
        (!queue.is_empty()).then(|| queue.remove(0))
    }

    /// Runs the oldest runnable.
    pub(crate) fn run_one(&self) -> Option<Ran> {
        self.next().map(|(task, _)| task.run())
    }

    /// Runs until nothing is left to run.
    pub(crate) fn run_all(&self) {
        while self.run_one().is_some() {}
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.lock().unwrap().len()
    }

    /// The causes of what is queued.
    pub(crate) fn causes(&self) -> Vec<Cause> {
        self.queue
            .lock()
            .unwrap()
            .iter()
            .map(|(_, cause)| *cause)
            .collect()
    }

    pub(crate) fn panic_messages(&self) -> Vec<String> {
        let panics = self.panics.lock().unwrap();
        panics
            .iter()
            .map(|panic| panic.message().to_owned())
            .collect()
    }
}

/// Spawns and schedules.
#[track_caller]
pub(crate) fn start<F>(
    future: F,
    scheduler: &Arc<Manual>,
    registry: &Registry,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (task, handle) =
        divisi_task::spawn(future, scheduler.clone(), registry, SpawnOptions::new()).unwrap();
    scheduler.schedule(task, Cause::Spawned);
    handle
}

/// Counts wake-ups.
#[derive(Default)]
pub(crate) struct CountingWaker(pub(crate) AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl CountingWaker {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::<Self>::default();
        (counter.clone(), counter.into())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls a handle once.
pub(crate) fn poll_once<T>(handle: &mut JoinHandle<T>) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(Waker::noop()))
}

/// The outcome of a task that is complete.
#[track_caller]
pub(crate) fn outcome<T>(mut handle: JoinHandle<T>) -> Result<T, JoinError> {
    match poll_once(&mut handle) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("the task is not complete"),
    }
}

/// Panics without the panic hook, so that tests are quiet.
pub(crate) fn quiet_panic(message: &str) -> ! {
    resume_unwind(Box::new(message.to_owned()))
}

/// The message of a panic in `f`, if it panics.
pub(crate) fn panic_of(f: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
    match payload.downcast::<String>() {
        Ok(message) => Some(*message),
        Err(payload) => Some((*payload.downcast::<&'static str>().unwrap()).to_owned()),
    }
}

/// A future that gives its waker out and waits until it is told to end.
pub(crate) struct Gate {
    pub(crate) shared: Arc<GateState>,
}

#[derive(Default)]
pub(crate) struct GateState {
    pub(crate) waker: Mutex<Option<Waker>>,
    pub(crate) open: std::sync::atomic::AtomicBool,
    pub(crate) dropped: std::sync::atomic::AtomicBool,
    pub(crate) polls: AtomicUsize,
}

impl Gate {
    pub(crate) fn new() -> (Self, Arc<GateState>) {
        let shared = Arc::<GateState>::default();
        (
            Self {
                shared: shared.clone(),
            },
            shared,
        )
    }
}

impl GateState {
    pub(crate) fn waker(&self) -> Waker {
        self.waker.lock().unwrap().clone().expect("polled")
    }

    /// Forgets the stored waker.
    pub(crate) fn release(&self) {
        let waker = self.waker.lock().unwrap().take();
        drop(waker);
    }

    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.polls.fetch_add(1, Ordering::SeqCst);
        if self.shared.open.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        *self.shared.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.dropped.store(true, Ordering::SeqCst);
    }
}
