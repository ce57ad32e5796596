//! Polling futures by hand, and counting who was woken.
#![allow(dead_code, reason = "each test file uses a part")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future that is polled by hand, like a task that nobody runs until told so.
pub(crate) struct Spawned<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    wakes: Arc<Count>,
}

impl<T> Spawned<T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self {
            future: Box::pin(future),
            wakes: Arc::default(),
        }
    }

    /// As `new`, polled once: it must wait.
    pub(crate) fn waiting(future: impl Future<Output = T> + 'static) -> Self {
        let mut spawned = Self::new(future);
        assert!(spawned.poll().is_pending(), "it should have to wait");
        spawned
    }

    pub(crate) fn poll(&mut self) -> Poll<T> {
        let waker = Waker::from(self.wakes.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Its output: it must be ready.
    pub(crate) fn ready(mut self) -> T {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it should not have to wait any more"),
        }
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.wakes() > 0
    }
}
