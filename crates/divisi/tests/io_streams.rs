//! Buffered streams: what they give, what they refuse, and that a dropped call loses nothing.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use divisi::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadError, StreamReader, StreamWriter,
    WriteLimits, copy_bidirectional, write_all_vectored,
};
use divisi::net::{TcpListener, TcpStream, UnixStream};
use divisi::time::{Instant, sleep, timeout};
use futures_lite::StreamExt;
use proptest::prelude::*;

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Gives its chunks one at a time and is pending before each.
struct Chunks {
    left: Vec<Vec<u8>>,
    pending: bool,
}

impl Chunks {
    fn new(data: &[u8], sizes: &[usize]) -> Chunks {
        let mut left = Vec::new();
        let (mut rest, mut sizes) = (data, sizes.iter().cycle());
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            left.push(chunk.to_vec());
            rest = behind;
        }
        left.reverse();
        Chunks {
            left,
            pending: true,
        }
    }
}

impl AsyncRead for Chunks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        if std::mem::replace(&mut self.pending, false) {
            return Poll::Pending;
        }
        self.pending = true;
        let Some(chunk) = self.left.pop() else {
            return Poll::Ready(Ok(0));
        };
        let length = chunk.len().min(buf.len());
        buf[..length].copy_from_slice(&chunk[..length]);
        if length < chunk.len() {
            self.left.push(chunk[length..].to_vec());
        }
        Poll::Ready(Ok(length))
    }
}

/// What a read gave, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Outcome {
    Record(Vec<u8>),
    End,
    Incomplete(Vec<u8>),
    TooLong,
}

/// What reading all records of `data` gives; an over-long one is skipped.
fn model(data: &[u8], separators: &[&[u8]], limit: usize) -> Vec<Outcome> {
    let end_of_first = |data: &[u8]| {
        (1..=data.len()).find(|&end| separators.iter().any(|s| data[..end].ends_with(s)))
    };
    let mut outcomes = Vec::new();
    let mut rest = data;
    loop {
        let end = end_of_first(rest);
        match end {
            Some(end) if end <= limit => {
                outcomes.push(Outcome::Record(rest[..end].to_vec()));
                rest = &rest[end..];
            }
            None if rest.is_empty() => {
                outcomes.push(Outcome::End);
                return outcomes;
            }
            None if rest.len() < limit => {
                outcomes.push(Outcome::Incomplete(rest.to_vec()));
                rest = &[];
            }
            _ => {
                outcomes.push(Outcome::TooLong);
                rest = &rest[end.unwrap_or(rest.len())..];
            }
        }
    }
}

/// Polls a fresh future of the same call until one is ready: each of them but the last is dropped in the middle.
macro_rules! until_ready {
    ($call:expr) => {
        loop {
            if let Poll::Ready(output) = poll_once(pin!($call)) {
                break output;
            }
        }
    };
}

proptest! {
    #[test]
    fn records_are_those_of_the_model_however_the_data_comes_and_however_often_a_read_is_dropped(
        data in proptest::collection::vec(0..4_u8, 0..80),
        sizes in proptest::collection::vec(1..7_usize, 1..5),
        separators in proptest::collection::vec(proptest::collection::vec(0..3_u8, 1..4), 1..4),
        limit in 1..12_usize,
    ) {
        let separators: Vec<&[u8]> = separators.iter().map(Vec::as_slice).collect();
        let mut reader = StreamReader::with_limit(Chunks::new(&data, &sizes), limit);
        let mut outcomes = Vec::new();
        loop {
            let outcome = until_ready!(async {
                match reader.read_until(&separators).await {
                    Ok(Some(record)) => Outcome::Record(record.to_vec()),
                    Ok(None) => Outcome::End,
                    Err(ReadError::Incomplete { partial, expected: None }) => Outcome::Incomplete(partial),
                    Err(ReadError::TooLong { limit: told }) if told == limit => Outcome::TooLong,
                    Err(error) => panic!("{error}"),
                }
            });
            if outcome == Outcome::TooLong {
                until_ready!(reader.skip_until(&separators)).unwrap();
            }
            let end = outcome == Outcome::End;
            outcomes.push(outcome);
            if end {
                break;
            }
        }
        prop_assert_eq!(outcomes, model(&data, &separators, limit));
    }

    #[test]
    fn blocks_are_whole_or_tell_what_there_was(
        data in proptest::collection::vec(any::<u8>(), 0..60),
        sizes in proptest::collection::vec(1..7_usize, 1..5),
        block in 1..20_usize,
    ) {
        let mut reader = StreamReader::with_limit(Chunks::new(&data, &sizes), 4);
        let mut blocks = data.chunks_exact(block);
        for expected in &mut blocks {
            let mut buf = vec![0; block];
            until_ready!(reader.read_exact(&mut buf)).unwrap();
            prop_assert_eq!(&buf, expected);
        }
        match until_ready!(reader.read_exact(&mut vec![0; block])) {
            Err(ReadError::Incomplete { partial, expected: Some(told) }) => {
                prop_assert_eq!(partial, blocks.remainder());
                prop_assert_eq!(told, block);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[divisi::test]
async fn lines_end_with_either_line_end_and_the_last_with_none() {
    let mut reader = StreamReader::new(&b"one\r\ntwo\n\nlast"[..]);
    let lines: Vec<_> = reader.lines().map(Result::unwrap).collect().await;
    assert_eq!(lines, ["one", "two", "", "last"]);
    assert_eq!(reader.read_line().await.unwrap(), None);
}

#[divisi::test]
async fn a_line_that_is_too_long_or_no_text_is_an_error_once_and_the_next_line_follows() {
    let data = [b"ok\n", &[b'x'; 100][..], b"\n\xff\nend\n"].concat();
    let mut reader = StreamReader::with_limit(Chunks::new(&data, &[7]), 10);
    let lines = async { reader.lines().collect::<Vec<_>>().await };
    let lines = until_woken(lines).await;
    assert!(
        matches!(
            &lines[..],
            [Ok(first), Err(ReadError::TooLong { limit: 10 }), Err(ReadError::NotUtf8 { line }), Ok(last)]
                if first == "ok" && line == b"\xff" && last == "end"
        ),
        "{lines:?}"
    );
}

/// Polls until ready, for readers that are pending without a wake-up to come.
async fn until_woken<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        future.as_mut().poll(cx)
    })
    .await
}

#[divisi::test(worker_threads = 2)]
async fn a_line_of_64_kib_without_an_end_is_refused_and_stays_readable() {
    let (near, far) = connection().await;
    let sender = divisi::spawn(async move {
        far.write_all(&[b'x'; 64 * 1024]).await.unwrap();
        far.write_all(b"\nnext\n").await.unwrap();
    });
    let mut near = StreamReader::new(near);
    for _ in 0..2 {
        let error = near.read_line().await.unwrap_err();
        assert!(matches!(error, ReadError::TooLong { limit: 65_536 }));
        assert!(near.buffered().len() <= 3 * 64 * 1024, "memory is bounded");
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::InvalidData);
    }
    assert_eq!(near.skip_until(&[b"\n"]).await.unwrap(), 64 * 1024 + 1);
    assert_eq!(near.read_line().await.unwrap(), Some("next\n"));
    sender.await.unwrap();
}

#[divisi::test]
async fn separators_that_cannot_be_found_are_refused() {
    let mut reader = StreamReader::new(&b"data"[..]);
    for separators in [&[][..], &[&b""[..]][..], &[&b"\n"[..], b""][..]] {
        let error = std::io::Error::from(reader.read_until(separators).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[divisi::test(clock = "virtual")]
async fn a_peer_that_sends_a_byte_a_second_loses_none_to_a_time_limit_that_is_shorter() {
    let (near, far) = UnixStream::pair().unwrap();
    let sender = divisi::spawn(async move {
        for byte in b"slow line\n" {
            sleep(Duration::from_secs(1)).await;
            far.write_all(&[*byte]).await.unwrap();
        }
    });
    let begin = Instant::now();
    let mut near = StreamReader::new(near);
    let mut elapsed = 0;
    let line = loop {
        match timeout(Duration::from_millis(1_500), near.read_line()).await {
            Ok(line) => break line.unwrap().unwrap().to_owned(),
            Err(_) => elapsed += 1,
        }
    };
    assert_eq!(line, "slow line\n");
    assert!(elapsed >= 5, "{elapsed}");
    assert!(begin.elapsed() >= Duration::from_secs(10));
    sender.await.unwrap();
}

#[divisi::test]
async fn the_bytes_that_were_read_already_go_with_the_parts() {
    let mut reader = StreamReader::new(&b"head\nbody"[..]);
    assert_eq!(reader.read_line().await.unwrap(), Some("head\n"));
    let mut two = [0; 2];
    assert_eq!(reader.read(&mut two).await.unwrap(), 2);
    let (below, buffered) = reader.into_parts();
    assert_eq!((below, &buffered[..]), (&b""[..], &b"dy"[..]));
}

/// Takes at most `room` bytes in all, and is pending then.
#[derive(Clone)]
struct Narrow(Arc<Mutex<(Vec<u8>, usize)>>);

impl Narrow {
    fn new(room: usize) -> Narrow {
        Narrow(Arc::new(Mutex::new((Vec::new(), room))))
    }

    fn widen(&self, by: usize) {
        self.0.lock().unwrap().1 += by;
    }

    fn taken(&self) -> Vec<u8> {
        self.0.lock().unwrap().0.clone()
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let (taken, room) = &mut *self.0.lock().unwrap();
        let length = buf.len().min(*room);
        if length == 0 {
            return Poll::Pending;
        }
        taken.extend_from_slice(&buf[..length]);
        *room -= length;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[divisi::test]
async fn drain_waits_above_the_high_mark_and_until_the_low_one() {
    let stream = Narrow::new(0);
    let mut writer = StreamWriter::with_limits(stream.clone(), WriteLimits::new(100, 20).unwrap());
    writer.write(&[1; 100]);
    assert!(poll_once(pin!(writer.drain())).is_ready(), "at the mark");
    writer.write(&[2; 1]);
    {
        let mut drain = pin!(writer.drain());
        assert!(poll_once(drain.as_mut()).is_pending(), "above the mark");
        stream.widen(80);
        assert!(poll_once(drain.as_mut()).is_pending(), "21 are left");
        stream.widen(1);
        assert!(poll_once(drain.as_mut()).is_ready());
    }
    assert_eq!(writer.buffered(), 20);
    assert!(poll_once(pin!(writer.flush())).is_pending());
    stream.widen(usize::MAX / 2);
    assert!(poll_once(pin!(writer.flush())).is_ready());
    assert_eq!(stream.taken(), [vec![1; 100], vec![2; 1]].concat());
}

proptest! {
    #[test]
    fn a_writer_hands_everything_over_in_order_however_often_its_calls_are_dropped(
        steps in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..40), 0..50_usize), 1..30),
        high in 1..60_usize,
    ) {
        let stream = Narrow::new(0);
        let mut writer = StreamWriter::with_limits(stream.clone(), WriteLimits::up_to(high));
        let mut all = Vec::new();
        for (data, room) in steps {
            writer.write(&data);
            all.extend(data);
            stream.widen(room);
            let drained = poll_once(pin!(writer.drain()));
            if let Poll::Ready(drained) = drained {
                drained.unwrap();
                prop_assert!(writer.buffered() <= high);
            }
        }
        stream.widen(usize::MAX / 2);
        prop_assert!(poll_once(pin!(writer.close())).is_ready());
        prop_assert_eq!(stream.taken(), all);
    }
}

#[divisi::test(worker_threads = 2)]
async fn a_peer_that_resets_in_the_middle_of_a_write_gives_a_typed_error_now_and_later() {
    let (near, far) = connection().await;
    let mut writer = StreamWriter::new(near);
    // More than the system's buffers hold, so the write is under way when the reset comes.
    writer.write(&vec![7; 32 << 20]);
    let drain = divisi::spawn(async move {
        let error = writer.drain().await.unwrap_err();
        (writer, error)
    });
    let mut some = [0; 4096];
    far.read_exact(&mut some).await.unwrap();
    far.set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    let (mut writer, error) = drain.await.unwrap();
    let broken = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(broken.contains(&error.kind()), "{error:?}");
    assert_eq!(writer.buffered(), 0, "the data has nowhere to go");
    writer.write(b"more");
    assert_eq!(writer.flush().await.unwrap_err().kind(), error.kind());
}

#[test]
fn a_writer_dropped_with_unsent_data_is_reported_in_debug_builds() {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = reports.clone();
    let runtime = divisi::Runtime::builder()
        .worker_threads(1)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| seen.lock().unwrap().push(report.message.clone()))
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut writer = StreamWriter::new(Narrow::new(0));
        writer.write(b"lost");
        drop(writer);
        let mut taken_apart = StreamWriter::new(Narrow::new(0));
        taken_apart.write(b"kept");
        assert_eq!(taken_apart.into_parts().1, b"kept");
    });
    let reports = reports.lock().unwrap();
    if cfg!(debug_assertions) {
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].contains("4 bytes"), "{reports:?}");
    }
}

#[divisi::test]
async fn pieces_are_written_in_order_and_empty_ones_are_no_end() {
    use divisi::io::IoSlice;
    let stream = Narrow::new(usize::MAX / 2);
    let data: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; usize::from(n % 5)]).collect();
    let mut pieces: Vec<_> = data.iter().map(|piece| IoSlice::new(piece)).collect();
    write_all_vectored(&mut stream.clone(), &mut pieces)
        .await
        .unwrap();
    assert_eq!(stream.taken(), data.concat());
    write_all_vectored(&mut stream.clone(), &mut [IoSlice::new(b"")])
        .await
        .unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn a_proxy_serves_half_closed_peers_in_both_directions() {
    const BYTES: usize = 1 << 20;
    for client_ends_first in [true, false] {
        let (client, mut left) = connection().await;
        let (mut right, server) = connection().await;
        let proxy = divisi::spawn(async move { copy_bidirectional(&mut left, &mut right).await });
        let (mut first, mut second) = if client_ends_first {
            (client, server)
        } else {
            (server, client)
        };
        let sender = divisi::spawn(async move {
            first.write_all(&vec![1; BYTES]).await.unwrap();
            first.close().await.unwrap();
            let mut answer = Vec::new();
            first.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut question = Vec::new();
        second.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, vec![1; BYTES]);
        second.write_all(&vec![2; 3 * BYTES]).await.unwrap();
        drop(second);
        assert_eq!(sender.await.unwrap(), vec![2; 3 * BYTES]);
        let copied = proxy.await.unwrap().unwrap();
        let (there, back) = (BYTES as u64, 3 * BYTES as u64);
        let expected = if client_ends_first {
            (there, back)
        } else {
            (back, there)
        };
        assert_eq!((copied.forward, copied.backward), expected);
    }
}

#[divisi::test]
async fn a_proxy_ends_with_the_error_of_the_stream_that_failed_and_tells_how_far_it_came() {
    let (client, mut left) = connection().await;
    let (mut right, server) = connection().await;
    let proxy = divisi::spawn(async move { copy_bidirectional(&mut left, &mut right).await });
    client.write_all(b"hello").await.unwrap();
    let mut hello = [0; 5];
    server.read_exact(&mut hello).await.unwrap();
    server.set_linger(Some(Duration::ZERO)).unwrap();
    drop(server);
    let error = proxy.await.unwrap().unwrap_err();
    assert_eq!(error.error.kind(), ErrorKind::ConnectionReset);
    assert_eq!((error.copied.forward, error.copied.backward), (5, 0));
    assert!(error.to_string().contains("5 bytes forward"), "{error}");
}
