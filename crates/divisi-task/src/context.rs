//! Values that a task inherits from whoever spawned it.
//!
//! A [`Context`] is an immutable set of values, shared by pointer: inheriting is one count, changing makes a new set. A task has at most one,
//! given when it is spawned ([`SpawnOptions`](crate::SpawnOptions) takes [`Context::current`]) and kept beside its name, so that a task without
//! one pays nothing for the ability.
//!
//! [`Context::enter`] lays another set over it while a closure runs. The overlay belongs to the task that runs then: a task that is polled inside
//! that closure sees its own set, not the overlay. That is why running a task neither saves nor clears anything here.

use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::current::with_thread;
use crate::header::Header;
use crate::raw;

/// An immutable set of values, each under a key of its owner's.
#[derive(Clone)]
pub struct Context(Arc<Values>);

type Values = Vec<(Key, Arc<dyn Any + Send + Sync>)>;

/// What a value is found by: the address of a static belongs to nobody else.
pub type Key = usize;

/// A set that is laid over that of one task. It borrows the set from the frame of [`Context::enter`], which removes it again.
#[derive(Clone, Copy)]
pub(crate) struct Overlay {
    /// The task that was running, if one was.
    task: Option<NonNull<Header>>,
    context: NonNull<Context>,
}

impl Context {
    /// What the code that runs on this thread sees now: the innermost [`enter`](Self::enter)ed set, or else the one that the running task was
    /// spawned with. `None` if there is neither.
    #[inline]
    pub fn current() -> Option<Context> {
        with_current(|context| context.cloned())
    }

    /// A set without values; [entered](Self::enter), it hides all.
    pub fn empty() -> Context {
        Context(Arc::new(Values::new()))
    }

    /// The value under `key` in the [current](Self::current) set.
    pub fn lookup(key: Key) -> Option<Arc<dyn Any + Send + Sync>> {
        with_current(|context| context?.get(key).cloned())
    }

    /// The current set with `value` under `key`, instead of what was there.
    pub fn current_with(key: Key, value: Arc<dyn Any + Send + Sync>) -> Context {
        let mut values = with_current(|context| {
            let inherited = context.map_or(&[][..], |context| &context.0[..]);
            let mut values = Vec::with_capacity(inherited.len() + 1);
            values.extend(inherited.iter().filter(|(other, _)| *other != key).cloned());
            values
        });
        values.push((key, value));
        Context(Arc::new(values))
    }

    /// The value under `key`.
    pub fn get(&self, key: Key) -> Option<&Arc<dyn Any + Send + Sync>> {
        // A handful of values at most, so that a walk beats a tree.
        let found = self.0.iter().find(|(other, _)| *other == key);
        found.map(|(_, value)| value)
    }

    /// Calls `f` with this as the current set. Nests; a panic of `f` passes through.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use divisi_task::Context;
    ///
    /// static NAME: u8 = 0;
    /// let key = &raw const NAME as usize;
    /// let context = Context::current_with(key, Arc::new("Ada"));
    /// assert!(Context::lookup(key).is_none());
    /// context.enter(|| assert!(Context::lookup(key).is_some()));
    /// assert!(Context::lookup(key).is_none());
    /// ```
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<Overlay>);
        impl Drop for Restore {
            fn drop(&mut self) {
                with_thread(|thread| thread.overlay.set(self.0));
            }
        }
        let _restore = with_thread(|thread| {
            let overlay = Overlay {
                task: thread.task(),
                context: NonNull::from(self),
            };
            Restore(thread.overlay.replace(Some(overlay)))
        });
        f()
    }
}

/// Nothing of the thread's is borrowed while `f` runs.
#[inline]
fn with_current<R>(f: impl FnOnce(Option<&Context>) -> R) -> R {
    let (task, overlay) = with_thread(|thread| (thread.task(), thread.overlay.get()));
    if let Some(overlay) = overlay.filter(|overlay| overlay.task == task) {
        // SAFETY: `enter` borrows the context until its closure ends, and takes the overlay away before that; this runs inside the closure, for the
        // overlay is the thread's own.
        return f(Some(unsafe { overlay.context.as_ref() }));
    }
    let Some(task) = task else { return f(None) };
    // SAFETY: while it is entered on this thread, whoever runs it holds a reference, and the call is inside that.
    f(unsafe { raw::header(&task) }.context())
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("values", &self.0.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;

    fn number(key: Key) -> Option<u8> {
        Context::lookup(key).map(|value| *value.downcast::<u8>().unwrap())
    }

    #[test]
    fn an_inner_set_hides_the_outer_one_and_keeps_its_other_values() {
        Context::current_with(1, Arc::new(10_u8)).enter(|| {
            Context::current_with(2, Arc::new(20_u8)).enter(|| {
                Context::current_with(1, Arc::new(11_u8)).enter(|| {
                    assert_eq!((number(1), number(2)), (Some(11), Some(20)));
                    assert_eq!(Context::current().unwrap().0.len(), 2);
                });
                assert_eq!((number(1), number(2)), (Some(10), Some(20)));
            });
            assert_eq!((number(1), number(2)), (Some(10), None));
        });
        assert!(Context::current().is_none());
    }

    #[test]
    fn a_panic_takes_the_overlay_away() {
        let context = Context::current_with(1, Arc::new(1_u8));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            context.enter(|| std::panic::resume_unwind(Box::new(())))
        }));
        assert!(panicked.is_err());
        assert!(Context::current().is_none());
    }
}
