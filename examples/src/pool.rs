//! A pool of database connections, with a limit on waiting and a report of connections that were not given back.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use divisi::sync::{OwnedSemaphorePermit, Semaphore};
use divisi::time::{Instant, timeout};

/// Makes connections and knows when they are broken.
pub trait Manager: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;
    /// Why there is none.
    type Error: Send + 'static;

    /// Connects.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Whether a connection that waited in the pool is still good.
    fn check(&self, connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;
}

/// Connections that are made when they are needed, up to a number, and used again.
pub struct Pool<M: Manager> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: Manager> {
    manager: M,
    permits: Arc<Semaphore>,
    size: usize,
    idle: Mutex<Vec<M::Connection>>,
    held: Mutex<HashMap<u64, Holder>>,
    next_id: AtomicU64,
}

/// Who has a connection.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// The line that acquired it.
    pub acquired_at: &'static Location<'static>,
    /// When.
    pub since: Instant,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {:?}", self.acquired_at, self.since.elapsed())
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum AcquireError<E> {
    /// All were in use for the whole time.
    TimedOut {
        /// By whom, longest first: what stands there for minutes was probably forgotten.
        holders: Vec<Holder>,
    },
    /// None could be made.
    Connect(E),
}

impl<E: fmt::Display> fmt::Display for AcquireError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AcquireError::Connect(error) => write!(f, "could not connect: {error}"),
            AcquireError::TimedOut { holders } => {
                let count = holders.len();
                write!(f, "no connection in time; {count} in use:")?;
                holders
                    .iter()
                    .try_for_each(|holder| write!(f, "\n  {holder}"))
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for AcquireError<E> {}

impl<M: Manager> Pool<M> {
    /// A pool of at most `size` connections, none of which is made yet.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub fn new(manager: M, size: usize) -> Pool<M> {
        assert!(size > 0, "a pool of no connections would serve nobody");
        Pool {
            inner: Arc::new(Inner {
                manager,
                permits: Arc::new(Semaphore::new(size)),
                size,
                idle: Mutex::default(),
                held: Mutex::default(),
                next_id: AtomicU64::new(0),
            }),
        }
    }

    /// A connection, in the order of asking. Dropping it gives it back.
    ///
    /// # Errors
    ///
    /// If there is none within `limit`, or none can be made.
    ///
    /// # Cancel safety
    ///
    /// Loses the place in the queue, and the connection that was being made or checked.
    #[track_caller]
    pub fn acquire(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<Pooled<M>, AcquireError<M::Error>>> + Send {
        let acquired_at = Location::caller();
        let inner = self.inner.clone();
        async move {
            let acquired = timeout(limit, inner.clone().acquire(acquired_at)).await;
            match acquired {
                Ok(result) => result.map_err(AcquireError::Connect),
                Err(_) => Err(AcquireError::TimedOut {
                    holders: inner.holders(),
                }),
            }
        }
    }

    /// Who has connections for longer than `time`, longest first.
    pub fn held_longer_than(&self, time: Duration) -> Vec<Holder> {
        let mut holders = self.inner.holders();
        holders.retain(|holder| holder.since.elapsed() > time);
        holders
    }

    /// Connections that wait for a user.
    pub fn idle(&self) -> usize {
        lock(&self.inner.idle).len()
    }

    /// The most connections that there may be.
    pub fn size(&self) -> usize {
        self.inner.size
    }
}

impl<M: Manager> Inner<M> {
    async fn acquire(
        self: Arc<Self>,
        acquired_at: &'static Location<'static>,
    ) -> Result<Pooled<M>, M::Error> {
        let permit = self.permits.clone().acquire_owned(1).await;
        let permit = permit.expect("nobody closes this semaphore");
        let connection = loop {
            // The last that was given back is the likeliest to be good.
            let idle = lock(&self.idle).pop();
            match idle {
                None => break self.manager.connect().await?,
                Some(mut connection) => {
                    if self.manager.check(&mut connection).await {
                        break connection;
                    }
                }
            }
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        lock(&self.held).insert(id, Holder { acquired_at, since });
        Ok(Pooled {
            connection: Some(connection),
            id,
            pool: self,
            _permit: permit,
        })
    }

    fn holders(&self) -> Vec<Holder> {
        let mut holders: Vec<_> = lock(&self.held).values().copied().collect();
        holders.sort_by_key(|holder| holder.since);
        holders
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection of a pool.
pub struct Pooled<M: Manager> {
    /// `None` once it is broken or given back.
    connection: Option<M::Connection>,
    id: u64,
    pool: Arc<Inner<M>>,
    // Dropped last: whoever gets it finds the connection in the pool.
    _permit: OwnedSemaphorePermit,
}

impl<M: Manager> Pooled<M> {
    /// Closes the connection instead of giving it back, for instance in the middle of a command that was given up.
    pub fn discard(mut self) {
        self.connection = None;
    }
}

const HERE_UNTIL_DROPPED: &str = "the connection is here until `discard` or drop";

impl<M: Manager> Deref for Pooled<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        self.connection.as_ref().expect(HERE_UNTIL_DROPPED)
    }
}

impl<M: Manager> DerefMut for Pooled<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        self.connection.as_mut().expect(HERE_UNTIL_DROPPED)
    }
}

impl<M: Manager> Drop for Pooled<M> {
    fn drop(&mut self) {
        lock(&self.pool.held).remove(&self.id);
        if let Some(connection) = self.connection.take() {
            lock(&self.pool.idle).push(connection);
        }
    }
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Pool<M> {
        Pool {
            inner: self.inner.clone(),
        }
    }
}

impl<M: Manager> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.inner.size)
            .field("idle", &self.idle())
            .field("held", &self.inner.holders())
            .finish()
    }
}

impl<M: Manager> fmt::Debug for Pooled<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("id", &self.id).finish()
    }
}
