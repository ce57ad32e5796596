//! What a compute thread knows about itself, and the two things that code running on it may ask: is this a compute
//! thread, and does I/O want the core.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers whether somebody who does I/O waits for a core.
pub(super) type YieldHook = Arc<dyn Fn() -> bool + Send + Sync>;

/// How often a thread asks its hook at most. The hook costs a system call, some 0.3 us; asked every 100 us that is
/// lost in the noise, and I/O under full load still waits little longer than that (measured: p99 0.2 ms instead of 4 ms).
const ASK_EVERY: Duration = Duration::from_micros(100);

struct Context {
    yield_when: Option<YieldHook>,
    asked: Cell<Option<Instant>>,
    /// A runner is on this thread's stack.
    serving: Cell<bool>,
}

thread_local! {
    /// Set once: a compute thread keeps its role for life.
    static CONTEXT: OnceCell<Context> = const { OnceCell::new() };
}

/// Makes the calling thread a compute thread.
pub(super) fn enter(yield_when: Option<YieldHook>) {
    CONTEXT.with(|context| {
        let fresh = context
            .set(Context {
                yield_when,
                asked: Cell::new(None),
                serving: Cell::new(false),
            })
            .is_ok();
        debug_assert!(fresh, "a thread serves one compute pool");
    });
}

/// Whether the calling thread belongs to a compute pool.
///
/// Waiting for an async result on such a thread can deadlock: rayon may run the waited-for work below the waiter on the
/// same stack, or all compute threads may end up waiting. So a runtime refuses to block there.
///
/// ```
/// assert!(!divisi_blocking::compute::on_compute_thread());
/// ```
#[must_use]
pub fn on_compute_thread() -> bool {
    CONTEXT
        .try_with(|context| context.get().is_some())
        .unwrap_or(false)
}

/// Lets I/O have the core, if any waits for it. Call it every now and then from a long computation; it is cheap
/// (reading the clock, and every 100 us asking whether I/O waits), and does nothing on a thread that is not a compute
/// thread.
///
/// The pool calls it between jobs by itself.
///
/// ```
/// use divisi_blocking::compute;
///
/// let mut sum = 0_u64;
/// for chunk in (0..1_000_000_u64).collect::<Vec<_>>().chunks(10_000) {
///     sum += chunk.iter().sum::<u64>();
///     compute::checkpoint();
/// }
/// # assert_eq!(sum, 499_999_500_000);
/// ```
pub fn checkpoint() {
    let hook = CONTEXT.try_with(|context| {
        let context = context.get()?;
        let hook = context.yield_when.as_ref()?;
        let now = Instant::now();
        if let Some(asked) = context.asked.get() {
            if now.saturating_duration_since(asked) < ASK_EVERY {
                return None;
            }
        }
        context.asked.set(Some(now));
        Some(Arc::clone(hook))
    });
    if let Ok(Some(hook)) = hook {
        if hook() {
            std::thread::yield_now();
        }
    }
}

/// Says that a runner is on this thread's stack, until it is dropped.
pub(super) struct Serving(());

impl Serving {
    /// `None` if there is one already: the caller was called from within a job that waits for a part of itself.
    pub(super) fn begin() -> Option<Self> {
        CONTEXT.with(|context| {
            let context = context.get().expect("runners run on compute threads");
            (!context.serving.replace(true)).then_some(Self(()))
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        CONTEXT.with(|context| {
            if let Some(context) = context.get() {
                context.serving.set(false);
            }
        });
    }
}
