//! What follows a panic that nobody awaits, and what debug mode tells.

use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};

use divisi::cleanup::finally_owned;
use divisi::runtime::{Builder, UnhandledPanics};
use divisi::{Runtime, task_group};

/// What the test of the abort does when it is run by itself as a child.
const CHILD: &str = "DIVISI_TEST_UNHANDLED";

#[test]
fn a_runtime_that_shall_shut_down_cancels_its_tasks() {
    let runtime = Runtime::builder()
        .unhandled_panics(UnhandledPanics::Shutdown)
        .exception_handler(|_| {})
        .build()
        .unwrap();
    let waits = runtime.spawn(pending::<()>());
    drop(runtime.spawn(async { panic!("nobody looks") }));
    assert!(
        futures_lite::future::block_on(waits)
            .unwrap_err()
            .is_cancelled()
    );
    let late = runtime.spawn(async {});
    assert!(futures_lite::future::block_on(late).is_err());
}

#[test]
fn a_panic_that_a_handle_gets_ends_nothing() {
    let runtime = Runtime::builder()
        .unhandled_panics(UnhandledPanics::Abort)
        .build()
        .unwrap();
    let error = runtime.block_on(runtime.spawn(async { panic!("looked at") }));
    assert!(error.map(|(): ()| ()).unwrap_err().is_panic());
    let group = task_group(async |g| {
        g.spawn(async {
            if true {
                panic!("the group's");
            }
            Ok::<_, ()>(())
        });
        Ok(())
    });
    assert_eq!(runtime.block_on(group).unwrap_err().panics().count(), 1);
}

#[test]
fn a_process_that_shall_abort_does() {
    if std::env::var_os(CHILD).is_some() {
        let runtime = Runtime::builder()
            .unhandled_panics(UnhandledPanics::Abort)
            .build()
            .unwrap();
        drop(runtime.spawn(async { panic!("nobody looks") }));
        runtime.block_on(pending::<()>());
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .args(["--exact", "--nocapture", "a_process_that_shall_abort_does"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("a task panicked and nobody awaits it: nobody looks"),
        "{text}"
    );
    assert_eq!(
        output.status.signal(),
        Some(rustix::process::Signal::ABORT.as_raw()),
        "{text}"
    );
}

fn reports_of(builder: Builder, run: impl FnOnce(&Runtime)) -> Vec<String> {
    let reports: Arc<Mutex<Vec<String>>> = Arc::default();
    let handler = reports.clone();
    let runtime = builder
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| handler.lock().unwrap().push(report.message.clone()))
        .build()
        .unwrap();
    run(&runtime);
    drop(runtime);
    std::mem::take(&mut *reports.lock().unwrap())
}

#[test]
fn debug_mode_tells_of_handles_that_outlive_their_group_and_of_adopted_clean_ups() {
    let misuse = |runtime: &Runtime| {
        runtime.block_on(async {
            let mut kept = None;
            task_group(async |g| {
                kept = Some(g);
                Ok::<_, ()>(())
            })
            .await
            .unwrap();
            drop(kept.unwrap().spawn(async { Ok(()) }));
            let dropped = finally_owned(pending::<()>(), async || {});
            divisi::future::or(dropped, async { divisi::yield_now().await }).await;
        });
    };
    let told = reports_of(Runtime::builder().debug(true), misuse);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("its task group has ended"));
    assert!(told[1].contains("lost its place"));
    let told = reports_of(Runtime::builder().debug(false), misuse);
    assert!(told.is_empty(), "{told:?}");
}

/// What the handler got: the line of the last wait, and whether there was a stack trace.
fn told_of(run: impl AsyncFnOnce()) -> (Option<u32>, bool) {
    let (tell, told) = std::sync::mpsc::channel();
    let runtime = Runtime::builder()
        .clock(divisi::runtime::Clock::Virtual)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| {
            let here = report.awaited_at.filter(|at| at.file() == file!());
            let trace = report.backtrace.as_ref();
            let names_it =
                trace.is_some_and(|trace| trace.to_string().contains("fails_after_its_wait"));
            tell.send((here.map(|at| at.line()), names_it)).unwrap();
        })
        .build()
        .unwrap();
    runtime.block_on(run());
    told.recv().unwrap()
}

#[inline(never)]
fn fails_after_its_wait() {
    panic!("after its wait");
}

#[test]
fn a_report_tells_where_the_task_waited_last() {
    let wait = std::time::Duration::from_millis(1);
    let line = line!() + 3;
    let (panicked, _) = told_of(async || {
        drop(divisi::spawn(async move {
            divisi::time::sleep(wait).await;
            fails_after_its_wait();
        }));
        divisi::time::sleep(2 * wait).await;
    });
    assert_eq!(panicked, Some(line));
    let line = line!() + 3;
    let (failed, _) = told_of(async || {
        let task = divisi::spawn_reporting(async move {
            divisi::time::sleep(wait).await;
            Err("after its wait")
        });
        task.await.unwrap();
    });
    assert_eq!(failed, Some(line));
    let (at_once, _) = told_of(async || {
        drop(divisi::spawn(async { fails_after_its_wait() }));
    });
    assert_eq!(at_once, None);
}

#[test]
fn a_panic_comes_with_its_stack_only_if_the_environment_asks() {
    if std::env::var_os(CHILD).is_some() {
        let (_, traced) = told_of(async || {
            drop(divisi::spawn(async {
                // Another panic of the same task, that it catches itself.
                let caught = std::panic::catch_unwind(|| panic!("caught"));
                assert!(caught.is_err());
                fails_after_its_wait();
            }));
        });
        println!("traced: {traced}");
        return;
    }
    for (asked, expected) in [("1", "traced: true"), ("0", "traced: false")] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", asked)
            .env_remove("RUST_LIB_BACKTRACE")
            .args([
                "--exact",
                "--nocapture",
                "a_panic_comes_with_its_stack_only_if_the_environment_asks",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn debug_mode_tells_of_sockets_that_outlive_their_runtime() {
    let waiting_socket = |runtime: &Runtime| {
        runtime.block_on(async {
            let socket = divisi::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut buffer = [0; 1];
            let waits = async { drop(socket.recv_from(&mut buffer).await) };
            divisi::future::or(waits, divisi::yield_now()).await;
            socket
        })
    };
    let mut kept = None;
    let told = reports_of(Runtime::builder().debug(true), |runtime| {
        kept = Some(waiting_socket(runtime));
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("1 sockets, pipes or child processes were left open"));
    let told = reports_of(Runtime::builder().debug(true), |runtime| {
        drop(waiting_socket(runtime));
    });
    assert!(told.is_empty(), "{told:?}");
}
