//! A task that blocks its thread for ever costs its own progress only.

use std::sync::mpsc;
use std::time::Duration;

use divisi::net::{TcpListener, TcpStream};
use divisi::{Runtime, Shutdown};

/// Blocks one of two workers until the returned sender is dropped.
fn runtime_with_a_stuck_worker() -> (Runtime, mpsc::Sender<()>) {
    let runtime = Runtime::builder().worker_threads(2).build().unwrap();
    let (open, closed) = mpsc::channel::<()>();
    let (stuck, is_stuck) = mpsc::channel();
    drop(runtime.spawn(async move {
        stuck.send(()).unwrap();
        let _ = closed.recv();
    }));
    is_stuck.recv().unwrap();
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
