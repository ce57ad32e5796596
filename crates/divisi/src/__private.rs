//! What the macros expand to. Not part of the public interface.

use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use divisi_task::TaskState;

use crate::runtime::Report;
use crate::{Clock, Handle, Runtime, Shutdown};

/// How long a test whose root does not answer its time-out is waited for before the process is aborted.
const HUNG_PATIENCE: Duration = Duration::from_secs(5);
/// How long tasks that are there when the test returns have to end.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(1);
/// How often they are looked at.
const LEFTOVER_LOOK: Duration = Duration::from_micros(100);

/// The arguments of `#[divisi::test]`.
#[derive(Clone, Debug)]
pub struct TestConfig {
    name: &'static str,
    worker_threads: usize,
    timeout: Duration,
    clock: Clock,
    allow_leftover_tasks: bool,
}

impl TestConfig {
    #[doc(hidden)]
    pub fn new(name: &'static str) -> TestConfig {
        TestConfig {
            name,
            worker_threads: 1,
            timeout: Duration::from_secs(60),
            clock: Clock::Real,
            allow_leftover_tasks: false,
        }
    }

    #[doc(hidden)]
    #[must_use]
    pub fn worker_threads(mut self, threads: usize) -> TestConfig {
        self.worker_threads = threads;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> TestConfig {
        self.timeout = timeout;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn virtual_clock(mut self, on: bool) -> TestConfig {
        self.clock = if on { Clock::Virtual } else { Clock::Real };
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn allow_leftover_tasks(mut self, allow: bool) -> TestConfig {
        self.allow_leftover_tasks = allow;
        self
    }
}

/// Tells the root future that the time is up. The watchdog is a thread of its own: the test may live in virtual time, or keep every
/// worker busy.
#[derive(Default)]
struct Alarm {
    state: Mutex<(bool, Option<Waker>)>,
}

impl Alarm {
    fn ring(&self) {
        let waker = {
            let mut state = self
                .state
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, waker: &Waker) -> bool {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        state.1 = Some(waker.clone());
        state.0
    }
}

/// Runs the body of a test on a runtime of its own.
///
/// # Panics
///
/// If the test does, if its time is up, if tasks are left over or have panicked with nobody awaiting them; the message lists them.
#[doc(hidden)]
pub fn run_test<F, T>(config: TestConfig, test: F) -> T
where
    F: Future<Output = T>,
{
    let lost = LostPanics::default();
    let runtime = match Runtime::builder()
        .worker_threads(config.worker_threads)
        .clock(config.clock)
        .exception_handler(lost.handler())
        .debug(true)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => panic!(
            "could not start a runtime for the test {}: {error}",
            config.name
        ),
    };
    let alarm = Arc::new(Alarm::default());
    let (over, is_over) = channel::<()>();
    let watchdog = thread::spawn({
        let (alarm, handle, config) = (alarm.clone(), runtime.handle().clone(), config.clone());
        move || {
            if is_over.recv_timeout(config.timeout) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            alarm.ring();
            if is_over.recv_timeout(HUNG_PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{}: {}", config.name, timed_out(&config, &handle));
                eprintln!("the test does not return from its poll, so the process is aborted");
                std::process::abort();
            }
        }
    });
    let output = runtime.block_on(async {
        let mut test = pin!(test);
        poll_fn(|cx| {
            if let Poll::Ready(output) = test.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if alarm.poll(cx.waker()) {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        })
        .await
    });
    drop(over);
    let Some(output) = output else {
        panic!("{}", timed_out(&config, runtime.handle()))
    };
    // It sees that the channel is closed and ends; a panic of it has been printed.
    let _ = watchdog.join();
    let leftovers = leftovers(&runtime, &config);
    runtime.shutdown(Shutdown::now());
    if !config.allow_leftover_tasks && !leftovers.is_empty() {
        panic!(
            "the test returned while {} of its tasks had not ended (await or cancel them, or say `allow_leftover_tasks = true`):{}",
            leftovers.len(),
            listing(&leftovers)
        );
    }
    lost.check();
    output
}

/// Panics of tasks that nobody joined: in a test they are failures that nobody would see.
#[derive(Clone, Default)]
struct LostPanics(Arc<Mutex<Vec<String>>>);

impl LostPanics {
    fn handler(&self) -> impl Fn(&Report) + Send + Sync + use<> {
        let lost = self.clone();
        move |report| {
            eprintln!("divisi: {report}");
            if report.panic.is_some() && report.task.is_some() {
                lost.all().push(report.to_string());
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After the shutdown: all tasks have ended.
    fn check(&self) {
        let lost = std::mem::take(&mut *self.all());
        if !lost.is_empty() {
            panic!(
                "{} of the test's tasks panicked and nobody awaited them (await their handles, and look at the result):\n{}",
                lost.len(),
                lost.join("\n")
            );
        }
    }
}

/// Tasks that do not end. What one waits for may be on its way: an event that nobody has fetched yet, such as the end of a
/// connection that the test has just dropped. Not so in virtual time, which would pass meanwhile.
fn leftovers(runtime: &Runtime, config: &TestConfig) -> Vec<crate::runtime::TaskInfo> {
    let may_wait = config.clock == Clock::Virtual || config.allow_leftover_tasks;
    let end = Instant::now() + LEFTOVER_PATIENCE;
    loop {
        let tasks = runtime.tasks();
        let all_wait = || tasks.iter().all(|task| task.state == TaskState::Waiting);
        let settled = tasks.is_empty() || (may_wait && all_wait());
        if settled || Instant::now() > end {
            return tasks;
        }
        // There is no event for it.
        thread::sleep(LEFTOVER_LOOK);
    }
}

fn timed_out(config: &TestConfig, handle: &Handle) -> String {
    let tasks = handle.tasks();
    format!(
        "the test did not end within {:?}; its runtime has {} tasks:{}",
        config.timeout,
        tasks.len(),
        listing(&tasks)
    )
}

fn listing(tasks: &[crate::runtime::TaskInfo]) -> String {
    tasks.iter().fold(String::new(), |mut text, task| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {task}");
        text
    })
}
