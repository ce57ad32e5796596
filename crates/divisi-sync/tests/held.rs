//! The list of what is held.

use std::sync::Arc;

use divisi_sync::{Condvar, Mutex, Semaphore, held};
use futures_lite::future::{block_on, poll_once};

#[test]
fn a_mutex_tells_who_has_it_and_where_it_was_taken() {
    let _tracking = held::track();
    let mutex = Arc::new(Mutex::new(1));
    assert!(mutex.holder().is_none());

    let line = line!() + 1;
    let guard = mutex.try_lock().unwrap();
    let holder = mutex.holder().unwrap();
    assert_eq!(
        (holder.what(), holder.taken_at().file()),
        ("Mutex", file!())
    );
    assert_eq!(holder.taken_at().line(), line);
    assert!(holder.task().is_none());
    assert!(
        format!("{mutex:?}").contains("outside of any task"),
        "{mutex:?}"
    );
    drop(guard);
    assert!(mutex.holder().is_none());

    let line = line!() + 1;
    let guard = block_on(mutex.lock());
    assert_eq!(mutex.holder().unwrap().taken_at().line(), line);
    drop(guard);
    let line = line!() + 1;
    let guard = block_on(mutex.clone().lock_owned());
    assert_eq!(mutex.holder().unwrap().taken_at().line(), line);
    drop(guard);
    let line = line!() + 1;
    let guard = mutex.lock_blocking();
    assert_eq!(mutex.holder().unwrap().taken_at().line(), line);
    drop(guard);
    assert!(mutex.holder().is_none());
}

#[test]
fn the_next_holder_takes_the_place_of_the_last() {
    let _tracking = held::track();
    let mutex = Mutex::new(());
    let first = mutex.try_lock().unwrap();
    let before = mutex.holder().unwrap().id();
    let mut second = Box::pin(mutex.lock());
    assert!(block_on(poll_once(second.as_mut())).is_none());
    drop(first);
    assert!(
        mutex.holder().is_none(),
        "it is handed over, and not taken yet"
    );
    let second = block_on(second);
    assert!(mutex.holder().unwrap().id() > before);
    drop(second);
}

#[test]
fn a_condition_gives_its_lock_up_meanwhile() {
    let _tracking = held::track();
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    let guard = mutex.try_lock().unwrap();
    let mut wait = Box::pin(condition.wait(guard));
    assert!(block_on(poll_once(wait.as_mut())).is_none());
    assert!(mutex.holder().is_none());
    condition.notify_one();
    let guard = block_on(wait);
    assert!(mutex.holder().is_some());
    drop(guard);
}

#[test]
fn every_part_of_a_semaphores_permits_is_listed_once() {
    let _tracking = held::track();
    let semaphore = Arc::new(Semaphore::new(5));
    let other = Semaphore::new(1);
    let elsewhere = other.try_acquire().unwrap();
    let mut three = semaphore.try_acquire_many(3).unwrap();
    let one = block_on(semaphore.clone().acquire_owned(1)).unwrap();
    assert_eq!(semaphore.holders().len(), 2);
    let two = three.split(2).unwrap();
    let holders = semaphore.holders();
    assert_eq!(holders.len(), 3);
    assert_eq!(holders[2].taken_at(), holders[0].taken_at());
    three.merge(two);
    assert_eq!(semaphore.holders().len(), 2);
    one.forget();
    drop(three);
    assert!(semaphore.holders().is_empty());
    drop(elsewhere);
}
