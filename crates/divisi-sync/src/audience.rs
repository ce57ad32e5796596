//! Waiting until nobody receives, for the senders of channels whose receivers come and go.
//!
//! They wait in a lane of the channel's own list, so that the number of receivers changes under the same lock under which they look at it.

use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::task::{Poll, ready};

use divisi_task::current;
use divisi_task::wait_list::{Queue, Turn, Waiter};

/// The lanes of such a channel: one for receivers, and [`SENDERS`].
pub(crate) const LANES: usize = 2;

/// The lane of those who wait here.
pub(crate) const SENDERS: usize = 1;

/// The state of such a channel.
pub(crate) trait Audience {
    /// Whether what is sent now reaches nobody. Who makes it so wakes all in the lane.
    fn is_gone(&self) -> bool;
}

/// Waits until there is no audience. One that comes back before the future is polled counts as if it had stayed.
pub(crate) async fn gone<C>(chan: &C, awaited_at: &'static Location<'static>)
where
    C: Queue<LANES, State: Audience, Ticket = ()>,
{
    let mut waiter = pin!(Waiter::new(chan, ()));
    poll_fn(|cx| {
        let charge = ready!(waiter.as_mut().poll_proceed(cx));
        let may_look = match waiter.as_mut().poll_turn(cx) {
            Turn::Free => true,
            Turn::Waiting => false,
            Turn::Chosen => {
                waiter.as_mut().accept();
                true
            }
        };
        let is_over = may_look
            && waiter
                .as_mut()
                .join(SENDERS, cx, |chan, ()| chan.is_gone().then_some(()))
                .is_some();
        if !is_over {
            current::note_wait(awaited_at);
            return Poll::Pending;
        }
        charge.made_progress();
        Poll::Ready(())
    })
    .await;
}
