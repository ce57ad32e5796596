//! TCP: what holds from the first connect to the last byte.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use divisi::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use divisi::net::{Keepalive, TcpListener, TcpSocket, TcpStream};
use divisi::time::timeout;
use divisi::{join, select, yield_now};
use futures_lite::StreamExt;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Two ends of one connection.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let (near, far) = join!(
        TcpStream::connect(listener.local_addr().unwrap()),
        listener.accept()
    );
    (near.unwrap(), far.unwrap().0)
}

/// An end whose other end is a blocking socket of the standard library, which a test drives step by step.
async fn with_std_peer() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(LOCAL).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (far, _) = listener.accept().unwrap();
    (near, far)
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[divisi::test(worker_threads = 2)]
async fn an_echo_server_serves_many_connections() {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = divisi::spawn(async move {
        let mut connections = Vec::new();
        for _ in 0..20 {
            let (stream, _) = listener.accept().await.unwrap();
            connections.push(divisi::spawn(async move {
                divisi::io::copy(&stream, &stream).await.unwrap()
            }));
        }
        let mut copied = 0;
        for connection in connections {
            copied += connection.await.unwrap();
        }
        copied
    });
    let clients: Vec<_> = (0..20_u8)
        .map(|i| {
            divisi::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for round in 0..50 {
                    let message = [i ^ round; 64];
                    stream.write_all(&message).await.unwrap();
                    let mut echo = [0; 64];
                    stream.read_exact(&mut echo).await.unwrap();
                    assert_eq!(echo, message);
                }
                stream.close().await.unwrap();
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(server.await.unwrap(), 20 * 50 * 64);
}

#[divisi::test(worker_threads = 2)]
async fn bulk_data_passes_both_ways_at_once() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 1_000;

    /// No power of two, so that a lost or doubled buffer shows.
    const PERIOD: usize = 251;

    /// Enough of the stream `seed` to compare a chunk that begins anywhere.
    fn pattern(seed: u8) -> Vec<u8> {
        (0..PERIOD + CHUNK)
            .map(|i| (i % PERIOD) as u8 ^ seed)
            .collect()
    }

    async fn send(stream: &TcpStream, seed: u8) {
        let pattern = pattern(seed);
        for chunk in 0..CHUNKS {
            let begin = chunk * CHUNK % PERIOD;
            let data = &pattern[begin..begin + CHUNK];
            stream.write_all(data).await.unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
    }

    async fn receive(stream: &TcpStream, seed: u8) -> usize {
        let pattern = pattern(seed);
        let mut buf = vec![0; CHUNK];
        let mut position = 0;
        loop {
            let length = stream.read(&mut buf).await.unwrap();
            if length == 0 {
                return position;
            }
            let begin = position % PERIOD;
            let expected = &pattern[begin..begin + length];
            assert!(buf[..length] == *expected, "after {position} bytes");
            position += length;
        }
    }

    let (near, far) = connection().await;
    let far = divisi::spawn(async move { join!(send(&far, 1), receive(&far, 2)).1 });
    let near = divisi::spawn(async move { join!(send(&near, 2), receive(&near, 1)).1 });
    assert_eq!(far.await.unwrap(), CHUNK * CHUNKS);
    assert_eq!(near.await.unwrap(), CHUNK * CHUNKS);
}

#[divisi::test]
async fn the_end_is_read_after_data_that_came_with_it() {
    for _ in 0..100 {
        let (near, mut far) = with_std_peer().await;
        let mut buf = [0; 64];
        let mut waiting = pin!(near.read(&mut buf));
        // So the data and the end find the source registered and waiting.
        assert!(poll_once(waiting.as_mut()).is_pending());
        far.write_all(b"last").unwrap();
        drop(far);
        assert_eq!(waiting.await.unwrap(), 4);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
    }
}

#[divisi::test]
async fn a_half_closed_connection_still_carries_the_other_direction() {
    let (mut near, mut far) = connection().await;
    near.close().await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(far.read(&mut buf).await.unwrap(), 0);
    far.write_all(b"still here").await.unwrap();
    far.close().await.unwrap();
    let mut text = String::new();
    near.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "still here");
    let error = near.write(b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[divisi::test]
async fn closing_twice_and_closing_a_dead_connection_are_no_errors() {
    let (mut near, far) = connection().await;
    near.close().await.unwrap();
    near.close().await.unwrap();
    far.set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    let _ = near.read(&mut [0; 8]).await;
    near.close().await.unwrap();
}

#[divisi::test]
async fn a_reset_wakes_a_waiting_reader_with_an_error() {
    let (near, far) = connection().await;
    let mut buf = [0; 8];
    let mut reading = pin!(near.read(&mut buf));
    assert!(poll_once(reading.as_mut()).is_pending());
    far.set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    assert_eq!(
        reading.await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert!(near.peer_addr().is_err());
}

#[divisi::test]
async fn connecting_where_nobody_listens_is_refused() {
    let address = {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        listener.local_addr().unwrap()
    };
    let error = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[divisi::test]
async fn connect_takes_the_first_address_that_accepts() {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let open = listener.local_addr().unwrap();
    let closed = TcpListener::bind(LOCAL)
        .await
        .unwrap()
        .into_std()
        .local_addr()
        .unwrap();
    let stream = TcpStream::connect([closed, open]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), open);
    let none: [SocketAddr; 0] = [];
    let error = TcpStream::connect(none).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[divisi::test]
async fn a_connect_that_gets_no_answer_can_be_given_up() {
    // Linux leaves a connect without an answer while the queue of the listener is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(LOCAL.into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut connected = Vec::new();
    let given_up = loop {
        assert!(connected.len() < 100, "the queue is never full");
        match timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            Ok(stream) => connected.push(stream.unwrap()),
            Err(elapsed) => break elapsed,
        }
    };
    assert!(given_up.to_string().contains("did not complete"));
    // All is well with the listener and those that had connected.
    let (accepted, _) = listener.accept().await.unwrap();
    connected[0].write_all(b"x").await.unwrap();
    accepted.read_exact(&mut [0]).await.unwrap();
}

#[divisi::test]
async fn a_dropped_read_loses_nothing() {
    let (near, far) = connection().await;
    let (waits, reader_waits) = divisi::channel::oneshot();
    let writer = divisi::spawn(async move {
        let () = reader_waits.await.unwrap();
        for i in 0..=255_u8 {
            far.write_all(&[i]).await.unwrap();
            yield_now().await;
        }
    });
    let reader = divisi::spawn(async move {
        let mut received = Vec::new();
        let mut given_up = 0;
        let mut waits = Some(waits);
        loop {
            let mut buf = [0; 4];
            select! {
                length = near.read(&mut buf) => match length.unwrap() {
                    0 => return (received, given_up),
                    length => received.extend_from_slice(&buf[..length]),
                },
                _ = yield_now() => {
                    given_up += 1;
                    waits.take().map(|waits| waits.send(()));
                }
            }
        }
    });
    writer.await.unwrap();
    let (received, given_up) = reader.await.unwrap();
    assert!(received.iter().copied().eq(0..=255), "{received:?}");
    assert!(given_up > 0, "no read was ever dropped");
}

#[divisi::test]
async fn a_root_that_always_yields_still_gets_its_data() {
    let (near, mut far) = with_std_peer().await;
    for round in 0..100_u8 {
        let mut buf = [0; 4];
        let mut reading = pin!(near.read(&mut buf));
        assert!(poll_once(reading.as_mut()).is_pending());
        far.write_all(&[round]).unwrap();
        loop {
            select! {
                length = &mut reading => {
                    assert_eq!(length.unwrap(), 1);
                    break;
                }
                _ = yield_now() => {}
            }
        }
    }
}

#[divisi::test]
async fn a_dropped_accept_loses_no_connection() {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    {
        let mut accepting = pin!(listener.accept());
        assert!(poll_once(accepting.as_mut()).is_pending());
    }
    let stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, stream.local_addr().unwrap());
}

#[divisi::test(worker_threads = 2)]
async fn several_tasks_read_from_one_stream() {
    let (near, far) = connection().await;
    let near = Arc::new(near);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let near = near.clone();
            divisi::spawn(async move {
                let mut read = 0;
                loop {
                    match near.read(&mut [0; 7]).await.unwrap() {
                        0 => return read,
                        length => read += length,
                    }
                }
            })
        })
        .collect();
    for _ in 0..100 {
        far.write_all(&[1; 20]).await.unwrap();
        yield_now().await;
    }
    drop(far);
    let mut total = 0;
    for reader in readers {
        total += reader.await.unwrap();
    }
    assert_eq!(total, 2_000);
}

#[divisi::test(worker_threads = 2)]
async fn several_tasks_accept_from_one_listener() {
    let listener = Arc::new(TcpListener::bind(LOCAL).await.unwrap());
    let address = listener.local_addr().unwrap();
    let servers: Vec<_> = (0..4)
        .map(|_| {
            let listener = listener.clone();
            divisi::spawn(async move {
                for _ in 0..5 {
                    listener.accept().await.unwrap();
                }
            })
        })
        .collect();
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    for server in servers {
        server.await.unwrap();
    }
}

#[divisi::test]
async fn vectored_writes_and_reads_keep_the_order_of_the_buffers() {
    let (near, far) = connection().await;
    let bufs = [
        IoSlice::new(b"one "),
        IoSlice::new(b"two "),
        IoSlice::new(b"three"),
    ];
    assert_eq!(near.write_vectored(&bufs).await.unwrap(), 13);
    let (mut a, mut b) = ([0; 6], [0; 32]);
    let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    assert_eq!(far.read_vectored(&mut bufs).await.unwrap(), 13);
    assert_eq!((&a, &b[..7]), (b"one tw", b"o three".as_slice()));
}

#[divisi::test]
async fn a_vectored_read_that_fills_part_of_the_buffers_waits_for_the_next_data() {
    let (near, mut far) = with_std_peer().await;
    for round in 0..100_u8 {
        let (mut a, mut b) = ([0; 4], [0; 4]);
        let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        let mut reading = pin!(near.read_vectored(&mut bufs));
        assert!(poll_once(reading.as_mut()).is_pending());
        far.write_all(&[round; 5]).unwrap();
        assert_eq!(reading.await.unwrap(), 5);
    }
}

#[divisi::test]
async fn peeked_bytes_stay_in_the_stream() {
    let (near, far) = connection().await;
    let mut buf = [0; 16];
    {
        // So the data finds the source registered, and no second event comes to the rescue.
        let mut peeking = pin!(near.peek(&mut buf));
        assert!(poll_once(peeking.as_mut()).is_pending());
        far.write_all(b"peek").await.unwrap();
        assert_eq!(peeking.await.unwrap(), 4);
    }
    for _ in 0..3 {
        assert_eq!(near.peek(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf[..4], b"peek");
    }
    assert_eq!(near.read(&mut buf).await.unwrap(), 4);
    let mut peeking = pin!(near.peek(&mut buf));
    assert!(poll_once(peeking.as_mut()).is_pending());
    drop(far);
    assert_eq!(peeking.await.unwrap(), 0);
}

#[divisi::test]
async fn try_methods_never_wait() {
    let (near, mut far) = with_std_peer().await;
    let mut buf = [0; 16];
    assert_eq!(
        near.try_read(&mut buf).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    far.write_all(b"hello").unwrap();
    loop {
        near.readable().await.unwrap();
        match near.try_read(&mut buf) {
            Ok(length) => {
                assert_eq!(&buf[..length], b"hello");
                break;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(
        near.try_read_vectored(&mut [IoSliceMut::new(&mut buf)])
            .unwrap_err()
            .kind(),
        ErrorKind::WouldBlock
    );

    // Until the buffers of both sides are full, and again when the peer has read.
    let block = [7; 64 * 1024];
    let mut written = 0;
    loop {
        match near.try_write(&block) {
            Ok(length) => written += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(poll_once(pin!(near.write(&block))).is_pending());
    let reader = divisi::spawn_blocking(move || far.read_exact(&mut vec![0; written]));
    near.writable().await.unwrap();
    reader.await.unwrap().unwrap();
    assert!(near.try_write_vectored(&[IoSlice::new(b"x")]).is_ok());
}

#[divisi::test(worker_threads = 2)]
async fn borrowed_halves_work_at_the_same_time() {
    let (mut near, far) = connection().await;
    let echo = divisi::spawn(async move { divisi::io::copy(&far, &far).await.unwrap() });
    let (mut reader, mut writer) = near.split();
    let mut echoed = vec![0; 100_000];
    join!(
        async {
            writer.write_all(&vec![9; 100_000]).await.unwrap();
            writer.close().await.unwrap();
        },
        async { reader.read_exact(&mut echoed).await.unwrap() }
    );
    assert!(echoed.iter().all(|&byte| byte == 9));
    assert_eq!(echo.await.unwrap(), 100_000);
    assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
}

#[divisi::test(worker_threads = 2)]
async fn owned_halves_go_to_different_tasks_and_reunite() {
    let (near, far) = connection().await;
    let address = near.local_addr().unwrap();
    let echo = divisi::spawn(async move { divisi::io::copy(&far, &far).await.unwrap() });
    let (mut reader, mut writer) = near.into_split();
    let writing = divisi::spawn(async move {
        writer.write_all(&[3; 50_000]).await.unwrap();
        writer
    });
    let reading = divisi::spawn(async move {
        reader.read_exact(&mut [0; 50_000]).await.unwrap();
        reader
    });
    let (reader, writer) = (reading.await.unwrap(), writing.await.unwrap());
    assert!(reader.is_pair_of(&writer));
    let near = reader.reunite(writer).unwrap();
    assert_eq!(near.local_addr().unwrap(), address);
    // Reuniting has not ended the stream.
    near.write_all(b"x").await.unwrap();
    near.read_exact(&mut [0]).await.unwrap();
    drop(near);
    assert_eq!(echo.await.unwrap(), 50_001);
}

#[divisi::test]
async fn halves_of_different_streams_do_not_reunite() {
    let (one, other) = connection().await;
    let (one_reader, one_writer) = one.into_split();
    let (other_reader, other_writer) = other.into_split();
    let error = one_reader.reunite(other_writer).unwrap_err();
    assert!(error.to_string().contains("two different streams"));
    assert!(one_writer.reunite(error.read).is_ok());
    assert!(other_reader.reunite(error.write).is_ok());
}

#[divisi::test]
async fn dropping_the_owned_writing_half_ends_the_stream() {
    let (near, far) = connection().await;
    let (mut reader, writer) = near.into_split();
    drop(writer);
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    far.write_all(b"back").await.unwrap();
    drop(far);
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "back");
}

#[divisi::test]
async fn forgetting_the_owned_writing_half_leaves_the_stream_open() {
    let (near, far) = connection().await;
    let (reader, writer) = near.into_split();
    writer.forget();
    let mut buf = [0; 8];
    {
        let mut reading = pin!(far.read(&mut buf));
        assert!(poll_once(reading.as_mut()).is_pending());
        drop(reader);
        assert_eq!(reading.await.unwrap(), 0);
    }
}

#[divisi::test]
async fn addresses_of_both_ends_agree() {
    let (near, far) = connection().await;
    assert_eq!(near.local_addr().unwrap(), far.peer_addr().unwrap());
    assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
}

#[divisi::test]
async fn incoming_gives_connection_after_connection() {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    let clients = divisi::spawn(async move {
        for i in 0..3_u8 {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&[i]).await.unwrap();
        }
    });
    let mut incoming = listener.incoming();
    for expected in 0..3 {
        let stream = incoming.next().await.unwrap().unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [expected]);
    }
    clients.await.unwrap();
}

#[divisi::test]
async fn an_address_can_be_bound_again_at_once() {
    let (stream, address) = {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = join!(TcpStream::connect(address), listener.accept());
        // Closed on the listener's side first, which keeps its port in TIME_WAIT.
        drop(far);
        (near.unwrap(), address)
    };
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    drop(stream);
    TcpListener::bind(address).await.unwrap();
}

#[divisi::test]
async fn options_are_set_and_read_back() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.set_send_buffer_size(64 * 1024).unwrap();
    assert!(socket.reuse_port().unwrap());
    assert!(!socket.reuse_address().unwrap());
    assert!(socket.recv_buffer_size().unwrap() >= 64 * 1024);
    assert!(socket.send_buffer_size().unwrap() >= 64 * 1024);
    socket.bind(LOCAL.into()).unwrap();
    let address = socket.local_addr().unwrap();
    let _first = socket.listen(16).unwrap();
    let second = TcpSocket::new_v4().unwrap();
    second.set_reuse_port(true).unwrap();
    second.bind(address).unwrap();
    second.listen(16).unwrap();

    let client = TcpSocket::new_v4().unwrap();
    client.set_nodelay(true).unwrap();
    client
        .set_keepalive(Some(
            &Keepalive::new()
                .idle(Duration::from_secs(30))
                .interval(Duration::from_secs(5))
                .retries(3),
        ))
        .unwrap();
    let stream = client.connect(address).await.unwrap();
    assert!(stream.nodelay().unwrap());
    stream.set_nodelay(false).unwrap();
    assert!(!stream.nodelay().unwrap());
    stream.set_ttl(33).unwrap();
    assert_eq!(stream.ttl().unwrap(), 33);
    stream.set_linger(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(stream.linger().unwrap(), Some(Duration::from_secs(2)));
    stream.set_linger(None).unwrap();
    stream.set_keepalive(None).unwrap();
    assert!(stream.take_error().unwrap().is_none());
}

#[divisi::test]
async fn streams_come_from_and_go_to_the_standard_library() {
    let (near, mut far) = with_std_peer().await;
    let near = near.into_std();
    let near = TcpStream::from_std(near).unwrap();
    far.write_all(b"x").unwrap();
    near.read_exact(&mut [0]).await.unwrap();
    // Registered once more after it was taken out.
    let again = TcpStream::try_from(near.into_std()).unwrap();
    let mut byte = [0];
    let mut reading = pin!(again.read_exact(&mut byte));
    assert!(poll_once(reading.as_mut()).is_pending());
    far.write_all(b"y").unwrap();
    reading.await.unwrap();
    assert!(format!("{again:?}").contains("TcpStream"));
}

#[divisi::test]
async fn the_poll_methods_wake_the_task_that_polled_last() {
    let (near, far) = connection().await;
    let mut buf = [0; 8];
    assert!(
        Pin::new(&mut &near)
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut buf)
            .is_pending()
    );
    let reader = divisi::spawn(async move {
        let mut buf = [0; 8];
        poll_fn(|cx| Pin::new(&mut &near).poll_read(cx, &mut buf)).await
    });
    yield_now().await;
    far.write_all(b"x").await.unwrap();
    assert_eq!(reader.await.unwrap().unwrap(), 1);
}

#[divisi::test]
async fn a_task_tells_where_it_reads() {
    let (near, far) = connection().await;
    let line = line!() + 1;
    let reader = divisi::spawn(async move { near.read(&mut [0; 8]).await });
    let id = reader.id();
    let waits_at = loop {
        yield_now().await;
        let tasks = divisi::Handle::current().tasks();
        let task = tasks.iter().find(|task| task.id == id).unwrap();
        if let Some(at) = task.waits_at {
            break at;
        }
    };
    assert_eq!((waits_at.file(), waits_at.line()), (file!(), line));
    drop(far);
    reader.await.unwrap().unwrap();
}

#[divisi::test]
async fn a_stream_that_is_always_ready_lets_other_tasks_run() {
    let (near, far) = connection().await;
    far.write_all(&[1; 4096]).await.unwrap();
    let others = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = others.clone();
    let other = divisi::spawn(async move {
        loop {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            yield_now().await;
        }
    });
    let reader = divisi::spawn(async move {
        for _ in 0..4096 {
            near.read_exact(&mut [0]).await.unwrap();
        }
    });
    reader.await.unwrap();
    other.cancel("the reader is done");
    let _ = other.await;
    assert!(others.load(std::sync::atomic::Ordering::Relaxed) >= 4096 / 128 - 1);
}

#[test]
fn sockets_that_must_wait_outside_a_runtime_give_an_error_that_says_what_to_do() {
    futures_lite::future::block_on(async {
        // Nothing here has to wait for the system.
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let error = listener.accept().await.unwrap_err();
        assert!(error.to_string().contains("no divisi runtime"), "{error}");
        // It works when there is something to accept: the first try needs no reactor.
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().await.unwrap();
    });
}

#[test]
fn a_listener_outlives_the_runtime_it_waited_in() {
    let listener = divisi::run(async {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        assert!(poll_once(pin!(listener.accept())).is_pending());
        listener
    });
    let std = listener.into_std();
    let _client = std::net::TcpStream::connect(std.local_addr().unwrap()).unwrap();
    divisi::run(async {
        let listener = TcpListener::from_std(std).unwrap();
        listener.accept().await.unwrap();
    });
}

/// A byte for which its receiver waits.
async fn one_way(from: &TcpStream, to: &TcpStream) {
    let mut byte = [0];
    let mut read = pin!(to.read(&mut byte));
    assert!(
        futures_lite::future::poll_once(read.as_mut())
            .await
            .is_none()
    );
    from.write_all(b"x").await.unwrap();
    assert_eq!(read.await.unwrap(), 1);
}

async fn round_trip(a: &TcpStream, b: &TcpStream) {
    one_way(a, b).await;
    one_way(b, a).await;
}

#[divisi::test]
async fn more_buffers_than_the_system_takes_at_once_are_moved_in_several_calls() {
    const BUFFERS: usize = 1500;
    let (near, far) = connection().await;
    let bytes: Vec<u8> = (0..BUFFERS).map(|i| (i % 251) as u8).collect();
    let bufs: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
    // Once the reactor watches both ends, and has told what it knows of them.
    round_trip(&near, &far).await;
    round_trip(&far, &near).await;
    let mut sent = 0;
    while sent < BUFFERS {
        let written = timeout(Duration::from_secs(60), near.write_vectored(&bufs[sent..]));
        sent += written.await.expect("it stays writable").unwrap();
    }
    // The other way: the reactor tells of the bytes before it tells of this, and of nothing after it.
    for _ in 0..2 {
        one_way(&far, &near).await;
    }
    let mut got = vec![0; BUFFERS];
    let mut filled = 0;
    while filled < BUFFERS {
        let mut bufs: Vec<_> = got[filled..].chunks_mut(1).map(IoSliceMut::new).collect();
        let read = timeout(Duration::from_secs(60), far.read_vectored(&mut bufs));
        filled += read.await.expect("there is more to read").unwrap();
    }
    assert!(got == bytes);
}
