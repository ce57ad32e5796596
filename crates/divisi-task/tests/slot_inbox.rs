//! The two places where runnables and other things are handed over.
#![cfg(not(divisi_loom))]

mod support;

use std::sync::Arc;

use divisi_task::{Inbox, Registry, RunSlot, SpawnOptions};
use proptest::prelude::*;
use support::{Gate, Manual, outcome, panic_of, quiet_panic};

#[test]
fn a_slot_gives_back_what_it_is_given() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let spawn =
        || divisi_task::spawn(async {}, scheduler.clone(), &registry, SpawnOptions::new()).unwrap();
    let ((a, _a), (b, _b)) = (spawn(), spawn());
    let (a_id, b_id) = (a.id(), b.id());
    let slot = RunSlot::new();
    assert!(slot.is_empty() && slot.take().is_none());
    assert_eq!(slot.stamp(), 0);
    assert!(slot.replace(a).is_none());
    let stamp = slot.stamp();
    assert!(!slot.is_empty() && stamp != 0);
    assert_eq!(slot.replace(b).unwrap().id(), a_id);
    assert_ne!(slot.stamp(), stamp);
    assert_eq!(slot.take().unwrap().id(), b_id);
    assert!(slot.take().is_none());
}

#[test]
fn a_slot_that_is_dropped_cancels_what_is_in_it() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let (gate, state) = Gate::new();
    let (task, handle) =
        divisi_task::spawn(gate, scheduler, &registry, SpawnOptions::new()).unwrap();
    let slot = RunSlot::default();
    slot.replace(task);
    drop(slot);
    assert!(state.is_dropped());
    assert!(outcome(handle).unwrap_err().is_cancelled());
}

#[test]
fn an_inbox_drops_what_nobody_took() {
    let item = Arc::new(());
    let inbox = Inbox::new();
    inbox.push(item.clone());
    inbox.push(item.clone());
    inbox.push(item.clone());
    let mut taken = inbox.take_all();
    drop(taken.next());
    assert_eq!(Arc::strong_count(&item), 3);
    drop(taken);
    assert_eq!(Arc::strong_count(&item), 1);
    inbox.push(item.clone());
    drop(inbox);
    assert_eq!(Arc::strong_count(&item), 1);
}

#[test]
fn a_destructor_that_panics_does_not_leak_the_rest() {
    struct Item(#[allow(dead_code)] Arc<()>, bool);
    impl Drop for Item {
        fn drop(&mut self) {
            if self.1 {
                quiet_panic("item");
            }
        }
    }
    let alive = Arc::new(());
    let inbox = Inbox::new();
    for panics in [false, true, false, false] {
        inbox.push(Item(alive.clone(), panics));
    }
    assert_eq!(panic_of(|| drop(inbox.take_all())).as_deref(), Some("item"));
    assert_eq!(Arc::strong_count(&alive), 1);
}

proptest! {
    #[test]
    fn an_inbox_keeps_the_order(pushes in proptest::collection::vec(0..6_usize, 0..40)) {
        // Each number is how many to push before taking all.
        let inbox = Inbox::new();
        let mut next = 0;
        for count in pushes {
            let first = next;
            for nth in 0..count {
                prop_assert_eq!(inbox.push(next), nth == 0);
                next += 1;
            }
            prop_assert_eq!(inbox.is_empty(), count == 0);
            prop_assert_eq!(inbox.take_all().collect::<Vec<_>>(), (first..next).collect::<Vec<_>>());
            prop_assert!(inbox.is_empty());
        }
    }
}
