//! Pipes, FIFOs and terminals.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Write};

use divisi::io::{AsyncReadExt, AsyncWriteExt, PipeReader, PipeWriter, pipe};
use futures_lite::future;
use rustix::fs::{CWD, FileType, Mode};
use rustix::pty::OpenptFlags;

fn fifo(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let path = folder.path().join("fifo");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

#[divisi::test(worker_threads = 2)]
async fn a_pipe_carries_more_than_it_holds_and_ends_with_its_writer() {
    let (mut reader, mut writer) = pipe().unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let copy = sent.clone();
    let writing = divisi::spawn(async move { writer.write_all(&copy).await.unwrap() });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    assert!(got == sent);
    writing.await.unwrap();
}

#[divisi::test]
async fn a_closed_end_is_told_to_the_other() {
    let (mut reader, mut writer) = pipe().unwrap();
    writer.close().await.unwrap();
    assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(
        writer.write(b"x").await.unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    assert_eq!(writer.into_fd().unwrap_err().kind(), ErrorKind::BrokenPipe);

    let (reader, mut writer) = pipe().unwrap();
    drop(reader);
    assert_eq!(
        writer.write(b"x").await.unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[divisi::test(worker_threads = 2)]
async fn the_reader_of_a_fifo_waits_for_its_first_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let mut reader = PipeReader::open(&path).unwrap();
    assert!(
        future::poll_once(reader.read(&mut [0; 8])).await.is_none(),
        "no writer yet is not the end"
    );
    let writing = divisi::spawn_blocking(move || {
        let mut writer = std::fs::File::options().write(true).open(path).unwrap();
        writer.write_all(b"hello").unwrap();
    });
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    writing.await.unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn a_fifo_that_is_opened_and_closed_unused_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let mut reader = PipeReader::open(&path).unwrap();
    let reading = divisi::spawn(async move { reader.read(&mut [0; 8]).await.unwrap() });
    divisi::yield_now().await;
    drop(PipeWriter::open(&path).await.unwrap());
    assert_eq!(reading.await.unwrap(), 0);
}

#[divisi::test]
async fn the_writer_of_a_fifo_waits_for_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let opening = divisi::spawn({
        let path = path.clone();
        async move { PipeWriter::open(path).await.unwrap() }
    });
    divisi::yield_now().await;
    assert!(!opening.is_finished());
    let mut reader = PipeReader::open(&path).unwrap();
    let mut writer = opening.await.unwrap();
    writer.write_all(b"hello").await.unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
}

#[divisi::test]
async fn files_and_directories_are_refused_with_what_to_use() {
    let file = tempfile::tempfile().unwrap();
    let error = PipeReader::from_fd(file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("divisi::fs"), "{error}");
    assert!(PipeReader::open(std::env::temp_dir()).is_err());
    let missing = PipeWriter::open("/no/such/fifo").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[divisi::test]
async fn a_descriptor_goes_back_in_blocking_mode() {
    let (reader, writer) = pipe().unwrap();
    for fd in [reader.into_fd().unwrap(), writer.into_fd().unwrap()] {
        let flags = rustix::fs::fcntl_getfl(fd).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    }
}

#[divisi::test]
async fn a_terminal_is_read_and_written() {
    let controller = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&controller).unwrap();
    rustix::pty::unlockpt(&controller).unwrap();
    let name = rustix::pty::ptsname(&controller, Vec::new()).unwrap();
    let mut terminal = PipeReader::open(name.to_str().unwrap()).unwrap();
    let mut keyboard = PipeWriter::from_fd(controller).unwrap();

    assert!(
        future::poll_once(terminal.read(&mut [0; 8]))
            .await
            .is_none()
    );
    keyboard.write_all(b"typed\n").await.unwrap();
    let mut buf = [0; 64];
    let length = terminal.read(&mut buf).await.unwrap();
    assert_eq!(&buf[..length], b"typed\n");
    // Ctrl-D: the end of this input, though the terminal is still there.
    keyboard.write_all(&[4]).await.unwrap();
    assert_eq!(terminal.read(&mut buf).await.unwrap(), 0);
}

#[divisi::test]
async fn what_is_no_fifo_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(PipeWriter::open(&path).await.is_err());
}
