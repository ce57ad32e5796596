//! Synchronization primitives and channels that need no runtime: they only wake the waker they are given.
//!
//! ```
//! let (sender, receiver) = divisi_sync::oneshot::channel();
//! std::thread::spawn(move || sender.send(42));
//! // Anything that polls futures will do.
//! assert_eq!(futures_lite::future::block_on(receiver), Ok(42));
//! ```
//!
//! | | |
//! |---|---|
//! | locks | [`Mutex`], [`RwLock`], [`Semaphore`], [`OnceCell`] |
//! | waiting for each other | [`Event`], [`Notify`], [`Condvar`], [`Barrier`] |
//! | channels | [`oneshot`], [`mpsc`], [`watch`], [`broadcast`] |
//! | queues of work | [`queue`] |
//! | who holds what | [`held`] |
//!
//! # What all of them promise
//!
//! * **Fair**: who waits is served in the order of arrival, and nobody overtakes.
//! * **Cancel-safe**: a waiter that is dropped, be it after it was chosen, costs nobody a turn, and no permit,
//!   notification or value is lost.
//! * **No foreign code under a lock**: wakers are woken, cloned and dropped, and values are cloned and dropped, outside.
//!   (The one exception is documented: a priority queue compares values under its lock.)
//! * They take part in a task's [budget](divisi_task::budget), and lists of tasks show where a task waits for them.
//!
//! # Inside
//!
//! ```text
//!   Mutex  RwLock  Semaphore  OnceCell  mpsc's slots   Event Notify Condvar Barrier watch broadcast queue     oneshot
//!                      |                                                  |                                       |
//!   divisi-task:    permits (+ value_cell) ---------------------------> wait_list                             hand_over
//! ```
//!
//! This crate has no unsafe code. What it rests on has its proof in the modules [`wait_list`](divisi_task::wait_list),
//! [`permits`](divisi_task::permits), [`value_cell`](divisi_task::value_cell) and
//! [`hand_over`](divisi_task::hand_over).

#![forbid(unsafe_code)]

mod acquiring;
mod audience;
mod barrier;
mod blocking;
pub mod broadcast;
mod condvar;
mod event;
mod facade;
pub mod held;
pub mod mpsc;
mod mutex;
mod notify;
mod once_cell;
pub mod oneshot;
pub mod queue;
mod rw_lock;
mod semaphore;
pub mod watch;

pub use barrier::{Barrier, BarrierWait, BrokenBarrier};
pub use condvar::Condvar;
pub use event::{Event, EventWait};
pub use mutex::{Lock, Mutex, MutexGuard, OwnedMutexGuard};
pub use notify::{Notified, Notify};
pub use once_cell::OnceCell;
pub use rw_lock::{
    OwnedRwLockReadGuard, OwnedRwLockWriteGuard, Read, RwLock, RwLockReadGuard, RwLockWriteGuard,
    Write,
};
pub use semaphore::{
    AcquireError, AcquirePermits, OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError,
};
