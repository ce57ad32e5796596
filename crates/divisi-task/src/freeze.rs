//! Futures that shall go no further: what a cancelled scope does to the leaves inside it.
//!
//! A future cannot be stopped from outside other than by dropping it, and a dropped future cannot await its clean-up. So a scope that
//! was cancelled *freezes* what is inside: it polls it once more in the mode [`LastTry`](Mode::LastTry), and from then on as
//! [`Frozen`](Mode::Frozen), while the clean-ups inside, which run in the mode [`Live`](Mode::Live), come to their end.
//!
//! | mode | a leaf that is ready | a leaf that must wait |
//! |---|---|---|
//! | `Live` | is taken | waits |
//! | `LastTry` | is taken: what is ready beats the cancellation | leaves every list that it waits in, and passes its turn on |
//! | `Frozen` | is not taken | waits, and is in no list |
//!
//! It costs a leaf nothing while nothing is frozen. `Frozen` is a budget that is spent, so
//! [`budget::poll_proceed`](crate::budget::poll_proceed), which every leaf asks first, refuses; and the mode is read where a leaf is about to wait only.
//!
//! ```
//! use std::task::{Context, Waker};
//! use divisi_task::{budget, freeze};
//!
//! let mut cx = Context::from_waker(Waker::noop());
//! assert!(budget::poll_proceed(&mut cx).is_ready());
//! freeze::with(freeze::Mode::Frozen, || {
//!     assert!(budget::poll_proceed(&mut cx).is_pending());
//!     freeze::with(freeze::Mode::Live, || assert!(budget::poll_proceed(&mut cx).is_ready()));
//! });
//! assert_eq!(freeze::mode(), freeze::Mode::Live);
//! ```

use crate::budget::{LIMIT, UNLIMITED};
use crate::current::with_thread;

/// How far the futures that are polled on this thread may go; see the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// They run.
    #[default]
    Live,
    /// They take what is ready, for the last time, and leave what they wait for.
    LastTry,
    /// They stand still.
    Frozen,
}

/// The mode of the poll that this thread is in.
#[inline]
pub fn mode() -> Mode {
    with_thread(|thread| thread.mode.get())
}

/// Calls `f` in `mode`, and restores what was before.
///
/// A last try has a full budget, so that what is ready is not missed for want of it; so has what is shielded inside of something frozen.
pub fn with<R>(mode: Mode, f: impl FnOnce() -> R) -> R {
    struct Restore {
        mode: Mode,
        /// `None`: what was charged meanwhile stays charged.
        budget: Option<u8>,
    }
    impl Drop for Restore {
        fn drop(&mut self) {
            with_thread(|thread| {
                thread.mode.set(self.mode);
                if let Some(budget) = self.budget {
                    thread.budget.set(budget);
                }
            });
        }
    }
    let _restore = with_thread(|thread| {
        let before = thread.mode.replace(mode);
        let left = thread.budget.get();
        let budget = match (before, mode) {
            (_, Mode::Frozen) => Some(0),
            (Mode::Frozen, _) => Some(LIMIT),
            (Mode::Live, Mode::LastTry) if left != UNLIMITED => Some(LIMIT),
            _ => None,
        };
        if let Some(budget) = budget {
            thread.budget.set(budget);
        }
        Restore {
            mode: before,
            budget: budget.map(|_| left),
        }
    });
    f()
}
