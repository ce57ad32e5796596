//! The concurrency vocabulary of this crate under one name: the standard library's types, or loom's when a
//! model is checked (`--cfg divisi_loom`).
//!
//! Everything that takes part in a lock-free protocol comes from here, so that a model runs the shipped code.

#[cfg(not(divisi_loom))]
mod imp {
    pub(crate) use parking_lot::{Mutex, MutexGuard};
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

    /// A cell whose contents are reached through closures, so that loom can see the extent of each access.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T: ?Sized>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        pub(crate) fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }

    impl<T: ?Sized> UnsafeCell<T> {
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// Rounds of busy waiting before the thread offers its core to the one it waits for. Plucked from the
    /// air: the sections waited for are a handful of instructions, so only a preempted holder gets this far.
    const SPINS: u32 = 64;

    /// Waits for a peer that is inside a section of a few instructions.
    #[derive(Debug, Default)]
    pub(crate) struct Spin(u32);

    impl Spin {
        pub(crate) fn turn(&mut self) {
            if self.0 < SPINS {
                self.0 += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    macro_rules! thread_local_const {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $init:expr;) => {
            std::thread_local! { $(#[$meta])* static $name: $type = const { $init }; }
        };
    }
    pub(crate) use thread_local_const;

    /// Constructors that are `const`, except where loom's types have none.
    macro_rules! const_fn {
        ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => { $(#[$meta])* $vis const fn $($rest)* };
    }
    pub(crate) use const_fn;
}

#[cfg(divisi_loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use loom::sync::{Arc, MutexGuard};

    /// Beside a published value: shows loom each look at that, so that it finds those that the publication is not ordered before.
    #[derive(Debug, Default)]
    pub(crate) struct Witness(UnsafeCell<()>);

    // SAFETY: there is nothing in the cell, and nobody writes to it once it is made.
    unsafe impl Send for Witness {}
    // SAFETY: as above.
    unsafe impl Sync for Witness {}

    impl Witness {
        pub(crate) fn look(&self) {
            self.0.with(|_| ());
        }
    }

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

    /// Waits for a peer that is inside a section of a few instructions.
    #[derive(Debug, Default)]
    pub(crate) struct Spin(());

    impl Spin {
        pub(crate) fn turn(&mut self) {
            loom::thread::yield_now();
        }
    }

    macro_rules! thread_local_const {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $init:expr;) => {
            loom::thread_local! { $(#[$meta])* static $name: $type = $init; }
        };
    }
    pub(crate) use thread_local_const;

    /// Constructors that are `const`, except where loom's types have none.
    macro_rules! const_fn {
        ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => { $(#[$meta])* $vis fn $($rest)* };
    }
    pub(crate) use const_fn;
}

pub(crate) use imp::*;
pub(crate) use std::sync::atomic::Ordering;
