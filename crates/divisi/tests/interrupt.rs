//! Ctrl-C. One test in a process of its own: signals are the process's.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use divisi::cleanup::finally;
use divisi::time::sleep;
use divisi::{Interrupted, Runtime, shield, task_group};
use rustix::process::{Signal, getpid, kill_process};

fn press() {
    kill_process(getpid(), Signal::INT).unwrap();
}

/// What the test does when it is run by itself as a child.
const CHILD: &str = "DIVISI_TEST_INTERRUPT";

#[test]
fn the_first_ctrl_c_cleans_up_and_the_second_ends_the_process() {
    if std::env::var_os(CHILD).is_some() {
        child();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .args([
            "--exact",
            "--nocapture",
            "the_first_ctrl_c_cleans_up_and_the_second_ends_the_process",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("the clean-ups ran"), "{text}");
    assert!(!text.contains("not reached"), "{text}");
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(Signal::INT.as_raw()), "{text}");
}

fn child() {
    let log: Arc<Mutex<Vec<&str>>> = Arc::default();
    let theirs = log.clone();
    let runtime = Runtime::builder().worker_threads(2).build().unwrap();
    let result = runtime.run(async move {
        finally(
            task_group(async |g| {
                let log = theirs.clone();
                let (begun, has_begun) = divisi::channel::oneshot();
                g.spawn(async move {
                    let body = async {
                        begun.send(()).unwrap();
                        pending::<()>().await;
                    };
                    finally(body, async || {
                        sleep(Duration::from_millis(1)).await;
                        log.lock().unwrap().push("task");
                    })
                    .await;
                    Ok::<_, ()>(())
                });
                has_begun.await.unwrap();
                press();
                pending::<()>().await;
                Ok(())
            }),
            async || theirs.lock().unwrap().push("main"),
        )
        .await
    });
    assert!(matches!(result, Err(Interrupted)));
    assert_eq!(*log.lock().unwrap(), ["task", "main"]);

    // A value wins.
    let result = runtime.run(shield(async {
        let own = divisi::signal::stream(divisi::signal::Signal::INT).unwrap();
        press();
        own.recv().await.unwrap();
        5
    }));
    assert_eq!(result, Ok(5));
    println!("the clean-ups ran");

    let _ = runtime.run(finally(
        async {
            press();
            pending::<()>().await;
        },
        async || {
            press();
            sleep(Duration::from_secs(1)).await;
        },
    ));
    println!("not reached");
}
