//! What happens when one who waits is dropped at the worst moment. The races are those that asyncio's own tests
//! guard.

#![cfg(not(divisi_loom))]

mod support;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divisi_sync::{Barrier, Condvar, Event, Mutex, Notify, RwLock, Semaphore, queue};
use divisi_task::budget;
use divisi_task::freeze::{self, Mode};
use support::Spawned;

fn lock(mutex: &Arc<Mutex<i32>>) -> Spawned<divisi_sync::OwnedMutexGuard<i32>> {
    Spawned::waiting(mutex.clone().lock_owned())
}

// Lock (asyncio: test_cancel_race, test_cancel_release_race, test_finished_waiter_cancelled)

#[test]
fn a_dropped_mutex_waiter_leaves_the_queue() {
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.try_lock().unwrap();
    let (first, second) = (lock(&mutex), lock(&mutex));
    drop(first);
    drop(guard);
    assert!(second.is_woken());
    drop(second.ready());
    assert!(mutex.try_lock().is_some(), "nobody waits any more");
}

#[test]
fn a_mutex_waiter_dropped_after_it_was_handed_the_lock_passes_it_on() {
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.try_lock().unwrap();
    let (first, second) = (lock(&mutex), lock(&mutex));
    drop(guard);
    assert!(first.is_woken() && !second.is_woken());
    drop(first);
    assert!(second.is_woken());
    drop(second.ready());
}

#[test]
fn a_mutex_whose_only_waiter_is_dropped_after_the_hand_over_is_free() {
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.try_lock().unwrap();
    let only = lock(&mutex);
    drop(guard);
    assert!(
        mutex.try_lock().is_none(),
        "it was handed over: nobody overtakes"
    );
    drop(only);
    assert!(mutex.try_lock().is_some());
}

#[test]
fn nobody_overtakes_those_who_wait_for_a_mutex() {
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.try_lock().unwrap();
    let (first, second) = (lock(&mutex), lock(&mutex));
    drop(guard);
    let third = lock(&mutex);
    drop(first.ready());
    assert!(second.is_woken() && !third.is_woken());
    drop(second.ready());
    drop(third.ready());
}

// Read-write lock

#[test]
fn a_dropped_writer_lets_the_readers_behind_it_in() {
    let lock = Arc::new(RwLock::new(0));
    let reads = lock.try_read().unwrap();
    let writer = Spawned::waiting(lock.clone().write_owned());
    let reader = Spawned::waiting(lock.clone().read_owned());
    assert!(
        lock.try_read().is_none(),
        "a writer waits: it is not starved"
    );
    drop(writer);
    assert!(reader.is_woken());
    assert_eq!(*reader.ready() + *reads, 0);
}

#[test]
fn readers_behind_a_writer_all_go_in_when_it_is_done() {
    let lock = Arc::new(RwLock::new(0));
    let writes = lock.try_write().unwrap();
    let readers = [(); 3].map(|()| Spawned::waiting(lock.clone().read_owned()));
    let writer = Spawned::waiting(lock.clone().write_owned());
    drop(writes);
    let guards = readers.map(Spawned::ready);
    assert!(!writer.is_woken());
    drop(guards);
    drop(writer.ready());
}

// Semaphore (asyncio: test_acquire_cancel_before_awoken, test_acquire_fifo_order, gh-90155, gh-93899)

fn acquire(
    semaphore: &Arc<Semaphore>,
    permits: usize,
) -> Spawned<divisi_sync::OwnedSemaphorePermit> {
    let semaphore = semaphore.clone();
    Spawned::waiting(async move { semaphore.acquire_owned(permits).await.unwrap() })
}

#[test]
fn a_cancelled_waiter_passes_its_permit_on() {
    let semaphore = Arc::new(Semaphore::new(0));
    let (first, second) = (acquire(&semaphore, 1), acquire(&semaphore, 1));
    semaphore.add(1);
    assert!(first.is_woken() && !second.is_woken());
    drop(first);
    assert!(second.is_woken());
    second.ready().forget();
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn permits_that_were_granted_to_dropped_waiters_are_there_again() {
    let semaphore = Arc::new(Semaphore::new(0));
    let waiters = [(); 3].map(|()| acquire(&semaphore, 1));
    semaphore.add(2);
    drop(waiters);
    assert_eq!(semaphore.available(), 2);
    assert!(semaphore.try_acquire_many(2).is_ok());
}

#[test]
fn permits_released_at_once_wake_as_many_waiters() {
    let semaphore = Arc::new(Semaphore::new(0));
    let waiters = [(); 3].map(|()| acquire(&semaphore, 1));
    semaphore.add(2);
    let woken = waiters.iter().filter(|waiter| waiter.is_woken()).count();
    assert_eq!(woken, 2);
}

#[test]
fn one_who_wants_many_is_not_overtaken_by_those_who_want_few() {
    let semaphore = Arc::new(Semaphore::new(1));
    let many = acquire(&semaphore, 2);
    assert!(
        semaphore.try_acquire().is_err(),
        "one waits: nobody overtakes"
    );
    let few = acquire(&semaphore, 1);
    semaphore.add(1);
    assert!(many.is_woken() && !few.is_woken());
    drop(many.ready());
    drop(few.ready());
}

#[test]
fn one_who_leaves_the_front_lets_those_behind_it_fit() {
    let semaphore = Arc::new(Semaphore::new(1));
    let many = acquire(&semaphore, 2);
    let few = acquire(&semaphore, 1);
    drop(many);
    assert!(few.is_woken());
    drop(few.ready());
}

#[test]
fn closing_a_semaphore_wakes_all_with_an_error() {
    let semaphore = Arc::new(Semaphore::new(0));
    let waiter = Spawned::waiting(semaphore.clone().acquire_owned(1));
    semaphore.close();
    assert!(waiter.ready().is_err());
    semaphore.add(1);
    assert!(semaphore.try_acquire().is_err());
}

// Event (asyncio: test_wait_cancel, test_clear_with_waiters)

#[test]
fn setting_an_event_wakes_all_who_wait_even_if_it_is_cleared_before_they_run() {
    let event = Arc::new(Event::new());
    let waits = |event: &Arc<Event>| {
        let event = event.clone();
        Spawned::waiting(async move { event.wait().await })
    };
    let waiters = [(); 3].map(|()| waits(&event));
    event.set();
    event.clear();
    let late = waits(&event);
    let _: [(); 3] = waiters.map(Spawned::ready);
    assert!(!late.is_woken());
}

#[test]
fn a_dropped_event_waiter_leaves_nothing_behind() {
    let event = Arc::new(Event::new());
    let waiter = Spawned::waiting({
        let event = event.clone();
        async move { event.wait().await }
    });
    assert_eq!(event.waiting(), 1);
    drop(waiter);
    assert_eq!(event.waiting(), 0);
    event.set();
    Spawned::new(async move { event.wait().await }).ready();
}

// Notify

#[test]
fn a_dropped_notified_waiter_puts_the_flag_up_again() {
    let notify = Arc::new(Notify::new());
    let waiter = Spawned::waiting({
        let notify = notify.clone();
        async move { notify.notified().await }
    });
    notify.notify_one();
    drop(waiter);
    Spawned::new(async move { notify.notified().await }).ready();
}

#[test]
fn a_notification_to_all_is_not_passed_on() {
    let notify = Arc::new(Notify::new());
    let waits = |notify: &Arc<Notify>| {
        let notify = notify.clone();
        Spawned::waiting(async move { notify.notified().await })
    };
    let waiter = waits(&notify);
    assert_eq!(notify.notify_all(), 1);
    let late = waits(&notify);
    drop(waiter);
    assert!(!late.is_woken());
}

// Condition (asyncio: test_wait_cancel_contested, gh-112202: test_cancelled_wakeup, test_cancelled_wakeup_relock)

type Shared = Arc<(Mutex<i32>, Condvar)>;

fn wait(shared: &Shared) -> Spawned<i32> {
    let shared = shared.clone();
    Spawned::waiting(async move {
        let guard = shared.0.lock().await;
        *shared.1.wait(guard).await
    })
}

#[test]
fn a_condvar_waiter_dropped_after_its_notification_passes_it_on() {
    let shared = Shared::default();
    let (first, second) = (wait(&shared), wait(&shared));
    shared.1.notify_one();
    assert!(first.is_woken() && !second.is_woken());
    drop(first);
    assert!(second.is_woken());
    assert_eq!(second.ready(), 0);
}

#[test]
fn a_condvar_waiter_dropped_while_it_locks_again_passes_its_notification_on() {
    let shared = Shared::default();
    let (mut first, second) = (wait(&shared), wait(&shared));
    let guard = shared.0.try_lock().unwrap();
    shared.1.notify_one();
    assert!(first.poll().is_pending(), "it waits for the lock now");
    drop(first);
    assert!(second.is_woken());
    drop(guard);
    assert_eq!(second.ready(), 0);
}

#[test]
fn a_dropped_condvar_wait_leaves_the_mutex_unlocked() {
    let shared = Shared::default();
    let waiter = wait(&shared);
    assert!(shared.0.try_lock().is_some());
    drop(waiter);
    assert!(shared.0.try_lock().is_some());
    assert_eq!(shared.1.waiting(), 0);
}

#[test]
fn a_frozen_condvar_wait_passes_its_notification_on() {
    let shared = Shared::default();
    let (mut first, second) = (wait(&shared), wait(&shared));
    shared.1.notify_one();
    assert!(first.is_woken() && !second.is_woken());
    freeze::with(Mode::Frozen, || assert!(first.poll().is_pending()));
    assert!(second.is_woken());
    assert_eq!(second.ready(), 0);
}

#[test]
fn a_condvar_wait_frozen_while_it_locks_again_passes_its_notification_on() {
    let shared = Shared::default();
    let (mut first, second) = (wait(&shared), wait(&shared));
    let guard = shared.0.try_lock().unwrap();
    shared.1.notify_one();
    assert!(first.poll().is_pending(), "it waits for the lock now");
    freeze::with(Mode::LastTry, || assert!(first.poll().is_pending()));
    assert!(second.is_woken());
    drop(guard);
    assert_eq!(second.ready(), 0);
    // It waits for another.
    assert!(first.poll().is_pending());
    assert_eq!(shared.1.notify_all(), 1);
    assert_eq!(first.ready(), 0);
}

#[test]
fn a_frozen_condvar_wait_unlocks_and_is_in_no_list() {
    let shared = Shared::default();
    let guard = shared.0.try_lock().unwrap();
    {
        let mut waits = pin!(shared.1.wait(guard));
        let mut cx = Context::from_waker(Waker::noop());
        freeze::with(Mode::Frozen, || {
            assert!(waits.as_mut().poll(&mut cx).is_pending());
        });
        assert!(shared.0.try_lock().is_some());
        assert_eq!(shared.1.waiting(), 0);
    }
}

#[test]
fn a_condvar_wait_without_budget_has_not_begun() {
    let (mutex, condition) = (Mutex::new(0), Condvar::new());
    let mut cx = Context::from_waker(Waker::noop());
    let mut waits = pin!(condition.wait(mutex.try_lock().unwrap()));
    budget::limited(|| {
        while let Poll::Ready(charge) = budget::poll_proceed(&mut cx) {
            charge.made_progress();
        }
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        assert_eq!(condition.waiting(), 0);
        assert!(mutex.try_lock().is_none(), "it has not unlocked");
        budget::reset();
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        assert!(mutex.try_lock().is_some());
        assert_eq!(condition.notify_all(), 1);
        assert!(waits.as_mut().poll(&mut cx).is_ready());
    });
}

#[test]
fn notifying_a_number_wakes_that_many_of_the_oldest() {
    let shared = Shared::default();
    let waiters = [(); 3].map(|()| wait(&shared));
    assert_eq!(shared.1.notify(2), 2);
    assert_eq!(waiters.each_ref().map(Spawned::wakes), [1, 1, 0]);
    assert_eq!(shared.1.notify_all(), 1);
    assert_eq!(shared.1.notify(1), 0, "nobody waits");
}

// Barrier

fn come(barrier: &Arc<Barrier>) -> Spawned<Result<usize, divisi_sync::BrokenBarrier>> {
    let barrier = barrier.clone();
    Spawned::new(async move { barrier.wait().await })
}

fn come_and_wait(barrier: &Arc<Barrier>) -> Spawned<Result<usize, divisi_sync::BrokenBarrier>> {
    let mut spawned = come(barrier);
    assert!(spawned.poll().is_pending());
    spawned
}

#[test]
fn each_at_a_barrier_gets_another_index() {
    let barrier = Arc::new(Barrier::new(3));
    let (first, second) = (come_and_wait(&barrier), come_and_wait(&barrier));
    assert_eq!(come(&barrier).ready(), Ok(2));
    assert_eq!((first.ready(), second.ready()), (Ok(0), Ok(1)));
}

#[test]
fn one_who_leaves_a_barrier_is_waited_for_no_more() {
    let barrier = Arc::new(Barrier::new(2));
    drop(come_and_wait(&barrier));
    assert_eq!(barrier.waiting(), 0);
    let stays = come_and_wait(&barrier);
    assert_eq!(come(&barrier).ready(), Ok(1));
    assert_eq!(stays.ready(), Ok(0));
}

#[test]
fn late_comers_at_a_barrier_meet_the_next_ones() {
    let barrier = Arc::new(Barrier::new(2));
    let first = come_and_wait(&barrier);
    assert_eq!(come(&barrier).ready(), Ok(1));
    // `first` has not run yet.
    let late = come_and_wait(&barrier);
    assert_eq!(first.ready(), Ok(0));
    assert!(!late.is_woken());
    assert_eq!(barrier.waiting(), 1);
}

#[test]
fn a_reset_sends_those_at_the_barrier_away_and_reopens_it() {
    let barrier = Arc::new(Barrier::new(2));
    let sent_away = come_and_wait(&barrier);
    barrier.reset();
    assert!(!barrier.is_broken());
    let next = come_and_wait(&barrier);
    assert!(sent_away.ready().is_err());
    assert_eq!(come(&barrier).ready(), Ok(1));
    assert_eq!(next.ready(), Ok(0));
}

#[test]
fn an_aborted_barrier_stays_broken_until_it_is_reset() {
    let barrier = Arc::new(Barrier::new(2));
    let sent_away = come_and_wait(&barrier);
    barrier.abort();
    assert!(barrier.is_broken());
    assert!(sent_away.ready().is_err());
    assert!(come(&barrier).ready().is_err());
    barrier.reset();
    drop(come_and_wait(&barrier));
}

#[test]
#[should_panic(expected = "one party")]
fn a_barrier_for_nobody_is_refused() {
    let _ = Barrier::new(0);
}

// Queue (asyncio: test_cancelled_getters_not_being_held_in_self_getters, test_cancelled_put_silence_value_error,
// test_get_cancelled_race, test_why_are_getters_waiting)

fn recv(receiver: &queue::Receiver<i32>) -> Spawned<Option<i32>> {
    let receiver = receiver.clone();
    Spawned::new(async move { receiver.recv().await })
}

fn send(sender: &queue::Sender<i32>, value: i32) -> Spawned<bool> {
    let sender = sender.clone();
    Spawned::new(async move { sender.send(value).await.is_ok() })
}

#[test]
fn a_receiver_dropped_after_it_was_promised_a_value_passes_it_on() {
    let (sender, receiver) = queue::bounded(2);
    let (mut first, mut second) = (recv(&receiver), recv(&receiver));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    sender.try_send(1).unwrap();
    assert!(first.is_woken() && !second.is_woken());
    assert!(receiver.try_recv().is_err(), "nobody overtakes");
    drop(first);
    assert_eq!(second.ready(), Some(1));
}

#[test]
fn values_keep_their_order_when_a_receiver_is_dropped() {
    let (sender, receiver) = queue::bounded(4);
    let mut waiters = [(); 3].map(|()| recv(&receiver));
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    let [first, second, third] = waiters;
    for value in 1..=3 {
        sender.try_send(value).unwrap();
    }
    drop(first);
    assert_eq!(second.ready(), Some(1));
    assert_eq!(third.ready(), Some(2));
    assert_eq!(receiver.try_recv(), Ok(3));
}

#[test]
fn a_sender_dropped_after_it_was_promised_a_slot_passes_it_on() {
    let (sender, receiver) = queue::bounded(1);
    sender.try_send(0).unwrap();
    let (mut first, mut second) = (send(&sender, 1), send(&sender, 2));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    assert_eq!(receiver.try_recv(), Ok(0));
    assert!(sender.try_send(3).is_err(), "nobody overtakes");
    drop(first);
    assert!(second.ready());
    assert_eq!(receiver.try_recv(), Ok(2));
}

#[test]
fn a_dropped_reservation_goes_to_the_next_sender() {
    let (sender, receiver) = queue::bounded(1);
    let room = sender.try_reserve().unwrap();
    let mut waits = send(&sender, 1);
    assert!(waits.poll().is_pending());
    drop(room);
    assert!(waits.ready());
    assert_eq!(receiver.try_recv(), Ok(1));
}

#[test]
fn closing_a_queue_sends_waiting_senders_away_and_lets_it_drain() {
    let (sender, receiver) = queue::bounded(1);
    sender.try_send(1).unwrap();
    let mut waits = send(&sender, 2);
    assert!(waits.poll().is_pending());
    sender.close();
    assert!(!waits.ready());
    assert_eq!(recv(&receiver).ready(), Some(1));
    assert_eq!(recv(&receiver).ready(), None);
}

#[test]
fn closing_a_queue_at_once_empties_it_and_ends_receivers_and_joins() {
    let (sender, receiver) = queue::bounded(4);
    let mut promised = recv(&receiver);
    assert!(promised.poll().is_pending());
    for value in 1..=3 {
        sender.try_send(value).unwrap();
    }
    let mut joins = Spawned::new({
        let sender = sender.clone();
        async move { sender.join().await }
    });
    assert!(joins.poll().is_pending());
    assert_eq!(sender.close_now(), [1, 2, 3]);
    assert_eq!(promised.ready(), None);
    joins.ready();
}

#[test]
fn one_who_waits_at_a_closed_queue_gets_what_a_dropped_receiver_was_promised() {
    let (sender, receiver) = queue::bounded(1);
    let mut first = recv(&receiver);
    assert!(first.poll().is_pending());
    sender.try_send(1).unwrap();
    sender.close();
    let mut second = recv(&receiver);
    assert!(second.poll().is_pending(), "the value may be given back");
    drop(first);
    assert_eq!(second.ready(), Some(1));
    assert_eq!(recv(&receiver).ready(), None);
}

#[test]
fn joining_waits_for_guards_and_not_for_plain_receives() {
    let (sender, receiver) = queue::unbounded();
    let join = |sender: &queue::Sender<i32>| {
        let sender = sender.clone();
        Spawned::new(async move { sender.join().await })
    };
    join(&sender).ready();
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    let mut joins = join(&sender);
    assert!(joins.poll().is_pending());
    receiver.try_recv().unwrap();
    let guard = receiver.try_recv_tracked().unwrap();
    assert!(joins.poll().is_pending());
    assert_eq!((*guard, sender.undone()), (2, 1));
    drop(guard);
    joins.ready();
}

#[test]
fn the_last_of_one_end_closes_the_queue() {
    let value = Arc::new(());
    let (sender, receiver) = queue::unbounded();
    sender.try_send(value.clone()).unwrap();
    drop(receiver.clone());
    assert!(!sender.is_closed());
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(
        Arc::strong_count(&value),
        1,
        "what nobody can receive is dropped"
    );

    let (sender, receiver) = queue::lifo(3);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    drop(sender);
    assert_eq!(recv(&receiver).ready(), Some(2));
    assert_eq!(recv(&receiver).ready(), Some(1));
    assert_eq!(recv(&receiver).ready(), None);
}
