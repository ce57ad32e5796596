//! How a pool makes its threads: names, stack size, hooks, and the one function that asks the system for a thread.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

/// What a pool thread executes, from its first to its last instruction.
pub type ThreadBody = Box<dyn FnOnce() + Send + 'static>;

/// Starts a thread: given the configured [`thread::Builder`] and the body that the new thread has to run.
///
/// Whoever embeds a pool may count, refuse or place threads with it. It must either return an error without having run
/// the body, or see to it that the body runs on a thread of its own; it is never called with a lock held.
pub type ThreadSpawner = Arc<dyn Fn(thread::Builder, ThreadBody) -> io::Result<()> + Send + Sync>;

/// Called on a pool thread when it starts or stops.
pub(crate) type ThreadHook = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
pub(crate) struct ThreadConfig {
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
    pub(crate) on_start: Option<ThreadHook>,
    pub(crate) on_stop: Option<ThreadHook>,
    pub(crate) spawner: ThreadSpawner,
}

impl ThreadConfig {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            stack_size: None,
            on_start: None,
            on_stop: None,
            spawner: Arc::new(|builder, body| builder.spawn(body).map(drop)),
        }
    }

    /// Starts a thread called `<name>-<suffix>`.
    pub(crate) fn start(&self, suffix: impl fmt::Display, body: ThreadBody) -> io::Result<()> {
        let mut builder = thread::Builder::new().name(format!("{}-{suffix}", self.name));
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        (self.spawner)(builder, body)
    }

    pub(crate) fn started(&self) {
        call(self.on_start.as_ref());
    }

    pub(crate) fn stopping(&self) {
        call(self.on_stop.as_ref());
    }
}

/// A hook that panics has been reported by the panic hook; the thread goes on, because jobs wait for it.
fn call(hook: Option<&ThreadHook>) {
    if let Some(hook) = hook {
        drop(catch_unwind(AssertUnwindSafe(|| hook())));
    }
}

impl fmt::Debug for ThreadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadConfig")
            .field("name", &self.name)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}
