//! The standard streams, in a process of their own.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use divisi::io::{AsyncReadExt, AsyncWriteExt, stderr, stdin, stdout};
use divisi::time::timeout;
use divisi::{Runtime, Shutdown};

/// Runs `inside` in a process of its own, or in this one if this is it.
fn alone(test: &str, inside: impl FnOnce()) -> Option<Command> {
    const CHILD: &str = "DIVISI_TEST_STDIO_ALONE";
    if std::env::var_os(CHILD).is_some() {
        inside();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Some(command)
}

#[test]
fn input_comes_out_again_on_both_streams() {
    let command = alone("input_comes_out_again_on_both_streams", || {
        divisi::run(async {
            let (mut out, mut err) = (stdout(), stderr());
            let mut buf = vec![0; 10_000];
            out.write_all(b"\nbegin").await.unwrap();
            loop {
                let length = stdin().read(&mut buf).await.unwrap();
                if length == 0 {
                    break;
                }
                out.write_all(&buf[..length]).await.unwrap();
                err.write_all(&buf[..length]).await.unwrap();
            }
            out.write_all(b"end\n").await.unwrap();
            out.flush().await.unwrap();
            err.flush().await.unwrap();
        });
    });
    let Some(mut command) = command else { return };
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let sent = "0123456789".repeat(50_000);
    let copy = sent.clone();
    let feeding = std::thread::spawn(move || input.write_all(copy.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let echoed = text
        .split_once("begin")
        .unwrap()
        .1
        .split_once("end\n")
        .unwrap()
        .0;
    assert!(echoed == sent);
    assert!(output.stderr == sent.as_bytes());
}

#[test]
fn a_read_that_waits_keeps_no_runtime_from_ending_and_loses_nothing() {
    let test = "a_read_that_waits_keeps_no_runtime_from_ending_and_loses_nothing";
    let command = alone(test, || {
        let runtime = Runtime::builder().worker_threads(1).build().unwrap();
        let (started, waits) = std::sync::mpsc::channel();
        let _detached = runtime.spawn(async move {
            let mut read = std::pin::pin!(async { stdin().read(&mut [0; 8]).await });
            assert!(
                futures_lite::future::poll_once(read.as_mut())
                    .await
                    .is_none()
            );
            started.send(()).unwrap();
            let _ = read.await;
        });
        waits.recv().unwrap();
        let report = runtime.shutdown(Shutdown::now());
        assert!(report.stuck.is_empty(), "{report}");
        println!("\nended");
        // What comes now, though the read of before was cancelled, goes to the next one.
        divisi::run(async {
            let mut byte = [0; 1];
            for expected in b"typed" {
                stdin().read_exact(&mut byte).await.unwrap();
                assert_eq!(byte[0], *expected);
            }
            // A process that ends while a read waits.
            let _detached = divisi::spawn(async { stdin().read(&mut [0; 8]).await });
            divisi::yield_now().await;
        });
        println!("\nread");
    });
    let Some(mut command) = command else { return };
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line == "ended"));
    input.write_all(b"typed").unwrap();
    assert!(lines.by_ref().any(|line| line == "read"));
    lines.for_each(drop);
    // The input is still open here: the process ends all the same.
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    drop(input);
}

#[test]
fn a_reader_that_comes_again_and_again_while_nothing_is_typed_waits_on() {
    let test = "a_reader_that_comes_again_and_again_while_nothing_is_typed_waits_on";
    let command = alone(test, || {
        divisi::run(async {
            let mut input = stdin();
            let mut byte = [0; 1];
            input.read_exact(&mut byte).await.unwrap();
            assert_eq!(&byte, b"x");
            // The thread takes its buffer back some time after the first of these polls.
            for _ in 0..2 {
                let wait = Duration::from_millis(20);
                assert!(timeout(wait, input.read(&mut byte)).await.is_err());
                assert!(timeout(wait, stdin().read(&mut byte)).await.is_err());
            }
            println!("\nwaits");
            input.read_exact(&mut byte).await.unwrap();
            assert_eq!(&byte, b"y");
        });
    });
    let Some(mut command) = command else { return };
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    input.write_all(b"x").unwrap();
    assert!(lines.by_ref().any(|line| line == "waits"));
    input.write_all(b"y").unwrap();
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
}

#[test]
fn output_that_nobody_reads_is_an_error() {
    let command = alone("output_that_nobody_reads_is_an_error", || {
        divisi::run(async {
            let mut buf = [0; 1];
            // The other end says when it is closed.
            stdin().read_exact(&mut buf).await.unwrap();
            let mut err = stderr();
            err.write_all(b"text").await.unwrap();
            let error = err.flush().await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
            println!("\nas it should be");
        });
    });
    let Some(mut command) = command else { return };
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(text.contains("as it should be"), "{text}");
}
