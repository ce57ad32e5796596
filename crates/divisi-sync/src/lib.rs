//! Synchronization primitives and channels that need no runtime: they only wake the waker they are given.
//!
//! ```
//! let (sender, receiver) = divisi_sync::oneshot::channel();
//! std::thread::spawn(move || sender.send(42));
//! # struct Unpark(std::thread::Thread);
//! # impl std::task::Wake for Unpark { fn wake(self: std::sync::Arc<Self>) { self.0.unpark(); } }
//! # fn block_on<F: Future + Unpin>(mut f: F) -> F::Output {
//! #     let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
//! #     loop {
//! #         match std::pin::Pin::new(&mut f).poll(&mut std::task::Context::from_waker(&waker)) {
//! #             std::task::Poll::Ready(output) => return output,
//! #             std::task::Poll::Pending => std::thread::park(),
//! #         }
//! #     }
//! # }
//! assert_eq!(block_on(receiver), Ok(42));
//! ```
//!
//! Every primitive here is fair in the order of arrival and cancel-safe: a waiter that is dropped costs nobody a turn.

#![forbid(unsafe_code)]

mod acquiring;
mod barrier;
mod blocking;
pub mod broadcast;
mod condvar;
mod event;
mod facade;
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
