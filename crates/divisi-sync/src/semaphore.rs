//! A number of permits.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use divisi_task::permits::{self, Grant, Permits, Refused};
use divisi_task::stable::Held;

use crate::acquiring::acquire_future;
use crate::blocking::block_on;
use crate::facade::const_fn;
use crate::held::{self, Listed};

/// Permits for so many at once.
///
/// # Fairness
///
/// First come, first served, strictly: as long as somebody waits, permits go to the one who has waited longest,
/// whoever asks meanwhile; and who wants many is not overtaken by those who want few.
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// let connections = divisi_sync::Semaphore::new(2);
/// let one = connections.acquire().await?;
/// let other = connections.acquire().await?;
/// assert!(connections.try_acquire().is_err());
/// drop(one);
/// assert_eq!(connections.available(), 1);
/// # drop(other);
/// # Ok::<_, divisi_sync::AcquireError>(()) }).unwrap();
/// ```
pub struct Semaphore {
    permits: Permits,
}

/// The semaphore was closed: there will be no permits any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireError(());

/// Why [`Semaphore::try_acquire`] has no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// There are too few, or others wait for them: `acquire` waits.
    NoPermits,
    /// The semaphore was closed: there will be no permits any more.
    Closed,
}

impl Semaphore {
    /// The largest number of permits.
    pub const MAX_PERMITS: usize = permits::MAX_PERMITS;

    const_fn! {
        /// A semaphore with so many permits.
        ///
        /// # Panics
        ///
        /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
        #[must_use]
        pub fn new(permits: usize) -> Self {
            Self { permits: Permits::new(permits) }
        }
    }

    /// Acquires a permit, and waits until there is one.
    ///
    /// # Errors
    ///
    /// The semaphore is closed, before or during the wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue and nothing else. A permit that it was given already goes to
    /// the next.
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> AcquirePermits<'_> {
        AcquirePermits::new(&self.permits, 1)
    }

    /// Acquires that many permits at once, and waits until there are as many. For more than there will ever be, it
    /// waits for ever.
    ///
    /// # Errors
    ///
    /// The semaphore is closed, before or during the wait.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, permits: usize) -> AcquirePermits<'_> {
        AcquirePermits::new(&self.permits, permits)
    }

    /// Acquires a permit if there is one and nobody waits.
    ///
    /// # Errors
    ///
    /// There is none, or there will be none.
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Acquires that many permits if there are as many and nobody waits.
    ///
    /// # Errors
    ///
    /// There are too few, or there will be none.
    #[inline]
    #[track_caller]
    pub fn try_acquire_many(&self, permits: usize) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        let grant = Grant::try_acquire(&self.permits, permits)?;
        Ok(SemaphorePermit::new(grant, Location::caller()))
    }

    /// Acquires that many permits, and blocks this thread until there are as many. Not for async code, whose worker
    /// it would block.
    ///
    /// # Errors
    ///
    /// The semaphore is closed, before or during the wait.
    #[track_caller]
    pub fn acquire_blocking(&self, permits: usize) -> Result<SemaphorePermit<'_>, AcquireError> {
        block_on(self.acquire_many(permits))
    }

    /// As [`acquire_many`](Self::acquire_many), with permits that own a reference to the semaphore.
    ///
    /// # Errors
    ///
    /// The semaphore is closed, before or during the wait.
    #[track_caller]
    pub fn acquire_owned(
        self: Arc<Self>,
        permits: usize,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> {
        let at = Location::caller();
        async move {
            let grant = permits::Acquire::new(owned(self), permits, at).await?;
            Ok(OwnedSemaphorePermit::new(grant, at))
        }
    }

    /// As [`try_acquire_many`](Self::try_acquire_many), with permits that own a reference to the semaphore.
    ///
    /// # Errors
    ///
    /// There are too few, or there will be none.
    #[track_caller]
    pub fn try_acquire_owned(
        self: Arc<Self>,
        permits: usize,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let grant = Grant::try_acquire(owned(self), permits)?;
        Ok(OwnedSemaphorePermit::new(grant, Location::caller()))
    }

    /// Adds new permits.
    ///
    /// # Panics
    ///
    /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS) then.
    pub fn add(&self, permits: usize) {
        self.permits.add(permits);
    }

    /// Does away with up to that many of the permits that nobody has, and returns how many that were.
    pub fn forget(&self, permits: usize) -> usize {
        self.permits.remove(permits)
    }

    /// How many permits nobody has. If somebody waits who wants more, they are not to be had all the same.
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    /// Who has permits, as far as they were taken while that was [tracked](held::track).
    pub fn holders(&self) -> Vec<held::Held> {
        held::all_of(address(&self.permits))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.permits.waiting()
    }

    /// Gives out no permits any more: who waits, and who comes, gets an error. Permits that are out stay valid.
    pub fn close(&self) {
        self.permits.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }
}

type Owned = Held<Arc<Semaphore>, Permits>;

/// What tells this semaphore from others.
fn address(permits: &Permits) -> usize {
    std::ptr::from_ref(permits) as usize
}

fn owned(semaphore: Arc<Semaphore>) -> Owned {
    Held::new(semaphore, |semaphore| &semaphore.permits)
}

acquire_future! {
    /// The future of [`Semaphore::acquire`] and [`Semaphore::acquire_many`].
    AcquirePermits<'a> from &'a Permits => Result<SemaphorePermit<'a>, AcquireError>:
    |result, at| Ok(SemaphorePermit::new(result?, at))
}

/// Permits of a [`Semaphore`]. Dropping it gives them back.
#[must_use = "dropping it gives the permits back at once"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    listed: Listed,
    grant: Grant<&'a Permits>,
}

/// Permits of a [`Semaphore`], with a reference to it. Dropping it gives them back.
#[must_use = "dropping it gives the permits back at once"]
#[derive(Debug)]
pub struct OwnedSemaphorePermit {
    listed: Listed,
    grant: Grant<Owned>,
}

macro_rules! permit_methods {
    ([$($generics:tt)*] $permit:ty, $handle:ty) => {
        impl $($generics)* $permit {
            #[inline]
            fn new(grant: Grant<$handle>, at: &'static Location<'static>) -> Self {
                let listed = Listed::new("Semaphore", || address(grant.source()), at);
                Self { listed, grant }
            }

            /// How many permits this is.
            pub fn permits(&self) -> usize {
                self.grant.permits()
            }

            /// Never gives them back: the semaphore has fewer from now on.
            pub fn forget(self) {
                self.grant.forget();
            }

            /// Splits that many permits off; nothing if this has fewer.
            pub fn split(&mut self, permits: usize) -> Option<Self> {
                let grant = self.grant.split(permits)?;
                let listed = self.listed.split();
                Some(Self { listed, grant })
            }

            /// Adds the permits of another to this one.
            ///
            /// # Panics
            ///
            /// If they are of another semaphore.
            pub fn merge(&mut self, other: Self) {
                self.grant.merge(other.grant);
                self.listed.merge(other.listed);
            }
        }
    };
}
permit_methods!([<'a>] SemaphorePermit<'a>, &'a Permits);
permit_methods!([] OwnedSemaphorePermit, Owned);

impl From<permits::Closed> for AcquireError {
    #[inline]
    fn from(_: permits::Closed) -> Self {
        Self(())
    }
}

impl From<Refused> for TryAcquireError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooFew => Self::NoPermits,
            Refused::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was closed: it gives out no permits any more")
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPermits => f.write_str("no permit is free: `acquire` waits for one"),
            Self::Closed => AcquireError(()).fmt(f),
        }
    }
}

impl std::error::Error for AcquireError {}
impl std::error::Error for TryAcquireError {}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
