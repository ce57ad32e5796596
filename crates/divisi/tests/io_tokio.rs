//! tokio's I/O traits on divisi's streams, without tokio's runtime.
#![cfg(feature = "tokio-io")]

use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::task::Poll;

use divisi::io::Async;
use divisi::net::{TcpListener, TcpStream, UnixStream};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Writes `data` at one end in pieces of `piece` and reads it at the other into a buffer that starts small and uninitialized.
async fn carries(near: impl AsyncWrite, far: impl AsyncRead, data: &[u8], piece: usize) {
    let mut near = pin!(near);
    let mut far = pin!(far);
    let write = async {
        for piece in data.chunks(piece) {
            near.write_all(piece).await?;
        }
        near.shutdown().await
    };
    let mut read = Vec::new();
    let (written, ended) = divisi::join!(write, far.read_to_end(&mut read));
    written.unwrap();
    assert_eq!(ended.unwrap(), data.len());
    assert!(read == data, "the bytes differ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_stream_carries_all_bytes_in_order(data in proptest::collection::vec(any::<u8>(), 0..200_000), piece in 1..70_000_usize) {
        divisi::run(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            carries(client, server, &data, piece).await;

            let (near, far) = UnixStream::pair().unwrap();
            carries(near, far, &data, piece).await;

            let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            let (near, far) = (UnixStream::from_std(near).unwrap(), UnixStream::from_std(far).unwrap());
            let (_near_read, near) = near.into_split();
            let (far, _far_write) = far.into_split();
            carries(near, far, &data, piece).await;

            let (far, near) = std::io::pipe().unwrap();
            let (near, far) = (Async::new(near).unwrap(), Async::new(far).unwrap());
            // A pipe ends when its writer is dropped, and `carries` drops it only at its end.
            let mut read = vec![0; data.len()];
            let (mut near, mut far) = (near, far);
            let (written, filled) = divisi::join!(near.write_all(&data), far.read_exact(&mut read));
            written.unwrap();
            filled.unwrap();
            assert!(read == data);
        });
    }
}

#[divisi::test]
async fn a_read_appends_behind_what_the_buffer_holds_and_stops_at_its_end() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    AsyncWriteExt::write_all(&mut near, b"abcdef")
        .await
        .unwrap();
    let mut room = [b'-'; 6];
    let mut buffer = ReadBuf::new(&mut room);
    buffer.put_slice(b"12");
    std::future::poll_fn(|cx| AsyncRead::poll_read(Pin::new(&mut far), cx, &mut buffer))
        .await
        .unwrap();
    assert_eq!(buffer.filled(), b"12abcd");
    // Full: ready at once, and takes nothing from the stream.
    std::future::poll_fn(|cx| AsyncRead::poll_read(Pin::new(&mut far), cx, &mut buffer))
        .await
        .unwrap();
    let mut rest = [0; 2];
    AsyncReadExt::read_exact(&mut far, &mut rest).await.unwrap();
    assert_eq!(&rest, b"ef");
}

#[divisi::test]
async fn a_read_that_waits_leaves_the_buffer_as_it_was() {
    let (_near, mut far) = UnixStream::pair().unwrap();
    let mut room = [0; 8];
    let mut buffer = ReadBuf::new(&mut room);
    buffer.put_slice(b"1");
    std::future::poll_fn(|cx| {
        assert!(AsyncRead::poll_read(Pin::new(&mut far), cx, &mut buffer).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(buffer.filled(), b"1");
}

#[divisi::test]
async fn a_vectored_write_takes_from_all_its_buffers_in_one_call() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    assert!(AsyncWrite::is_write_vectored(&near));
    let bufs = [IoSlice::new(b"one"), IoSlice::new(b"two")];
    let written =
        std::future::poll_fn(|cx| AsyncWrite::poll_write_vectored(Pin::new(&mut near), cx, &bufs))
            .await;
    assert_eq!(written.unwrap(), 6);
    let mut read = [0; 6];
    AsyncReadExt::read_exact(&mut far, &mut read).await.unwrap();
    assert_eq!(&read, b"onetwo");
}
