//! Many readers or one writer.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use divisi_task::permits::{Acquire, Grant};
use divisi_task::stable::Held;
use divisi_task::value_cell::{Exclusive, Shared, ValueCell};

use crate::acquiring::{NEVER_CLOSED, acquire_future, guard_of_mut_value, guard_of_value};
use crate::blocking::block_on;
use crate::facade::const_fn;

/// How many can read at once: as many permits as fit in the word of a 32-bit system.
const READERS: usize = (1 << 30) - 1;

/// A lock that many may read under, or one may write.
///
/// # Fairness
///
/// First come, first served, readers and writers in one queue: a writer that waits makes later readers wait, so that
/// it is not starved; and readers that wait behind it all go in together when it is done.
///
/// A task that reads and reads again without having let go waits for itself, if a writer came in between.
///
/// # Poisoning
///
/// There is none: a panic under the lock unlocks it, and the next one finds the value as it was left.
///
/// # Examples
///
/// ```
/// # futures_lite::future::block_on(async {
/// let lock = divisi_sync::RwLock::new(vec![1]);
/// {
///     let (one, other) = (lock.read().await, lock.read().await);
///     assert_eq!(one.len() + other.len(), 2);
/// }
/// lock.write().await.push(2);
/// assert_eq!(*lock.read().await, [1, 2]);
/// # });
/// ```
pub struct RwLock<T: ?Sized> {
    /// A reader has one permit, the writer all.
    cell: ValueCell<T>,
}

impl<T> RwLock<T> {
    const_fn! {
        /// An unlocked lock.
        #[must_use]
        pub fn new(value: T) -> Self {
            Self { cell: ValueCell::new(value, READERS) }
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.cell.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks to write, and waits until that is possible.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue and nothing else.
    #[track_caller]
    pub fn write(&self) -> Write<'_, T> {
        Write::new(&self.cell, READERS)
    }

    /// Locks to write if nobody reads, writes or waits.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let grant = Grant::try_acquire(&self.cell, READERS).ok()?;
        Some(RwLockWriteGuard {
            access: Exclusive::new(grant),
        })
    }

    /// Locks to write, and blocks this thread until that is possible. Not for async code, whose worker it would
    /// block.
    #[track_caller]
    pub fn write_blocking(&self) -> RwLockWriteGuard<'_, T> {
        match self.try_write() {
            Some(guard) => guard,
            None => block_on(self.write()),
        }
    }

    /// As [`write`](Self::write), with a guard that owns a reference to the lock.
    #[track_caller]
    pub fn write_owned(self: Arc<Self>) -> impl Future<Output = OwnedRwLockWriteGuard<T>> {
        let at = Location::caller();
        async move {
            let grant = Acquire::new(held(self), READERS, at).await;
            OwnedRwLockWriteGuard {
                access: Exclusive::new(grant.expect(NEVER_CLOSED)),
            }
        }
    }

    /// The value, without locking: nobody else has the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.cell.get_mut()
    }
}

impl<T: ?Sized + Sync> RwLock<T> {
    /// Locks to read, and waits until that is possible.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue and nothing else.
    #[track_caller]
    pub fn read(&self) -> Read<'_, T> {
        Read::new(&self.cell, 1)
    }

    /// Locks to read if nobody writes or waits.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        let grant = Grant::try_acquire(&self.cell, 1).ok()?;
        Some(RwLockReadGuard {
            access: Shared::new(grant),
        })
    }

    /// Locks to read, and blocks this thread until that is possible. Not for async code, whose worker it would block.
    #[track_caller]
    pub fn read_blocking(&self) -> RwLockReadGuard<'_, T> {
        match self.try_read() {
            Some(guard) => guard,
            None => block_on(self.read()),
        }
    }

    /// As [`read`](Self::read), with a guard that owns a reference to the lock.
    #[track_caller]
    pub fn read_owned(self: Arc<Self>) -> impl Future<Output = OwnedRwLockReadGuard<T>> {
        let at = Location::caller();
        async move {
            let grant = Acquire::new(held(self), 1, at).await;
            OwnedRwLockReadGuard {
                access: Shared::new(grant.expect(NEVER_CLOSED)),
            }
        }
    }
}

type Owned<T> = Held<Arc<RwLock<T>>, ValueCell<T>>;

fn held<T: ?Sized>(lock: Arc<RwLock<T>>) -> Owned<T> {
    Held::new(lock, |lock| &lock.cell)
}

acquire_future! {
    /// The future of [`RwLock::read`].
    Read<'a, T: ?Sized + Sync> from &'a ValueCell<T> => RwLockReadGuard<'a, T>:
    |grant, _| RwLockReadGuard { access: Shared::new(grant.expect(NEVER_CLOSED)) }
}

acquire_future! {
    /// The future of [`RwLock::write`].
    Write<'a, T: ?Sized> from &'a ValueCell<T> => RwLockWriteGuard<'a, T>:
    |grant, _| RwLockWriteGuard { access: Exclusive::new(grant.expect(NEVER_CLOSED)) }
}

/// The value of a [`RwLock`] that is locked to read. Dropping it unlocks.
#[must_use = "dropping it unlocks at once"]
pub struct RwLockReadGuard<'a, T: ?Sized + Sync> {
    access: Shared<&'a ValueCell<T>, T>,
}

/// The value of a [`RwLock`] that is locked to write. Dropping it unlocks.
#[must_use = "dropping it unlocks at once"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    access: Exclusive<&'a ValueCell<T>, T>,
}

/// The value of a [`RwLock`] that is locked to read, with a reference to the lock. Dropping it unlocks.
#[must_use = "dropping it unlocks at once"]
pub struct OwnedRwLockReadGuard<T: ?Sized + Sync> {
    access: Shared<Owned<T>, T>,
}

/// The value of a [`RwLock`] that is locked to write, with a reference to the lock. Dropping it unlocks.
#[must_use = "dropping it unlocks at once"]
pub struct OwnedRwLockWriteGuard<T: ?Sized> {
    access: Exclusive<Owned<T>, T>,
}

guard_of_value!(['a, T: ?Sized + Sync] RwLockReadGuard<'a, T>);
guard_of_value!(['a, T: ?Sized] RwLockWriteGuard<'a, T>);
guard_of_mut_value!(['a, T: ?Sized] RwLockWriteGuard<'a, T>);
guard_of_value!([T: ?Sized + Sync] OwnedRwLockReadGuard<T>);
guard_of_value!([T: ?Sized] OwnedRwLockWriteGuard<T>);
guard_of_mut_value!([T: ?Sized] OwnedRwLockWriteGuard<T>);

impl<'a, T: ?Sized + Sync> RwLockWriteGuard<'a, T> {
    /// Goes on reading what was written; nobody can write in between.
    ///
    /// ```
    /// let lock = divisi_sync::RwLock::new(1);
    /// let mut writes = lock.try_write().unwrap();
    /// *writes += 1;
    /// let reads = divisi_sync::RwLockWriteGuard::downgrade(writes);
    /// assert_eq!(*reads + *lock.try_read().unwrap(), 4);
    /// ```
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard {
            access: guard.access.downgrade(),
        }
    }
}

impl<T: ?Sized + Sync> OwnedRwLockWriteGuard<T> {
    /// Goes on reading what was written; nobody can write in between.
    pub fn downgrade(guard: Self) -> OwnedRwLockReadGuard<T> {
        OwnedRwLockReadGuard {
            access: guard.access.downgrade(),
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + Sync + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(value) => f.debug_tuple("RwLock").field(&&*value).finish(),
            None => f
                .debug_tuple("RwLock")
                .field(&format_args!("<locked>"))
                .finish(),
        }
    }
}
