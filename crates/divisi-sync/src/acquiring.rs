//! The futures of locks and permits.

/// Defines a named future that acquires permits and makes something of what comes of it.
macro_rules! acquire_future {
    (
        $(#[$meta:meta])*
        $name:ident<$a:lifetime $(, $t:ident: ?Sized $(+ $bound:ident)?)?> from $handle:ty => $output:ty: $finish:expr
    ) => {
        pin_project_lite::pin_project! {
            $(#[$meta])*
            #[must_use = "futures do nothing unless they are awaited"]
            pub struct $name<$a $(, $t)?> $(where $t: ?Sized $(, $t: $bound)?)? {
                #[pin]
                acquire: divisi_task::permits::Acquire<$handle>,
            }
        }

        impl<$a $(, $t: ?Sized $(+ $bound)?)?> $name<$a $(, $t)?> {
            #[inline]
            #[track_caller]
            fn new(source: $handle, permits: usize) -> Self {
                let awaited_at = std::panic::Location::caller();
                Self {
                    acquire: divisi_task::permits::Acquire::new(source, permits, awaited_at),
                }
            }
        }

        impl<$a $(, $t: ?Sized $(+ $bound)?)?> Future for $name<$a $(, $t)?> {
            type Output = $output;

            // Always: see `permits::Acquire`.
            #[inline(always)]
            fn poll(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Self::Output> {
                let at = self.acquire.awaited_at();
                let finish: fn(
                    Result<divisi_task::permits::Grant<$handle>, divisi_task::permits::Closed>,
                    &'static std::panic::Location<'static>,
                ) -> $output = $finish;
                self.project().acquire.poll(cx).map(|outcome| finish(outcome, at))
            }
        }

        impl<$a $(, $t: ?Sized $(+ $bound)?)?> std::fmt::Debug for $name<$a $(, $t)?> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.acquire).finish()
            }
        }
    };
}
pub(crate) use acquire_future;

/// Why the permits of a lock are never refused.
pub(crate) const NEVER_CLOSED: &str = "locks are never closed";

/// `Deref`, and `Debug` and `Display` of what it leads to, for a guard with a field `access`.
macro_rules! guard_of_value {
    ([$($generics:tt)*] $guard:ty) => {
        impl<$($generics)*> std::ops::Deref for $guard {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.access
            }
        }

        impl<$($generics)* + std::fmt::Debug> std::fmt::Debug for $guard {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<$($generics)* + std::fmt::Display> std::fmt::Display for $guard {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}
pub(crate) use guard_of_value;

/// `DerefMut` for a guard with a field `access`.
macro_rules! guard_of_mut_value {
    ([$($generics:tt)*] $guard:ty) => {
        impl<$($generics)*> std::ops::DerefMut for $guard {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                &mut self.access
            }
        }
    };
}
pub(crate) use guard_of_mut_value;
