//! Locks and other ways for tasks to wait for each other. They need no runtime and may be used from any thread.
//!
//! | you want | use |
//! |---|---|
//! | one at a time, across an await | [`Mutex`] |
//! | many readers or one writer | [`RwLock`] |
//! | so many at a time | [`Semaphore`] |
//! | to know that something is so | [`Event`] |
//! | to know that something has happened | [`Notify`] |
//! | to wait until something holds of a mutex's value | [`Condvar`] |
//! | to wait for each other | [`Barrier`] |
//! | to make something once | [`OnceCell`] |
//! | to find out who holds a lock | [`held`], [`debug::watch_holds`](crate::debug::watch_holds) |
//!
//! All of them are fair in the order of arrival, and cancel-safe: a waiter that is dropped costs nobody a turn.

#[doc(inline)]
pub use divisi_sync::{
    AcquireError, AcquirePermits, Barrier, BarrierWait, BrokenBarrier, Condvar, Event, EventWait,
    Lock, Mutex, MutexGuard, Notified, Notify, OnceCell, OwnedMutexGuard, OwnedRwLockReadGuard,
    OwnedRwLockWriteGuard, OwnedSemaphorePermit, Read, RwLock, RwLockReadGuard, RwLockWriteGuard,
    Semaphore, SemaphorePermit, TryAcquireError, Write, held,
};
