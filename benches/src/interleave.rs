//! Contenders measured in turn, round by round, so that a change of the machine's mood meets all of them alike.

use std::time::{Duration, Instant};

use crate::workload::Measured;

/// A calibration may not run away with a workload that is faster than the clock can tell.
const MAX_OPERATIONS: u64 = 1 << 32;

/// One contender's turn at a workload.
#[expect(missing_debug_implementations, reason = "it is a closure")]
pub struct Turn {
    /// Its name in tables.
    pub contender: String,
    /// Does so many operations.
    pub run: Box<dyn Fn(u64) -> Measured>,
    /// Operations of a sample; set by [`calibrate`](Self::calibrate).
    pub operations: u64,
    /// Time per operation in nanoseconds, one entry a round.
    pub samples: Vec<f64>,
    /// The times of single operations, where the workload gives them.
    pub each: Vec<Duration>,
}

impl Turn {
    /// A contender that has not been measured yet.
    pub fn new(contender: impl Into<String>, run: impl Fn(u64) -> Measured + 'static) -> Self {
        Self {
            contender: contender.into(),
            run: Box::new(run),
            operations: 1,
            samples: Vec::new(),
            each: Vec::new(),
        }
    }

    /// Finds how many operations make a sample of about that length, and warms the contender up on the way.
    ///
    /// It goes by the clock on the wall: a workload may count only a part of the time it takes (lateness), or do more operations than it is
    /// asked for (batches).
    pub fn calibrate(&mut self, sample: Duration) {
        self.operations = 1;
        loop {
            let start = Instant::now();
            (self.run)(self.operations);
            if start.elapsed() >= sample || self.operations >= MAX_OPERATIONS {
                return;
            }
            self.operations *= 2;
        }
    }

    fn measure(&mut self) {
        let measured = (self.run)(self.operations);
        self.samples
            .push(measured.nanoseconds / self.operations as f64);
        self.each.extend(measured.each);
    }
}

/// Measures each contender once a round, beginning with another one than the round before.
pub fn rounds(turns: &mut [Turn], rounds: usize) {
    for round in 0..rounds {
        for turn in 0..turns.len() {
            let index = (round + turn) % turns.len();
            turns[index].measure();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    #[test]
    fn every_round_measures_each_once_and_begins_with_another() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut turns: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|name| {
                let order = order.clone();
                Turn::new(name, move |operations| {
                    order.borrow_mut().push(name);
                    Measured {
                        nanoseconds: 10.0 * operations as f64,
                        each: Vec::new(),
                    }
                })
            })
            .collect();
        rounds(&mut turns, 3);
        assert_eq!(order.borrow().concat(), "abcbcacab");
        assert!(turns.iter().all(|turn| turn.samples == [10.0; 3]));
    }
}
