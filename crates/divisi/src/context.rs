//! Which runtime the current thread belongs to.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use divisi_reactor::{Clock, Reactor, ReactorId};

use crate::runtime::{Handle, Inner};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Entry>>> = const { RefCell::new(None) };
}

pub(crate) struct Entry {
    runtime: Arc<Inner>,
    /// The reactor that sources and timers of this thread use.
    seat: usize,
}

/// What every call that needs a runtime says on a thread that has none.
pub(crate) const NO_RUNTIME: &str = "there is no divisi runtime on this thread: call this from inside `divisi::run`, `Runtime::block_on` or a \
     spawned task, or hold the guard of `Runtime::enter`";

/// The error that I/O and timers give on a thread without a runtime.
fn no_runtime() -> io::Error {
    io::Error::other(NO_RUNTIME)
}

/// Makes `runtime` the current one until the guard is dropped.
pub(crate) fn enter(runtime: Arc<Inner>, seat: usize) -> EnterGuard {
    let entry = Rc::new(Entry { runtime, seat });
    let before = CURRENT
        .try_with(|current| current.borrow_mut().replace(entry))
        .ok();
    EnterGuard {
        before,
        not_send: PhantomData,
    }
}

/// Keeps a runtime current on this thread; see [`Handle::enter`].
///
/// Guards must be dropped in the reverse order of their creation; each restores what was current before it.
#[must_use = "the runtime is current only while the guard lives"]
pub struct EnterGuard {
    /// `None` if the thread is ending and has no place for it any more.
    before: Option<Option<Rc<Entry>>>,
    not_send: PhantomData<*const ()>,
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        let Some(before) = self.before.take() else {
            return;
        };
        let left =
            CURRENT.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
        // The last reference to a runtime may go here; nothing may be borrowed while that happens.
        drop(left);
    }
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}

impl Entry {
    /// The runtime that is current.
    #[inline]
    pub(crate) fn runtime(&self) -> &Arc<Inner> {
        &self.runtime
    }
}

/// The current entry. Nothing is borrowed, and whoever has it may run code that enters a runtime.
#[inline]
pub(crate) fn current() -> Option<Rc<Entry>> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Uses the current entry.
fn with<R>(f: impl FnOnce(&Entry) -> R) -> Option<R> {
    let entry = current()?;
    Some(f(&entry))
}

/// The current runtime.
pub(crate) fn try_handle() -> Option<Handle> {
    with(|entry| Handle::new(entry.runtime.clone()))
}

/// The current runtime, or a panic that says what to do.
#[track_caller]
pub(crate) fn handle() -> Handle {
    match try_handle() {
        Some(handle) => handle,
        None => panic!("{NO_RUNTIME}"),
    }
}

/// Uses the current runtime without counting a reference.
pub(crate) fn with_runtime<R>(f: impl FnOnce(&Arc<Inner>) -> R) -> Option<R> {
    with(|entry| f(&entry.runtime))
}

/// Whether the current thread belongs to `runtime`.
pub(crate) fn is_inside(runtime: &Inner) -> bool {
    with(|entry| std::ptr::eq(&*entry.runtime, runtime)).unwrap_or(false)
}

/// What the current entry gives to one that is about to wait with a reactor, which somebody looks after from then on.
fn home<R>(f: impl FnOnce(&Entry) -> R) -> io::Result<R> {
    with(|entry| {
        entry.runtime.scheduler().attend();
        f(entry)
    })
    .ok_or_else(no_runtime)
}

/// The reactor for a source that must wait now.
pub(crate) fn io_home() -> io::Result<Reactor> {
    home(|entry| entry.runtime.io_reactor(entry.seat).clone())
}

/// The reactor for a timer that is armed now.
pub(crate) fn timer_home() -> io::Result<Reactor> {
    home(|entry| entry.runtime.reactor(entry.seat).clone())
}

/// A reactor for a timer that outlives what sets it, and the name of the runtime: its first reactor. Not a spare's: one that retires gives its timers
/// up, and who is not a task that waits would not be told to look for another.
pub(crate) fn timer_place() -> io::Result<(ReactorId, Reactor)> {
    home(|entry| {
        let reactors = entry.runtime.reactors();
        let own = reactors.get(entry.seat).unwrap_or(&reactors[0]);
        (reactors[0].id(), own.clone())
    })
}

/// The clock of the current runtime.
pub(crate) fn clock() -> Option<Clock> {
    with(|entry| entry.runtime.clock().clone())
}

/// The time on the current runtime's clock; the system's monotonic clock outside of any runtime.
pub(crate) fn now() -> Instant {
    // On the path of every limit and timer: looked at where it is, as a clock runs no code of others.
    let now = CURRENT.try_with(|current| {
        let current = current.borrow();
        current.as_ref().map(|entry| entry.runtime.clock().now())
    });
    now.ok().flatten().unwrap_or_else(Instant::now)
}
