//! In which order values are received.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// The values of a queue.
pub(super) trait Store<T>: Send {
    fn len(&self) -> usize;
    fn push(&mut self, value: T);
    fn pop(&mut self) -> Option<T>;
}

pub(super) struct Fifo<T>(VecDeque<T>);

impl<T> Fifo<T> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Send> Store<T> for Fifo<T> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, value: T) {
        self.0.push_back(value);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }
}

pub(super) struct Lifo<T>(Vec<T>);

impl<T> Lifo<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }
}

impl<T: Send> Store<T> for Lifo<T> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, value: T) {
        self.0.push(value);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}

pub(super) struct ByPriority<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    /// How many were ever put in.
    pushed: u64,
}

struct Entry<T> {
    value: T,
    /// Orders equal values by arrival.
    number: u64,
}

impl<T: Ord> ByPriority<T> {
    pub(super) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            pushed: 0,
        }
    }
}

impl<T: Ord + Send> Store<T> for ByPriority<T> {
    fn len(&self) -> usize {
        self.heap.len()
    }

    fn push(&mut self, value: T) {
        let number = self.pushed;
        self.pushed += 1;
        self.heap.push(Reverse(Entry { value, number }));
    }

    fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|Reverse(entry)| entry.value)
    }
}

impl<T: Ord> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_value = self.value.cmp(&other.value);
        by_value.then(self.number.cmp(&other.number))
    }
}

impl<T: Ord> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Entry<T> {}
