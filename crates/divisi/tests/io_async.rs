//! `Async<T>` and what `divisi::io` re-exports.

use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use divisi::io::{Async, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use futures_lite::StreamExt;

fn pipe() -> (Async<File>, Async<File>) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let wrap = |end: OwnedFd| Async::new(File::from(end)).unwrap();
    (wrap(reader), wrap(writer))
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[divisi::test(worker_threads = 2)]
async fn a_pipe_carries_more_than_it_holds() {
    let (mut reader, mut writer) = pipe();
    let writing = divisi::spawn(async move {
        for i in 0..200_u8 {
            writer.write_all(&[i; 10_000]).await.unwrap();
        }
    });
    for i in 0..200_u8 {
        let mut block = [0; 10_000];
        reader.read_exact(&mut block).await.unwrap();
        assert_eq!(block, [i; 10_000]);
    }
    writing.await.unwrap();
    assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0);
}

#[divisi::test]
async fn a_short_read_says_nothing_about_what_is_left() {
    let (reader, writer) = pipe();
    for _ in 0..20 {
        let mut waiting = pin!(reader.read_with(|mut pipe| pipe.read(&mut [0; 64][..1])));
        assert!(poll_once(waiting.as_mut()).is_pending());
        writer
            .try_write_with(|mut pipe| pipe.write(b"abc"))
            .unwrap();
        assert_eq!(waiting.await.unwrap(), 1);
        let mut buf = [0; 64];
        let rest = reader.read_with(|mut pipe| pipe.read(&mut buf)).await;
        assert_eq!(rest.unwrap(), 2);
    }
}

#[divisi::test]
async fn read_with_waits_until_its_operation_can_be_done() {
    let (reader, mut writer) = pipe();
    let reading = divisi::spawn(async move {
        let mut buf = [0; 8];
        let length = reader.read_with(|mut pipe| pipe.read(&mut buf)).await;
        buf[..length.unwrap()].to_vec()
    });
    divisi::yield_now().await;
    writer.write_all(b"hello").await.unwrap();
    assert_eq!(reading.await.unwrap(), b"hello");
}

#[divisi::test]
async fn an_error_of_the_operation_comes_back_as_it_is() {
    let (reader, _writer) = pipe();
    let error = reader
        .read_with(|_| Err::<(), _>(io::Error::other("mine")))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "mine");
}

#[divisi::test]
async fn try_operations_never_wait() {
    let (reader, writer) = pipe();
    let mut buf = [0; 8];
    let nothing = reader.try_read_with(|mut pipe| pipe.read(&mut buf));
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
    writer.writable().await.unwrap();
    writer.try_write_with(|mut pipe| pipe.write(b"x")).unwrap();
    reader.readable().await.unwrap();
    assert_eq!(
        reader
            .try_read_with(|mut pipe| pipe.read(&mut buf))
            .unwrap(),
        1
    );
}

#[divisi::test]
async fn a_writer_whose_reader_is_gone_gets_an_error() {
    let (reader, mut writer) = pipe();
    drop(reader);
    let error = writer.write_all(b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[divisi::test]
async fn a_waiting_writer_is_woken_when_its_reader_goes() {
    let (reader, writer) = pipe();
    while writer
        .try_write_with(|mut pipe| pipe.write(&[0; 4096]))
        .is_ok()
    {}
    let writing = divisi::spawn(async move {
        writer
            .write_with(|mut pipe| pipe.write(&[0; 4096]))
            .await
            .unwrap_err()
            .kind()
    });
    divisi::yield_now().await;
    drop(reader);
    assert_eq!(writing.await.unwrap(), ErrorKind::BrokenPipe);
}

#[divisi::test]
async fn into_inner_gives_the_object_back() {
    let (reader, mut writer) = pipe();
    writer.write_all(b"x").await.unwrap();
    assert!(poll_once(pin!(reader.readable())).is_ready());
    let mut pipe = reader.into_inner();
    let mut byte = [0];
    pipe.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"x");
}

#[divisi::test]
async fn a_regular_file_is_read_without_a_wait() {
    let file = File::open(file!().replace("crates/divisi/", "")).unwrap();
    let mut text = String::new();
    Async::new(file)
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    assert!(text.starts_with("//! `Async<T>`"));
}

#[divisi::test]
async fn a_regular_file_that_is_to_be_waited_for_is_refused() {
    let file = File::open(file!().replace("crates/divisi/", "")).unwrap();
    let file = Async::new(file).unwrap();
    let waited = file
        .read_with(|_| Err::<(), _>(ErrorKind::WouldBlock.into()))
        .await;
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[divisi::test]
async fn lines_are_read_through_a_buffer() {
    let (reader, mut writer) = pipe();
    writer.write_all(b"one\ntwo\r\n\nlast").await.unwrap();
    drop(writer);
    let lines: Vec<String> = BufReader::new(reader)
        .lines()
        .map(|line| line.unwrap())
        .collect()
        .await;
    assert_eq!(lines, ["one", "two", "", "last"]);
}

#[divisi::test]
async fn several_tasks_wait_for_one_object() {
    let (reader, mut writer) = pipe();
    let reader = std::sync::Arc::new(reader);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let reader = reader.clone();
            divisi::spawn(async move {
                let read = reader.read_with(|mut pipe| pipe.read(&mut [0; 1]));
                read.await.unwrap()
            })
        })
        .collect();
    divisi::yield_now().await;
    writer.write_all(b"abc").await.unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), 1);
    }
}

#[divisi::test]
async fn a_task_tells_where_it_waits() {
    let (reader, writer) = pipe();
    let line = line!() + 2;
    let reading =
        divisi::spawn(async move { reader.read_with(|mut pipe| pipe.read(&mut [0; 8])).await });
    let id = reading.id();
    let waits_at = loop {
        divisi::yield_now().await;
        let tasks = divisi::Handle::current().tasks();
        if let Some(at) = tasks.iter().find(|task| task.id == id).unwrap().waits_at {
            break at;
        }
    };
    assert_eq!((waits_at.file(), waits_at.line()), (file!(), line));
    drop(writer);
    assert_eq!(reading.await.unwrap().unwrap(), 0);
}

#[divisi::test]
async fn flushing_and_closing_do_not_wait_for_room() {
    let (_reader, mut writer) = pipe();
    let much = vec![0; 1 << 20];
    assert!(poll_once(pin!(writer.write_all(&much))).is_pending());
    assert!(poll_once(pin!(writer.flush())).is_ready());
    assert!(poll_once(pin!(writer.close())).is_ready());
}
