//! Signals that the process sends to itself.
//!
//! Dispositions belong to the process, so each test has signals of its own: the harness may run all of them in one process.
#![cfg(target_os = "linux")]

use std::error::Error;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use divisi::signal::{self, Signal, SignalError};
use divisi::{LocalRuntime, Runtime};
use futures_lite::StreamExt;
use rustix::process::{Signal as Raw, getpid, kill_process};

fn raise(signal: Signal) {
    kill_process(getpid(), Raw::from_named_raw(signal.as_raw()).unwrap()).unwrap();
}

/// Whether the process has the signal in one of the masks of `/proc/self/status`: `SigCgt` (caught) or `SigIgn` (ignored).
fn in_mask(mask: &str, signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(mask));
    let bits = u64::from_str_radix(line.unwrap().trim_start_matches(':').trim(), 16).unwrap();
    bits & (1 << (signal.as_raw() - 1)) != 0
}

#[divisi::test(worker_threads = 2)]
async fn every_receiver_gets_the_signal() {
    let receivers: Vec<_> = (0..10)
        .map(|_| signal::stream(Signal::USR1).unwrap())
        .collect();
    let tasks: Vec<_> = receivers
        .into_iter()
        .map(|receiver| divisi::spawn(async move { receiver.recv().await.unwrap() }))
        .collect();
    raise(Signal::USR1);
    for task in tasks {
        assert_eq!(task.await.unwrap(), Signal::USR1);
    }
}

#[divisi::test]
async fn a_signal_between_the_call_and_the_await_is_kept() {
    let receiver = signal::stream(Signal::USR2).unwrap();
    assert_eq!(receiver.try_recv(), None);
    raise(Signal::USR2);
    assert_eq!(receiver.recv().await.unwrap(), Signal::USR2);
    assert_eq!(receiver.try_recv(), None);
}

#[divisi::test]
async fn a_receiver_of_several_tells_which_came() {
    let mut receiver = signal::receiver([Signal::TERM, Signal::HUP, Signal::TERM]).unwrap();
    raise(Signal::TERM);
    raise(Signal::HUP);
    // The system may deliver them on different threads, so either may be first.
    let mut came = [
        receiver.next().await.unwrap().unwrap(),
        receiver.next().await.unwrap().unwrap(),
    ];
    came.sort();
    assert_eq!(came, [Signal::HUP, Signal::TERM]);
    assert_eq!(receiver.try_recv(), None);
}

#[divisi::test(worker_threads = 2)]
async fn thousands_of_signals_wake_one_by_one() {
    const ROUNDS: usize = 5_000;
    let there = signal::stream(Signal::IO).unwrap();
    let (asked, mut ask) = divisi::channel::mpsc::bounded(1);
    let got = Arc::new(AtomicUsize::new(0));
    let count = got.clone();
    let task = divisi::spawn(async move {
        while there.recv().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
            asked.send(()).await.unwrap();
        }
    });
    // Enough of them for a machine that others keep busy.
    let enough = std::time::Instant::now() + Duration::from_secs(20);
    let mut sent = 0;
    while sent < ROUNDS && std::time::Instant::now() < enough {
        raise(Signal::IO);
        ask.recv().await.unwrap();
        sent += 1;
    }
    assert_eq!(got.load(Ordering::Relaxed), sent);
    task.cancel("all have come");
    let _ = task.await;
}

#[divisi::test]
async fn the_last_receiver_restores_what_was_there_before() {
    // Rust programs ignore SIGPIPE, and SIGWINCH has the default disposition.
    for (signal, ignored) in [(Signal::PIPE, true), (Signal::WINCH, false)] {
        assert!(!in_mask("SigCgt", signal));
        let first = signal::stream(signal).unwrap();
        let second = signal::stream(signal).unwrap();
        assert!(in_mask("SigCgt", signal));
        drop(first);
        assert!(in_mask("SigCgt", signal), "the second still receives");
        raise(signal);
        assert_eq!(second.recv().await.unwrap(), signal);
        drop(second);
        assert!(!in_mask("SigCgt", signal));
        assert_eq!(in_mask("SigIgn", signal), ignored);
    }
}

#[divisi::test]
async fn a_handler_of_another_library_comes_back() {
    let theirs = Arc::new(AtomicBool::new(false));
    let id = signal_hook::flag::register(Signal::TTIN.as_raw(), theirs.clone()).unwrap();
    let ours = signal::stream(Signal::TTIN).unwrap();
    raise(Signal::TTIN);
    assert_eq!(ours.recv().await.unwrap(), Signal::TTIN);
    drop(ours);
    assert!(!theirs.load(Ordering::SeqCst), "ours was there alone");
    raise(Signal::TTIN);
    // The system may deliver it on another thread, a moment later.
    while !theirs.load(Ordering::SeqCst) {
        divisi::yield_now().await;
    }
    signal_hook::low_level::unregister(id);
}

#[divisi::test]
async fn a_handler_that_is_installed_meanwhile_stays() {
    let ours = signal::stream(Signal::TTOU).unwrap();
    let asked = Arc::new(AtomicBool::new(false));
    let theirs = signal_hook::flag::register(Signal::TTOU.as_raw(), asked.clone()).unwrap();
    raise(Signal::TTOU);
    // signal-hook calls the handler that it found.
    assert_eq!(ours.recv().await.unwrap(), Signal::TTOU);
    drop(ours);
    assert!(in_mask("SigCgt", Signal::TTOU));
    while !asked.load(Ordering::SeqCst) {
        divisi::yield_now().await;
    }
    signal_hook::low_level::unregister(theirs);
}

#[test]
fn signals_that_no_program_can_receive_are_refused() {
    for signal in [Signal::KILL, Signal::STOP] {
        let error = signal::stream(signal).unwrap_err();
        assert!(
            matches!(error, SignalError::NotCatchable(which) if which == signal),
            "{error}"
        );
    }
    for signal in [Signal::SEGV, Signal::BUS, Signal::FPE, Signal::ILL] {
        let error = signal::stream(signal).unwrap_err();
        assert!(matches!(error, SignalError::Fault(which) if which == signal));
    }
    assert!(matches!(
        signal::receiver([]).unwrap_err(),
        SignalError::NoSignals
    ));
    // glibc keeps this number for itself, musl as well.
    let reserved = Signal::from_raw(32).unwrap();
    let error = signal::receiver([Signal::ALRM, reserved]).unwrap_err();
    assert!(
        matches!(error, SignalError::Refused { signal, .. } if signal == reserved),
        "{error}"
    );
    assert!(error.source().is_some());
    assert!(
        !in_mask("SigCgt", Signal::ALRM),
        "a refusal takes nothing over"
    );
    let error: io::Error = signal::stream(Signal::KILL).unwrap_err().into();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn waiting_where_no_runtime_is_gives_an_error() {
    let receiver = signal::stream(Signal::CONT).unwrap();
    let error = futures_lite::future::block_on(receiver.recv()).unwrap_err();
    assert!(error.to_string().contains("no divisi runtime"), "{error}");
}

#[test]
fn receivers_of_several_runtimes_all_get_the_signal() {
    let many = Runtime::builder().worker_threads(1).build().unwrap();
    let there = many.spawn({
        let receiver = signal::stream(Signal::TSTP).unwrap();
        async move { receiver.recv().await.unwrap() }
    });
    let one = LocalRuntime::new().unwrap();
    one.block_on(async {
        let here = signal::stream(Signal::TSTP).unwrap();
        raise(Signal::TSTP);
        assert_eq!(here.recv().await.unwrap(), Signal::TSTP);
    });
    assert_eq!(many.block_on(there).unwrap(), Signal::TSTP);
}

#[test]
fn a_receiver_tells_that_its_runtime_is_gone() {
    let receiver = signal::stream(Signal::from_raw(Raw::URG.as_raw()).unwrap()).unwrap();
    let runtime = Runtime::builder().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let mut waiting = std::pin::pin!(receiver.recv());
        assert!(
            futures_lite::future::poll_once(waiting.as_mut())
                .await
                .is_none()
        );
    });
    drop(runtime);
    let error = futures_lite::future::block_on(receiver.recv()).unwrap_err();
    assert!(error.to_string().contains("shut down"), "{error}");
}

#[test]
fn receivers_leave_no_descriptors_behind() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // Other tests of this process open and close descriptors meanwhile: run alone, in a process of its own.
    const CHILD: &str = "DIVISI_TEST_SIGNAL_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "receivers_leave_no_descriptors_behind"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let before = open();
    for _ in 0..100 {
        let receivers: Vec<_> = (0..10)
            .map(|_| signal::receiver([Signal::ALRM, Signal::ABRT]).unwrap())
            .collect();
        drop(receivers);
    }
    assert_eq!(open(), before);
}

/// The handler must never write to a descriptor that was closed and belongs to somebody else by now.
#[test]
fn receivers_come_and_go_under_a_flood() {
    let stop = Arc::new(AtomicBool::new(false));
    let keep = signal::stream(Signal::CHLD).unwrap();
    let flood = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                raise(Signal::CHLD);
            }
        }
    });
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let one = signal::stream(Signal::CHLD).unwrap();
                    // A stranger that gets the number of a descriptor that was just closed would find the handler's byte.
                    drop(one);
                    let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
                    near.set_nonblocking(true).unwrap();
                    let found = io::Read::read(&mut near, &mut [0; 8]);
                    assert_eq!(found.unwrap_err().kind(), io::ErrorKind::WouldBlock);
                    drop(far);
                }
            });
        }
    });
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    drop(keep);
}

#[test]
fn ctrl_c_is_taken_over_by_the_call_and_given_back_after_it() {
    let runtime = Runtime::builder().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let asked = signal::ctrl_c();
        raise(Signal::INT);
        asked.await.unwrap();
    });
    assert!(!in_mask("SigCgt", Signal::INT));
}
