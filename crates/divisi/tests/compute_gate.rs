//! Compute threads give their core away when this runtime's I/O waits for one, and not otherwise.
// The portable poller does not tell whether it has events, so there compute threads always give way.
#![cfg(all(target_os = "linux", not(feature = "portable")))]

use std::future::Future;
use std::io::Write;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use divisi::compute::{ComputeYield, checkpoint};
use divisi::net::TcpListener;
use divisi::{Handle, Runtime};

/// Far longer than anything takes that works; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One worker, which nobody replaces.
fn runtime() -> Runtime {
    Runtime::builder()
        .worker_threads(1)
        .compute_threads(1)
        .compute_starvation_guard(false)
        .stall_threshold(None)
        .build()
        .unwrap()
}

/// Blocks the only worker until the sender is dropped. It has fetched all events before that, such as that a new socket is writable.
fn block_the_worker(runtime: &Runtime) -> mpsc::Sender<()> {
    let (slept, has_slept) = mpsc::channel();
    drop(runtime.spawn(async move {
        divisi::time::sleep(Duration::from_millis(1)).await;
        slept.send(()).unwrap();
    }));
    has_slept.recv_timeout(PATIENCE).unwrap();
    let (open, closed) = mpsc::channel::<()>();
    let (stuck, is_stuck) = mpsc::channel();
    drop(runtime.spawn(async move {
        stuck.send(()).unwrap();
        let _ = closed.recv_timeout(PATIENCE);
    }));
    is_stuck.recv_timeout(PATIENCE).unwrap();
    open
}

fn yields(runtime: &Handle) -> u64 {
    runtime.metrics().compute.yields
}

/// Many checkpoints; returns how often the thread gave its core away.
fn yields_over_a_while(runtime: &Handle) -> u64 {
    let before = yields(runtime);
    let until = Instant::now() + Duration::from_millis(3);
    // Once at least, even if the thread then loses its core for as long.
    checkpoint();
    while Instant::now() < until {
        checkpoint();
    }
    yields(runtime) - before
}

fn eventually(what: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < until, "waited in vain");
    }
}

/// Runs a compute job beside a blocked worker: first nothing waits, then what `begin` makes wait.
fn waits_make_it_yield(runtime: &Runtime, begin: impl FnOnce() + Send + 'static) {
    let handle = runtime.handle().clone();
    let (done, is_done) = mpsc::channel();
    let guard = runtime.enter();
    let job = divisi::offload(move || {
        eventually(|| yields_over_a_while(&handle) == 0);
        begin();
        eventually(|| yields_over_a_while(&handle) > 0);
        done.send(()).unwrap();
    });
    drop(guard);
    is_done
        .recv_timeout(2 * PATIENCE)
        .expect("it saw that I/O waits");
    drop(job);
}

#[test]
fn events_that_nobody_has_fetched_make_compute_threads_yield() {
    let runtime = runtime();
    let (address, bound) = mpsc::channel();
    let (connected, is_connected) = mpsc::channel();
    let reader = runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        address.send(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        connected.send(()).unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        byte[0]
    });
    let mut client = std::net::TcpStream::connect(bound.recv_timeout(PATIENCE).unwrap()).unwrap();
    is_connected.recv_timeout(PATIENCE).unwrap();
    let open = block_the_worker(&runtime);
    waits_make_it_yield(&runtime, move || client.write_all(b"x").unwrap());
    drop(open);
    assert_eq!(runtime.block_on(reader).unwrap(), b'x');
}

#[test]
fn timers_that_are_due_make_compute_threads_yield() {
    let runtime = runtime();
    let open = block_the_worker(&runtime);
    let (armed, is_armed) = mpsc::channel();
    waits_make_it_yield(&runtime, move || {
        // On a thread of the pool, so that it is due only while the job runs; its reactor is that of the worker. Kept, as a timer
        // that is dropped is due for nobody.
        let mut sleep = Box::pin(divisi::time::sleep(Duration::from_millis(200)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        armed.send(sleep).unwrap();
    });
    drop(open);
    runtime.block_on(is_armed.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn tasks_that_wait_for_the_worker_make_compute_threads_yield() {
    let runtime = runtime();
    let open = block_the_worker(&runtime);
    let handle = runtime.handle().clone();
    let (spawned, task) = mpsc::channel();
    waits_make_it_yield(&runtime, move || {
        spawned.send(handle.spawn(async { 5 })).unwrap();
    });
    drop(open);
    let task = task.recv_timeout(PATIENCE).unwrap();
    assert_eq!(runtime.block_on(task).unwrap(), 5);
}

#[test]
fn the_gate_can_be_taken_away_or_shut() {
    for (when, expected) in [(ComputeYield::Always, true), (ComputeYield::Never, false)] {
        let runtime = Runtime::builder()
            .worker_threads(1)
            .compute_threads(1)
            .compute_yield(when)
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        let yielded = runtime.block_on(async move {
            let task = divisi::spawn(async {
                divisi::offload(move || yields_over_a_while(&handle) > 0).await
            });
            task.await.unwrap().unwrap()
        });
        assert_eq!(yielded, expected, "{when:?}");
    }
}

#[test]
fn checkpoints_outside_the_compute_pool_do_nothing() {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    thread::spawn(move || assert_eq!(yields_over_a_while(&handle), 0))
        .join()
        .unwrap();
}
