//! A value that is made once.

use std::convert::Infallible;
use std::fmt;
use std::sync::OnceLock;

use crate::facade::const_fn;
use crate::semaphore::Semaphore;

/// A value that the first one who needs it makes, asynchronously; the others wait for it meanwhile.
///
/// # Cancel safety
///
/// If the one who makes it fails, panics or is dropped, the next one in the queue begins anew, with its own function.
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// static CONFIG: divisi_sync::OnceCell<String> = divisi_sync::OnceCell::new();
///
/// async fn config() -> &'static str {
///     CONFIG.get_or_init(async || String::from("read from somewhere")).await
/// }
/// assert_eq!(CONFIG.get(), None);
/// assert_eq!(config().await, "read from somewhere");
/// assert_eq!(CONFIG.get().unwrap(), "read from somewhere");
/// # });
/// ```
pub struct OnceCell<T> {
    value: OnceLock<T>,
    /// One permit, for the one who makes the value.
    makes: Semaphore,
}

impl<T> OnceCell<T> {
    const_fn! {
        /// An empty cell.
        #[must_use]
        pub fn new() -> Self {
            Self {
                value: OnceLock::new(),
                makes: Semaphore::new(1),
            }
        }
    }

    /// The value, if it was made.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if it was made.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Puts the value in.
    ///
    /// # Errors
    ///
    /// The value comes back if there is one, or if one is being made.
    pub fn set(&self, value: T) -> Result<(), T> {
        let Ok(_permit) = self.makes.try_acquire() else {
            return Err(value);
        };
        self.value.set(value)
    }

    /// The value. If there is none, makes it with `make`, or waits for the one who does.
    #[track_caller]
    pub fn get_or_init(&self, make: impl AsyncFnOnce() -> T) -> impl Future<Output = &T> {
        let permit = self.makes.acquire();
        async move {
            if let Some(value) = self.get() {
                return value;
            }
            let _permit = permit.await.expect(NEVER_CLOSED);
            if let Some(value) = self.get() {
                return value;
            }
            let value = make().await;
            self.put(value)
        }
    }

    /// The value. If there is none, makes it with `make`, or waits for the one who does.
    ///
    /// # Errors
    ///
    /// That of `make`. The cell stays empty then, and the next one who waits tries with its own function.
    #[track_caller]
    pub fn get_or_try_init<E>(
        &self,
        make: impl AsyncFnOnce() -> Result<T, E>,
    ) -> impl Future<Output = Result<&T, E>> {
        let permit = self.makes.acquire();
        async move {
            if let Some(value) = self.get() {
                return Ok(value);
            }
            let _permit = permit.await.expect(NEVER_CLOSED);
            if let Some(value) = self.get() {
                return Ok(value);
            }
            let value = make().await?;
            Ok(self.put(value))
        }
    }

    /// As [`get_or_init`](Self::get_or_init), with a function that is not async, and blocks this thread while another one
    /// makes the value. Not for async code, whose worker it would block. If `make` needs the value of this cell, it waits
    /// for itself, for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// let cell = divisi_sync::OnceCell::new();
    /// std::thread::scope(|threads| {
    ///     for _ in 0..2 {
    ///         threads.spawn(|| assert_eq!(*cell.get_or_init_blocking(|| 6 * 7), 42));
    ///     }
    /// });
    /// assert_eq!(cell.get(), Some(&42));
    /// ```
    #[track_caller]
    pub fn get_or_init_blocking(&self, make: impl FnOnce() -> T) -> &T {
        let Ok(value) = self.get_or_try_init_blocking(|| Ok::<T, Infallible>(make()));
        value
    }

    /// As [`get_or_try_init`](Self::get_or_try_init), with a function that is not async, and blocks this thread while
    /// another one makes the value. Not for async code, whose worker it would block. If `make` needs the value of this
    /// cell, it waits for itself, for ever.
    ///
    /// # Errors
    ///
    /// That of `make`. The cell stays empty then, and the next one who waits tries with its own function.
    ///
    /// # Examples
    ///
    /// ```
    /// let port = divisi_sync::OnceCell::new();
    /// assert!(port.get_or_try_init_blocking(|| "none".parse::<u16>()).is_err());
    /// assert_eq!(port.get_or_try_init_blocking(|| "443".parse::<u16>()), Ok(&443));
    /// ```
    #[track_caller]
    pub fn get_or_try_init_blocking<E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let _permit = self.makes.acquire_blocking(1).expect(NEVER_CLOSED);
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let value = make()?;
        Ok(self.put(value))
    }

    /// The value, if it was made.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Puts the value in that the holder of the permit has made.
    fn put(&self, value: T) -> &T {
        self.value.get_or_init(|| value)
    }
}

/// Why the permit is never refused.
const NEVER_CLOSED: &str = "the cell's semaphore is never closed";

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(value) => f.debug_tuple("OnceCell").field(value).finish(),
            None => f
                .debug_tuple("OnceCell")
                .field(&format_args!("<empty>"))
                .finish(),
        }
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::blocking::block_on;

    #[test]
    fn threads_and_futures_make_one_value_together() {
        const THREADS: usize = 4;
        let (cell, made, start) = (OnceCell::new(), AtomicUsize::new(0), Barrier::new(THREADS));
        let make = || made.fetch_add(1, Ordering::Relaxed);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (cell, start) = (&cell, &start);
                scope.spawn(move || {
                    start.wait();
                    let value = match thread % 2 {
                        0 => cell.get_or_init_blocking(make),
                        _ => block_on(cell.get_or_init(async || make())),
                    };
                    assert_eq!(*value, 0);
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn after_a_failure_or_a_panic_the_next_blocking_maker_begins_anew() {
        let cell = OnceCell::new();
        let panics = AssertUnwindSafe(|| cell.get_or_init_blocking(|| panic!("as it should")));
        assert!(catch_unwind(panics).is_err());
        thread::scope(|scope| {
            let failed = cell.get_or_try_init_blocking(|| {
                // It may come to wait before this one has failed.
                scope.spawn(|| assert_eq!(*cell.get_or_init_blocking(|| 2), 2));
                Err("no luck")
            });
            assert_eq!(failed, Err("no luck"));
        });
        assert_eq!(*cell.get_or_init_blocking(|| 3), 2);
    }
}
