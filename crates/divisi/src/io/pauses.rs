//! Trying again where the system does not tell when it is worth a try.

use std::time::Duration;

use crate::time::sleep;

/// The pauses between the attempts; each is twice the one before.
pub(crate) struct Pauses(Duration);

impl Pauses {
    /// Ours, both: the first is short against what a user notices, the longest long against an attempt.
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(50);

    pub(crate) fn new() -> Pauses {
        Pauses(Pauses::FIRST)
    }

    /// Waits until the next attempt.
    pub(crate) async fn pause(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(Pauses::LONGEST);
    }
}
