//! Descriptors are given back. Alone in its process, whose descriptors it counts.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use divisi::net::{Server, TcpConnector, TcpStream};
use divisi::time::timeout;

const ROUNDS: usize = 1_000;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_connects_and_a_thousand_cancelled_ones_leave_no_descriptor() {
    let runtime = divisi::Runtime::builder()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let bound = Server::builder().bind("127.0.0.1:0").await.unwrap();
        let address = bound.local_addrs()[0];
        let server = bound.serve(|stream, _| async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await?;
            stream.write_all(&byte).await
        });
        let connect = async |address: SocketAddr| {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
        };
        // What is made once (reactors, timers) is there after the first.
        connect(address).await;
        while server.connections() > 0 {
            divisi::yield_now().await;
        }
        let before = open_descriptors();

        for _ in 0..ROUNDS {
            connect(address).await;
        }

        // A listener whose queue is full does not answer, so these are cancelled in the middle. The limit, and a drop after the first poll, are two ways.
        let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&full, 0).unwrap();
        let silent = full.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) =
            timeout(Duration::from_millis(20), TcpStream::connect(silent)).await
        {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue never fills");
        }
        let both = [silent, silent];
        let connector = TcpConnector::new().attempt_delay(Duration::ZERO);
        for round in 0..ROUNDS {
            if round % 100 == 0 {
                let limited = connector.clone().limit(Duration::from_millis(1));
                let error = limited.connect(both).await.unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            } else {
                let connecting = pin!(connector.connect(both));
                let polled = connecting.poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Pending), "{polled:?}");
            }
        }
        drop(queued);
        drop(full);

        server.stop_accepting().await;
        server.wait().await;
        // The server's listener is gone by now.
        assert_eq!(open_descriptors(), before - 1);
    });
}
