//! A task that blocks its thread for ever costs its own progress only.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use divisi::limit::{Rate, RateLimiter};
use divisi::net::{TcpListener, TcpStream};
use divisi::{Runtime, Shutdown};

/// Blocks one of two workers until the returned sender is dropped.
fn runtime_with_a_stuck_worker() -> (Runtime, mpsc::Sender<()>) {
    let runtime = Runtime::builder().worker_threads(2).build().unwrap();
    let open = block_tasks(&runtime, 1);
    (runtime, open)
}

#[test]
fn timers_io_and_new_tasks_go_on_beside_a_stuck_worker() {
    let (runtime, open) = runtime_with_a_stuck_worker();
    // From a plain thread, so that only the workers can run the tasks.
    for _ in 0..20 {
        let (done, finished) = mpsc::channel();
        drop(runtime.spawn(async move {
            divisi::time::sleep(Duration::from_micros(100)).await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = divisi::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"x").await.unwrap();
            });
            let stream = TcpStream::connect(address).await.unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            server.await.unwrap();
            done.send(()).unwrap();
        }));
        finished.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    drop(open);
}

/// The sockets and timers of a worker that gets stuck later are looked after by the other.
#[test]
fn sources_that_belong_to_a_worker_that_got_stuck_are_served() {
    let runtime = Runtime::builder().worker_threads(2).build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ready, is_ready) = mpsc::channel();
    let (done, finished) = mpsc::channel();
    let mut clients = Vec::new();
    // As many connections as make sure that each worker handles some.
    for _ in 0..32 {
        let (ready, done) = (ready.clone(), done.clone());
        let client = std::net::TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop(runtime.spawn(async move {
            let stream = TcpStream::from_std(server).unwrap();
            let mut byte = [0];
            for _ in 0..2 {
                ready.send(()).unwrap();
                stream.read_exact(&mut byte).await.unwrap();
            }
            let timer = divisi::time::sleep(Duration::from_millis(1));
            timer.await;
            done.send(()).unwrap();
        }));
        // The first byte makes the source register and be woken once.
        is_ready.recv().unwrap();
        std::io::Write::write_all(&mut &client, b"1").unwrap();
        is_ready.recv().unwrap();
        clients.push(client);
    }
    let (open, closed) = mpsc::channel::<()>();
    let (stuck, is_stuck) = mpsc::channel();
    drop(runtime.spawn(async move {
        stuck.send(()).unwrap();
        let _ = closed.recv();
    }));
    is_stuck.recv().unwrap();
    for mut client in &clients {
        std::io::Write::write_all(&mut client, b"2").unwrap();
    }
    for _ in 0..32 {
        finished.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    drop(open);
    assert!(
        runtime
            .shutdown(Shutdown::graceful(Duration::from_secs(60)))
            .is_clean()
    );
}

/// Connects two sockets of a runtime and lets one echo what the other sends.
async fn echo_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = divisi::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        stream.write_all(&byte).await.unwrap();
    });
    let stream = TcpStream::connect(address).await.unwrap();
    divisi::time::sleep(Duration::from_micros(100)).await;
    stream.write_all(b"x").await.unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
    server.await.unwrap();
}

/// Blocks `tasks` tasks until the returned sender is dropped.
fn block_tasks(runtime: &Runtime, tasks: usize) -> mpsc::Sender<()> {
    let (open, closed) = mpsc::channel::<()>();
    let closed = std::sync::Arc::new(std::sync::Mutex::new(closed));
    let (stuck, is_stuck) = mpsc::channel();
    for _ in 0..tasks {
        let (stuck, closed) = (stuck.clone(), closed.clone());
        drop(runtime.spawn(async move {
            stuck.send(()).unwrap();
            let _ = closed.lock().map(|closed| closed.recv());
        }));
    }
    for _ in 0..tasks {
        is_stuck.recv_timeout(LONG).unwrap();
    }
    open
}

const LONG: Duration = Duration::from_secs(60);

/// A spare worker gives the timers of its reactor up when the worker that it stood in for is back.
#[test]
fn a_waiter_for_a_rate_that_began_on_a_spare_worker_has_an_alarm_afterwards() {
    let runtime = Runtime::builder().worker_threads(1).build().unwrap();
    let open = block_tasks(&runtime, 1);
    let (waits, has_begun) = mpsc::channel();
    let waiter = runtime.spawn(async move {
        let limiter = RateLimiter::new(Rate::per(1, Duration::from_secs(1)));
        limiter.acquire().await;
        let mut second = pin!(limiter.acquire());
        poll_fn(|cx| {
            assert!(second.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        waits.send(()).unwrap();
        second.await;
    });
    has_begun.recv_timeout(LONG).unwrap();
    drop(open);
    let waiter = async { divisi::time::timeout(LONG, waiter).await };
    assert!(runtime.block_on(waiter).is_ok(), "nobody woke the waiter");
}

/// The spare never sleeps, so it never looks out.
#[test]
fn what_waits_with_a_stuck_worker_is_served_also_by_a_spare_that_is_always_busy() {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .exception_handler(|_| {})
        .build()
        .unwrap();
    let (tell, told) = mpsc::channel();
    let (served, is_served) = mpsc::channel();
    drop(runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell.send(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        for _ in 0..2 {
            stream.read_exact(&mut byte).await.unwrap();
            served.send(byte[0]).unwrap();
        }
    }));
    let mut client = std::net::TcpStream::connect(told.recv_timeout(LONG).unwrap()).unwrap();
    // Once on the worker, with whose driver it then waits.
    std::io::Write::write_all(&mut client, b"1").unwrap();
    assert_eq!(is_served.recv_timeout(LONG).unwrap(), b'1');
    let open = block_tasks(&runtime, 1);
    let stop = Arc::new(AtomicBool::new(false));
    let (busy, is_busy) = mpsc::channel();
    let spinner = runtime.spawn({
        let stop = stop.clone();
        async move {
            busy.send(()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                divisi::yield_now().await;
            }
        }
    });
    is_busy.recv_timeout(LONG).unwrap();
    std::io::Write::write_all(&mut client, b"2").unwrap();
    assert_eq!(is_served.recv_timeout(LONG).unwrap(), b'2');
    stop.store(true, Ordering::Relaxed);
    drop(open);
    runtime.block_on(spinner).unwrap();
}

#[test]
fn io_timers_and_tasks_go_on_although_every_worker_is_stuck_and_the_stall_is_reported() {
    let (reports, reported) = mpsc::channel();
    let reports = std::sync::Mutex::new(reports);
    let runtime = Runtime::builder()
        .worker_threads(2)
        .spare_workers(4)
        .exception_handler(move |report| {
            let _ = reports
                .lock()
                .unwrap()
                .send((report.message.clone(), report.spawned_at));
        })
        .build()
        .unwrap();
    // Twice as many blocked tasks as workers.
    let open = block_tasks(&runtime, 4);
    for _ in 0..10 {
        let (done, finished) = mpsc::channel();
        drop(runtime.spawn(async move {
            echo_once().await;
            done.send(()).unwrap();
        }));
        finished.recv_timeout(LONG).unwrap();
    }
    let (message, spawned_at) = reported.recv_timeout(LONG).unwrap();
    assert!(message.contains("spare worker"), "{message}");
    assert!(spawned_at.unwrap().file().ends_with("stuck_worker.rs"));
    drop(open);
    assert!(runtime.shutdown(Shutdown::graceful(LONG)).is_clean());
}

#[test]
fn connections_and_timers_that_live_on_a_spare_outlive_it() {
    let runtime = Runtime::builder().worker_threads(1).build().unwrap();
    let open = block_tasks(&runtime, 1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ready, is_ready) = mpsc::channel();
    let (done, finished) = mpsc::channel();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(std::net::TcpStream::connect(address).unwrap());
        let (server, _) = listener.accept().unwrap();
        let (ready, done) = (ready.clone(), done.clone());
        drop(runtime.spawn(async move {
            let stream = TcpStream::from_std(server).unwrap();
            let timer = divisi::spawn(divisi::time::sleep(Duration::from_millis(200)));
            let mut byte = [0];
            for _ in 0..2 {
                stream.read_exact(&mut byte).await.unwrap();
                ready.send(()).unwrap();
            }
            timer.await.unwrap();
            done.send(()).unwrap();
        }));
    }
    for client in &mut clients {
        std::io::Write::write_all(client, b"1").unwrap();
        is_ready.recv_timeout(LONG).unwrap();
    }
    assert_eq!(runtime.metrics().scheduler.spares_running, 1);
    drop(open);
    while runtime.metrics().scheduler.spares_running > 0 {
        std::thread::yield_now();
    }
    for client in &mut clients {
        std::io::Write::write_all(client, b"2").unwrap();
    }
    for _ in 0..10 {
        finished.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn a_runtime_without_spares_still_ends() {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .stall_threshold(None)
        .build()
        .unwrap();
    let open = block_tasks(&runtime, 1);
    let report = runtime.shutdown(Shutdown::now().patience(Duration::ZERO));
    assert_eq!(report.stuck.len(), 1);
    drop(open);
}

#[test]
fn a_root_of_many_short_polls_is_not_taken_for_stuck() {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .stall_threshold(Duration::from_millis(5))
        .build()
        .unwrap();
    runtime.block_on(async {
        // Something that a stuck worker would keep waiting.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let accepting = divisi::spawn(async move { listener.accept().await.is_ok() });
        for _ in 0..100 {
            let since = Instant::now();
            while since.elapsed() < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
            divisi::yield_now().await;
        }
        let metrics = divisi::Handle::current().metrics();
        assert_eq!(metrics.scheduler.stalls, 0);
        accepting.cancel("seen enough");
    });
}

/// Without any task: the timer of the second root is with the reactor of the worker that the first one keeps.
#[test]
fn a_second_root_goes_on_beside_one_that_blocks_its_thread() {
    for workers in [1, 2] {
        let runtime = Runtime::builder().worker_threads(workers).build().unwrap();
        let (stuck, is_stuck) = mpsc::channel();
        let (open, closed) = mpsc::channel::<()>();
        let handle = runtime.handle().clone();
        let second = std::thread::spawn(move || {
            is_stuck.recv().unwrap();
            handle.block_on(divisi::time::sleep(Duration::from_millis(1)));
            drop(open);
        });
        runtime.block_on(async {
            divisi::time::sleep(Duration::from_millis(1)).await;
            stuck.send(()).unwrap();
            let opened = closed.recv_timeout(Duration::from_secs(60));
            assert_eq!(opened, Err(mpsc::RecvTimeoutError::Disconnected));
        });
        second.join().unwrap();
    }
}

#[test]
fn a_timer_that_a_pool_thread_waits_for_fires_though_the_root_blocks_its_worker() {
    /// So long that nobody looks out any more when it fires, unless somebody has been told to.
    const LONGER_THAN_A_LOOKOUT_STAYS: Duration = Duration::from_millis(100);
    for workers in [1, 2] {
        let runtime = Runtime::builder().worker_threads(workers).build().unwrap();
        runtime.block_on(async {
            let (done, finished) = mpsc::channel();
            drop(divisi::spawn_blocking(move || {
                futures_lite::future::block_on(divisi::time::sleep(LONGER_THAN_A_LOOKOUT_STAYS));
                done.send(()).unwrap();
            }));
            finished.recv_timeout(LONG).unwrap();
        });
    }
}
