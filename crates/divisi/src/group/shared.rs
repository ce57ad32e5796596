//! What a group's body, its tasks and its handles share.

use std::any::{Any, type_name};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use divisi_task::CancelReason;
use parking_lot::Mutex;

use super::error::Failure;
use crate::context;
use crate::runtime::{ExceptionHandler, Handle, Report, panic_message};
use crate::scope::node::Node;

pub(super) struct Shared<E> {
    pub(super) node: Arc<Node>,
    state: Mutex<State<E>>,
}

struct State<E> {
    /// Tasks that have not ended.
    alive: usize,
    /// In the order in which they happened.
    failures: Vec<Failure<E>>,
    /// A task was cut off because the group, or a scope around it, was cancelled.
    cut: bool,
    ended: bool,
    runtime: Option<Handle>,
}

/// What a group comes to when all its tasks have ended.
pub(super) struct End<E> {
    pub(super) failures: Vec<Failure<E>>,
    pub(super) cut: bool,
}

impl<E> Shared<E> {
    pub(super) fn new() -> Arc<Shared<E>> {
        Arc::new(Shared {
            node: Node::new(),
            state: Mutex::new(State {
                alive: 0,
                failures: Vec::new(),
                cut: false,
                ended: false,
                runtime: None,
            }),
        })
    }

    /// The group begins here: its tasks will run in the runtime of this thread.
    pub(super) fn begin(&self) {
        self.state.lock().runtime = context::try_handle();
    }

    /// The runtime of the group's tasks.
    #[track_caller]
    pub(super) fn runtime(&self) -> Handle {
        let runtime = self.state.lock().runtime.clone();
        runtime.unwrap_or_else(context::handle)
    }

    /// Counts a new task.
    ///
    /// # Errors
    /// Why the group takes none.
    pub(super) fn admit(&self) -> Result<(), &'static str> {
        let mut state = self.state.lock();
        if state.ended {
            return Err("its task group has ended");
        }
        if self.node.is_cancelled() {
            return Err("its task group was cancelled");
        }
        state.alive += 1;
        Ok(())
    }

    /// In debug mode: tells of a task that was spawned into a group that has ended.
    pub(super) fn note_refusal(&self, at: &'static Location<'static>, why: &str) {
        let runtime = {
            let state = self.state.lock();
            state.runtime.clone().filter(|_| state.ended)
        };
        if let Some(runtime) = runtime.filter(|runtime| runtime.inner().debugs()) {
            runtime.report(&Report::warning(format!(
                "a task spawned at {at} does not run: {why}. Its `Group` handle outlived the group"
            )));
        }
    }

    /// Something failed: the rest is cancelled.
    pub(super) fn fail(&self, failure: Failure<E>, why: &'static str) {
        let late = {
            let mut state = self.state.lock();
            if state.ended {
                Some(failure)
            } else {
                state.failures.push(failure);
                None
            }
        };
        if let Some(failure) = late {
            self.report([failure]);
        }
        self.node.cancel(CancelReason::new(why));
    }

    /// Tells the exception handler of failures that nobody else will hear of.
    pub(super) fn report(&self, failures: impl IntoIterator<Item = Failure<E>>) {
        let runtime = self.state.lock().runtime.clone();
        for failure in failures {
            let report = report_of(failure);
            match &runtime {
                Some(runtime) => runtime.report(&report),
                None => ExceptionHandler::default().handle(&report),
            }
        }
    }

    /// Tells the exception handler of a panic of the body that cannot go on.
    pub(super) fn report_panic_of_body(&self, panic: Box<dyn Any + Send>) {
        let runtime = self.state.lock().runtime.clone();
        let mut report = Report::new(format!(
            "the body of a task group panicked, and the group was dropped while it waited for its tasks: {}",
            panic_message(&*panic)
        ));
        report.panic = Some(panic);
        match &runtime {
            Some(runtime) => runtime.report(&report),
            None => ExceptionHandler::default().handle(&report),
        }
    }

    /// A task has ended.
    pub(super) fn leave(&self, was_cut: bool) {
        let last = {
            let mut state = self.state.lock();
            state.cut |= was_cut;
            state.alive -= 1;
            state.alive == 0
        };
        if last {
            self.node.wake();
        }
    }

    /// Ends the group if no task lives. The waker is woken when the last one has ended.
    pub(super) fn try_end(&self, waker: &Waker) -> Option<End<E>> {
        self.node.set_waker(waker);
        let mut state = self.state.lock();
        if state.alive != 0 {
            return None;
        }
        state.ended = true;
        Some(End {
            failures: std::mem::take(&mut state.failures),
            cut: state.cut,
        })
    }

    /// Ends the group although tasks may live: nobody waits for it any more. What failed so far, and what will, has no reader.
    pub(super) fn abandon(&self) -> Vec<Failure<E>> {
        let mut state = self.state.lock();
        state.ended = true;
        std::mem::take(&mut state.failures)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended
    }
}

fn report_of<E>(failure: Failure<E>) -> Report {
    let kind = type_name::<E>();
    match failure {
        Failure::Panic(error) => {
            let message = format!("nobody is left to hear of a failure in a task group: {error}");
            Report::of_panic(message, error)
        }
        Failure::Error(_) => Report::new(format!(
            "a task of a group, or its body, ended with an error of type `{kind}`, and nobody is left to hear of it: its group panicked, or was dropped"
        )),
        Failure::Group(inner) => Report::new(format!(
            "a task group inside a group ended with {} failures of type `{kind}`, and nobody is left to hear of them: the outer group panicked, or was \
             dropped",
            inner.failures().len()
        )),
    }
}

impl<E> fmt::Debug for Shared<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Group")
            .field("alive", &state.alive)
            .field("failures", &state.failures.len())
            .field("cancelled", &self.node.is_cancelled())
            .field("ended", &state.ended)
            .finish_non_exhaustive()
    }
}
