//! Task groups in numbers: deep, wide, and cancelled from everywhere.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::cleanup::finally;
use divisi::group::{Group, GroupError};
use divisi::{CancelScope, Runtime, task_group};

/// Counts how many of something exist.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn runtime() -> Runtime {
    Runtime::builder()
        .worker_threads(4)
        .exception_handler(|report| panic!("{report}"))
        .build()
        .unwrap()
}

type Nested = Pin<Box<dyn Future<Output = Result<usize, GroupError<&'static str>>> + Send>>;

fn nest(depth: usize, bottom: Option<&'static str>) -> Nested {
    Box::pin(task_group(async move |g: Group<&'static str>| {
        if depth == 0 {
            return bottom.map_or(Ok(0), Err);
        }
        match g.spawn_nested(nest(depth - 1, bottom)).await {
            Ok(below) => Ok(below + 1),
            // The group has the error, and stops this body.
            Err(_) => pending().await,
        }
    }))
}

#[test]
fn groups_nest_a_thousand_deep() {
    let runtime = runtime();
    let deep = runtime.spawn(nest(1_000, None));
    assert_eq!(runtime.block_on(deep).unwrap().unwrap(), 1_000);

    let deep = runtime.spawn(nest(1_000, Some("bottom")));
    let error = runtime.block_on(deep).unwrap().unwrap_err();
    assert_eq!(error.first(), Some(&"bottom"));
    assert_eq!(error.flatten().failures().len(), 1);
    assert!(runtime.tasks().is_empty());
}

#[test]
fn a_cancellation_reaches_the_bottom_of_a_thousand_groups() {
    fn wait(depth: usize, reached: divisi::channel::oneshot::Sender<()>) -> Nested {
        Box::pin(task_group(async move |g: Group<&'static str>| {
            if depth == 0 {
                let _ = reached.send(());
                return pending().await;
            }
            g.spawn_nested(wait(depth - 1, reached));
            Ok(0)
        }))
    }
    let runtime = runtime();
    runtime.block_on(async {
        let (reached, bottom) = divisi::channel::oneshot::channel();
        let scope = CancelScope::new();
        let stop = scope.clone();
        let task = divisi::spawn(async move { scope.run(wait(1_000, reached)).await.err() });
        bottom.await.unwrap();
        stop.cancel("all of it");
        assert_eq!(task.await.unwrap().unwrap().reason().text(), "all of it");
        assert!(divisi::Handle::current().tasks().is_empty());
    });
}

#[test]
fn a_hundred_thousand_children_leave_nothing_behind() {
    const CHILDREN: usize = 100_000;
    let runtime = runtime();
    let (alive, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    runtime.block_on(async {
        let value = task_group(async |g| {
            for _ in 0..CHILDREN {
                let (counted, done) = (Counted::new(&alive), done.clone());
                g.spawn(async move {
                    divisi::yield_now().await;
                    done.fetch_add(1, Ordering::Relaxed);
                    drop(counted);
                    Ok::<_, ()>(())
                });
            }
            Ok(())
        });
        value.await.unwrap();
        assert_eq!(done.load(Ordering::Relaxed), CHILDREN);

        let error = task_group(async |g| {
            for _ in 0..CHILDREN {
                let counted = Counted::new(&alive);
                g.spawn(async move {
                    let _counted = counted;
                    pending::<Result<(), &str>>().await
                });
            }
            Err::<(), _>("enough")
        });
        assert_eq!(error.await.unwrap_err().first(), Some(&"enough"));
        assert!(divisi::Handle::current().tasks().is_empty());
    });
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

/// Eight threads cancel one group at once while it spawns, cleans up and ends; a thousand times.
#[test]
fn eight_threads_cancel_one_group_at_once() {
    const ROUNDS: usize = 1_000;
    const THREADS: usize = 8;
    let runtime = runtime();
    let (alive, begun, cleaned) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (to_threads, groups): (Vec<_>, Vec<_>) = (0..THREADS)
        .map(|_| std::sync::mpsc::channel::<Group<usize>>())
        .unzip();
    let threads: Vec<_> = (0..)
        .zip(groups)
        .map(|(n, groups)| {
            std::thread::spawn(move || {
                for group in groups {
                    // Some fail it, some cancel it, some only spawn.
                    match n % 3 {
                        0 => group.cancel("from outside"),
                        1 => drop(group.spawn(async move { Err::<(), _>(n) })),
                        _ => drop(group.spawn(async { Ok(()) })),
                    }
                }
            })
        })
        .collect();
    for round in 0..ROUNDS {
        let (alive, begun, cleaned) = (alive.clone(), begun.clone(), cleaned.clone());
        let to_threads = to_threads.clone();
        let group = task_group(async move |g| {
            for n in 0..4 {
                let (counted, begun, cleaned) =
                    (Counted::new(&alive), begun.clone(), cleaned.clone());
                g.spawn(async move {
                    let _counted = counted;
                    begun.fetch_add(1, Ordering::Relaxed);
                    finally(
                        async {
                            if n == 0 {
                                divisi::time::sleep(Duration::from_micros(50)).await;
                            } else {
                                pending::<()>().await;
                            }
                        },
                        async || {
                            divisi::yield_now().await;
                            cleaned.fetch_add(1, Ordering::Relaxed);
                        },
                    )
                    .await;
                    Ok(())
                });
            }
            for to_thread in &to_threads {
                to_thread.send(g.clone()).unwrap();
            }
            if round % 2 == 0 {
                pending::<()>().await;
            }
            Ok(())
        });
        // Whether it is cancelled or fails is up to the threads; that it ends is not.
        let _ = runtime.block_on(runtime.spawn(group)).unwrap();
    }
    drop(to_threads);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    assert_eq!(
        begun.load(Ordering::Relaxed),
        cleaned.load(Ordering::Relaxed)
    );
    // A spawn of the last round may have come too late for its group, and is gone as well.
    assert!(runtime.tasks().is_empty());
}
