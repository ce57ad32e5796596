//! tokio's runtime beside a divisi runtime, for libraries that insist on it.
#![cfg(feature = "tokio-compat")]

use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::time::Duration;

use divisi::{LocalRuntime, Runtime, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder()
        .worker_threads(workers)
        .compute_threads(1)
        .tokio_compat(true)
        .build()
        .unwrap()
}

/// What libraries do: tokio's sockets, timers and spawned tasks.
async fn what_libraries_do() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        stream.write_all(&request).await.unwrap();
    });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    tokio::time::timeout(Duration::from_secs(60), stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"hello");
    server.await.unwrap();
    assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
}

#[test]
fn tasks_use_sockets_timers_and_tasks_of_tokio() {
    let runtime = runtime(2);
    let tasks: Vec<_> = (0..20)
        .map(|_| runtime.spawn(what_libraries_do()))
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn every_thread_that_runs_something_is_inside_of_tokio() {
    let runtime = runtime(1);
    let id = || Handle::try_current().map(|handle| handle.id()).ok();
    assert!(id().is_none());
    let root = runtime.block_on(async move { id() });
    assert!(root.is_some());
    let others = [
        runtime
            .block_on(runtime.spawn(async move { id() }))
            .unwrap(),
        runtime
            .block_on(async move { divisi::spawn_blocking(id).await })
            .unwrap(),
        runtime
            .block_on(async move { divisi::offload(id).await })
            .unwrap(),
        // A second root beside the first polls itself.
        runtime.block_on(async {
            std::thread::scope(|scope| {
                scope
                    .spawn(|| runtime.block_on(async move { id() }))
                    .join()
                    .unwrap()
            })
        }),
    ];
    assert_eq!(others, [root; 4]);
    assert!(id().is_none(), "the thread left it with `block_on`");
}

#[test]
fn a_local_runtime_has_it_too() {
    let runtime: LocalRuntime = Runtime::builder().tokio_compat(true).build_local().unwrap();
    runtime.block_on(what_libraries_do());
    runtime
        .block_on(runtime.spawn_local(what_libraries_do()))
        .unwrap();
}

#[test]
fn a_runtime_has_none_unless_asked() {
    let runtime = Runtime::builder().worker_threads(1).build().unwrap();
    let found = runtime
        .block_on(runtime.spawn(async { Handle::try_current().is_ok() }))
        .unwrap();
    assert!(!found);
}

#[test]
fn a_library_task_that_computes_keeps_no_tokio_timer_waiting() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let (go_on, computed) = mpsc::channel::<()>();
        let (began, begun) = tokio::sync::oneshot::channel();
        let busy = tokio::spawn(async move {
            began.send(()).unwrap();
            // Keeps its thread until the timer has fired.
            computed.recv().unwrap();
        });
        begun.await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        go_on.send(()).unwrap();
        busy.await.unwrap();
    });
}

#[test]
fn block_in_place_works_in_tasks_of_both() {
    let runtime = runtime(1);
    let in_place = || tokio::task::block_in_place(|| 7);
    runtime.block_on(async move {
        assert_eq!(tokio::spawn(async move { in_place() }).await.unwrap(), 7);
        assert_eq!(divisi::spawn(async move { in_place() }).await.unwrap(), 7);
    });
}

/// Tells, when it is dropped, whether tokio still serves.
struct UsesTokioInDrop(mpsc::Sender<bool>);

impl Drop for UsesTokioInDrop {
    fn drop(&mut self) {
        let (done, is_done) = mpsc::channel();
        let serves = Handle::try_current().is_ok_and(|tokio| {
            // Spawned, not awaited: a destructor cannot. A runtime that is gone drops the task, and the channel with it.
            tokio.spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                done.send(()).unwrap();
            });
            is_done.recv().is_ok()
        });
        self.0.send(serves).unwrap();
    }
}

#[test]
fn it_ends_after_the_last_task_and_the_last_job() {
    let runtime = runtime(1);
    let (dropped, told) = mpsc::channel();
    let task = UsesTokioInDrop(dropped.clone());
    let (alive, task_is_gone) = mpsc::channel::<()>();
    drop(runtime.spawn(async move {
        let _task = (task, alive);
        std::future::pending::<()>().await;
    }));
    let (begin, begun) = mpsc::channel();
    let job = UsesTokioInDrop(dropped);
    let entered = runtime.enter();
    let running = divisi::spawn_blocking(move || {
        begin.send(()).unwrap();
        // Until the shutdown has come to the tasks.
        let _ = task_is_gone.recv();
        drop(job);
    });
    drop(entered);
    begun.recv().unwrap();
    drop(running);
    let report = runtime.shutdown(Shutdown::now());
    assert!(report.stuck.is_empty(), "{report}");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [true, true]);
}

#[test]
fn what_libraries_left_behind_ends_with_the_runtime() {
    let runtime = runtime(1);
    let (ended, is_ended) = mpsc::channel::<()>();
    runtime.block_on(async {
        tokio::spawn(async move {
            let _ended = ended;
            std::future::pending::<()>().await;
        });
    });
    drop(runtime);
    assert_eq!(is_ended.recv(), Err(mpsc::RecvError));
}

#[test]
fn one_of_tokios_own_tasks_may_end_the_runtime() {
    let runtime = runtime(1);
    let tokio = runtime.block_on(async { Handle::current() });
    let (report, reported) = mpsc::channel();
    tokio.spawn(async move {
        report.send(runtime.shutdown(Shutdown::now())).unwrap();
    });
    assert!(reported.recv().unwrap().is_clean());
}

#[test]
fn a_runtime_that_the_program_has_already_is_used_and_left_alone() {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let runtime = Runtime::builder()
        .worker_threads(1)
        .tokio_handle(tokio.handle().clone())
        .build()
        .unwrap();
    let found = runtime
        .block_on(runtime.spawn(async { Handle::current().id() }))
        .unwrap();
    assert_eq!(found, tokio.handle().id());
    drop(runtime);
    tokio.block_on(what_libraries_do());
}
