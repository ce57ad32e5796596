//! Unix sockets.

use std::future::Future;
use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Waker};

use divisi::io::AsyncWriteExt;
use divisi::join;
use divisi::net::{UnixDatagram, UnixListener, UnixStream};
use divisi::yield_now;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("divisi-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[divisi::test(worker_threads = 2)]
async fn an_echo_server_answers_at_its_path() {
    let folder = Folder::new("echo");
    let listener = UnixListener::bind(folder.socket()).unwrap();
    let server = divisi::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        divisi::io::copy(&stream, &stream).await.unwrap()
    });
    let mut client = UnixStream::connect(folder.socket()).await.unwrap();
    for round in 0..100_u8 {
        client.write_all(&[round; 100]).await.unwrap();
        let mut echo = [0; 100];
        client.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, [round; 100]);
    }
    client.close().await.unwrap();
    assert_eq!(server.await.unwrap(), 10_000);
}

#[divisi::test]
async fn connecting_where_nobody_listens_fails() {
    let folder = Folder::new("nobody");
    let error = UnixStream::connect(folder.socket()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    drop(UnixListener::bind(folder.socket()).unwrap());
    let error = UnixStream::connect(folder.socket()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let error = UnixListener::bind(folder.socket()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[divisi::test(clock = "virtual")]
async fn a_connect_waits_while_the_queue_of_the_listener_is_full() {
    let folder = Folder::new("full");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(folder.socket()).unwrap())
        .unwrap();
    socket.listen(0).unwrap();
    let listener = UnixListener::from_std(socket.into()).unwrap();

    let _first = UnixStream::connect(folder.socket()).await.unwrap();
    let mut second = pin!(UnixStream::connect(folder.socket()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    listener.accept().await.unwrap();
    second.await.unwrap();
}

#[divisi::test]
async fn an_abstract_name_needs_no_file() {
    let name = format!("\0divisi-test-{}", std::process::id());
    let listener = UnixListener::bind(&name).unwrap();
    let (client, server) = join!(UnixStream::connect(&name), listener.accept());
    client.unwrap().write_all(b"x").await.unwrap();
    server.unwrap().0.read_exact(&mut [0]).await.unwrap();
    assert!(listener.local_addr().unwrap().is_unnamed() || listener.local_addr().is_ok());
}

#[divisi::test]
async fn a_pair_knows_who_is_at_the_other_end() {
    let (near, _far) = UnixStream::pair().unwrap();
    let peer = near.peer_credentials().unwrap();
    assert_eq!(peer.process(), i32::try_from(std::process::id()).unwrap());
    assert_eq!(peer.user(), rustix::process::getuid().as_raw());
    assert_eq!(peer.group(), rustix::process::getgid().as_raw());
}

#[divisi::test]
async fn peeked_bytes_stay_in_the_stream() {
    let (near, far) = UnixStream::pair().unwrap();
    far.write_all(b"peek").await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(near.peek(&mut buf).await.unwrap(), 4);
    assert_eq!(near.read(&mut buf).await.unwrap(), 4);
}

#[divisi::test]
async fn a_read_that_stops_at_a_passed_descriptor_does_not_miss_what_follows() {
    let (near, far) = UnixStream::pair().unwrap();
    for _ in 0..20 {
        let mut buf = [0; 64];
        let mut waiting = pin!(near.read(&mut buf));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());

        // Two messages behind one wake-up; a read takes only the first, though there is room for both.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [far.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(
            &far,
            &[IoSlice::new(b"a")],
            &mut ancillary,
            SendFlags::empty(),
        )
        .unwrap();
        far.try_write(b"bcd").unwrap();

        assert_eq!(waiting.await.unwrap(), 1);
        let mut rest = [0; 64];
        assert_eq!(near.read(&mut rest).await.unwrap(), 3);
    }
}

#[divisi::test]
async fn halves_of_a_unix_stream_reunite() {
    let (near, far) = UnixStream::pair().unwrap();
    let (reader, mut writer) = near.into_split();
    writer.write_all(b"x").await.unwrap();
    far.read_exact(&mut [0]).await.unwrap();
    writer.reunite(reader).unwrap();
}

#[divisi::test]
async fn datagrams_keep_their_bounds_and_order() {
    let (near, far) = UnixDatagram::pair().unwrap();
    for length in [1, 5, 3] {
        near.send(&vec![7; length]).await.unwrap();
    }
    let mut buf = [0; 16];
    for length in [1, 5, 3] {
        assert_eq!(far.recv(&mut buf).await.unwrap(), length);
    }
}

#[divisi::test]
async fn datagrams_go_to_a_path_and_tell_their_sender() {
    let folder = Folder::new("datagram");
    let (server_path, client_path) = (folder.0.join("server"), folder.0.join("client"));
    let server = UnixDatagram::bind(&server_path).unwrap();
    let client = UnixDatagram::bind(&client_path).unwrap();
    client.send_to(b"ping", &server_path).await.unwrap();
    let mut buf = [0; 16];
    let (length, peer) = server.recv_from(&mut buf).await.unwrap();
    assert_eq!(&buf[..length], b"ping");
    assert_eq!(peer.as_pathname(), Some(client_path.as_path()));

    let nameless = UnixDatagram::unbound().unwrap();
    nameless.connect(&server_path).unwrap();
    nameless.send(b"hi").await.unwrap();
    assert_eq!(server.recv(&mut buf).await.unwrap(), 2);
    assert_eq!(nameless.try_send_to(b"hey", &server_path).unwrap(), 3);
    assert_eq!(server.recv(&mut buf).await.unwrap(), 3);
}

#[divisi::test]
async fn a_sender_waits_while_the_queue_of_the_receiver_is_full() {
    let (near, far) = UnixDatagram::pair().unwrap();
    let mut queued = 0_u32;
    loop {
        match near.try_send(&queued.to_be_bytes()) {
            Ok(_) => queued += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    let sender = divisi::spawn(async move {
        near.send(&queued.to_be_bytes()).await.unwrap();
    });
    yield_now().await;
    assert!(!sender.is_finished());
    for expected in 0..=queued {
        let mut buf = [0; 4];
        far.recv(&mut buf).await.unwrap();
        assert_eq!(u32::from_be_bytes(buf), expected);
    }
    sender.await.unwrap();
}

#[divisi::test]
async fn a_sender_that_is_not_connected_tries_now_and_then_while_the_queue_of_the_receiver_is_full()
{
    let folder = Folder::new("full-for-others");
    let receiver = UnixDatagram::bind(folder.socket()).unwrap();
    let other = UnixDatagram::unbound().unwrap();
    let mut queued = 0_u32;
    while other.try_send_to(b"before", folder.socket()).is_ok() {
        queued += 1;
    }
    assert!(queued > 0);
    let path = folder.socket();
    let begin = std::time::Instant::now();
    let sender = divisi::spawn(async move {
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"after", path).await.unwrap()
    });
    divisi::time::sleep(std::time::Duration::from_millis(10)).await;
    // Once, and again after pauses of a millisecond at least. (The system calls the sender ready all the time.)
    let polls = u128::from(sender.task().polls());
    let most = 2 + begin.elapsed().as_millis();
    assert!(polls <= most, "{polls} polls are more than {most}");
    assert!(!sender.is_finished());
    let mut buf = [0; 8];
    for _ in 0..queued {
        let length = receiver.recv(&mut buf).await.unwrap();
        assert_eq!(&buf[..length], b"before");
    }
    let length = receiver.recv(&mut buf).await.unwrap();
    assert_eq!(&buf[..length], b"after");
    assert_eq!(sender.await.unwrap(), 5);
}

#[test]
fn a_sender_that_has_to_wait_where_no_runtime_is_gets_an_error() {
    let folder = Folder::new("full-without-a-runtime");
    let _receiver = UnixDatagram::bind(folder.socket()).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    while sender.try_send_to(b"x", folder.socket()).is_ok() {}
    let sent = futures_lite::future::block_on(sender.send_to(b"x", folder.socket()));
    assert!(sent.is_err());
}
