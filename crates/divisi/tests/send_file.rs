//! From files to sockets.

use std::fs::File;
use std::io::Write;

use divisi::io::prelude::*;
use divisi::net::{StreamSocket, TcpListener, TcpStream, UnixStream, send_file};

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = divisi::try_join!(TcpStream::connect(address), listener.accept()).unwrap();
    (near, far.0)
}

async fn goes_through<S>(
    near: S,
    mut far: S,
    file: &File,
    offset: u64,
    count: Option<u64>,
) -> Vec<u8>
where
    S: StreamSocket + std::os::fd::AsFd + AsyncRead + Unpin + Send + Sync + 'static,
{
    let reading = divisi::spawn(async move {
        let (mut got, mut chunk) = (Vec::new(), vec![0; 65_536]);
        loop {
            match far.read(&mut chunk).await.unwrap() {
                0 => return got,
                length => got.extend_from_slice(&chunk[..length]),
            }
        }
    });
    let sent = send_file(&near, file, offset, count).await.unwrap();
    drop(near);
    let got = reading.await.unwrap();
    assert_eq!(got.len() as u64, sent);
    got
}

#[divisi::test(worker_threads = 2)]
async fn a_file_larger_than_all_buffers_arrives() {
    let bytes = pattern(20_000_000);
    let file = file_of(&bytes);
    let (near, far) = tcp().await;
    assert!(goes_through(near, far, &file, 0, None).await == bytes);
    let (near, far) = UnixStream::pair().unwrap();
    assert!(goes_through(near, far, &file, 0, None).await == bytes);
}

#[divisi::test(worker_threads = 2)]
async fn a_part_is_what_was_asked_for_or_what_there_is() {
    let bytes = pattern(100_000);
    let file = file_of(&bytes);
    for (offset, count, expected) in [
        (10, Some(5), &bytes[10..15]),
        (99_990, Some(50), &bytes[99_990..]),
        (99_990, None, &bytes[99_990..]),
        (0, Some(0), &[][..]),
        (100_000, None, &[][..]),
        (200_000, Some(1), &[][..]),
    ] {
        let (near, far) = UnixStream::pair().unwrap();
        assert_eq!(
            goes_through(near, far, &file, offset, count).await,
            expected
        );
    }
}

/// The system sends no file of `/proc` whose length it does not know, or does by copying; either way the bytes arrive.
#[divisi::test(worker_threads = 2)]
async fn what_the_system_cannot_send_is_copied() {
    let zeros = File::open("/dev/zero").unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let got = goes_through(near, far, &zeros, 0, Some(1_000_000)).await;
    assert!(got == vec![0; 1_000_000]);
    let text = std::fs::read("/proc/cpuinfo").unwrap();
    let cpus = File::open("/proc/cpuinfo").unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let got = goes_through(near, far, &cpus, 0, Some(9)).await;
    assert_eq!(got, &text[..9]);
}

#[divisi::test]
async fn errors_of_both_sides_come_back() {
    let file = file_of(b"text");
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    let error = send_file(&near, &file, 0, None).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);

    let (near, _far) = UnixStream::pair().unwrap();
    let folder = File::open("/").unwrap();
    assert!(send_file(&near, &folder, 0, None).await.is_err());
}
