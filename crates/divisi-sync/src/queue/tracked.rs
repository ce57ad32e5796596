//! Work that is done when its guard is dropped, and waiting for all of it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use divisi_task::current;
use divisi_task::wait_list::{Turn, Waiter};

use super::chan::{Chan, JOINERS, Ticket};

/// A value that was received and is being worked on. Dropping it means that the work is done, which a
/// [`join`](super::Sender::join) waits for: neither can that be forgotten, nor happen twice.
#[must_use = "dropping it means that the work is done"]
pub struct Tracked<T> {
    /// `None` only while it is taken apart.
    value: Option<T>,
    chan: Arc<Chan<T>>,
}

const HAS_VALUE: &str = "it has its value until it is taken apart";

impl<T> Tracked<T> {
    /// For a value that counts as undone.
    pub(super) fn new(value: T, chan: Arc<Chan<T>>) -> Self {
        Self {
            value: Some(value),
            chan,
        }
    }

    /// The value. The work counts as done.
    pub fn into_inner(mut self) -> T {
        self.value.take().expect(HAS_VALUE)
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect(HAS_VALUE)
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect(HAS_VALUE)
    }
}

impl<T> Drop for Tracked<T> {
    fn drop(&mut self) {
        /// Done even if the value's destructor panics, and after it.
        struct IsDone<'a, T>(&'a Chan<T>);
        impl<T> Drop for IsDone<'_, T> {
            fn drop(&mut self) {
                self.0.done();
            }
        }
        let _done = IsDone(&self.chan);
        drop(self.value.take());
    }
}

impl<T: fmt::Debug> fmt::Debug for Tracked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracked").field(&self.value).finish()
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Sender::join`](super::Sender::join).
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Join<'a, T> {
        #[pin]
        waiter: Waiter<&'a Chan<T>, 3>,
        awaited_at: &'static Location<'static>,
    }
}

impl<'a, T> Join<'a, T> {
    #[track_caller]
    pub(super) fn new(chan: &'a Chan<T>) -> Self {
        Self {
            waiter: Waiter::new(chan, Ticket::Look),
            awaited_at: Location::caller(),
        }
    }
}

impl<T> Future for Join<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let mut waiter = this.waiter;
        let charge = ready!(waiter.as_mut().poll_proceed(cx));
        let all_done = match waiter.as_mut().poll_turn(cx) {
            Turn::Waiting => false,
            // Everything was done at one moment; more may have been sent since.
            Turn::Chosen => {
                waiter.accept();
                true
            }
            Turn::Free => waiter
                .join(JOINERS, cx, |locked, _| {
                    (locked.undone() == 0).then_some(())
                })
                .is_some(),
        };
        if !all_done {
            current::note_wait(this.awaited_at);
            return Poll::Pending;
        }
        charge.made_progress();
        Poll::Ready(())
    }
}

impl<T> fmt::Debug for Join<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join")
            .field("awaited_at", &self.awaited_at)
            .finish_non_exhaustive()
    }
}
