//! Claims whose runners could not begin where rayon called them: see "Bounces" in [`dispatcher`](super::dispatcher).
//!
//! All of them are tried again [`RETRY`] after the first, in one go: what each of them costs is paid a thousand times a second, however many there are.
//!
//! rayon looks for runners last, when there is no part left to steal. A thread that is free to begin one may so be kept from it for as long as there are
//! parts, and those that wait for a part bounce it. If that goes on for the [`WINDOW`] of the helper and no job begins, the [helper](super::helper) runs one.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use super::Shared;
use super::helper::{WINDOW, Watch};

/// How long it takes until runners are tried again that could not begin. Ours: short against a job that is worth splitting in parts, long
/// against a try (some microseconds).
const RETRY: Duration = Duration::from_millis(1);

/// What the dispatcher knows of them.
#[derive(Default)]
pub(super) struct Bounces {
    retry_at: Option<Instant>,
    /// Since when jobs wait and none has begun while runners bounced, and how many had.
    stuck: Option<(Instant, u64)>,
}

impl Bounces {
    /// Tries them again if it is time to. Returns after what time to look; nothing if they were tried now, `None` if there are none.
    pub(super) fn look(&mut self, shared: &Arc<Shared>, watch: &mut Watch) -> Option<Duration> {
        if shared.bounced.load(SeqCst) == 0 {
            self.retry_at = None;
            return None;
        }
        let now = Instant::now();
        let retry_at = *self.retry_at.get_or_insert(now + RETRY);
        if now < retry_at {
            return Some(retry_at - now);
        }
        self.retry_at = None;
        shared
            .wanted
            .fetch_add(shared.bounced.swap(0, SeqCst), Relaxed);
        if shared.may_help && self.is_stuck(shared, now) {
            watch.send_helper(shared);
        }
        Some(Duration::ZERO)
    }

    fn is_stuck(&mut self, shared: &Shared, now: Instant) -> bool {
        let begun = shared.counters.begun();
        if !shared.has_work() {
            self.stuck = None;
            return false;
        }
        let since = match self.stuck {
            Some((since, before)) if before == begun => since,
            _ => now,
        };
        let is_stuck = now.saturating_duration_since(since) >= WINDOW;
        self.stuck = Some((if is_stuck { now } else { since }, begun));
        is_stuck
    }
}
