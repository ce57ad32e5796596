//! The way from a protocol, and from anybody it gave a clone to, into its connection.
//!
//! State is shared between the clones and the one future that drives the connection. The driver takes its waker out when it is polled and puts it back when it has
//! found nothing more to do, under the lock under which the clones leave their requests: so a request is either seen by the driver or wakes it. Requests from inside a
//! callback find no waker, and the driver looks for them afterwards.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use crate::io::WriteLimits;
use crate::io::backlog::Backlog;

/// How far this side wants to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    #[default]
    Open,
    /// Nothing more will be written; reading goes on.
    EndWriting,
    /// To be ended after what waits is written.
    Close,
    /// To be ended now.
    Abort,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// What callers have written and the driver has not taken over.
    pub(super) incoming: Backlog,
    /// What the driver has taken over and the system has not.
    pub(super) taken: usize,
    pub(super) limits: WriteLimits,
    pub(super) wish: Wish,
    pub(super) reading_paused: bool,
    /// Something was asked for since the driver looked.
    pub(super) changed: bool,
    pub(super) lost: bool,
    pub(super) driver: Option<Waker>,
}

/// A connection as its protocol sees it. Clones are the same connection, and may be used from any thread. No method waits.
///
/// A transport keeps no connection open: that ends when [`lost`](super::Protocol::lost) was called.
#[derive(Clone)]
pub struct Transport(Arc<Mutex<State>>);

impl Transport {
    pub(super) fn new() -> Transport {
        Transport(Arc::default())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Changes the state and lets the driver see it.
    fn ask(&self, change: impl FnOnce(&mut State)) {
        let driver = {
            let mut state = self.0.lock();
            change(&mut state);
            state.changed = true;
            state.driver.take()
        };
        // Outside of the lock: it may run anything.
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Writes `data` after what was written before. What the system does not take at once is kept; [`pause_writing`](super::Protocol::pause_writing) tells when that
    /// becomes much.
    ///
    /// After [`close`](Self::close), [`end_writing`](Self::end_writing) or the loss of the connection it does nothing.
    pub fn write(&self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.ask(|state| {
            if state.wish == Wish::Open && !state.lost {
                state.incoming.push(data);
            }
        });
    }

    /// Ends this direction after what waits is written. The peer reads the end; what it sends still comes.
    pub fn end_writing(&self) {
        self.ask(|state| state.wish = state.wish.max(Wish::EndWriting));
    }

    /// Ends the connection after what waits is written. No more data comes, and then `lost(None)` is called.
    ///
    /// A peer that does not read keeps the connection from closing: [`abort`](Self::abort) does not wait for it.
    pub fn close(&self) {
        self.ask(|state| state.wish = state.wish.max(Wish::Close));
    }

    /// Ends the connection now; what waits is lost. `lost(None)` is called.
    pub fn abort(&self) {
        self.ask(|state| state.wish = Wish::Abort);
    }

    /// Whether the connection is being closed or gone.
    pub fn is_closing(&self) -> bool {
        let state = self.0.lock();
        state.lost || state.wish >= Wish::Close
    }

    /// Stops to read: no `data` is called, and the peer is held back by the system's buffers.
    pub fn pause_reading(&self) {
        self.ask(|state| state.reading_paused = true);
    }

    /// Reads again.
    pub fn resume_reading(&self) {
        self.ask(|state| state.reading_paused = false);
    }

    /// The number of bytes that wait to be written.
    pub fn buffered(&self) -> usize {
        let state = self.0.lock();
        state.incoming.len() + state.taken
    }

    /// Sets when the protocol is told to pause and to resume writing: 64 KiB and 16 KiB unless told otherwise.
    pub fn set_write_limits(&self, limits: WriteLimits) {
        self.ask(|state| state.limits = limits);
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("buffered", &self.buffered())
            .field("closing", &self.is_closing())
            .finish()
    }
}
