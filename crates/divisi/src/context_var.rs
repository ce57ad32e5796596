//! Context variables: values that a task and everything it starts can see, without passing them through every call.
//!
//! A request's id, the user on whose behalf work is done, a deadline for logs: [`context_var!`](macro@crate::context_var) declares such a variable, and
//! [`scope`](ContextVar::scope) gives it a value for as long as a future runs.
//!
//! ```
//! divisi::context_var! {
//!     /// The request that is being served.
//!     static REQUEST: u64;
//! }
//!
//! async fn log(text: &str) -> String {
//!     format!("[{}] {text}", REQUEST.get())
//! }
//!
//! divisi::run(REQUEST.scope(17, async {
//!     assert_eq!(log("begin").await, "[17] begin");
//!     // Whatever is spawned inherits it, on every kind of thread.
//!     assert_eq!(divisi::spawn(log("in a task")).await.unwrap(), "[17] in a task");
//!     assert_eq!(divisi::spawn_blocking(|| REQUEST.get()).await.unwrap(), 17);
//!     assert_eq!(divisi::offload(|| REQUEST.get()).await.unwrap(), 17);
//!     // An inner scope hides the outer one while it lasts.
//!     assert_eq!(REQUEST.scope(18, log("inside")).await, "[18] inside");
//!     assert_eq!(REQUEST.get(), 17);
//! }));
//! assert!(REQUEST.try_get().is_none());
//! ```
//!
//! # What holds
//!
//! - A task, a blocking job and a compute job get what their spawner sees **at the moment of the spawn**, as in asyncio. What happens later in the
//!   one is not seen in the other: there is no way to change a value in place, only to open an inner scope.
//! - Values are shared, not copied: inheriting costs one counted reference, however many variables there are. So they are `Send + Sync`.
//! - A task that inherits nothing pays nothing; one that does has a second allocation (the one that also holds a [name](crate::task::Builder::name)).
//! - A value lives until the last task that inherited it, or a handle of such a task, is gone.
//! - Closures that a compute job hands to rayon itself (`rayon::join`, `par_iter`) do not inherit; take a [`Snapshot`] into them.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use divisi_task::{Context as Values, Key};
use pin_project_lite::pin_project;

/// Declares [context variables](mod@crate::context_var).
///
/// ```
/// divisi::context_var! {
///     /// Who asks.
///     pub static USER: String;
///     /// How deep the recursion is; 0 outside of every scope.
///     static DEPTH: usize = 0;
/// }
///
/// divisi::run(async {
///     assert_eq!(DEPTH.get(), 0);
///     USER.scope("Ada".to_owned(), async {
///         USER.with(|user| assert_eq!(user, "Ada"));
///     })
///     .await;
///     assert_eq!(USER.try_get(), None);
/// });
/// ```
#[macro_export]
macro_rules! context_var {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty $(= $default:expr)?;)+) => {$(
        $(#[$attribute])*
        $visibility static $name: $crate::context_var::ContextVar<$type> =
            $crate::context_var::ContextVar::__new(
                ::core::stringify!($name),
                $crate::__divisi_context_default!($($default)?),
            );
    )+};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __divisi_context_default {
    () => {
        ::core::option::Option::None
    };
    ($default:expr) => {
        ::core::option::Option::Some(|| $default)
    };
}

/// A variable whose value belongs to a scope; see [the module](self). Made by [`context_var!`](macro@crate::context_var).
pub struct ContextVar<T: 'static> {
    name: &'static str,
    default: Option<fn() -> T>,
}

impl<T: Send + Sync + 'static> ContextVar<T> {
    #[doc(hidden)]
    pub const fn __new(name: &'static str, default: Option<fn() -> T>) -> ContextVar<T> {
        ContextVar { name, default }
    }

    /// Runs `future` with `value` in this variable; so do the tasks and jobs that it starts meanwhile, for as long as they live.
    ///
    /// # Cancel safety
    ///
    /// As `future`'s. The destructor of `future` sees the value too.
    pub fn scope<F: IntoFuture>(&'static self, value: T, future: F) -> Scope<F::IntoFuture> {
        Scope {
            values: Entry::Fresh {
                key: self.key(),
                value: Arc::new(value),
            },
            future: Some(future.into_future()),
        }
    }

    /// Calls `f` with `value` in this variable.
    ///
    /// ```
    /// divisi::context_var!(static LEVEL: u8 = 0;);
    ///
    /// assert_eq!(LEVEL.sync_scope(3, || LEVEL.get()), 3);
    /// assert_eq!(LEVEL.get(), 0);
    /// ```
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        Values::current_with(self.key(), Arc::new(value)).enter(f)
    }

    /// Calls `f` with a reference to the value (or the default).
    ///
    /// # Panics
    ///
    /// If there is neither a value nor a default; the message names the variable.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.lookup() {
            Some(value) => f(&value),
            None => match self.default {
                Some(default) => f(&default()),
                None => panic!(
                    "the context variable `{name}` has no value here: open a scope with `{name}.scope(value, future)`, declare a default, \
                     or ask with `try_with`",
                    name = self.name
                ),
            },
        }
    }

    /// Calls `f` with a reference to the value (or the default); `None` if there is neither.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Option<R> {
        match self.lookup() {
            Some(value) => Some(f(&value)),
            None => self.default.map(|default| f(&default())),
        }
    }

    /// A clone of the value (or the default).
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A clone of the value (or the default); `None` if there is neither.
    pub fn try_get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.try_with(T::clone)
    }

    fn key(&'static self) -> Key {
        // Not of size zero, so no other static has this address.
        std::ptr::from_ref(self).addr()
    }

    fn lookup(&'static self) -> Option<Arc<T>> {
        let value = Values::lookup(self.key())?;
        Some(
            value
                .downcast()
                .expect("only this variable stores under its address"),
        )
    }
}

impl<T> fmt::Debug for ContextVar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextVar")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All context variables as they are at one place, to be carried to another: into a thread or a callback that divisi did not start.
///
/// ```
/// use divisi::context_var::Snapshot;
///
/// divisi::context_var!(static USER: &'static str;);
///
/// let snapshot = USER.sync_scope("Ada", Snapshot::current);
/// std::thread::spawn(move || snapshot.run(|| assert_eq!(USER.get(), "Ada"))).join().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot(Option<Values>);

impl Snapshot {
    /// What the caller sees now. Costs one counted reference.
    pub fn current() -> Snapshot {
        Snapshot(Values::current())
    }

    /// Calls `f` with the variables as they were where the snapshot was taken.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(values) => values.enter(f),
            None => Values::empty().enter(f),
        }
    }

    /// Runs `future` with the variables as they were where the snapshot was taken.
    pub fn scope<F: IntoFuture>(&self, future: F) -> Scope<F::IntoFuture> {
        let values = self.0.clone().unwrap_or_else(Values::empty);
        Scope {
            values: Entry::Made { values },
            future: Some(future.into_future()),
        }
    }
}

/// What a scope enters.
enum Entry {
    /// At the first poll, the value joins what is inherited there.
    Fresh {
        key: Key,
        value: Arc<dyn Any + Send + Sync>,
    },
    Made {
        values: Values,
    },
}

impl Entry {
    fn values(&mut self) -> &Values {
        if let Entry::Fresh { key, value } = self {
            *self = Entry::Made {
                values: Values::current_with(*key, value.clone()),
            };
        }
        match self {
            Entry::Made { values } => values,
            Entry::Fresh { .. } => unreachable!("it was made just now"),
        }
    }
}

pin_project! {
    /// The future of [`ContextVar::scope`] and [`Snapshot::scope`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Scope<F> {
        values: Entry,
        // `None` only while it is being dropped.
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Scope<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.values.values().enter(|| this.future.set(None));
        }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else {
            unreachable!("it is there until the scope is dropped")
        };
        this.values.values().enter(|| future.poll(cx))
    }
}

impl<F> fmt::Debug for Scope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}
