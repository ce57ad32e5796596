//! A scheduler over drivers that are plain condition variables.
#![allow(dead_code, unreachable_pub)] // each test file includes this module and uses a part of it

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use divisi_scheduler::{Park, Scheduler, Setup, Spares, Stall};
use divisi_task::{JoinHandle, Registry, SpawnOptions, UnhandledPanic};

/// Far more than any of these tests needs on a machine that does other things; only a hang reaches it.
pub const LONG: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    notified: bool,
    /// Wakers that the next turn wakes, as an event would.
    events: Vec<std::task::Waker>,
    /// Inside a park without limit.
    asleep: bool,
}

/// A driver whose events are put in by the test.
#[derive(Default)]
pub struct TestDriver {
    state: Mutex<State>,
    changed: Condvar,
    turns: AtomicU64,
    pub parks: AtomicUsize,
}

impl TestDriver {
    /// Makes an event ready: whoever takes the next turn wakes `waker`. Like an fd, it ends a sleep but does not mark a notification.
    pub fn event(&self, waker: std::task::Waker) {
        self.state.lock().unwrap().events.push(waker);
        self.changed.notify_all();
    }

    /// Blocks until a thread sleeps here without limit.
    pub fn wait_asleep(&self) {
        let state = self.state.lock().unwrap();
        let (state, result) = self
            .changed
            .wait_timeout_while(state, LONG, |state| !state.asleep)
            .unwrap();
        assert!(!result.timed_out(), "no worker went to sleep");
        drop(state);
    }

    /// Whether somebody has unparked the driver since it was last asked or slept.
    pub fn take_notified(&self) -> bool {
        std::mem::take(&mut self.state.lock().unwrap().notified)
    }

    fn dispatch(&self, events: Vec<std::task::Waker>) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed);
        let count = events.len();
        events.into_iter().for_each(std::task::Waker::wake);
        count
    }
}

impl Park for TestDriver {
    fn park(&self, limit: Option<Duration>) -> usize {
        self.parks.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        let end = limit.map(|limit| Instant::now() + limit);
        state.asleep = limit.is_none();
        self.changed.notify_all();
        while !state.notified && state.events.is_empty() {
            state = match end {
                None => self.changed.wait(state).unwrap(),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.changed.wait_timeout(state, left).unwrap().0
                }
            };
        }
        state.asleep = false;
        state.notified = false;
        let events = std::mem::take(&mut state.events);
        drop(state);
        self.dispatch(events)
    }

    fn poll(&self, _limit: usize) -> usize {
        let events = std::mem::take(&mut self.state.lock().unwrap().events);
        self.dispatch(events)
    }

    fn unpark(&self) {
        self.state.lock().unwrap().notified = true;
        self.changed.notify_all();
    }

    fn announce_sleep(&self) -> bool {
        true
    }

    fn has_interest(&self) -> bool {
        true
    }

    fn evacuate(&self) {
        self.poll(usize::MAX);
    }

    fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

/// A scheduler with its drivers; stopped when dropped.
pub struct Fixture {
    pub scheduler: Scheduler,
    pub drivers: Vec<Arc<TestDriver>>,
    pub panics: Arc<Mutex<Vec<UnhandledPanic>>>,
    pub stalls: Arc<Mutex<Vec<Stall>>>,
}

pub type Jump = divisi_scheduler::Jump;

pub fn scheduler(workers: usize) -> Fixture {
    build(workers, true, None)
}

/// With as many spares as workers, and a threshold that a test need not wait long for.
pub fn with_spares(workers: usize) -> Fixture {
    build_with(workers, true, None, workers)
}

pub fn build(workers: usize, background: bool, jump: Option<Jump>) -> Fixture {
    build_with(workers, background, jump, 0)
}

fn build_with(workers: usize, background: bool, jump: Option<Jump>, most: usize) -> Fixture {
    let stalls: Arc<Mutex<Vec<Stall>>> = Arc::default();
    let drivers: Vec<Arc<TestDriver>> = (0..workers).map(|_| Arc::default()).collect();
    let panics: Arc<Mutex<Vec<UnhandledPanic>>> = Arc::default();
    let scheduler = Scheduler::new(Setup {
        drivers: drivers
            .iter()
            .map(|driver| Box::new(Shared(driver.clone())) as Box<dyn Park>)
            .collect(),
        registry: Arc::new(Registry::new(workers + 1)),
        background,
        thread_name: Arc::new(|seat| format!("test-{seat}")),
        stack_size: None,
        enter: Arc::new(|_| Box::new(())),
        unhandled_panic: {
            let panics = panics.clone();
            Arc::new(move |panic| panics.lock().unwrap().push(panic))
        },
        spares: (most > 0).then(|| Spares {
            most,
            threshold: Duration::from_millis(10),
            driver: Box::new(|_| Ok(Box::new(Shared(Arc::default())))),
            report: {
                let stalls = stalls.clone();
                Box::new(move |stall| stalls.lock().unwrap().push(stall))
            },
        }),
        long_polls: None,
        jump,
    });
    scheduler.start().unwrap();
    Fixture {
        scheduler,
        drivers,
        panics,
        stalls,
    }
}

impl Fixture {
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.scheduler.spawn(future, SpawnOptions::new()).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.scheduler.stop(Instant::now() + LONG);
        // They name tasks, which keep the scheduler alive, which keeps this list.
        self.stalls.lock().unwrap().clear();
    }
}

struct Shared(Arc<TestDriver>);

impl Park for Shared {
    fn park(&self, limit: Option<Duration>) -> usize {
        self.0.park(limit)
    }

    fn poll(&self, limit: usize) -> usize {
        self.0.poll(limit)
    }

    fn unpark(&self) {
        self.0.unpark();
    }

    fn announce_sleep(&self) -> bool {
        true
    }

    fn has_interest(&self) -> bool {
        self.0.has_interest()
    }

    fn evacuate(&self) {
        self.0.evacuate();
    }

    fn turns(&self) -> u64 {
        self.0.turns()
    }
}

/// Lets the task go to the end of the queue once.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// A gate that tasks block on with their whole thread until it is opened.
pub fn gate() -> (mpsc::Sender<()>, impl FnOnce() + Send) {
    let (open, closed) = mpsc::channel::<()>();
    (open, move || {
        // Opened by dropping the sender.
        let _ = closed.recv();
    })
}
