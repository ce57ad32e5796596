//! Handles that keep what they point to where it is.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// A shared handle to something that stays alive and does not move as long as the handle, or a clone of it,
/// exists.
///
/// # Safety
///
/// As long as a value of this type, or one of its clones, exists, wherever it is moved: `deref` returns the same
/// address, the target is not dropped, moved or borrowed mutably, and a reference to it stays valid.
pub unsafe trait Stable: Deref + Clone {}

// SAFETY: a shared reference keeps its target borrowed; clones are copies.
unsafe impl<T: ?Sized> Stable for &T {}

// SAFETY: an `Arc` that is kept keeps the allocation, does not move it, and gives out no `&mut` to its
// contents while a clone exists; nobody has mutable access to the handles in question, or else replaces them.
unsafe impl<T: ?Sized> Stable for Arc<T> {}

// SAFETY: loom's `Arc` is a std `Arc` that is watched.
#[cfg(divisi_loom)]
unsafe impl<T> Stable for loom::sync::Arc<T> {}

/// A handle to a part of what another handle points to.
///
/// ```
/// use std::sync::Arc;
/// use divisi_task::stable::Held;
///
/// let pair = Arc::new((1, String::from("one")));
/// let name = Held::new(pair, |pair| &pair.1);
/// assert_eq!(*name, "one");
/// ```
pub struct Held<H, T: ?Sized> {
    handle: H,
    /// Points into what `handle` points to; never null, valid as long as `handle`.
    part: NonNull<T>,
}

impl<H: Stable, T: ?Sized> Held<H, T> {
    /// A handle to the part that `part` finds. A function that captures nothing, so that the part can only come from
    /// the target:
    ///
    /// ```compile_fail,E0308
    /// use std::sync::Arc;
    /// use divisi_task::stable::Held;
    ///
    /// fn foreign<'b>(other: &'b str) -> Held<Arc<fn(&'b ())>, str> {
    ///     Held::new(Arc::new(|_| ()), move |_| other)
    /// }
    /// ```
    #[inline]
    pub fn new(handle: H, part: for<'a> fn(&'a H::Target) -> &'a T) -> Self {
        let part = NonNull::from(part(&handle));
        Self { handle, part }
    }

    /// The handle that this one was made from.
    #[inline]
    pub fn whole(&self) -> &H {
        &self.handle
    }
}

impl<H, T: ?Sized> Deref for Held<H, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `part` was found, for any lifetime that the reference to the target of `handle` may have, by a
        // function that captures nothing; so it lies in the target or is static. `Stable` says that it stays valid as
        // long as `handle`, which is private and never replaced.
        unsafe { self.part.as_ref() }
    }
}

impl<H: Clone, T: ?Sized> Clone for Held<H, T> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            part: self.part,
        }
    }
}

// SAFETY: the part is reached through the handle, which is `Stable`; a clone's handle keeps the same target (the
// clone of an `Arc` or of a reference), and so the same part, in place.
unsafe impl<H: Stable, T: ?Sized> Stable for Held<H, T> {}

// SAFETY: it is the handle, and a shared reference to the part.
unsafe impl<H: Send, T: ?Sized + Sync> Send for Held<H, T> {}
// SAFETY: as above.
unsafe impl<H: Sync, T: ?Sized + Sync> Sync for Held<H, T> {}

impl<H, T: ?Sized + fmt::Debug> fmt::Debug for Held<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
