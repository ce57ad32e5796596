//! Mutual exclusion.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use divisi_task::permits::{Acquire, Grant};
use divisi_task::stable::Held;
use divisi_task::value_cell::{Exclusive, ValueCell};

use crate::acquiring::{NEVER_CLOSED, acquire_future, guard_of_mut_value, guard_of_value};
use crate::blocking::block_on;
use crate::facade::const_fn;
use crate::held::{self, Listed};

/// A lock that may be held across an await.
///
/// Where no await happens under the lock, a lock of the standard library or of `parking_lot` is cheaper.
///
/// # Fairness
///
/// First come, first served: who unlocks hands the lock over to the one who has waited longest, and nobody overtakes.
///
/// # Poisoning
///
/// There is none: a panic under the lock unlocks it, and the next one finds the value as it was left.
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// static TOTAL: divisi_sync::Mutex<u64> = divisi_sync::Mutex::new(0);
///
/// let mut total = TOTAL.lock().await;
/// *total += 1;
/// assert!(TOTAL.try_lock().is_none());
/// drop(total);
/// assert_eq!(*TOTAL.lock().await, 1);
/// # });
/// ```
pub struct Mutex<T: ?Sized> {
    cell: ValueCell<T>,
}

impl<T> Mutex<T> {
    const_fn! {
        /// An unlocked mutex.
        #[must_use]
        pub fn new(value: T) -> Self {
            Self { cell: ValueCell::new(value, 1) }
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.cell.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks, and waits until that is possible.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue and nothing else. If it was handed the lock already, the next
    /// one gets it.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Lock<'_, T> {
        Lock::new(&self.cell, 1)
    }

    /// Locks if nobody has the lock or waits for it.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let grant = Grant::try_acquire(&self.cell, 1).ok()?;
        Some(MutexGuard::new(grant, Location::caller()))
    }

    /// Locks, and blocks this thread until that is possible. Not for async code, whose worker it would block.
    #[track_caller]
    pub fn lock_blocking(&self) -> MutexGuard<'_, T> {
        match self.try_lock() {
            Some(guard) => guard,
            None => block_on(self.lock()),
        }
    }

    /// Whether somebody has the lock.
    pub fn is_locked(&self) -> bool {
        self.cell.available() == 0
    }

    /// The value, without locking: nobody else has the mutex.
    pub fn get_mut(&mut self) -> &mut T {
        self.cell.get_mut()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// As [`lock`](Self::lock), with a guard that owns a reference to the mutex.
    #[track_caller]
    pub fn lock_owned(self: Arc<Self>) -> impl Future<Output = OwnedMutexGuard<T>> {
        let at = Location::caller();
        async move {
            let grant = Acquire::new(owned(self), 1, at).await;
            OwnedMutexGuard::new(grant.expect(NEVER_CLOSED), at)
        }
    }

    /// As [`try_lock`](Self::try_lock), with a guard that owns a reference to the mutex.
    #[track_caller]
    pub fn try_lock_owned(self: Arc<Self>) -> Option<OwnedMutexGuard<T>> {
        let grant = Grant::try_acquire(owned(self), 1).ok()?;
        Some(OwnedMutexGuard::new(grant, Location::caller()))
    }

    /// Who has the lock, if it was taken while that was [tracked](held::track).
    pub fn holder(&self) -> Option<held::Held> {
        held::of(address(&self.cell))
    }
}

type Owned<T> = Held<Arc<Mutex<T>>, ValueCell<T>>;

/// What tells this mutex from others.
fn address<T: ?Sized>(cell: &ValueCell<T>) -> usize {
    std::ptr::from_ref(cell).cast::<()>() as usize
}

fn owned<T: ?Sized>(mutex: Arc<Mutex<T>>) -> Owned<T> {
    Held::new(mutex, |mutex| &mutex.cell)
}

acquire_future! {
    /// The future of [`Mutex::lock`].
    Lock<'a, T: ?Sized> from &'a ValueCell<T> => MutexGuard<'a, T>:
    |grant, at| MutexGuard::new(grant.expect(NEVER_CLOSED), at)
}

/// The value of a locked [`Mutex`]. Dropping it unlocks.
#[must_use = "dropping it unlocks at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    /// Before `access`, so that nobody who has the lock next finds this one.
    _listed: Listed,
    access: Exclusive<&'a ValueCell<T>, T>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    #[inline]
    fn new(grant: Grant<&'a ValueCell<T>>, at: &'static Location<'static>) -> Self {
        let cell = *grant.source();
        Self {
            _listed: Listed::new("Mutex", || address(cell), at),
            access: Exclusive::new(grant),
        }
    }

    /// Waits for the lock that a guard had been of.
    pub(crate) fn lock_again(
        cell: &'a ValueCell<T>,
        awaited_at: &'static Location<'static>,
    ) -> Lock<'a, T> {
        Lock {
            acquire: Acquire::new(cell, 1, awaited_at),
        }
    }

    pub(crate) fn cell(&self) -> &'a ValueCell<T> {
        self.access.source()
    }
}

/// The value of a locked [`Mutex`], with a reference to the mutex. Dropping it unlocks.
#[must_use = "dropping it unlocks at once"]
pub struct OwnedMutexGuard<T: ?Sized> {
    /// Before `access`, so that nobody who has the lock next finds this one.
    _listed: Listed,
    access: Exclusive<Owned<T>, T>,
}

guard_of_value!(['a, T: ?Sized] MutexGuard<'a, T>);
guard_of_mut_value!(['a, T: ?Sized] MutexGuard<'a, T>);
guard_of_value!([T: ?Sized] OwnedMutexGuard<T>);
guard_of_mut_value!([T: ?Sized] OwnedMutexGuard<T>);

impl<T: ?Sized> OwnedMutexGuard<T> {
    fn new(grant: Grant<Owned<T>>, at: &'static Location<'static>) -> Self {
        Self {
            _listed: Listed::new("Mutex", || address(grant.source()), at),
            access: Exclusive::new(grant),
        }
    }

    /// The mutex that this is the value of.
    pub fn mutex(guard: &Self) -> &Arc<Mutex<T>> {
        guard.access.source().whole()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => f.debug_tuple("Mutex").field(&&*value).finish(),
            None => match self.holder() {
                Some(held) => write!(f, "Mutex(<locked: {held}>)"),
                None => f.write_str("Mutex(<locked>)"),
            },
        }
    }
}
