//! CPU-bound work of a known size for the hybrid group: the same number of steps for every contender, not the same time, so that jobs a
//! second say how much was computed.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Steps between two checkpoints: some 20 us, as a loop over rows or blocks would have them.
const STEPS_A_SLICE: u64 = 20_000;

/// One piece of work.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// How many steps of [`spin`] it is.
    pub steps: u64,
    /// What it calls now and then, if anything.
    pub checkpoint: Option<fn()>,
}

impl Job {
    /// Does the work.
    pub fn run(self) -> u64 {
        let mut left = self.steps;
        let mut state = 1;
        while left > 0 {
            let now = left.min(STEPS_A_SLICE);
            state = spin(state, now);
            left -= now;
            if let Some(checkpoint) = self.checkpoint {
                checkpoint();
            }
        }
        state
    }
}

/// A chain of multiplications that no compiler can shorten.
pub fn spin(mut state: u64, steps: u64) -> u64 {
    for _ in 0..steps {
        state = black_box(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
    state
}

/// Steps that this machine does in a second on one core: the best of some tries, as others may compute too.
pub fn steps_a_second() -> f64 {
    const STEPS: u64 = 2_000_000;
    const TRIES: usize = 20;
    let best = (0..TRIES)
        .map(|_| {
            let start = Instant::now();
            black_box(spin(1, STEPS));
            start.elapsed()
        })
        .min()
        .expect("there are tries")
        .max(Duration::from_nanos(1));
    STEPS as f64 / best.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_does_all_its_steps_and_calls_its_checkpoint_between_slices() {
        thread_local!(static CALLS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
        let steps = 2 * STEPS_A_SLICE + 1;
        let job = Job {
            steps,
            checkpoint: Some(|| CALLS.set(CALLS.get() + 1)),
        };
        assert_eq!(job.run(), spin(1, steps));
        assert_eq!(CALLS.get(), 3);
    }
}
