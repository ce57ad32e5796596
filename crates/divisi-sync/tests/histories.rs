//! Random histories, compared with sequential models.
//!
//! The first half is single-threaded, with futures that are polled by hand: whatever is asked, waited for, and
//! dropped at whatever moment, the outcome is that of a model of a few lines. The second half lets threads run into
//! each other, and looks for an order of what they did, compatible with when they did it, in which the model would
//! have answered the same: the operations are linearizable.
#![cfg(not(divisi_loom))]

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread;

use divisi_sync::{OwnedSemaphorePermit, Semaphore, queue};
use proptest::collection::vec;
use proptest::prelude::*;
use support::Spawned;

// Single-threaded histories

#[derive(Clone, Debug)]
enum QueueStep {
    Send(u8),
    Recv,
    /// Drops one of those who wait.
    Drop(usize),
    /// Sends, and drops one of those who wait before it gets to run.
    SendAndDrop(u8, usize),
    /// Receives, and drops one of those who wait before it gets to run.
    RecvAndDrop(usize),
    Close,
    CloseNow,
}

fn queue_step() -> impl Strategy<Value = QueueStep> {
    prop_oneof![
        8 => any::<u8>().prop_map(QueueStep::Send),
        8 => Just(QueueStep::Recv),
        3 => any::<usize>().prop_map(QueueStep::Drop),
        3 => any::<(u8, usize)>().prop_map(|(value, who)| QueueStep::SendAndDrop(value, who)),
        3 => any::<usize>().prop_map(QueueStep::RecvAndDrop),
        1 => Just(QueueStep::Close),
        1 => Just(QueueStep::CloseNow),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Fifo,
    Lifo,
    Priority,
}

/// What a call came to: a send (whether it was sent), or a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Sent(bool),
    Received(Option<u8>),
}

/// The queue as one would write it for a single thread; calls are numbered.
struct QueueModel {
    order: Order,
    capacity: usize,
    values: VecDeque<u8>,
    senders: VecDeque<(usize, u8)>,
    receivers: VecDeque<usize>,
    closed: bool,
    came: BTreeMap<usize, Came>,
}

impl QueueModel {
    fn send(&mut self, call: usize, value: u8) {
        if self.closed {
            self.came.insert(call, Came::Sent(false));
        } else {
            self.senders.push_back((call, value));
            self.settle();
        }
    }

    fn recv(&mut self, call: usize) {
        self.receivers.push_back(call);
        self.settle();
    }

    fn leave(&mut self, call: usize) {
        self.senders.retain(|(sender, _)| *sender != call);
        self.receivers.retain(|receiver| *receiver != call);
    }

    fn pop(&mut self) -> Option<u8> {
        match self.order {
            Order::Fifo => self.values.pop_front(),
            Order::Lifo => self.values.pop_back(),
            Order::Priority => {
                let least = (0..self.values.len()).min_by_key(|at| self.values[*at])?;
                self.values.remove(least)
            }
        }
    }

    fn settle(&mut self) {
        loop {
            if !self.senders.is_empty() && self.values.len() < self.capacity {
                let (call, value) = self.senders.pop_front().unwrap();
                self.values.push_back(value);
                self.came.insert(call, Came::Sent(true));
            } else if !self.receivers.is_empty() && !self.values.is_empty() {
                let call = self.receivers.pop_front().unwrap();
                let value = self.pop();
                self.came.insert(call, Came::Received(value));
            } else if self.closed && !self.receivers.is_empty() {
                let call = self.receivers.pop_front().unwrap();
                self.came.insert(call, Came::Received(None));
            } else {
                return;
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        for (call, _) in std::mem::take(&mut self.senders) {
            self.came.insert(call, Came::Sent(false));
        }
        self.settle();
    }

    /// Those who wait, in the order of their calls.
    fn waiting(&self) -> BTreeSet<usize> {
        let senders = self.senders.iter().map(|(call, _)| *call);
        senders.chain(self.receivers.iter().copied()).collect()
    }
}

struct QueueRun {
    model: QueueModel,
    sender: queue::Sender<u8>,
    receiver: queue::Receiver<u8>,
    running: BTreeMap<usize, Spawned<Came>>,
    came: BTreeMap<usize, Came>,
    calls: usize,
}

impl QueueRun {
    fn send(&mut self, value: u8) -> Spawned<Came> {
        let sender = self.sender.clone();
        Spawned::new(async move { Came::Sent(sender.send(value).await.is_ok()) })
    }

    fn recv(&mut self) -> Spawned<Came> {
        let receiver = self.receiver.clone();
        Spawned::new(async move { Came::Received(receiver.recv().await) })
    }

    /// Begins a call, and notes if it was over at once.
    fn begin(&mut self, mut call: Spawned<Came>) {
        match call.poll() {
            Poll::Ready(came) => drop(self.came.insert(self.calls, came)),
            Poll::Pending => drop(self.running.insert(self.calls, call)),
        }
        self.calls += 1;
    }

    /// One of those who wait.
    fn pick(&self, who: usize) -> Option<usize> {
        let waiting: Vec<usize> = self.model.waiting().into_iter().collect();
        (!waiting.is_empty()).then(|| waiting[who % waiting.len()])
    }

    /// Lets everybody run who was woken, until nobody is.
    fn run(&mut self) {
        loop {
            let woken =
                |(call, spawned): (&usize, &Spawned<Came>)| spawned.is_woken().then_some(*call);
            let Some(call) = self.running.iter().find_map(woken) else {
                return;
            };
            let mut spawned = self.running.remove(&call).unwrap();
            let Poll::Ready(came) = spawned.poll() else {
                panic!("call {call} was woken for nothing");
            };
            self.came.insert(call, came);
        }
    }

    fn step(&mut self, step: QueueStep) {
        let call = self.calls;
        match step {
            QueueStep::Send(value) => {
                self.model.send(call, value);
                let spawned = self.send(value);
                self.begin(spawned);
            }
            QueueStep::Recv => {
                self.model.recv(call);
                let spawned = self.recv();
                self.begin(spawned);
            }
            QueueStep::Drop(who) => {
                if let Some(who) = self.pick(who) {
                    self.model.leave(who);
                    self.model.settle();
                    drop(self.running.remove(&who));
                }
            }
            // To the model it is as if it had left before.
            QueueStep::SendAndDrop(value, who) => {
                let who = self.pick(who);
                who.inspect(|who| self.model.leave(*who));
                self.model.send(call, value);
                let spawned = self.send(value);
                self.begin(spawned);
                drop(who.map(|who| self.running.remove(&who)));
            }
            QueueStep::RecvAndDrop(who) => {
                let who = self.pick(who);
                who.inspect(|who| self.model.leave(*who));
                self.model.recv(call);
                let spawned = self.recv();
                self.begin(spawned);
                drop(who.map(|who| self.running.remove(&who)));
            }
            QueueStep::Close => {
                self.model.close();
                self.sender.close();
            }
            QueueStep::CloseNow => {
                let expected: Vec<u8> = std::iter::from_fn(|| self.model.pop()).collect();
                self.model.close();
                assert_eq!(self.receiver.close_now(), expected);
            }
        }
        self.run();
    }
}

fn check_queue(order: Order, capacity: usize, steps: Vec<QueueStep>) {
    let (sender, receiver) = match order {
        Order::Fifo => queue::bounded(capacity),
        Order::Lifo => queue::lifo(capacity),
        Order::Priority => queue::priority(capacity),
    };
    let model = QueueModel {
        order,
        capacity,
        values: VecDeque::new(),
        senders: VecDeque::new(),
        receivers: VecDeque::new(),
        closed: false,
        came: BTreeMap::new(),
    };
    let mut run = QueueRun {
        model,
        sender,
        receiver,
        running: BTreeMap::new(),
        came: BTreeMap::new(),
        calls: 0,
    };
    for step in steps {
        run.step(step);
        assert_eq!(run.came, run.model.came);
        let waiting: BTreeSet<usize> = run.running.keys().copied().collect();
        assert_eq!(waiting, run.model.waiting());
        assert_eq!(run.sender.len(), run.model.values.len());
        assert_eq!(run.sender.undone(), run.model.values.len());
    }
}

#[derive(Clone, Debug)]
enum SemaphoreStep {
    Acquire(usize),
    TryAcquire(usize),
    /// Gives back what one of those got who have permits.
    Release(usize),
    Add(usize),
    Drop(usize),
    /// Adds permits, and drops one of those who wait before it gets to run.
    AddAndDrop(usize, usize),
    Forget(usize),
    Close,
}

fn semaphore_step() -> impl Strategy<Value = SemaphoreStep> {
    prop_oneof![
        6 => (0..4_usize).prop_map(SemaphoreStep::Acquire),
        3 => (0..4_usize).prop_map(SemaphoreStep::TryAcquire),
        6 => any::<usize>().prop_map(SemaphoreStep::Release),
        2 => (0..4_usize).prop_map(SemaphoreStep::Add),
        3 => any::<usize>().prop_map(SemaphoreStep::Drop),
        3 => (0..4_usize, any::<usize>()).prop_map(|(add, who)| SemaphoreStep::AddAndDrop(add, who)),
        1 => (0..3_usize).prop_map(SemaphoreStep::Forget),
        1 => Just(SemaphoreStep::Close),
    ]
}

/// Those who wait want `(call, permits)`; those who have some, too.
#[derive(Default)]
struct SemaphoreModel {
    available: usize,
    waiting: VecDeque<(usize, usize)>,
    have: BTreeMap<usize, usize>,
    refused: BTreeSet<usize>,
    closed: bool,
}

impl SemaphoreModel {
    fn settle(&mut self) {
        while let Some((call, wanted)) = self.waiting.front().copied() {
            if wanted > self.available {
                return;
            }
            self.available -= wanted;
            self.waiting.pop_front();
            self.have.insert(call, wanted);
        }
    }
}

type Acquired = Result<OwnedSemaphorePermit, divisi_sync::AcquireError>;

fn check_semaphore(initial: usize, steps: Vec<SemaphoreStep>) {
    let semaphore = Arc::new(Semaphore::new(initial));
    let mut model = SemaphoreModel {
        available: initial,
        ..SemaphoreModel::default()
    };
    let mut running: BTreeMap<usize, Spawned<Acquired>> = BTreeMap::new();
    let mut have: BTreeMap<usize, OwnedSemaphorePermit> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    let pick = |waiting: &VecDeque<(usize, usize)>, who: usize| {
        (!waiting.is_empty()).then(|| waiting[who % waiting.len()].0)
    };
    for (call, step) in steps.into_iter().enumerate() {
        match step {
            SemaphoreStep::Acquire(wanted) => {
                if model.closed {
                    model.refused.insert(call);
                } else {
                    model.waiting.push_back((call, wanted));
                }
                let mut spawned = Spawned::new(semaphore.clone().acquire_owned(wanted));
                match spawned.poll() {
                    Poll::Ready(Ok(permit)) => drop(have.insert(call, permit)),
                    Poll::Ready(Err(_)) => drop(refused.insert(call)),
                    Poll::Pending => drop(running.insert(call, spawned)),
                }
            }
            SemaphoreStep::TryAcquire(wanted) => {
                let free = !model.closed && model.waiting.is_empty() && wanted <= model.available;
                if free {
                    model.available -= wanted;
                    model.have.insert(call, wanted);
                }
                let permit = semaphore.clone().try_acquire_owned(wanted).ok();
                assert_eq!(permit.is_some(), free);
                have.extend(permit.map(|permit| (call, permit)));
            }
            SemaphoreStep::Release(who) => {
                if let Some(who) = have.keys().nth(who % have.len().max(1)).copied() {
                    model.available += model.have.remove(&who).unwrap();
                    drop(have.remove(&who));
                }
            }
            SemaphoreStep::Add(permits) => {
                model.available += permits;
                semaphore.add(permits);
            }
            SemaphoreStep::Drop(who) => {
                if let Some(who) = pick(&model.waiting, who) {
                    model.waiting.retain(|(call, _)| *call != who);
                    drop(running.remove(&who));
                }
            }
            SemaphoreStep::AddAndDrop(permits, who) => {
                let who = pick(&model.waiting, who);
                model.waiting.retain(|(call, _)| Some(*call) != who);
                model.available += permits;
                semaphore.add(permits);
                drop(who.map(|who| running.remove(&who)));
            }
            SemaphoreStep::Forget(permits) => {
                let removed = permits.min(model.available);
                model.available -= removed;
                assert_eq!(semaphore.forget(permits), removed);
            }
            SemaphoreStep::Close => {
                model.closed = true;
                model
                    .refused
                    .extend(model.waiting.drain(..).map(|(call, _)| call));
                semaphore.close();
            }
        }
        model.settle();
        let woken: Vec<usize> = running
            .iter()
            .filter_map(|(call, spawned)| spawned.is_woken().then_some(*call))
            .collect();
        for call in woken {
            match running.remove(&call).unwrap().ready() {
                Ok(permit) => drop(have.insert(call, permit)),
                Err(_) => drop(refused.insert(call)),
            }
        }
        let counts: BTreeMap<usize, usize> = have
            .iter()
            .map(|(call, permit)| (*call, permit.permits()))
            .collect();
        assert_eq!(counts, model.have);
        assert_eq!(refused, model.refused);
        assert_eq!(semaphore.available(), model.available);
        assert_eq!(semaphore.waiting(), model.waiting.len());
    }
}

proptest! {
    #[test]
    fn a_queue_does_what_its_model_does(
        capacity in 1..4_usize,
        steps in vec(queue_step(), 0..60),
    ) {
        check_queue(Order::Fifo, capacity, steps);
    }

    #[test]
    fn a_lifo_queue_does_what_its_model_does(
        capacity in 1..4_usize,
        steps in vec(queue_step(), 0..60),
    ) {
        check_queue(Order::Lifo, capacity, steps);
    }

    #[test]
    fn a_priority_queue_does_what_its_model_does(
        capacity in 1..4_usize,
        steps in vec(queue_step(), 0..60),
    ) {
        check_queue(Order::Priority, capacity, steps);
    }

    #[test]
    fn a_semaphore_does_what_its_model_does(
        initial in 0..4_usize,
        steps in vec(semaphore_step(), 0..60),
    ) {
        check_semaphore(initial, steps);
    }
}

// Histories of threads

/// An operation that a thread did, what came of it, and when it began and ended.
#[derive(Clone, Debug)]
struct Event<Op, Outcome> {
    op: Op,
    outcome: Outcome,
    began: usize,
    ended: usize,
}

type History<Op, Outcome> = Vec<Event<Op, Outcome>>;

/// Runs the threads' operations, all at the same time.
fn run_threads<Op, Outcome>(
    threads: Vec<Vec<Op>>,
    apply: impl Fn(&Op) -> Outcome + Sync,
) -> History<Op, Outcome>
where
    Op: Send,
    Outcome: Send,
{
    let clock = AtomicUsize::new(0);
    let start = Barrier::new(threads.len());
    let (clock, start, apply) = (&clock, &start, &apply);
    thread::scope(|scope| {
        let threads: Vec<_> = threads
            .into_iter()
            .map(|ops| {
                scope.spawn(move || {
                    start.wait();
                    let timed = |op: Op| {
                        let began = clock.fetch_add(1, Ordering::SeqCst);
                        let outcome = apply(&op);
                        let ended = clock.fetch_add(1, Ordering::SeqCst);
                        Event {
                            op,
                            outcome,
                            began,
                            ended,
                        }
                    };
                    ops.into_iter().map(timed).collect::<Vec<_>>()
                })
            })
            .collect();
        let histories = threads.into_iter().map(|thread| thread.join().unwrap());
        histories.flatten().collect()
    })
}

/// Whether some order of the events, in which none comes before one that had ended when it began, is one that the
/// model does.
fn is_linearizable<Op: Clone, Outcome: PartialEq + Clone, Model: Clone>(
    rest: &History<Op, Outcome>,
    model: &Model,
    apply: &impl Fn(&mut Model, &Op) -> Outcome,
) -> bool {
    let Some(first_end) = rest.iter().map(|event| event.ended).min() else {
        return true;
    };
    (0..rest.len()).any(|next| {
        if rest[next].began > first_end {
            return false;
        }
        let mut model = model.clone();
        if apply(&mut model, &rest[next].op) != rest[next].outcome {
            return false;
        }
        let mut rest = rest.clone();
        rest.remove(next);
        is_linearizable(&rest, &model, apply)
    })
}

#[derive(Clone, Debug)]
enum TryOp {
    Put(u8),
    Take,
}

fn try_ops() -> impl Strategy<Value = Vec<Vec<TryOp>>> {
    let op = prop_oneof![any::<u8>().prop_map(TryOp::Put), Just(TryOp::Take)];
    vec(vec(op, 1..5), 2..4)
}

/// What an operation came to: whether something was put in, or what was taken.
type Tried = Result<bool, Option<u8>>;

proptest! {
    #[test]
    fn a_queue_between_threads_is_linearizable(capacity in 1..3_usize, threads in try_ops()) {
        let (sender, receiver) = queue::bounded(capacity);
        let history = run_threads(threads, |op| -> Tried {
            match op {
                TryOp::Put(value) => Ok(sender.try_send(*value).is_ok()),
                TryOp::Take => Err(receiver.try_recv().ok()),
            }
        });
        let apply = |values: &mut VecDeque<u8>, op: &TryOp| -> Tried {
            match op {
                TryOp::Put(_) if values.len() == capacity => Ok(false),
                TryOp::Put(value) => {
                    values.push_back(*value);
                    Ok(true)
                }
                TryOp::Take => Err(values.pop_front()),
            }
        };
        prop_assert!(is_linearizable(&history, &VecDeque::new(), &apply), "{history:?}");
    }

    #[test]
    fn a_semaphore_between_threads_is_linearizable(initial in 0..3_usize, threads in try_ops()) {
        let semaphore = Semaphore::new(initial);
        let history = run_threads(threads, |op| match op {
            TryOp::Put(permits) => {
                semaphore.add(usize::from(*permits % 3));
                true
            }
            TryOp::Take => semaphore.try_acquire().map(|permit| permit.forget()).is_ok(),
        });
        let apply = |available: &mut usize, op: &TryOp| match op {
            TryOp::Put(permits) => {
                *available += usize::from(*permits % 3);
                true
            }
            TryOp::Take if *available == 0 => false,
            TryOp::Take => {
                *available -= 1;
                true
            }
        };
        prop_assert!(is_linearizable(&history, &initial, &apply), "{history:?}");
    }
}
