//! Whether a runner begins at the bottom of a compute thread's stack, or above a part of a job that waits there.
//!
//! rayon does not tell. But it calls runners from one place only, the loop in which a thread looks for work. One such loop is at the bottom of
//! every compute thread, and each part that waits has one of its own, above it. So a runner that begins at the bottom is always equally
//! deep in the stack, and one that begins in a wait is deeper by the frames of the part. The depth at the bottom is known from the pool's first runner:
//! parts come from jobs, and jobs from runners.
//!
//! The depth is the distance between a local variable in the thread's own function and one in the runner: numbers, which nothing turns into a
//! pointer again. Where locals are not on the stack (AddressSanitizer moves them elsewhere with `detect_stack_use_after_return`), [`Nesting::new`] notices,
//! and then every runner is taken for one that begins at the bottom.
//!
//! Should the depth ever mislead, no pool stands still: it is asked only while a job runs, and a job that no thread begins is run by the helper.

use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// By how many bytes the depths of two runners at the bottom may differ. By 112 if their stacks begin differently, for the frame of rayon's loop is
/// aligned to 128 bytes (on x86-64). The frames of a part that waits take 656 at least (rayon-core 1.13, x86-64, optimized).
const SLACK: usize = 256;

/// The largest frame that the look at the stack itself may have.
const MOST_FOR_A_FRAME: usize = 4096;

#[derive(Debug)]
pub(super) struct Nesting {
    /// The depth of the runners at the bottom, as far as it is known; `None` if depths tell nothing.
    bottom: Option<AtomicUsize>,
}

impl Nesting {
    pub(super) fn new() -> Self {
        Self {
            bottom: locals_are_on_the_stack().then(|| AtomicUsize::new(usize::MAX)),
        }
    }

    /// Whether a runner that begins at this depth is above a part that waits.
    pub(super) fn is_nested(&self, depth: usize) -> bool {
        let Some(bottom) = &self.bottom else {
            return false;
        };
        // Only a number: whoever waits on this thread was sent there by a job, whose runner has noted its depth before.
        if depth < bottom.load(Relaxed) {
            bottom.fetch_min(depth, Relaxed);
        }
        depth - bottom.load(Relaxed) > SLACK
    }
}

/// Where the stack is now.
#[inline(never)]
pub(super) fn here() -> usize {
    let local = 0_u8;
    ptr::from_ref(black_box(&local)).addr()
}

/// Whether each call has its locals as far below its caller's as that has.
fn locals_are_on_the_stack() -> bool {
    #[inline(never)]
    fn descend(addresses: &mut [usize]) {
        let local = 0_u8;
        if let Some((address, below)) = addresses.split_first_mut() {
            *address = ptr::from_ref(black_box(&local)).addr();
            descend(below);
        }
        // Keeps the frame until here.
        black_box(&local);
    }
    let mut addresses = [0; 4];
    descend(&mut addresses);
    let frame = addresses[0].wrapping_sub(addresses[1]);
    let is_even = |pair: &[usize]| pair[0].wrapping_sub(pair[1]) == frame;
    (1..=MOST_FOR_A_FRAME).contains(&frame) && addresses.windows(2).all(is_even)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deeper_than_the_shallowest_is_nested() {
        let nesting = Nesting {
            bottom: Some(AtomicUsize::new(usize::MAX)),
        };
        assert!(!nesting.is_nested(1_000));
        assert!(!nesting.is_nested(1_000 + SLACK));
        assert!(nesting.is_nested(1_001 + SLACK));
        assert!(!nesting.is_nested(1_000 - SLACK));
        assert!(nesting.is_nested(1_001));
    }

    #[test]
    fn where_depths_tell_nothing_nothing_is_nested() {
        let nesting = Nesting { bottom: None };
        assert!(!nesting.is_nested(1_000));
        assert!(!nesting.is_nested(1_000_000));
    }
}
