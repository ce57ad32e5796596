//! What a runtime shows of itself.

use divisi::debug::{self, CallNode};
use divisi::{Runtime, task};

fn one_worker() -> Runtime {
    Runtime::builder().worker_threads(1).build().unwrap()
}

/// Lets every task run until it waits.
async fn settle(tasks: usize) {
    while debug::call_graph().tasks() != tasks
        || divisi::Handle::current()
            .tasks()
            .iter()
            .any(|task| task.state != task::TaskState::Waiting)
    {
        divisi::yield_now().await;
    }
}

fn names(nodes: &[CallNode]) -> Vec<&str> {
    nodes
        .iter()
        .map(|node| node.task.name.as_deref().unwrap_or("-"))
        .collect()
}

fn named<F>(name: &str, future: F) -> divisi::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    task::Builder::new().name(name).spawn(future)
}

#[test]
fn the_graph_shows_who_spawned_whom_and_where_each_waits() {
    let runtime = one_worker();
    runtime.block_on(async {
        let _parent = named("parent", async {
            let left = named("left", std::future::pending::<()>());
            let _right = named("right", std::future::pending::<()>());
            let _ = left.await;
        });
        let _other = named("other", std::future::pending::<()>());
        settle(4).await;
        let graph = debug::call_graph();
        let mut roots = names(&graph.roots);
        roots.sort_unstable();
        assert_eq!(roots, ["other", "parent"]);
        let parent = graph
            .roots
            .iter()
            .find(|node| node.task.name.as_deref() == Some("parent"))
            .unwrap();
        let mut children = names(&parent.children);
        children.sort_unstable();
        assert_eq!(children, ["left", "right"]);
        let at = parent.task.waits_at.expect("awaiting a handle tells where");
        assert!(at.file().ends_with("debug.rs"));
        let text = debug::dump().to_string();
        assert!(text.starts_with("4 tasks; 1 workers"), "{text}");
        assert!(text.contains("\n  task "), "children are indented: {text}");
    });
}

#[test]
fn children_of_a_parent_that_has_ended_are_roots() {
    let runtime = one_worker();
    runtime.block_on(async {
        named("parent", async {
            drop(named("orphan", std::future::pending::<()>()));
        })
        .await
        .unwrap();
        settle(1).await;
        assert_eq!(names(&debug::call_graph().roots), ["orphan"]);
    });
}

#[test]
fn a_chain_of_a_hundred_thousand_tasks_is_shown_and_dropped_without_recursion() {
    const LENGTH: usize = 100_000;
    fn link(left: usize) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if left > 1 {
                drop(divisi::spawn(link(left - 1)));
            }
            std::future::pending::<()>().await;
        })
    }
    let runtime = one_worker();
    runtime.block_on(async {
        drop(divisi::spawn(link(LENGTH)));
        while divisi::Handle::current().tasks().len() != LENGTH {
            for _ in 0..LENGTH / 10 {
                divisi::yield_now().await;
            }
        }
    });
    let graph = debug::call_graph_of(runtime.handle());
    assert_eq!(graph.roots.len(), 1);
    assert_eq!(graph.tasks(), LENGTH);
    assert_eq!(graph.to_string().lines().count(), LENGTH);
    let copy = graph.clone();
    assert_eq!(copy.to_string(), graph.to_string());
    assert_eq!(format!("{copy:#?}"), format!("{graph:#?}"));
}

#[test]
fn a_copy_of_a_graph_keeps_every_task_in_its_place() {
    fn tree(width: usize, depth: usize) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            for child in 0..width * depth.min(1) {
                drop(named(&format!("{depth}/{child}"), tree(child, depth - 1)));
            }
            std::future::pending::<()>().await;
        })
    }
    let runtime = one_worker();
    let graph = runtime.block_on(async {
        drop(named("left", tree(4, 3)));
        drop(named("right", tree(3, 3)));
        // 1 + 4 + 6 + 4 and 1 + 3 + 3 + 1: each child has as many as there are before it.
        settle(23).await;
        debug::call_graph()
    });
    let copy = graph.clone();
    assert_eq!(copy.tasks(), 23);
    assert_eq!(copy.to_string(), graph.to_string());
    assert_eq!(format!("{copy:?}"), format!("{graph:?}"));
    assert_eq!(
        names(&copy.roots[0].clone().children),
        names(&graph.roots[0].children)
    );
}

#[test]
#[should_panic(expected = "runtime")]
fn a_dump_outside_of_a_runtime_says_what_is_missing() {
    let _ = debug::dump();
}
