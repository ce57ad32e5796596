//! Runs scenarios on divisi, in virtual time, and writes down what happened. The twin of `runner.py`.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use divisi::cleanup::finally;
use divisi::group::{Child, Failure, Group, GroupError};
use divisi::runtime::Report;
use divisi::scope::{TimeoutScope, shield, timeout_scope};
use divisi::sync::Event;
use divisi::time::{Instant, sleep, sleep_until};
use divisi::{Clock, LocalRuntime, Runtime, task_group};
use futures_lite::FutureExt;

use super::scenario::{Id, Limit, ROOT, Scenario, Statement, Time, What};
use super::trace::Trace;

/// Longer than any scenario: at this time nothing can run any more.
const HANG: Duration = Duration::from_secs(24 * 3600);

/// What goes wrong in a scenario.
#[derive(Debug)]
enum Error {
    Raised(Id),
    Elapsed(Id),
    Group(GroupError<Error>),
}

type Result<T = ()> = std::result::Result<T, Error>;
type Step<'a> = Pin<Box<dyn Future<Output = Result> + Send + 'a>>;

fn show(error: &Error) -> String {
    match error {
        Error::Raised(id) => format!("error {id}"),
        Error::Elapsed(id) => format!("time {id}"),
        Error::Group(group) => show_group(group),
    }
}

fn show_group(group: &GroupError<Error>) -> String {
    let failures = group.failures().iter().map(|failure| match failure {
        Failure::Error(error) => show(error),
        Failure::Group(group) => show_group(group),
        Failure::Panic(panic) => format!("panic {panic}"),
    });
    format!("[{}]", failures.collect::<Vec<_>>().join(" "))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(self))
    }
}

impl std::error::Error for Error {}

/// Runs a scenario to its end, on one thread and a virtual clock.
///
/// # Panics
/// If the exception handler was not told of exactly what nobody else heard of.
pub(crate) fn run(scenario: &Scenario) -> Trace {
    let reports = Arc::new(Mutex::new(Reports::default()));
    let handler = reports.clone();
    let builder = Runtime::builder().clock(Clock::Virtual);
    let builder = builder.exception_handler(move |report| lock(&handler).add(report));
    let runtime = builder
        .build_local()
        .expect("it asks for nothing that can fail");
    let trace = run_on(&runtime, scenario, reports.clone());
    drop(runtime);
    let reports = lock(&reports);
    assert_eq!(
        (reports.of_cleanups, reports.of_groups),
        (reports.failed_cleanups, 0),
        "reports of clean-ups, and of groups, in {scenario}"
    );
    trace
}

/// What the exception handler was told.
#[derive(Default)]
struct Reports {
    of_cleanups: usize,
    failed_cleanups: usize,
    /// Errors of tasks whose group's body panicked, until that is written down.
    of_groups: usize,
}

impl Reports {
    fn add(&mut self, report: &Report) {
        match report.error {
            Some(_) => self.of_cleanups += 1,
            None => self.of_groups += 1,
        }
    }
}

fn run_on(runtime: &LocalRuntime, scenario: &Scenario, reports: Arc<Mutex<Reports>>) -> Trace {
    runtime.block_on(async {
        let world = Arc::new(World {
            began: Instant::now(),
            trace: Mutex::default(),
            tasks: Mutex::default(),
            groups: Mutex::default(),
            reports,
        });
        let body = scenario.body.clone();
        let all = task_group(async |group: Group<Error>| {
            world.spawn(&group, ROOT, body);
            Ok(())
        });
        // What comes out of the root task is in the trace.
        if divisi::time::timeout(HANG, all).await.is_err() {
            world.event(ROOT, "hang");
        }
        std::mem::take(&mut *world.trace.lock().unwrap())
    })
}

struct World {
    began: Instant,
    trace: Mutex<Trace>,
    tasks: Mutex<HashMap<Id, Arc<Task>>>,
    groups: Mutex<HashMap<Id, Group<Error>>>,
    reports: Arc<Mutex<Reports>>,
}

struct Task {
    child: Mutex<Option<Child<()>>>,
    ended: Event,
    outcome: Mutex<Option<String>>,
}

/// What a block runs in.
#[derive(Clone, Copy)]
struct Around<'a> {
    world: &'a Arc<World>,
    task: Id,
    timeout: Option<&'a TimeoutScope>,
}

/// Writes down that its task has ended when what the task captured is dropped: not earlier, not later.
struct End {
    world: Arc<World>,
    id: Id,
    task: Arc<Task>,
    /// While the group decides: what is dropped then was refused.
    refused: Arc<AtomicBool>,
    started: bool,
    outcome: Option<String>,
}

impl End {
    fn begin(&mut self) {
        self.started = true;
    }

    fn finish(&mut self, result: Result) -> Result {
        self.outcome = Some(result.as_ref().map_or_else(show, |()| "ok".to_owned()));
        result
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.refused.load(Ordering::Relaxed) {
            return;
        }
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| "cancelled".to_owned());
        let shown = if self.started {
            &outcome
        } else {
            "never started"
        };
        self.world.event(self.id, format!("end: {shown}"));
        *lock(&self.task.outcome) = Some(outcome);
        self.task.ended.set();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics with the lock")
}

impl World {
    fn event(&self, task: Id, event: impl Into<String>) {
        let time = (Instant::now() - self.began).as_nanos();
        let time = Time::try_from(time).expect("scenarios are short");
        lock(&self.trace).push(task, time, event);
    }

    fn at(&self, time: Time) -> Instant {
        self.began + Duration::from_nanos(time)
    }

    /// Spawns a task of the language; false if the group takes none.
    fn spawn(self: &Arc<World>, group: &Group<Error>, id: Id, body: Vec<Statement>) -> bool {
        let task = Arc::new(Task {
            child: Mutex::new(None),
            ended: Event::new(),
            outcome: Mutex::new(None),
        });
        let refused = Arc::new(AtomicBool::new(true));
        let mut end = End {
            world: self.clone(),
            id,
            task: task.clone(),
            refused: refused.clone(),
            started: false,
            outcome: None,
        };
        let child = group.spawn(async move {
            end.begin();
            let world = end.world.clone();
            world.event(id, "start");
            let around = Around {
                world: &world,
                task: id,
                timeout: None,
            };
            let result = block(around, &body).await;
            end.finish(result)
        });
        if child.is_finished() {
            return false;
        }
        refused.store(false, Ordering::Relaxed);
        *lock(&task.child) = Some(child);
        lock(&self.tasks).insert(id, task);
        true
    }
}

fn block<'a>(around: Around<'a>, statements: &'a [Statement]) -> Step<'a> {
    Box::pin(async move {
        for statement in statements {
            around.statement(statement).await?;
        }
        Ok(())
    })
}

impl<'a> Around<'a> {
    fn event(self, event: impl Into<String>) {
        self.world.event(self.task, event);
    }

    async fn statement(self, Statement { id, what }: &'a Statement) -> Result {
        match what {
            What::Log => self.event(format!("log {id}")),
            What::Sleep(time) => {
                sleep(Duration::from_nanos(*time)).await;
                self.event(format!("slept {id}"));
            }
            What::Meet(time) => {
                let until = self.world.at(*time);
                if until > Instant::now() {
                    sleep_until(until).await;
                }
                self.event(format!("met {id}"));
            }
            What::Raise => return Err(Error::Raised(*id)),
            // Without the hook that prints.
            What::Panic => resume_unwind(Box::new(*id)),
            What::Spawn { group, body } => {
                let group = lock(&self.world.groups).get(group).cloned();
                let taken = group.map(|group| self.world.spawn(&group, *id, body.clone()));
                self.event(match taken {
                    None => format!("spawn {id}: no group"),
                    Some(false) => format!("spawn {id}: refused"),
                    Some(true) => format!("spawn {id}"),
                });
            }
            What::Cancel { task } => {
                let task = lock(&self.world.tasks).get(task).cloned();
                self.event(match &task {
                    None => format!("cancel {id}: no task"),
                    Some(_) => format!("cancel {id}"),
                });
                if let Some(task) = task {
                    let child = lock(&task.child);
                    child
                        .as_ref()
                        .expect("it is there from the start")
                        .cancel("the scenario");
                }
            }
            What::CancelGroup { group } => {
                let group = lock(&self.world.groups).get(group).cloned();
                self.event(match &group {
                    None => format!("cancel group {id}: no group"),
                    Some(_) => format!("cancel group {id}"),
                });
                if let Some(group) = group {
                    group.cancel("the scenario");
                }
            }
            What::Join { task } => {
                let task = lock(&self.world.tasks).get(task).cloned();
                let Some(task) = task else {
                    self.event(format!("join {id}: no task"));
                    return Ok(());
                };
                if lock(&task.outcome).is_none() {
                    task.ended.wait().await;
                }
                let outcome = lock(&task.outcome).clone().unwrap_or_default();
                self.event(format!("join {id}: {outcome}"));
            }
            What::Group { catch, body } => return self.group(*id, *catch, body).await,
            What::Timeout { limit, catch, body } => {
                return self.timeout(*id, *limit, *catch, body).await;
            }
            What::Reschedule { after, .. } => {
                let limit = self.timeout.expect("the generator puts it inside one");
                let moved = limit.reschedule(Instant::now() + Duration::from_nanos(*after));
                let how = if moved { "" } else { ": too late" };
                self.event(format!("reschedule {id}{how}"));
            }
            What::Shield { body } => {
                let result = shield(block(self, body)).await;
                self.event(format!("shield {id} over"));
                return result;
            }
            What::Finally { body, cleanup } => return self.finally(*id, body, cleanup).await,
        }
        Ok(())
    }

    async fn group(self, id: Id, catch: bool, body: &'a [Statement]) -> Result {
        let group = task_group(async |group: Group<Error>| {
            lock(&self.world.groups).insert(id, group);
            block(self, body).await
        });
        let error = match AssertUnwindSafe(group).catch_unwind().await {
            Err(panic) => {
                let reported = std::mem::take(&mut lock(&self.world.reports).of_groups);
                let panic = panicked_at(&*panic);
                self.event(format!("group {id}: panic {panic} and {reported} errors"));
                return Ok(());
            }
            Ok(Ok(())) => None,
            Ok(Err(error)) if error.is_cancelled() => None,
            Ok(Err(error)) => Some(Error::Group(error)),
        };
        self.outcome("group", id, catch, error)
    }

    async fn timeout(self, id: Id, limit: Limit, catch: bool, body: &'a [Statement]) -> Result {
        let result = if is_rescheduled(id, body) {
            let limit = match limit {
                Limit::After(time) => Duration::from_nanos(time),
                Limit::At(time) => self.world.at(time) - Instant::now(),
            };
            let body = async |scope: TimeoutScope| {
                let timeout = Some(&scope);
                block(Around { timeout, ..self }, body).await
            };
            timeout_scope(limit, body).await
        } else {
            let body = block(self, body);
            match limit {
                Limit::After(time) => divisi::time::timeout(Duration::from_nanos(time), body).await,
                Limit::At(time) => divisi::time::timeout_at(self.world.at(time), body).await,
            }
        };
        match result {
            Ok(result) => self.outcome("timeout", id, catch, result.err()),
            Err(_elapsed) => {
                self.event(format!("timeout {id}: elapsed"));
                if catch {
                    Ok(())
                } else {
                    Err(Error::Elapsed(id))
                }
            }
        }
    }

    fn outcome(self, what: &str, id: Id, catch: bool, error: Option<Error>) -> Result {
        let shown = error.as_ref().map_or_else(|| "ok".to_owned(), show);
        self.event(format!("{what} {id}: {shown}"));
        match error {
            Some(error) if !catch => Err(error),
            _ => Ok(()),
        }
    }

    async fn finally(self, id: Id, body: &'a [Statement], cleanup: &'a [Statement]) -> Result {
        // A body that is cancelled does not come to say how it ended.
        let how = Mutex::new("cancelled");
        let body = async {
            let result = block(self, body).await;
            *lock(&how) = if result.is_ok() { "ok" } else { "failed" };
            result
        };
        let cleanup = async || {
            self.event(format!("clean-up {id} after {}", lock(&how)));
            let result = block(self, cleanup).await;
            if let Err(error) = &result {
                self.event(format!("clean-up {id} failed: {}", show(error)));
                lock(&self.world.reports).failed_cleanups += 1;
            }
            self.event(format!("clean-up {id} over"));
            result
        };
        finally(body, cleanup).await
    }
}

fn panicked_at(panic: &(dyn Any + Send)) -> Id {
    *panic.downcast_ref().expect("scenarios panic with a number")
}

/// Whether a statement in the block moves this time limit.
fn is_rescheduled(id: Id, statements: &[Statement]) -> bool {
    statements.iter().any(|statement| match &statement.what {
        What::Reschedule { timeout, .. } => *timeout == id,
        What::Group { body, .. } | What::Timeout { body, .. } | What::Shield { body } => {
            is_rescheduled(id, body)
        }
        What::Finally { body, cleanup } => is_rescheduled(id, body) || is_rescheduled(id, cleanup),
        _ => false,
    })
}
