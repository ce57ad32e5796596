//! Child processes: real ones.
#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use divisi::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use divisi::process::{Child, Command, SpawnError, StatusLost, Stdio};
use divisi::signal::Signal;
use futures_lite::future;

/// State and parent of a process: the third and fourth field of its `stat`.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is in parentheses and may contain anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

fn is_our_child(pid: u32) -> bool {
    stat(pid).is_some_and(|(_, parent)| parent == std::process::id())
}

/// Returns once `pid` is no child of this process any more, not even a zombie. There is no event for that.
async fn collected(pid: u32) {
    while is_our_child(pid) {
        divisi::yield_now().await;
    }
}

/// A child that has written a line, and so is past its start.
async fn started(command: &mut Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .await
        .unwrap();
    line.truncate(line.trim_end().len());
    (child, line)
}

/// Runs the named test alone, in a process of its own, and returns false there: what counts things of the whole process cannot share it.
fn is_outer(test: &str) -> bool {
    const CHILD: &str = "DIVISI_TEST_PROCESS_ALONE";
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether any thread of this process has a child, a zombie perhaps.
fn has_children() -> bool {
    std::fs::read_dir("/proc/self/task").unwrap().any(|thread| {
        // A thread may end meanwhile; its children go to another.
        let list = std::fs::read_to_string(thread.unwrap().path().join("children"));
        list.is_ok_and(|list| !list.is_empty())
    })
}

#[divisi::test]
async fn output_has_the_status_and_both_streams() {
    let output = Command::shell("echo out; echo err >&2; exit 3")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
}

#[divisi::test(worker_threads = 2)]
async fn input_and_output_of_any_size_go_through_at_the_same_time() {
    for size in [0, 1, 65_536, 65_537, 5_000_000] {
        let input: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        // Both streams at once, each larger than any pipe.
        let output = Command::shell("tee /dev/stderr")
            .output_with(&input)
            .await
            .unwrap();
        assert!(output.status.success());
        assert!(output.stdout == input, "{size} bytes to standard output");
        assert!(output.stderr == input, "{size} bytes to standard error");
    }
}

#[divisi::test]
async fn a_child_that_leaves_input_unread_is_no_error() {
    let output = Command::shell("exec 0<&-; echo done")
        .output_with(vec![7; 1_000_000])
        .await
        .unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"done\n");
}

#[divisi::test]
async fn input_without_a_pipe_is_refused() {
    let child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
    let error = child.communicate(b"text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("Stdio::piped()"), "{error}");
}

#[divisi::test(worker_threads = 2)]
async fn all_who_wait_get_the_same_status_also_later() {
    let (child, _) = started(&mut Command::shell("echo; exec sleep 1000")).await;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let handle = child.handle();
            divisi::spawn(async move { handle.wait().await.unwrap() })
        })
        .collect();
    child.signal(Signal::INT).unwrap();
    for task in waiting {
        assert_eq!(task.await.unwrap().signal(), Some(Signal::INT.as_raw()));
    }
    let late = child.handle().wait().await.unwrap();
    assert_eq!(late.signal(), Some(Signal::INT.as_raw()));
    assert!(
        !is_our_child(child.id()),
        "the first who waited collected it"
    );
}

#[divisi::test]
async fn a_dropped_wait_loses_nothing() {
    let mut child = Command::shell("read line; exit 4")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let handle = child.handle();
    assert!(future::poll_once(handle.wait()).await.is_none());
    assert_eq!(child.try_wait().unwrap(), None);
    // Waiting closes the standard input, so `read` ends.
    assert_eq!(child.wait().await.unwrap().code(), Some(4));
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(4));
}

#[divisi::test]
async fn output_can_be_read_after_the_end() {
    let mut child = Command::shell("echo late")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.wait().await.unwrap();
    let mut text = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "late\n");
}

#[divisi::test]
async fn the_stream_of_one_child_feeds_another() {
    let mut first = Command::new("printf")
        .arg("b\\na\\n")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let between = Stdio::try_from(first.stdout.take().unwrap()).unwrap();
    let sorted = Command::new("sort").stdin(between).output().await.unwrap();
    assert_eq!(sorted.stdout, b"a\nb\n");
    assert!(first.wait().await.unwrap().success());
}

#[divisi::test]
async fn a_conversation_goes_line_by_line() {
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for i in 0..100 {
        stdin.write_all(format!("{i}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).await.unwrap();
        assert_eq!(line, format!("{i}\n"));
    }
    stdin.close().await.unwrap();
    let error = stdin.write_all(b"more").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(stdout.read_line(&mut String::new()).await.unwrap(), 0);
    assert!(child.wait().await.unwrap().success());
}

#[divisi::test]
async fn signals_to_a_process_that_has_ended_are_refused_and_killing_it_is_not() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().await.unwrap();
    let error = child.signal(Signal::TERM).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    child.kill().unwrap();
    let error = child.kill_tree().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("kill_tree(true)"), "{error}");
    let nameless = Signal::from_raw(40).unwrap();
    assert_eq!(
        child.signal(nameless).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[divisi::test]
async fn dropping_kills_only_if_asked_to() {
    let (child, _) = started(&mut Command::shell("echo; exec sleep 1000")).await;
    let handle = child.handle();
    drop(child);
    assert_eq!(handle.try_wait().unwrap(), None);
    handle.kill().unwrap();
    assert_eq!(handle.wait().await.unwrap().signal(), Some(9));

    let mut command = Command::shell("echo; exec sleep 1000");
    let (child, _) = started(command.kill_on_drop(true)).await;
    let handle = child.handle();
    drop(child);
    assert_eq!(handle.wait().await.unwrap().signal(), Some(9));
}

#[divisi::test(worker_threads = 2)]
async fn a_cancelled_output_leaves_neither_process_nor_zombie() {
    for _ in 0..10 {
        let mut command = Command::new("sleep");
        let child = command
            .arg("1000")
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let task = divisi::spawn(child.wait_with_output());
        divisi::yield_now().await;
        task.cancel("test");
        assert!(task.await.unwrap_err().is_cancelled());
        collected(pid).await;
    }
}

#[divisi::test]
async fn a_child_that_nobody_waits_for_is_collected_when_it_ends() {
    let mut command = Command::shell("echo; read line");
    let (mut child, _) = started(command.stdin(Stdio::piped())).await;
    let stdin = child.stdin.take();
    let pid = child.id();
    drop(child);
    assert!(is_our_child(pid));
    drop(stdin);
    collected(pid).await;
}

#[test]
fn children_outlive_their_runtime_and_are_collected() {
    let (pid, stdin) = divisi::run(async {
        let mut command = Command::shell("echo; read line");
        let (mut child, _) = started(command.stdin(Stdio::piped())).await;
        (child.id(), child.stdin.take())
    });
    assert!(is_our_child(pid));
    drop(stdin);
    divisi::run(collected(pid));
}

#[divisi::test]
async fn kill_tree_ends_the_grandchildren_too() {
    // The child tells the number of a grandchild, and ends at once: the group stays.
    let mut command = Command::shell("sleep 1000 & echo $!");
    let (mut child, grandchild) = started(command.kill_tree(true)).await;
    let grandchild: u32 = grandchild.parse().unwrap();
    assert!(child.wait().await.unwrap().success());
    assert!(stat(grandchild).is_some());
    assert_eq!(
        stat(child.id()).map(|(state, _)| state),
        Some('Z'),
        "it keeps the number of the group"
    );
    child.kill_tree().unwrap();
    while stat(grandchild).is_some_and(|(state, _)| state != 'Z') {
        divisi::yield_now().await;
    }
    let pid = child.id();
    drop(child);
    collected(pid).await;
}

#[divisi::test]
async fn a_dropped_tree_is_killed_if_asked_to() {
    let mut command = Command::shell("sleep 1000 & echo $!; wait");
    let (child, grandchild) = started(command.kill_tree(true).kill_on_drop(true)).await;
    let grandchild: u32 = grandchild.parse().unwrap();
    let pid = child.id();
    drop(child);
    collected(pid).await;
    while stat(grandchild).is_some_and(|(state, _)| state != 'Z') {
        divisi::yield_now().await;
    }
}

#[divisi::test]
async fn what_cannot_be_started_says_what_and_why() {
    let error = Command::new("/no/such/program").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let why = error
        .get_ref()
        .unwrap()
        .downcast_ref::<SpawnError>()
        .unwrap();
    assert_eq!(why.program(), "/no/such/program");
    assert_eq!(why.io_error().kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("installed"), "{error}");

    let error = Command::new("true")
        .current_dir("/no/such/place")
        .output()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/no/such/place"), "{error}");
    let error = Command::new("/etc/passwd").status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn waiting_where_no_runtime_is_gives_an_error() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let handle = child.handle();
    let error = future::block_on(handle.wait()).unwrap_err();
    assert!(error.to_string().contains("no divisi runtime"), "{error}");
    divisi::run(async { assert!(child.wait().await.unwrap().success()) });
}

#[test]
fn failed_and_finished_starts_leave_no_descriptors_and_no_children() {
    if is_outer("failed_and_finished_starts_leave_no_descriptors_and_no_children") {
        return;
    }
    divisi::run(async {
        // The runtime makes some of its own on first use.
        Command::new("true").output_with("x").await.unwrap();
        let before = open_descriptors();
        for _ in 0..10 {
            Command::new("/no/such/program")
                .output_with("x")
                .await
                .unwrap_err();
        }
        assert_eq!(open_descriptors(), before);
        for _ in 0..10 {
            Command::new("cat").output_with("x").await.unwrap();
        }
        assert_eq!(open_descriptors(), before);
        for _ in 0..10 {
            let mut command = Command::new("sleep");
            let child = command
                .arg("1000")
                .kill_on_drop(true)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let pid = child.id();
            assert!(
                divisi::time::timeout(Duration::from_millis(1), child.wait_with_output())
                    .await
                    .is_err()
            );
            collected(pid).await;
        }
        // The reaper closes what it has before it ends, which no event tells.
        while open_descriptors() != before {
            divisi::yield_now().await;
        }
    });
}

#[test]
fn a_start_without_descriptors_left_fails_and_leaves_nothing() {
    if is_outer("a_start_without_descriptors_left_fails_and_leaves_nothing") {
        return;
    }
    divisi::run(async {
        Command::new("true").output().await.unwrap();
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(has_children());
        child.wait_with_output().await.unwrap();
        assert!(!has_children());
        let mut taken = Vec::new();
        let limit = rustix::process::Rlimit {
            current: Some(200),
            maximum: Some(200),
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            taken.push(file);
        }
        let mut failed = 0;
        // However many are free, nothing panics, hangs or stays behind.
        for _ in 0..12 {
            match Command::new("true").output().await {
                Ok(output) => assert!(output.status.success()),
                Err(error) => {
                    failed += 1;
                    assert!(
                        error.to_string().contains("cannot start \"true\""),
                        "{error}"
                    );
                }
            }
            taken.pop();
        }
        assert!(failed > 0);
        while has_children() {
            divisi::yield_now().await;
        }
    });
}

#[test]
fn a_status_that_somebody_else_collected_is_told() {
    if is_outer("a_status_that_somebody_else_collected_is_told") {
        return;
    }
    divisi::run(async {
        let mut child = Command::new("true").spawn().unwrap();
        rustix::process::wait(rustix::process::WaitOptions::empty()).unwrap();
        let error = child.wait().await.unwrap_err();
        assert!(error.get_ref().unwrap().is::<StatusLost>(), "{error}");
        child.kill().unwrap();
    });
}

#[divisi::test]
async fn a_command_can_be_used_again_after_its_output_was_collected() {
    // It says what its input is, and on the standard error what its output is. (A copy of that: a shell may redirect its own for the program that it calls.)
    let mut command =
        Command::shell("exec 3>&1; readlink /proc/$$/fd/0; readlink /proc/$$/fd/3 >&2");
    let inherited = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let first = command.output().await.unwrap();
    assert_eq!(first.stdout, b"/dev/null\n");
    assert!(first.stderr.starts_with(b"pipe:"));
    let second = command.output_with("").await.unwrap();
    assert!(second.stdout.starts_with(b"pipe:"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("streams");
    let file = std::fs::File::create(&path).unwrap();
    command.stderr(file);
    let third = command.output().await.unwrap();
    assert_eq!(third.stdout, b"/dev/null\n", "as if it were the first");
    let mut child = command.spawn().unwrap();
    assert!(child.stdout.is_none() && child.stdin.is_none());
    assert!(child.wait().await.unwrap().success());
    let lines = std::fs::read_to_string(&path).unwrap();
    let last = lines.lines().last().unwrap();
    assert_eq!(last, inherited(1).to_str().unwrap());
}
