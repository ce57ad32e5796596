//! What the channels promise, with futures that are polled by hand.
#![cfg(not(divisi_loom))]

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use divisi_sync::broadcast::{self, RecvError};
use divisi_sync::mpsc::{self, TryRecvError, TrySendError};
use divisi_sync::{oneshot, queue, watch};
use futures_core::Stream;
use support::Spawned;

fn next<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

// mpsc

fn send(sender: &mpsc::Sender<i32>, value: i32) -> Spawned<bool> {
    let sender = sender.clone();
    Spawned::new(async move { sender.send(value).await.is_ok() })
}

#[test]
fn each_receive_frees_one_slot() {
    let (sender, mut receiver) = mpsc::bounded(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!((sender.free(), sender.len(), receiver.len()), (1, 1, 1));
    sender.try_send(3).unwrap();
    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)));
}

#[test]
fn senders_that_wait_get_slots_in_the_order_of_arrival() {
    let (sender, mut receiver) = mpsc::bounded(1);
    sender.try_send(0).unwrap();
    let (mut first, mut second) = (send(&sender, 1), send(&sender, 2));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    assert_eq!(receiver.try_recv(), Ok(0));
    assert!(first.is_woken() && !second.is_woken());
    assert!(sender.try_send(3).is_err(), "nobody overtakes");
    assert!(first.ready());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert!(second.ready());
}

#[test]
fn a_send_dropped_after_it_got_a_slot_passes_it_on() {
    let (sender, mut receiver) = mpsc::bounded(1);
    sender.try_send(0).unwrap();
    let (mut first, mut second) = (send(&sender, 1), send(&sender, 2));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    receiver.try_recv().unwrap();
    drop(first);
    assert!(second.ready());
    assert_eq!(receiver.try_recv(), Ok(2));
}

#[test]
fn closing_lets_the_receiver_drain_and_sends_senders_away() {
    let (sender, mut receiver) = mpsc::bounded(1);
    sender.try_send(1).unwrap();
    let mut waits = send(&sender, 2);
    assert!(waits.poll().is_pending());
    receiver.close();
    assert!(!waits.ready());
    assert!(sender.is_closed());
    assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn a_value_for_a_dropped_receiver_comes_back_and_what_was_queued_is_dropped() {
    let value = Arc::new(());
    let (sender, mut receiver) = mpsc::unbounded();
    sender.send(value.clone()).unwrap();
    sender.send(value.clone()).unwrap();
    receiver.try_recv().unwrap();
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 1);
    let back = sender.send(value).unwrap_err().0;
    assert_eq!(Arc::strong_count(&back), 1);
}

#[test]
fn the_receiver_sees_the_end_after_the_last_sender_and_all_values() {
    let (sender, mut receiver) = mpsc::unbounded();
    let other = sender.clone();
    other.send(1).unwrap();
    drop(sender);
    assert!(!receiver.is_closed());
    drop(other);
    assert!(receiver.is_closed());
    assert_eq!(next(&mut receiver), Poll::Ready(Some(1)));
    assert_eq!(next(&mut receiver), Poll::Ready(None));
}

#[test]
fn a_reserved_slot_is_kept_until_it_is_used_or_dropped() {
    let (sender, mut receiver) = mpsc::bounded(1);
    let room = sender.try_reserve().unwrap();
    assert!(sender.try_reserve().is_err());
    drop(room);
    let room = sender.try_reserve().unwrap();
    room.send(5).unwrap();
    assert_eq!(receiver.try_recv(), Ok(5));
    let room = sender.try_reserve().unwrap();
    receiver.close();
    assert!(room.send(6).is_err());
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn receiving_many_takes_what_is_there_up_to_the_limit() {
    let (sender, receiver) = mpsc::bounded(8);
    for number in 0..5 {
        sender.try_send(number).unwrap();
    }
    let (count, values, receiver) = Spawned::new(async move {
        let (mut receiver, mut values) = (receiver, Vec::new());
        let count = receiver.recv_many(&mut values, 3).await;
        (count, values, receiver)
    })
    .ready();
    assert_eq!((count, values), (3, vec![0, 1, 2]));
    assert_eq!((receiver.len(), sender.free()), (2, 6));
}

#[test]
fn blocking_ends_meet_on_plain_threads() {
    let (sender, mut receiver) = mpsc::bounded(1);
    let senders = [0, 100].map(|base| {
        let sender = sender.clone();
        thread::spawn(move || {
            (0..100).for_each(|number| sender.send_blocking(base + number).unwrap())
        })
    });
    drop(sender);
    let received: Vec<i32> = std::iter::from_fn(|| receiver.recv_blocking()).collect();
    for base in [0, 100] {
        let of_one = received
            .iter()
            .filter(|number| (base..base + 100).contains(*number));
        assert!(
            of_one.copied().eq(base..base + 100),
            "each sender's values keep their order"
        );
    }
    for sender in senders {
        sender.join().unwrap();
    }
}

// oneshot

#[test]
fn a_oneshot_can_be_received_on_a_plain_thread() {
    let (sender, receiver) = oneshot::channel();
    let sends = thread::spawn(move || sender.send(5));
    assert_eq!(receiver.recv_blocking(), Ok(5));
    assert_eq!(sends.join().unwrap(), Ok(()));
}

// watch

fn changed(mut receiver: watch::Receiver<i32>) -> Spawned<Result<i32, watch::Closed>> {
    Spawned::new(async move {
        receiver.changed().await?;
        Ok(*receiver.get())
    })
}

#[test]
fn a_change_wakes_all_watchers_and_they_see_the_latest() {
    let (sender, receiver) = watch::channel(0);
    let mut watchers = [(); 3].map(|()| changed(receiver.clone()));
    for watcher in &mut watchers {
        assert!(watcher.poll().is_pending());
    }
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(watchers.map(Spawned::ready), [Ok(2); 3]);
}

#[test]
fn a_watcher_sees_the_last_change_and_then_the_end() {
    let (sender, receiver) = watch::channel(0);
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(changed(receiver.clone()).ready(), Ok(1));
    let mut receiver = receiver;
    receiver.get_and_update();
    assert!(receiver.is_closed());
    assert!(changed(receiver).ready().is_err());
}

#[test]
fn a_kept_value_makes_nobody_wait() {
    let (sender, receiver) = watch::channel(0);
    let kept = receiver.get();
    sender.send(1).unwrap();
    assert_eq!((*kept, *receiver.get()), (0, 1));
}

#[test]
fn an_update_to_nothing_wakes_nobody() {
    let (sender, receiver) = watch::channel(0);
    let mut watcher = changed(receiver.clone());
    assert!(watcher.poll().is_pending());
    assert!(!sender.update(|_| None));
    assert!(!watcher.is_woken() && !receiver.has_changed());
    assert!(sender.update(|value| Some(value + 1)));
    assert_eq!(watcher.ready(), Ok(1));
}

#[test]
fn updates_from_two_threads_are_all_in_the_value() {
    let (sender, receiver) = watch::channel(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..1000).for_each(|_| assert!(sender.update(|value| Some(value + 1)))));
        }
    });
    assert_eq!(*receiver.get(), 2000);
}

#[test]
fn waiting_for_a_condition_looks_at_the_present_value_first() {
    let (sender, mut receiver) = watch::channel(1);
    let mut waits = Spawned::new(async move {
        receiver
            .wait_for(|value| *value > 1)
            .await
            .map(|value| *value)
    });
    assert!(waits.poll().is_pending());
    sender.send(0).unwrap();
    assert!(waits.poll().is_pending());
    sender.send(2).unwrap();
    assert_eq!(waits.ready(), Ok(2));
    assert!(sender.is_closed());
    assert_eq!(sender.send(3).unwrap_err().0, 3);
}

#[test]
fn a_stream_of_a_watched_value_begins_with_the_present_one() {
    let (sender, receiver) = watch::channel(1);
    let mut values = receiver.into_stream();
    assert_eq!(next(&mut values), Poll::Ready(Some(Arc::new(1))));
    assert_eq!(next(&mut values), Poll::Pending);
    sender.send(2).unwrap();
    sender.send(3).unwrap();
    assert_eq!(next(&mut values), Poll::Ready(Some(Arc::new(3))));
    drop(sender);
    assert_eq!(next(&mut values), Poll::Ready(None));
}

#[test]
fn a_watch_sender_waits_until_nobody_watches() {
    let (sender, first) = watch::channel(1);
    let second = first.clone();
    let sender = Arc::new(sender);
    let closed = |sender: &Arc<watch::Sender<i32>>| {
        let sender = sender.clone();
        async move { sender.closed().await }
    };
    let mut waits = Spawned::waiting(closed(&sender));
    let impatient = Spawned::waiting(closed(&sender));
    drop(impatient);
    drop(first);
    assert!(!waits.is_woken());
    drop(second);
    assert_eq!(waits.wakes(), 1);

    let late = sender.subscribe();
    assert!(waits.poll().is_pending(), "somebody watches again");
    drop(late);
    assert_eq!(waits.wakes(), 2);
    waits.ready();
    Spawned::new(closed(&sender)).ready();
}

// broadcast

#[test]
fn every_receiver_gets_every_value_from_when_it_was_made() {
    let (sender, mut first) = broadcast::channel(4);
    assert_eq!(sender.send(1), Ok(1));
    let mut second = sender.subscribe();
    assert_eq!(sender.send(2), Ok(2));
    let mut third = first.clone();
    for receiver in [&mut first, &mut third] {
        assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    }
    assert_eq!(second.try_recv(), Ok(2));
    assert_eq!(second.try_recv(), Err(broadcast::TryRecvError::Empty));
    drop(sender);
    assert_eq!(second.try_recv(), Err(broadcast::TryRecvError::Closed));
}

#[test]
fn a_receiver_that_lags_is_told_by_how_much_and_goes_on_with_the_oldest() {
    let (sender, mut receiver) = broadcast::channel(2);
    for number in 0..5 {
        sender.send(number).unwrap();
    }
    assert_eq!(receiver.len(), 2);
    assert_eq!(receiver.try_recv(), Err(broadcast::TryRecvError::Lagged(3)));
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(3), Ok(4)));
}

#[test]
fn a_value_is_dropped_when_all_have_seen_it_and_the_last_gets_the_value_itself() {
    let value = Arc::new(());
    let (sender, mut first) = broadcast::channel(4);
    let (mut second, third) = (first.clone(), first.clone());
    sender.send(value.clone()).unwrap();
    sender.send(value.clone()).unwrap();
    drop(first.try_recv());
    drop(second.try_recv());
    assert_eq!(sender.len(), 2);
    drop(third);
    assert_eq!(sender.len(), 1);
    drop(first.try_recv());
    let last = second.try_recv().unwrap();
    assert_eq!((Arc::strong_count(&last), sender.len()), (2, 0));
    drop((first, second));
    assert!(sender.send(value).is_err(), "nobody is there");
}

#[test]
fn a_closed_broadcast_lets_receivers_drain_and_wakes_those_who_wait() {
    let (sender, mut behind) = broadcast::channel(2);
    sender.send(1).unwrap();
    let mut waiting = sender.subscribe();
    let mut waits = Spawned::new(async move { waiting.recv().await });
    assert!(waits.poll().is_pending());
    let clones = [sender.clone(), sender.clone()];
    assert!(!sender.is_closed());
    clones[0].close();
    sender.close();
    assert_eq!(waits.ready(), Err(RecvError::Closed));
    assert!(sender.is_closed() && sender.clone().is_closed() && behind.is_closed());
    assert_eq!(sender.send(2).unwrap_err().0, 2);
    assert_eq!(behind.try_recv(), Ok(1));
    assert_eq!(behind.try_recv(), Err(broadcast::TryRecvError::Closed));
    let mut late = clones[1].subscribe();
    drop((sender, clones));
    assert_eq!(late.try_recv(), Err(broadcast::TryRecvError::Closed));
}

#[test]
fn a_broadcast_sender_waits_until_nobody_receives() {
    let (sender, receiver) = broadcast::channel::<i32>(2);
    let waits = |sender: &broadcast::Sender<i32>| {
        let sender = sender.clone();
        Spawned::waiting(async move { sender.closed().await })
    };
    let (left, right) = (waits(&sender), waits(&sender));
    drop(receiver);
    left.ready();
    right.ready();
    assert!(sender.send(1).is_err());

    let _receiver = sender.subscribe();
    let until_close = waits(&sender);
    sender.clone().close();
    assert!(until_close.is_woken());
    until_close.ready();
}

#[test]
fn a_dropped_broadcast_receive_loses_nothing() {
    let (sender, receiver) = broadcast::channel(2);
    let mut values = receiver.into_stream();
    assert_eq!(next(&mut values), Poll::Pending);
    sender.send(1).unwrap();
    let mut receiver = values.into_receiver();
    assert_eq!(receiver.try_recv(), Ok(1));
    let mut waits = Spawned::new(async move {
        let received = receiver.recv().await;
        (received, receiver)
    });
    assert!(waits.poll().is_pending());
    drop(sender);
    assert_eq!(waits.ready().0, Err(RecvError::Closed));
}

// queue

#[test]
fn a_stream_of_a_queue_passes_on_what_it_was_promised() {
    let (sender, receiver) = queue::bounded(2);
    let mut values = receiver.clone().into_stream();
    assert_eq!(next(&mut values), Poll::Pending);
    sender.try_send(1).unwrap();
    assert!(receiver.try_recv().is_err(), "it is promised");
    drop(values);
    assert_eq!(receiver.try_recv(), Ok(1));
}

#[test]
fn equal_priorities_are_received_in_the_order_of_arrival() {
    #[derive(Debug, PartialEq, Eq)]
    struct Job(u8, &'static str);
    impl PartialOrd for Job {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Job {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
    let (sender, receiver) = queue::priority(8);
    for job in [
        Job(1, "a"),
        Job(0, "b"),
        Job(1, "c"),
        Job(0, "d"),
        Job(1, "e"),
    ] {
        sender.try_send(job).unwrap();
    }
    let names: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok())
        .map(|job| job.1)
        .collect();
    assert_eq!(names, ["b", "d", "a", "c", "e"]);
}

#[test]
fn work_is_done_even_if_its_destructor_panics() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let (sender, receiver) = queue::unbounded();
    sender.try_send(Panics).unwrap();
    let guard = receiver.try_recv_tracked().unwrap();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(guard)));
    assert!(unwound.is_err());
    assert_eq!(sender.undone(), 0);
}
