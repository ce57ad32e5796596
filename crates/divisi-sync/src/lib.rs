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

pub mod oneshot;
