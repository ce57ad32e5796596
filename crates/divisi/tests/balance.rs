//! Connections spread over the workers: those of a worker that has more to do than its core can move to one that idles.

use std::time::{Duration, Instant};

use divisi::net::{TcpListener, TcpStream};
use divisi::{Handle, Runtime};

const CONNECTIONS: usize = 8;
const MESSAGES: usize = 200;

/// Polls of each worker so far.
fn polls() -> Vec<u64> {
    let metrics = Handle::current().metrics();
    let workers = &metrics.scheduler.workers;
    workers.iter().map(|worker| worker.polls).collect()
}

async fn echo(stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn ask(stream: TcpStream) -> TcpStream {
    let mut buffer = [0; 64];
    for _ in 0..MESSAGES {
        stream.write_all(&[7; 64]).await.unwrap();
        stream.read_exact(&mut buffer).await.unwrap();
    }
    stream
}

#[test]
fn connections_that_were_all_accepted_by_one_worker_come_to_use_both() {
    let runtime = Runtime::builder().worker_threads(2).build().unwrap();
    let spread = runtime.spawn(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(TcpStream::connect(address).await.unwrap());
            let (server, _) = listener.accept().await.unwrap();
            drop(divisi::spawn(echo(server)));
        }
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let before = polls();
            let tasks: Vec<_> = clients.drain(..).map(|c| divisi::spawn(ask(c))).collect();
            for task in tasks {
                clients.push(task.await.unwrap());
            }
            let after = polls();
            let done: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
            // A quarter each: as even as eight connections of unequal luck come reliably.
            if done[..2].iter().all(|polls| polls * 4 >= done.iter().sum()) {
                return true;
            }
        }
        false
    });
    assert!(runtime.block_on(spread).unwrap());
}
