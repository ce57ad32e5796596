//! The types that the lock-free protocols are written against: std's and parking_lot's in a
//! normal build, loom's under `--cfg divisi_loom`.
//!
//! The models in `tests/loom_*.rs` compile the shipped protocol modules against this facade.

#[cfg(not(divisi_loom))]
mod types {
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

#[cfg(divisi_loom)]
#[allow(
    unused_imports,
    reason = "a model takes only the part its protocol needs"
)]
mod types {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    /// loom's mutex with parking_lot's signature.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a model panicked under this lock")
        }
    }
}

#[allow(
    unused_imports,
    reason = "a model takes only the part its protocol needs"
)]
pub(crate) use types::*;
