//! The future of permits.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::sealed::Token;
use super::{Closed, Core, Grant, LANE, Refused, Source, Ticket};
use crate::budget::Charge;
use crate::current;
use crate::stable::{Held, Stable};
use crate::wait_list::{Turn, Waiter};

/// Waits for permits, first come first served.
///
/// # Cancel safety
///
/// Dropping it loses the place in the queue, and nothing else: permits that it was given already go to the next.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Acquire<H: Stable>
where
    H::Target: Source,
{
    waiter: Waiter<Held<H, Core>>,
    wanted: usize,
    awaited_at: &'static Location<'static>,
}

impl<H: Stable> Acquire<H>
where
    H::Target: Source,
{
    /// For `permits`, at once if there are as many and nobody waits. `awaited_at` is what lists of tasks show.
    #[inline]
    pub fn new(source: H, permits: usize, awaited_at: &'static Location<'static>) -> Self {
        let ticket = Ticket {
            wanted: permits,
            granted: false,
        };
        Self {
            waiter: Waiter::new(Held::new(source, core_of), ticket),
            wanted: permits,
            awaited_at,
        }
    }
}

impl<H: Stable> Acquire<H>
where
    H::Target: Source,
{
    /// What lists of tasks show.
    #[inline]
    pub fn awaited_at(&self) -> &'static Location<'static> {
        self.awaited_at
    }
}

#[inline]
fn core_of<S: Source + ?Sized>(source: &S) -> &Core {
    &source.permits(Token(())).0
}

impl<H: Stable> Future for Acquire<H>
where
    H::Target: Source,
{
    type Output = Result<Grant<H>, Closed>;

    // Always: a result that is returned through memory is read back in other units than it was written in, and a processor waits for that.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let wanted = self.wanted;
        let waiter = self.as_mut().waiter();
        let charge = ready!(waiter.poll_proceed(cx));
        let waiter = self.as_mut().waiter();
        if waiter.is_free() && waiter.handle().take(wanted).is_ok() {
            charge.made_progress();
            let source = waiter.handle().whole().clone();
            return Poll::Ready(Ok(Grant::new(source, wanted)));
        }
        self.poll_contended(cx, charge)
    }
}

impl<H: Stable> Acquire<H>
where
    H::Target: Source,
{
    #[inline]
    fn waiter(self: Pin<&mut Self>) -> Pin<&mut Waiter<Held<H, Core>>> {
        // SAFETY: the field is pinned with its owner: it is never moved out, there is no `Drop`, and the type is
        // `Unpin` only if the field is.
        unsafe { self.map_unchecked_mut(|this| &mut this.waiter) }
    }

    /// The poll of one who could not just take what it wants. Out of the way of those who can.
    #[inline(never)]
    fn poll_contended(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        charge: Charge,
    ) -> Poll<Result<Grant<H>, Closed>> {
        let (wanted, awaited_at) = (self.wanted, self.awaited_at);
        let mut waiter = self.waiter();
        let outcome = match waiter.as_mut().poll_turn(cx) {
            Turn::Free => {
                let source = waiter.handle().clone();
                waiter.as_mut().join(LANE, cx, |_, ticket| {
                    ticket.granted = false;
                    match source.take_or_wait(wanted) {
                        Err(Refused::TooFew) => None,
                        outcome => Some(outcome.is_ok()),
                    }
                })
            }
            Turn::Waiting => None,
            Turn::Chosen => Some(waiter.as_mut().accept().granted),
        };
        match outcome {
            None => {
                current::note_wait(awaited_at);
                Poll::Pending
            }
            Some(false) => Poll::Ready(Err(Closed)),
            Some(true) => {
                charge.made_progress();
                Poll::Ready(Ok(Grant::new(waiter.handle().whole().clone(), wanted)))
            }
        }
    }
}

impl<H: Stable> fmt::Debug for Acquire<H>
where
    H::Target: Source,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("wanted", &self.wanted)
            .field("awaited_at", &self.awaited_at)
            .finish_non_exhaustive()
    }
}
