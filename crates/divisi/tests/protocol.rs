//! Protocols: which callback comes when, and that `lost` comes once whatever happens.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use divisi::channel::mpsc;
use divisi::io::{AsyncReadExt, WriteLimits};
use divisi::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use divisi::protocol::{
    self, AfterEof, BufProtocol, Datagram, DatagramTransport, Protocol, Transport,
};

#[derive(Clone, Debug, PartialEq)]
enum Call {
    Made,
    Data(Vec<u8>),
    Eof,
    Lost(Option<ErrorKind>),
    Pause,
    Resume,
}

/// Tells of each call, and does what its test wants.
struct Recorder {
    calls: mpsc::UnboundedSender<Call>,
    transport: Option<Transport>,
    after_eof: AfterEof,
    on_data: fn(&Transport, &[u8]),
}

fn recorder() -> (Recorder, mpsc::Receiver<Call>) {
    let (calls, told) = mpsc::unbounded();
    let recorder = Recorder {
        calls,
        transport: None,
        after_eof: AfterEof::Close,
        on_data: |_, _| {},
    };
    (recorder, told)
}

impl Recorder {
    fn tell(&self, call: Call) {
        self.calls.send(call).unwrap();
    }
}

impl Protocol for Recorder {
    fn made(&mut self, transport: &Transport) {
        self.transport = Some(transport.clone());
        self.tell(Call::Made);
    }

    fn data(&mut self, data: &[u8]) {
        self.tell(Call::Data(data.to_vec()));
        (self.on_data)(self.transport.as_ref().unwrap(), data);
    }

    fn eof(&mut self) -> AfterEof {
        self.tell(Call::Eof);
        self.after_eof
    }

    fn lost(&mut self, error: Option<std::io::Error>) {
        self.tell(Call::Lost(error.map(|error| error.kind())));
    }

    fn pause_writing(&mut self) {
        self.tell(Call::Pause);
    }

    fn resume_writing(&mut self) {
        self.tell(Call::Resume);
    }
}

/// The calls up to and including `lost`, and that there are no others.
async fn calls_to_the_end(told: &mut mpsc::Receiver<Call>) -> Vec<Call> {
    let mut calls = Vec::new();
    while let Some(call) = told.recv().await {
        calls.push(call);
    }
    let losses = calls.iter().filter(|call| matches!(call, Call::Lost(_)));
    assert_eq!(losses.count(), 1, "{calls:?}");
    assert!(matches!(calls.last(), Some(Call::Lost(_))), "{calls:?}");
    calls
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (near, listener.accept().await.unwrap().0)
}

#[divisi::test(worker_threads = 2)]
async fn a_conversation_goes_made_data_eof_lost() {
    let (near, far) = UnixStream::pair().unwrap();
    let (mut protocol, mut told) = recorder();
    protocol.on_data = |transport, data| transport.write(data);
    let (_, task) = protocol::spawn(near, protocol);
    far.write_all(b"hello").await.unwrap();
    far.read_exact(&mut [0; 5]).await.unwrap();
    far.shutdown(std::net::Shutdown::Write).unwrap();
    // Closed in return.
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
    drop(task.await.unwrap());
    let data = Call::Data(b"hello".to_vec());
    let calls = calls_to_the_end(&mut told).await;
    assert_eq!(calls, [Call::Made, data, Call::Eof, Call::Lost(None)]);
}

#[divisi::test(worker_threads = 2)]
async fn all_that_was_written_before_a_close_arrives() {
    const BYTES: usize = 8 << 20;
    let (near, mut far) = tcp().await;
    let (mut protocol, mut told) = recorder();
    protocol.on_data = |transport, _| {
        for chunk in vec![7; BYTES].chunks(100_000) {
            transport.write(chunk);
        }
        transport.close();
        transport.write(b"too late");
        assert!(transport.is_closing());
    };
    let (_, task) = protocol::spawn(near, protocol);
    far.write_all(b"x").await.unwrap();
    let mut data = Vec::new();
    far.read_to_end(&mut data).await.unwrap();
    assert!(data == vec![7; BYTES], "{}", data.len());
    drop(task.await.unwrap());
    let calls = calls_to_the_end(&mut told).await;
    assert_eq!(calls.last(), Some(&Call::Lost(None)));
}

#[divisi::test(worker_threads = 2)]
async fn pause_and_resume_come_in_turns_at_the_marks() {
    let (near, far) = UnixStream::pair().unwrap();
    let (protocol, mut told) = recorder();
    let (transport, task) = protocol::spawn(near, protocol);
    transport.set_write_limits(WriteLimits::new(1 << 20, 1 << 10).unwrap());
    for round in 0..3 {
        transport.write(&vec![round; 8 << 20]);
        loop {
            match told.recv().await.unwrap() {
                Call::Pause => break,
                call => assert_eq!((call, round), (Call::Made, 0)),
            }
        }
        assert!(transport.buffered() > 1 << 20);
        far.read_exact(&mut vec![0; 8 << 20]).await.unwrap();
        assert_eq!(told.recv().await, Some(Call::Resume));
        assert!(transport.buffered() <= 1 << 10);
    }
    transport.close();
    drop(task.await.unwrap());
    assert_eq!(calls_to_the_end(&mut told).await, [Call::Lost(None)]);
}

#[divisi::test(worker_threads = 2)]
async fn a_half_closed_peer_is_served_if_the_protocol_wants() {
    let (near, far) = tcp().await;
    let (mut protocol, mut told) = recorder();
    protocol.after_eof = AfterEof::KeepOpen;
    let (transport, task) = protocol::spawn(near, protocol);
    far.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(told.recv().await, Some(Call::Made));
    assert_eq!(told.recv().await, Some(Call::Eof));
    transport.write(b"still there");
    far.read_exact(&mut [0; 11]).await.unwrap();
    transport.end_writing();
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
    drop(task.await.unwrap());
    assert_eq!(calls_to_the_end(&mut told).await, [Call::Lost(None)]);
}

#[divisi::test(worker_threads = 2)]
async fn after_the_end_of_writing_data_still_comes() {
    let (near, mut far) = tcp().await;
    let (protocol, mut told) = recorder();
    let (transport, _) = protocol::spawn(near, protocol);
    transport.write(b"last");
    transport.end_writing();
    let mut data = Vec::new();
    far.read_to_end(&mut data).await.unwrap();
    assert_eq!(data, b"last");
    far.write_all(b"answer").await.unwrap();
    drop(far);
    let calls = calls_to_the_end(&mut told).await;
    let answer = Call::Data(b"answer".to_vec());
    assert_eq!(calls, [Call::Made, answer, Call::Eof, Call::Lost(None)]);
}

#[divisi::test(worker_threads = 2)]
async fn every_violent_end_is_one_loss_with_its_reason() {
    // A reset in the middle of a write.
    let (near, far) = tcp().await;
    let (protocol, mut told) = recorder();
    let (transport, _) = protocol::spawn(near, protocol);
    transport.write(&vec![0; 32 << 20]);
    far.read_exact(&mut [0; 4096]).await.unwrap();
    far.set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    let calls = calls_to_the_end(&mut told).await;
    let reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(
        matches!(calls.last(), Some(Call::Lost(Some(kind))) if reset.contains(kind)),
        "{calls:?}"
    );
    assert_eq!(transport.buffered(), 0);
    transport.write(b"to nobody");
    assert_eq!(transport.buffered(), 0);

    // An abort, with a peer that does not read.
    let (near, _far) = tcp().await;
    let (protocol, mut told) = recorder();
    let (transport, _) = protocol::spawn(near, protocol);
    transport.write(&vec![0; 32 << 20]);
    transport.close();
    transport.abort();
    let calls = calls_to_the_end(&mut told).await;
    assert_eq!(calls.last(), Some(&Call::Lost(None)));

    // A cancel.
    let (near, _far) = tcp().await;
    let (protocol, mut told) = recorder();
    let (_transport, task) = protocol::spawn(near, protocol);
    assert_eq!(told.recv().await, Some(Call::Made));
    task.cancel("enough");
    let calls = calls_to_the_end(&mut told).await;
    assert_eq!(calls, [Call::Lost(Some(ErrorKind::ConnectionAborted))]);

    // A callback that panics.
    let (near, far) = tcp().await;
    let (mut protocol, mut told) = recorder();
    protocol.on_data = |_, _| panic!("the callback panics");
    let (_transport, task) = protocol::spawn(near, protocol);
    far.write_all(b"x").await.unwrap();
    assert!(matches!(task.await, Err(error) if error.is_panic()));
    let calls = calls_to_the_end(&mut told).await;
    assert_eq!(calls.last(), Some(&Call::Lost(Some(ErrorKind::Other))));
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
}

#[divisi::test]
async fn a_future_that_was_never_polled_calls_nothing() {
    let (near, _far) = UnixStream::pair().unwrap();
    let (protocol, mut told) = recorder();
    drop(protocol::drive(near, protocol));
    assert_eq!(told.recv().await, None);
}

#[divisi::test(worker_threads = 1)]
async fn a_connection_that_is_cancelled_before_it_is_made_is_gone_for_its_transport() {
    // In a task, on the only worker: the driver has no turn before the cancel.
    let task = divisi::spawn(async {
        let (near, _far) = UnixStream::pair().unwrap();
        let (protocol, mut told) = recorder();
        let (transport, task) = protocol::spawn(near, protocol);
        transport.write(b"early");
        task.cancel("never mind");
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(told.recv().await, None, "no callback was called");
        assert!(transport.is_closing());
        assert_eq!(transport.buffered(), 0);
        transport.write(b"late");
        assert_eq!(transport.buffered(), 0);
    });
    task.await.unwrap();
}

/// Panics wherever it can.
struct Panics;

impl Protocol for Panics {
    fn made(&mut self, _: &Transport) {
        panic!("the first");
    }

    fn data(&mut self, _: &[u8]) {}

    fn lost(&mut self, _: Option<std::io::Error>) {
        panic!("the second");
    }
}

impl Datagram for Panics {
    fn made(&mut self, _: &DatagramTransport) {
        panic!("the first");
    }

    fn received(&mut self, _: &[u8], _: SocketAddr) {}

    fn lost(&mut self, _: Option<std::io::Error>) {
        panic!("the second");
    }
}

#[divisi::test]
async fn of_two_panics_the_first_is_told() {
    let (near, _far) = UnixStream::pair().unwrap();
    let stream = divisi::spawn(protocol::drive(near, Panics));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let datagrams = divisi::spawn(protocol::drive_datagrams(socket, Panics));
    for task in [stream, datagrams] {
        let payload = task.await.map(drop).unwrap_err().into_panic();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"the first"));
    }
}

#[divisi::test(worker_threads = 2)]
async fn paused_reading_holds_the_peer_back() {
    let (near, far) = UnixStream::pair().unwrap();
    let (mut protocol, mut told) = recorder();
    protocol.on_data = |transport, _| transport.pause_reading();
    let (transport, _) = protocol::spawn(near, protocol);
    assert_eq!(told.recv().await, Some(Call::Made));
    far.write_all(b"one").await.unwrap();
    assert_eq!(told.recv().await, Some(Call::Data(b"one".to_vec())));
    // The system's buffers fill up.
    let mut sent = 0;
    while let Ok(written) = far.try_write(&[0; 4096]) {
        sent += written;
        assert!(sent < 64 << 20, "nobody holds us back");
        divisi::yield_now().await;
    }
    assert!(told.try_recv().is_err());
    transport.resume_reading();
    assert!(matches!(told.recv().await, Some(Call::Data(_))));
    transport.abort();
    calls_to_the_end(&mut told).await;
}

#[divisi::test(worker_threads = 2)]
async fn other_threads_may_write_at_any_time() {
    const THREADS: u8 = 4;
    const EACH: usize = 500;
    let (near, far) = UnixStream::pair().unwrap();
    let (protocol, mut told) = recorder();
    let (transport, _) = protocol::spawn(near, protocol);
    let writers: Vec<_> = (0..THREADS)
        .map(|number| {
            let transport = transport.clone();
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    transport.write(&[number; 3]);
                }
            })
        })
        .collect();
    let mut counts = [0; THREADS as usize];
    let mut record = [0; 3];
    for _ in 0..usize::from(THREADS) * EACH {
        far.read_exact(&mut record).await.unwrap();
        assert!(
            record.iter().all(|byte| *byte == record[0]),
            "records are whole"
        );
        counts[usize::from(record[0])] += 1;
    }
    assert_eq!(counts, [EACH; THREADS as usize]);
    transport.abort();
    calls_to_the_end(&mut told).await;
    for writer in writers {
        writer.join().unwrap();
    }
}

#[derive(Default)]
struct Collector {
    buffer: Vec<u8>,
    data: Vec<u8>,
    size: usize,
    lost: Arc<Mutex<Vec<Option<ErrorKind>>>>,
}

impl BufProtocol for Collector {
    fn buffer(&mut self, hint: usize) -> &mut [u8] {
        assert!(hint > 0);
        self.buffer.resize(self.size, 0);
        &mut self.buffer
    }

    fn filled(&mut self, length: usize) {
        self.data.extend_from_slice(&self.buffer[..length]);
    }

    fn lost(&mut self, error: Option<std::io::Error>) {
        let kind = error.map(|error| error.kind());
        self.lost.lock().unwrap().push(kind);
    }
}

#[divisi::test(worker_threads = 2)]
async fn a_protocol_with_its_own_buffer_gets_everything_in_it() {
    let (near, far) = tcp().await;
    let collector = Collector {
        size: 7,
        ..Collector::default()
    };
    let task = divisi::spawn(protocol::drive_buffered(near, collector));
    let data: Vec<u8> = (0..10_000).map(|at| (at % 251) as u8).collect();
    far.write_all(&data).await.unwrap();
    drop(far);
    let collector = task.await.unwrap();
    assert!(collector.data == data);
    assert_eq!(*collector.lost.lock().unwrap(), [None]);
}

#[divisi::test]
async fn an_empty_buffer_is_a_typed_error_and_no_spin() {
    let (near, _far) = tcp().await;
    let collector = protocol::drive_buffered(near, Collector::default()).await;
    assert_eq!(
        *collector.lost.lock().unwrap(),
        [Some(ErrorKind::InvalidInput)]
    );
}

enum DatagramCall {
    Made(DatagramTransport),
    Received(Vec<u8>, SocketAddr),
    Error(ErrorKind),
    Lost(Option<ErrorKind>),
}

struct DatagramRecorder(mpsc::UnboundedSender<DatagramCall>);

impl DatagramRecorder {
    fn tell(&self, call: DatagramCall) {
        assert!(self.0.send(call).is_ok());
    }
}

impl Datagram for DatagramRecorder {
    fn made(&mut self, transport: &DatagramTransport) {
        self.tell(DatagramCall::Made(transport.clone()));
    }

    fn received(&mut self, data: &[u8], from: SocketAddr) {
        self.tell(DatagramCall::Received(data.to_vec(), from));
    }

    fn error(&mut self, error: std::io::Error) {
        self.tell(DatagramCall::Error(error.kind()));
    }

    fn lost(&mut self, error: Option<std::io::Error>) {
        self.tell(DatagramCall::Lost(error.map(|error| error.kind())));
    }
}

#[divisi::test(worker_threads = 2)]
async fn datagrams_come_whole_and_failures_do_not_end_the_socket() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (calls, mut told) = mpsc::unbounded();
    let task = divisi::spawn(protocol::drive_datagrams(socket, DatagramRecorder(calls)));
    let Some(DatagramCall::Made(transport)) = told.recv().await else {
        panic!("made comes first");
    };
    for data in [&b"one"[..], b"", b"three"] {
        peer.send_to(data, address).await.unwrap();
        let Some(DatagramCall::Received(got, from)) = told.recv().await else {
            panic!("a datagram comes");
        };
        assert_eq!((&got[..], from), (data, peer.local_addr().unwrap()));
    }
    // Longer than a datagram may be.
    transport.send_to(&[0; 70_000], peer.local_addr().unwrap());
    let Some(DatagramCall::Error(kind)) = told.recv().await else {
        panic!("the failure is told");
    };
    assert_ne!(kind, ErrorKind::WouldBlock);
    transport.send_to(b"answer", peer.local_addr().unwrap());
    transport.close();
    transport.send_to(b"too late", peer.local_addr().unwrap());
    let mut answer = [0; 16];
    let (length, _) = peer.recv_from(&mut answer).await.unwrap();
    assert_eq!(&answer[..length], b"answer");
    assert!(matches!(told.recv().await, Some(DatagramCall::Lost(None))));
    drop(task.await.unwrap());
    assert!(told.recv().await.is_none());
}

#[divisi::test(worker_threads = 2)]
async fn a_cancelled_datagram_socket_is_lost_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (calls, mut told) = mpsc::unbounded();
    let task = divisi::spawn(protocol::drive_datagrams(socket, DatagramRecorder(calls)));
    assert!(matches!(told.recv().await, Some(DatagramCall::Made(_))));
    task.cancel("enough");
    let lost = told.recv().await;
    assert!(matches!(
        lost,
        Some(DatagramCall::Lost(Some(ErrorKind::ConnectionAborted)))
    ));
    assert!(told.recv().await.is_none());
}
