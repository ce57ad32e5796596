//! What the expansions of `join!`, `try_join!` and `select!` name. No public interface.

use std::cell::Cell;

pub use super::maybe_done::{MaybeDone, maybe_done};
pub use std::future::{Future, IntoFuture, poll_fn};
pub use std::pin::pin;
pub use std::task::Poll;

thread_local! {
    /// Never zero, which xorshift cannot leave.
    static SEED: Cell<u32> = const { Cell::new(0x9E37_79B9) };
}

/// A number below `arms`, another one at each call: the arm at which a fair `select!` begins.
///
/// Pseudo-random, since a counter could keep step with what the arms wait for.
pub fn fair_start(arms: u32) -> u32 {
    SEED.with(|seed| {
        let mut x = seed.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        seed.set(x);
        ((u64::from(x) * u64::from(arms)) >> 32) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_begins_equally_often() {
        const ARMS: usize = 5;
        const CALLS: usize = 10_000;
        let mut began = [0_usize; ARMS];
        for _ in 0..CALLS {
            began[fair_start(ARMS as u32) as usize] += 1;
        }
        // Far more than the deviation of a fair choice, and the sequence is the same each time.
        for count in began {
            assert!(count.abs_diff(CALLS / ARMS) < CALLS / 50, "{began:?}");
        }
    }
}
