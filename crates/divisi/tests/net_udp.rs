//! UDP.

use std::future::Future;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use divisi::net::UdpSocket;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

async fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (
        UdpSocket::bind(LOCAL).await.unwrap(),
        UdpSocket::bind(LOCAL).await.unwrap(),
    );
    one.connect(other.local_addr().unwrap()).await.unwrap();
    other.connect(one.local_addr().unwrap()).await.unwrap();
    (one, other)
}

#[divisi::test]
async fn a_datagram_tells_its_sender() {
    let server = UdpSocket::bind(LOCAL).await.unwrap();
    let client = UdpSocket::bind(LOCAL).await.unwrap();
    let mut buf = [0; 64];
    assert_eq!(
        client
            .send_to(b"ping", server.local_addr().unwrap())
            .await
            .unwrap(),
        4
    );
    let (length, peer) = server.recv_from(&mut buf).await.unwrap();
    assert_eq!(
        (&buf[..length], peer),
        (b"ping".as_slice(), client.local_addr().unwrap())
    );
    server.send_to(b"pong", peer).await.unwrap();
    assert_eq!(client.recv(&mut buf).await.unwrap(), 4);
}

#[divisi::test]
async fn connected_sockets_send_to_each_other() {
    let (one, other) = pair().await;
    assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
    for round in 0..100_u8 {
        one.send(&[round; 10]).await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(other.recv(&mut buf).await.unwrap(), 10);
        assert_eq!(buf[..10], [round; 10]);
    }
}

#[divisi::test]
async fn an_empty_datagram_is_a_datagram() {
    let (one, other) = pair().await;
    one.send(b"").await.unwrap();
    one.send(b"x").await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(other.recv(&mut buf).await.unwrap(), 0);
    assert_eq!(other.recv(&mut buf).await.unwrap(), 1);
}

#[divisi::test]
async fn several_datagrams_behind_one_wake_up_are_all_received() {
    let (one, other) = pair().await;
    let mut buf = [0; 8];
    for _ in 0..50 {
        let mut waiting = pin!(other.recv(&mut buf));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        for i in 0..5 {
            one.try_send(&[i]).unwrap();
        }
        waiting.await.unwrap();
        for i in 1..5 {
            let mut buf = [0; 8];
            assert_eq!(other.recv(&mut buf).await.unwrap(), 1);
            assert_eq!(buf[0], i);
        }
    }
}

#[divisi::test(worker_threads = 2)]
async fn concurrent_readers_receive_each_datagram_once() {
    const READERS: usize = 4;
    const DATAGRAMS: u32 = 200;
    let (sender, receiver) = pair().await;
    let receiver = Arc::new(receiver);
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let receiver = receiver.clone();
            divisi::spawn(async move {
                let mut received = Vec::new();
                loop {
                    let mut buf = [0; 4];
                    match receiver.recv(&mut buf).await.unwrap() {
                        0 => return received,
                        _ => received.push(u32::from_be_bytes(buf)),
                    }
                }
            })
        })
        .collect();
    for i in 0..DATAGRAMS {
        sender.send(&i.to_be_bytes()).await.unwrap();
        divisi::yield_now().await;
    }
    for _ in 0..READERS {
        sender.send(b"").await.unwrap();
    }
    let mut all = Vec::new();
    for reader in readers {
        all.extend(reader.await.unwrap());
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..DATAGRAMS));
}

#[divisi::test]
async fn a_dropped_receive_loses_no_datagram() {
    let (one, other) = pair().await;
    let mut buf = [0; 8];
    {
        let mut waiting = pin!(other.recv(&mut buf));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        one.send(b"kept").await.unwrap();
    }
    assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
}

#[divisi::test]
async fn peeked_datagrams_stay() {
    let (one, other) = pair().await;
    one.send(b"peek").await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(other.peek(&mut buf).await.unwrap(), 4);
    assert_eq!(
        other.peek_from(&mut buf).await.unwrap(),
        (4, one.local_addr().unwrap())
    );
    assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
    assert_eq!(
        other.try_recv(&mut buf).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[divisi::test]
async fn try_methods_never_wait() {
    let (one, other) = pair().await;
    let mut buf = [0; 8];
    assert_eq!(
        other.try_recv_from(&mut buf).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    one.try_send(b"x").unwrap();
    other.readable().await.unwrap();
    assert_eq!(
        other.try_recv_from(&mut buf).unwrap(),
        (1, one.local_addr().unwrap())
    );
    let unconnected = UdpSocket::bind(LOCAL).await.unwrap();
    unconnected.writable().await.unwrap();
    assert_eq!(
        unconnected
            .try_send_to(b"yz", unconnected.local_addr().unwrap())
            .unwrap(),
        2
    );
    assert_eq!(unconnected.recv(&mut buf).await.unwrap(), 2);
}

#[divisi::test]
async fn sending_where_nobody_receives_is_refused_at_the_next_call() {
    let socket = UdpSocket::bind(LOCAL).await.unwrap();
    let closed = UdpSocket::bind(LOCAL)
        .await
        .unwrap()
        .into_std()
        .local_addr()
        .unwrap();
    socket.connect(closed).await.unwrap();
    socket.send(b"x").await.unwrap();
    let error = socket.recv(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[divisi::test]
async fn members_of_a_group_receive_what_is_sent_to_it() {
    let group = Ipv4Addr::new(239, 255, 70, 77);
    let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    receiver
        .join_multicast_v4(group, Ipv4Addr::LOCALHOST)
        .unwrap();
    let port = receiver.local_addr().unwrap().port();

    let sender = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )
    .unwrap();
    sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    let sender = UdpSocket::from_std(sender.into()).unwrap();
    sender.set_multicast_loop_v4(true).unwrap();
    sender.set_multicast_ttl_v4(0).unwrap();
    assert!(sender.multicast_loop_v4().unwrap());
    assert_eq!(sender.multicast_ttl_v4().unwrap(), 0);
    sender.send_to(b"all", (group, port)).await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(receiver.recv(&mut buf).await.unwrap(), 3);

    receiver
        .leave_multicast_v4(group, Ipv4Addr::LOCALHOST)
        .unwrap();
    assert!(
        receiver
            .leave_multicast_v4(group, Ipv4Addr::LOCALHOST)
            .is_err()
    );
}

#[divisi::test]
async fn options_are_set_and_read_back() {
    let socket = UdpSocket::bind(LOCAL).await.unwrap();
    assert!(!socket.broadcast().unwrap());
    socket.set_broadcast(true).unwrap();
    assert!(socket.broadcast().unwrap());
    socket.set_ttl(9).unwrap();
    assert_eq!(socket.ttl().unwrap(), 9);
}
