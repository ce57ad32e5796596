//! The list of what is held when nobody asks for it. Alone in its process: tracking is for all of it.

use divisi_sync::{Mutex, Semaphore, held};

#[test]
fn what_is_taken_without_tracking_is_not_listed_and_what_is_given_back_after_it_is_forgotten() {
    let (mutex, semaphore) = (Mutex::new(()), Semaphore::new(1));
    let before = mutex.try_lock().unwrap();
    assert!(held::all().is_empty());
    let tracking = held::track();
    let permit = semaphore.try_acquire().unwrap();
    assert!(mutex.holder().is_none());
    assert_eq!(held::all().len(), 1);
    drop(tracking);
    assert_eq!(format!("{mutex:?}"), "Mutex(<locked>)");
    drop((before, permit));
    assert!(held::all().is_empty());
    let _guard = mutex.try_lock().unwrap();
    assert!(held::all().is_empty());
}
