//! Context variables: what is inherited, where, and until when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use divisi::context_var::Snapshot;
use divisi::{LocalRuntime, Runtime, channel, context_var, spawn};

context_var! {
    /// Who asks.
    static USER: String;
    /// With a default.
    static DEPTH: usize = 0;
}

fn user() -> String {
    USER.try_get().unwrap_or_else(|| "nobody".to_owned())
}

#[divisi::test]
async fn a_child_inherits_what_its_spawner_sees() {
    let (task, job, computed, unrelated) = USER
        .scope("Ada".to_owned(), async {
            DEPTH
                .scope(1, async {
                    let grandchild = spawn(async { spawn(async { (user(), DEPTH.get()) }).await });
                    let job = divisi::spawn_blocking(|| (user(), DEPTH.get()));
                    let computed = divisi::offload(|| (user(), DEPTH.get()));
                    let pooled = divisi::compute::map([1, 2], |_| user());
                    (grandchild.await, job.await, computed.await, pooled.await)
                })
                .await
        })
        .await;
    let expected = ("Ada".to_owned(), 1);
    assert_eq!(task.unwrap().unwrap(), expected);
    assert_eq!(job.unwrap(), expected);
    assert_eq!(computed.unwrap(), expected);
    assert_eq!(unrelated.unwrap(), ["Ada", "Ada"]);
    assert_eq!((user(), DEPTH.get()), ("nobody".to_owned(), 0));
}

#[divisi::test]
async fn a_scope_opened_after_the_spawn_is_not_seen_by_the_child() {
    let (go, gone) = channel::oneshot();
    let child = USER.sync_scope("early".to_owned(), || {
        spawn(async move {
            gone.await.unwrap();
            user()
        })
    });
    USER.scope("late".to_owned(), async move { go.send(()).unwrap() })
        .await;
    assert_eq!(child.await.unwrap(), "early");
}

#[divisi::test]
async fn a_scope_inside_a_child_does_not_leak_out() {
    let child = spawn(USER.scope("child".to_owned(), async { user() }));
    assert_eq!(child.await.unwrap(), "child");
    assert_eq!(user(), "nobody");
}

#[divisi::test]
async fn scopes_that_take_turns_in_one_task_do_not_mix() {
    async fn check(name: &str) {
        for _ in 0..100 {
            assert_eq!(user(), name);
            divisi::yield_now().await;
        }
    }
    divisi::join!(
        USER.scope("a".to_owned(), check("a")),
        check("nobody"),
        USER.scope("b".to_owned(), check("b")),
    );
}

#[test]
fn the_root_future_of_a_runtime_passes_its_scope_on() {
    let runtime = Runtime::builder().worker_threads(2).build().unwrap();
    let seen =
        runtime.block_on(USER.scope("root".to_owned(), async { spawn(async { user() }).await }));
    assert_eq!(seen.unwrap(), "root");
    // Also where the scope is open before the runtime is entered.
    let seen = USER.sync_scope("thread".to_owned(), || {
        runtime.block_on(async { spawn(async { user() }).await })
    });
    assert_eq!(seen.unwrap(), "thread");
}

#[test]
fn local_tasks_inherit_too_and_do_not_see_the_scope_of_whoever_runs_them() {
    let runtime = LocalRuntime::new().unwrap();
    let (early, late) = runtime.block_on(async {
        let early = USER.sync_scope("early".to_owned(), || divisi::spawn_local(async { user() }));
        let plain = divisi::spawn_local(async { user() });
        // The tasks run while this scope is the innermost one of the root's.
        USER.scope("root".to_owned(), async { (early.await, plain.await) })
            .await
    });
    assert_eq!(
        (early.unwrap().as_str(), late.unwrap().as_str()),
        ("early", "nobody")
    );
}

#[divisi::test]
async fn destructors_see_the_scope_that_their_future_lived_in() {
    struct Tell(Arc<parking_lot::Mutex<Vec<String>>>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.lock().push(user());
        }
    }
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let waits = |name: &str, told: &Arc<parking_lot::Mutex<Vec<String>>>| {
        let tell = Tell(told.clone());
        USER.scope(name.to_owned(), async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        })
    };
    // Dropped unpolled, dropped where it waits, cancelled as a task, and cancelled as a task that inherited it.
    drop(waits("unpolled", &told));
    assert!(
        futures_lite::future::poll_once(waits("waiting", &told))
            .await
            .is_none()
    );
    let task = spawn(waits("task", &told));
    divisi::yield_now().await;
    task.cancel("seen enough");
    assert!(task.await.unwrap_err().is_cancelled());
    let heir = USER.sync_scope("heir".to_owned(), || {
        let tell = Tell(told.clone());
        spawn(async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        })
    });
    heir.cancel("seen enough");
    assert!(heir.await.unwrap_err().is_cancelled());
    assert_eq!(*told.lock(), ["unpolled", "waiting", "task", "heir"]);
}

#[divisi::test]
async fn a_value_lives_until_the_last_heir_is_gone() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    #[derive(Debug)]
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::SeqCst);
        }
    }
    context_var!(
        static VALUE: Counted;
    );
    ALIVE.store(1, Ordering::SeqCst);
    let heirs = VALUE
        .scope(Counted, async {
            (0..100)
                .map(|_| spawn(async { VALUE.with(|_| ALIVE.load(Ordering::SeqCst)) }))
                .collect::<Vec<_>>()
        })
        .await;
    for heir in heirs {
        assert_eq!(heir.await.unwrap(), 1);
    }
    // The last reference of a task may be a worker's, which lets go after it has woken the joiner.
    let end = divisi::time::Instant::now() + std::time::Duration::from_secs(20);
    while ALIVE.load(Ordering::SeqCst) != 0 {
        assert!(
            divisi::time::Instant::now() < end,
            "the value has outlived its heirs"
        );
        divisi::yield_now().await;
    }
}

#[divisi::test]
async fn a_panic_in_a_value_s_destructor_harms_nobody() {
    struct Mine;
    impl Drop for Mine {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("a value's destructor panics (this is meant)");
            }
        }
    }
    context_var!(
        static VALUE: Mine;
    );
    // The heir is the last to refer to the value.
    let scope = VALUE.sync_scope(Mine, || spawn(async { 5 }));
    assert_eq!(scope.await.unwrap(), 5);
    assert_eq!(spawn(async { 6 }).await.unwrap(), 6);
}

#[divisi::test]
async fn a_named_task_inherits_as_well() {
    let named = USER.sync_scope("Ada".to_owned(), || {
        divisi::task::Builder::new().name("heir").spawn(async {
            let task = divisi::task::current().unwrap();
            (task.name().map(str::to_owned), user())
        })
    });
    assert_eq!(
        named.await.unwrap(),
        (Some("heir".to_owned()), "Ada".to_owned())
    );
}

#[divisi::test]
async fn a_snapshot_carries_the_variables_to_a_foreign_thread() {
    let snapshot = USER.sync_scope("Ada".to_owned(), Snapshot::current);
    let nothing = Snapshot::current();
    let seen = std::thread::spawn({
        let snapshot = snapshot.clone();
        move || snapshot.run(|| (user(), nothing.run(user)))
    });
    assert_eq!(
        seen.join().unwrap(),
        ("Ada".to_owned(), "nobody".to_owned())
    );
    assert_eq!(snapshot.scope(async { user() }).await, "Ada");
}

#[test]
#[should_panic(expected = "the context variable `USER` has no value here")]
fn asking_for_a_value_that_nobody_gave_says_what_to_do() {
    USER.get();
}
