//! Locks, counters and atomics under one name: the standard library's and parking_lot's, or loom's when a model
//! is checked (`--cfg divisi_loom`).

#[cfg(not(divisi_loom))]
mod imp {
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::sync::{Arc, atomic};

    /// Constructors that are `const`, except where loom's types have none.
    macro_rules! const_fn {
        ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => { $(#[$meta])* $vis const fn $($rest)* };
    }
    pub(crate) use const_fn;
}

#[cfg(divisi_loom)]
mod imp {
    pub(crate) use loom::sync::Arc;
    use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic;

    /// loom's mutex with parking_lot's signature.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a model panicked under this lock")
        }
    }

    macro_rules! const_fn {
        ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => { $(#[$meta])* $vis fn $($rest)* };
    }
    pub(crate) use const_fn;
}

pub(crate) use imp::*;
