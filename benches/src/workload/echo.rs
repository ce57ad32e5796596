//! TCP echo on the loopback interface, both ends in the runtime under test. An operation is one message of 64 bytes there and back;
//! with several connections the time is wall-clock time divided by the messages of all of them.

use std::time::{Duration, Instant};

use super::{Measured, Workload};
use crate::peer::{FullPeer, Net};

/// Bytes of a message: a small request.
pub const MESSAGE: usize = 64;

/// The theme's workloads.
pub(super) fn workloads<P: FullPeer>() -> Vec<Workload<P>> {
    vec![
        Workload::new("echo/1_connection", echo::<P, 1>),
        Workload::new("echo/8_connections", echo::<P, 8>),
        Workload::new("echo/64_connections", echo::<P, 64>),
    ]
}

fn echo<P: FullPeer, const CONNECTIONS: usize>(peer: &P, operations: u64) -> Measured {
    let rounds = operations.div_ceil(CONNECTIONS as u64);
    let time = peer.block_on(async move { P::spawn(exchange::<P>(CONNECTIONS, rounds)).await });
    Measured::share(time, operations, rounds * CONNECTIONS as u64)
}

/// Connects, then measures so many rounds on every connection.
async fn exchange<P: FullPeer>(connections: usize, rounds: u64) -> Duration {
    let (listener, address) = P::listen()
        .await
        .expect("the loopback interface has a free port");
    let mut clients = Vec::with_capacity(connections);
    let mut servers = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut client = P::connect(address).await.expect("the listener listens");
        let server = P::accept(&listener)
            .await
            .expect("the client has connected");
        servers.push(P::spawn(serve::<P>(server)));
        // Both ends have waited once, so that no registration is part of the measurement.
        ask::<P>(&mut client).await;
        clients.push(client);
    }

    let start = Instant::now();
    let clients: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            P::spawn(async move {
                for _ in 0..rounds {
                    ask::<P>(&mut client).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await;
    }
    let time = start.elapsed();

    for server in servers {
        server.await;
    }
    time
}

/// Sends everything back until the other end closes.
async fn serve<P: FullPeer>(mut stream: <P as Net>::Stream) {
    let mut buffer = [0; MESSAGE];
    loop {
        match P::read(&mut stream, &mut buffer)
            .await
            .expect("the client does not reset the connection")
        {
            0 => return,
            length => P::write_all(&mut stream, &buffer[..length])
                .await
                .expect("the client waits for it"),
        }
    }
}

/// Sends a message and waits for all of it.
async fn ask<P: FullPeer>(stream: &mut <P as Net>::Stream) {
    P::write_all(stream, &[b'x'; MESSAGE])
        .await
        .expect("the server reads");
    let mut buffer = [0; MESSAGE];
    let mut received = 0;
    while received < MESSAGE {
        let length = P::read(stream, &mut buffer)
            .await
            .expect("the server does not reset the connection");
        assert_ne!(
            length, 0,
            "the server closed the connection before all was sent back"
        );
        received += length;
    }
}
