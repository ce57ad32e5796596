//! One request to stop, seen by every task that asks.

use std::convert::Infallible;

use async_channel::{Receiver, Sender};

/// Dropping it is the request.
pub(crate) struct Stopper {
    // Nothing is ever sent: a channel whose sender is gone wakes all receivers, now and later.
    _sender: Sender<Infallible>,
}

/// Waits for the request. Clones all see it.
#[derive(Clone)]
pub(crate) struct Stop(Receiver<Infallible>);

pub(crate) fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = async_channel::bounded(1);
    (Stopper { _sender: sender }, Stop(receiver))
}

impl Stop {
    /// Completes when the [`Stopper`] is gone.
    pub(crate) async fn requested(&self) {
        match self.0.recv().await {
            Ok(never) => match never {},
            Err(_closed) => {}
        }
    }
}
