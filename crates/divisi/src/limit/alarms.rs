//! The timers of a line: one in each runtime in which somebody waits.
//!
//! One timer would do if every runtime ran for ever. But one that is not driven for a while, such as a
//! [`LocalRuntime`](crate::LocalRuntime) between two `block_on`, must not hold up those who wait elsewhere. So all timers are set to the same moment,
//! and whichever fires serves everybody; the others then find nothing to do.

use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use divisi_reactor::{Reactor, ReactorId, Timer};

#[derive(Default)]
pub(super) struct Alarms {
    homes: Vec<Home>,
    /// What all of them are set to.
    armed_for: Option<u64>,
}

struct Home {
    runtime: ReactorId,
    reactor: Reactor,
    timer: Timer,
}

impl Alarms {
    /// Adds a timer in that runtime, if there is none. It is not set before the next `arm`: then this returns true.
    pub(super) fn add(&mut self, runtime: ReactorId, reactor: Reactor) -> bool {
        if self.homes.iter().any(|home| home.runtime == runtime) {
            return false;
        }
        self.homes.push(Home {
            runtime,
            reactor,
            timer: Timer::never(),
        });
        self.armed_for = None;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.homes.is_empty()
    }

    pub(super) fn armed_for(&self) -> Option<u64> {
        self.armed_for
    }

    /// One has fired, or its runtime has ended.
    pub(super) fn must_be_armed(&mut self) {
        self.armed_for = None;
    }

    /// Sets all to `due`, which is `deadline` on the clock. Ready if it is time already, or with an error if no runtime is left.
    pub(super) fn arm(
        &mut self,
        due: u64,
        deadline: Instant,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        if self.armed_for == Some(due) {
            return Poll::Pending;
        }
        self.armed_for = None;
        let mut cx = Context::from_waker(waker);
        let mut is_time = false;
        let mut error = None;
        self.homes.retain_mut(|home| {
            home.timer.reset(deadline);
            let reactor = || Ok(home.reactor.clone());
            match home.timer.poll_expired(&mut cx, reactor) {
                Poll::Pending => true,
                Poll::Ready(Ok(())) => {
                    is_time = true;
                    true
                }
                Poll::Ready(Err(gone)) => {
                    error = Some(gone);
                    false
                }
            }
        });
        if is_time {
            return Poll::Ready(Ok(()));
        }
        if self.homes.is_empty() {
            let none = || io::Error::other("there is no runtime");
            return Poll::Ready(Err(error.unwrap_or_else(none)));
        }
        self.armed_for = Some(due);
        Poll::Pending
    }
}
