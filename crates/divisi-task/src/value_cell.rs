//! A value that one may change, or many may look at, in turn.
//!
//! # Why access is exclusive
//!
//! The cell has a fixed number of [`Permits`], which nobody can add to: they are private, and the only public way to
//! them is [`Acquire`](crate::permits::Acquire) and [`Grant`]. A grant's permits were taken from the word or from
//! another grant; splitting and merging keep the sum, and forgetting only lowers it. So all grants together never
//! have more than all permits. [`Exclusive`] has all of them, so that nobody has one besides; [`Shared`] has one or
//! more, so that nobody has all. Who gets a permit sees what was done under it: see [`permits`](crate::permits).
//!
//! ```
//! use divisi_task::permits::Grant;
//! use divisi_task::value_cell::{Exclusive, ValueCell};
//!
//! let cell = ValueCell::new(5, 1);
//! let mut access = Exclusive::new(Grant::try_acquire(&cell, 1).unwrap());
//! *access += 1;
//! assert!(Grant::try_acquire(&cell, 1).is_err());
//! drop(access);
//! assert_eq!(cell.into_inner(), 6);
//! ```
//!
//! Models: `tests/loom_permits.rs`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::permits::sealed::{Sealed, Token};
use crate::permits::{Grant, Permits};
use crate::stable::Stable;
use crate::sync::{UnsafeCell, const_fn};

/// A value and the permits to reach it. See the [module](self).
pub struct ValueCell<T: ?Sized> {
    permits: Permits,
    /// How many permits there are.
    total: usize,
    value: UnsafeCell<T>,
}

// SAFETY: the cell owns the value.
unsafe impl<T: ?Sized + Send> Send for ValueCell<T> {}
// SAFETY: a shared cell lends the value to one thread at a time as `&mut`. As `&` it lends it to several only if `T:
// Sync`, which `Shared` asks for.
unsafe impl<T: ?Sized + Send> Sync for ValueCell<T> {}

impl<T> ValueCell<T> {
    const_fn! {
        /// A cell with so many permits.
        ///
        /// # Panics
        ///
        /// If there are none, or more than [`MAX_PERMITS`](crate::permits::MAX_PERMITS).
        #[must_use]
        pub fn new(value: T, permits: usize) -> Self {
            assert!(permits > 0, "nobody could ever reach the value");
            Self {
                permits: Permits::new(permits),
                total: permits,
                value: UnsafeCell::new(value),
            }
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> ValueCell<T> {
    /// The value, without a permit: nobody else has the cell.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: the cell is borrowed mutably, so no grant can reach it.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    /// How many permits there are in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many permits nobody has.
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    /// Whether somebody waits.
    pub fn has_waiters(&self) -> bool {
        self.permits.has_waiters()
    }
}

impl<T: ?Sized> Sealed for ValueCell<T> {
    #[inline]
    fn permits(&self, _: Token) -> &Permits {
        &self.permits
    }
}

impl<T: ?Sized> fmt::Debug for ValueCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueCell")
            .field("permits", &self.permits)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

/// All permits of a [`ValueCell`]: the value, to change it.
pub struct Exclusive<H: Stable<Target = ValueCell<T>>, T: ?Sized> {
    grant: Grant<H>,
    /// It is a `&mut T` to other threads: `Send` if `T` is, and `Sync` if `T` is.
    value: PhantomData<T>,
}

/// Some of the permits of a [`ValueCell`]: the value, to look at it.
pub struct Shared<H: Stable<Target = ValueCell<T>>, T: ?Sized> {
    grant: Grant<H>,
}

impl<H: Stable<Target = ValueCell<T>>, T: ?Sized> Exclusive<H, T> {
    /// Access with all permits.
    ///
    /// # Panics
    ///
    /// If these are not all.
    #[inline]
    pub fn new(grant: Grant<H>) -> Self {
        assert!(
            grant.permits() == grant.source().total,
            "exclusive access takes all permits"
        );
        Self {
            grant,
            value: PhantomData,
        }
    }

    /// What the access was acquired from.
    pub fn source(&self) -> &H {
        self.grant.source()
    }

    /// Gives back all permits but one.
    pub fn downgrade(mut self) -> Shared<H, T>
    where
        T: Sync,
    {
        let one = self.grant.split(1).expect("a cell has one permit at least");
        Shared { grant: one }
    }
}

impl<H: Stable<Target = ValueCell<T>>, T: ?Sized + Sync> Shared<H, T> {
    /// Access with one permit or more.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn new(grant: Grant<H>) -> Self {
        assert!(grant.permits() > 0, "shared access takes a permit");
        Self { grant }
    }

    /// What the access was acquired from.
    pub fn source(&self) -> &H {
        self.grant.source()
    }
}

impl<H: Stable<Target = ValueCell<T>>, T: ?Sized> Deref for Exclusive<H, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: we have all permits of this cell, so nobody else reaches the value; nor do we by another way as
        // long as `self` is borrowed.
        self.grant.source().value.with(|value| unsafe { &*value })
    }
}

impl<H: Stable<Target = ValueCell<T>>, T: ?Sized> DerefMut for Exclusive<H, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        self.grant
            .source()
            .value
            .with_mut(|value| unsafe { &mut *value })
    }
}

impl<H: Stable<Target = ValueCell<T>>, T: ?Sized> Deref for Shared<H, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: we have a permit of this cell, so nobody has all, and nobody changes the value.
        self.grant.source().value.with(|value| unsafe { &*value })
    }
}

impl<H: Stable<Target = ValueCell<T>>, T: ?Sized + fmt::Debug> fmt::Debug for Exclusive<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<H: Stable<Target = ValueCell<T>>, T: ?Sized + fmt::Debug> fmt::Debug for Shared<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
