//! The list of all tasks.
#![cfg(not(divisi_loom))]

mod support;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use divisi_task::{Cause, Closed, Prepared, Registry, Schedule, SpawnOptions, TaskState, current};
use support::{Gate, Manual, outcome, panic_of, quiet_panic, start};

#[test]
fn a_task_is_listed_until_it_has_ended() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    assert!(registry.is_empty() && registry.list().is_empty());
    let (gate, state) = Gate::new();
    let handle = start(gate, &scheduler, &registry);
    let ids: Vec<_> = registry.list().iter().map(|task| task.id()).collect();
    assert_eq!(ids, [handle.id()]);
    assert_eq!(
        registry.get(handle.id()).unwrap().state(),
        TaskState::Queued
    );
    scheduler.run_all();
    assert_eq!(registry.len(), 1);
    state.open();
    scheduler.run_all();
    assert!(registry.is_empty() && registry.list().is_empty());
    assert!(registry.get(handle.id()).is_none());
    assert_eq!(handle.task().state(), TaskState::Finished);
}

#[test]
fn a_list_tells_names_parents_and_origins() {
    let (scheduler, registry) = (Manual::new(), Arc::new(Registry::new(1)));
    let inner_registry = registry.clone();
    let inner_scheduler = scheduler.clone();
    let (gate, _state) = Gate::new();
    let line = line!();
    let child = Arc::new(Mutex::new(None));
    let inner_child = child.clone();
    let parent = start(
        async move {
            let options = SpawnOptions::new().name("child");
            let (task, handle) =
                divisi_task::spawn(gate, inner_scheduler.clone(), &inner_registry, options)
                    .unwrap();
            inner_scheduler.schedule(task, Cause::Spawned);
            assert_eq!(current::task().unwrap().parent(), None);
            *inner_child.lock().unwrap() = Some(handle);
        },
        &scheduler,
        &registry,
    );
    scheduler.run_all();
    let parent_id = parent.id();
    outcome(parent).unwrap();
    let child = child.lock().unwrap().take().unwrap();
    let tasks = registry.list();
    let [listed] = &tasks[..] else {
        panic!("{tasks:?}")
    };
    assert_eq!(listed.id(), child.id());
    assert_eq!(listed.name(), Some("child"));
    assert_eq!(listed.parent(), Some(parent_id));
    assert_eq!(listed.polls(), 1);
    assert_eq!(listed.spawned_at().file(), file!());
    assert!(
        (line..line + 15).contains(&listed.spawned_at().line()),
        "{}",
        listed.spawned_at()
    );
}

#[test]
fn ids_are_never_given_twice_though_slots_are_used_again() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let mut ids = HashSet::new();
    for _ in 0..1000 {
        let handle = start(async {}, &scheduler, &registry);
        assert!(ids.insert(handle.id()));
        assert!(
            handle.id().to_string().starts_with("0."),
            "the slot is used again"
        );
        scheduler.run_all();
        assert!(registry.get(handle.id()).is_none());
    }
}

#[test]
fn it_grows_as_far_as_there_are_tasks() {
    let (scheduler, registry) = (Manual::new(), Registry::new(3));
    let handles: Vec<_> = (0..10_000)
        .map(|shard| {
            let (task, handle) = divisi_task::spawn(
                async {},
                scheduler.clone(),
                &registry,
                SpawnOptions::new().shard(shard),
            )
            .unwrap();
            (task, handle)
        })
        .collect();
    assert_eq!(registry.len(), 10_000);
    let listed: HashSet<_> = registry.list().iter().map(|task| task.id()).collect();
    let spawned: HashSet<_> = handles.iter().map(|(_, handle)| handle.id()).collect();
    assert_eq!(listed.len(), 10_000);
    assert_eq!(listed, spawned);
    for (task, handle) in handles {
        assert_eq!(registry.get(handle.id()).unwrap().id(), handle.id());
        task.run();
        outcome(handle).unwrap();
    }
    assert!(registry.is_empty());
}

#[test]
fn an_id_of_another_registry_is_not_found() {
    let (scheduler, large, small) = (Manual::new(), Registry::new(256), Registry::new(1));
    let (task, _handle) =
        divisi_task::spawn(async {}, scheduler, &large, SpawnOptions::new().shard(255)).unwrap();
    assert_eq!(task.id().to_string(), "255:0.1");
    assert!(large.get(task.id()).is_some());
    assert!(small.get(task.id()).is_none());
}

#[test]
fn a_closed_registry_refuses_and_drops_the_future_unseen() {
    let (scheduler, registry) = (Manual::new(), Registry::new(2));
    let kept = start(async {}, &scheduler, &registry);
    registry.close();
    assert!(registry.is_closed());
    for shard in 0..2 {
        let (gate, state) = Gate::new();
        let options = SpawnOptions::new().shard(shard);
        let refused = divisi_task::spawn(gate, scheduler.clone(), &registry, options);
        assert!(matches!(refused, Err(Closed)));
        assert!(state.is_dropped());
    }
    assert_eq!(registry.len(), 1);
    scheduler.run_all();
    assert!(outcome(kept).is_ok());
    assert_eq!(
        scheduler.completed.lock().unwrap().len(),
        1,
        "refused tasks are not heard of"
    );
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn a_registry_that_is_dropped_ends_its_tasks() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let ((waiting, waiting_state), (queued, queued_state)) = (Gate::new(), Gate::new());
    let waiting = start(waiting, &scheduler, &registry);
    scheduler.run_all();
    let queued = start(queued, &scheduler, &registry);
    drop(registry);
    assert!(waiting_state.is_dropped() && queued_state.is_dropped());
    scheduler.run_all();
    for handle in [waiting, queued] {
        let error = outcome(handle).unwrap_err();
        assert_eq!(error.reason().unwrap().text(), "its runtime was dropped");
    }
    waiting_state.release();
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn a_task_may_drop_the_registry_it_is_in() {
    let (scheduler, registry) = (Manual::new(), Arc::new(Registry::new(1)));
    let last = registry.clone();
    let handle = start(async move { drop(last) }, &scheduler, &registry);
    drop(registry);
    scheduler.run_all();
    assert!(
        outcome(handle).is_ok(),
        "it ran, and its value beats the late request"
    );
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn a_destructor_that_panics_stops_no_shutdown() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            quiet_panic("bad");
        }
    }
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let bad = Bad;
    let first = start(
        async move {
            let _bad = bad;
            std::future::pending::<()>().await;
        },
        &scheduler,
        &registry,
    );
    let (gate, state) = Gate::new();
    drop(start(gate, &scheduler, &registry));
    scheduler.run_all();
    assert_eq!(panic_of(|| drop(registry)), None);
    assert!(state.is_dropped());
    assert!(outcome(first).unwrap_err().is_panic());
}

#[test]
fn a_place_that_was_prepared_and_not_used_is_free_again() {
    let (scheduler, registry) = (Manual::new(), Registry::new(1));
    let prepare = || Prepared::new(scheduler.clone(), &registry, SpawnOptions::new()).unwrap();
    for _ in 0..1000 {
        drop(prepare());
    }
    assert_eq!(registry.len(), 0, "only tasks count");
    let (_task, handle) = prepare().spawn(async {}).unwrap();
    let id = handle.id().to_string();
    let (place, _generation) = id.split_once('.').unwrap();
    assert!(place.parse::<u32>().unwrap() < 10, "{id}");
    assert_eq!(registry.len(), 1);
}
