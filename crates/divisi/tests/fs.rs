//! Files and directories.

use std::collections::BTreeSet;
use std::io::{ErrorKind, SeekFrom};
use std::path::Path;

use divisi::Runtime;
use divisi::fs::{self, File, OpenOptions, PathError};
use divisi::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use futures_lite::{StreamExt, future};
use proptest::prelude::*;

#[divisi::test]
async fn whole_files_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    fs::write(&path, &bytes).await.unwrap();
    assert!(fs::read(&path).await.unwrap() == bytes);
    fs::write(&path, "text").await.unwrap();
    assert_eq!(fs::read_to_string(&path).await.unwrap(), "text");
    fs::write(&path, [0xff]).await.unwrap();
    let error = fs::read_to_string(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[divisi::test]
async fn files_and_directories_are_made_moved_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("a")).await.unwrap();
    fs::create_dir_all(at("b/c/d")).await.unwrap();
    fs::write(at("a/file"), "1234").await.unwrap();
    assert_eq!(fs::copy(at("a/file"), at("b/copy")).await.unwrap(), 4);
    fs::rename(at("b/copy"), at("b/c/moved")).await.unwrap();
    assert!(!fs::try_exists(at("b/copy")).await.unwrap());
    fs::hard_link(at("a/file"), at("second")).await.unwrap();
    fs::symlink(at("a/file"), at("link")).await.unwrap();
    assert_eq!(fs::read_link(at("link")).await.unwrap(), at("a/file"));
    assert_eq!(
        fs::canonicalize(at("link")).await.unwrap(),
        at("a/file").canonicalize().unwrap()
    );
    assert!(fs::symlink_metadata(at("link")).await.unwrap().is_symlink());
    let metadata = fs::metadata(at("link")).await.unwrap();
    assert!(metadata.is_file());
    assert_eq!(metadata.len(), 4);
    let mut permissions = metadata.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(at("a/file"), permissions)
        .await
        .unwrap();
    assert!(
        fs::metadata(at("second"))
            .await
            .unwrap()
            .permissions()
            .readonly()
    );
    fs::remove_file(at("a/file")).await.unwrap();
    fs::remove_dir(at("a")).await.unwrap();
    fs::remove_dir_all(at("b")).await.unwrap();
    assert!(!fs::try_exists(at("b")).await.unwrap());
}

#[divisi::test]
async fn errors_name_the_operation_and_the_path() {
    let check = |error: std::io::Error, operation: &str, path: &str| {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let inside = error
            .get_ref()
            .unwrap()
            .downcast_ref::<PathError>()
            .unwrap();
        assert_eq!(inside.path(), Path::new(path));
        assert_eq!(inside.io_error().kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(operation), "{error}");
        assert!(error.to_string().contains(path), "{error}");
    };
    check(fs::read("/no/x").await.unwrap_err(), "read", "/no/x");
    check(fs::write("/no/x", "").await.unwrap_err(), "write", "/no/x");
    check(File::open("/no/x").await.unwrap_err(), "open", "/no/x");
    check(fs::read_dir("/no/x").await.unwrap_err(), "list", "/no/x");
    let error = fs::rename("/no/x", "/no/y").await.unwrap_err();
    check(error, "rename", "/no/x");
}

#[test]
fn where_no_runtime_is_there_is_an_error() {
    let error = future::block_on(fs::read("/proc/self/comm")).unwrap_err();
    assert!(error.to_string().contains("no divisi runtime"), "{error}");
    let mut file = File::from_std(std::fs::File::open("/proc/self/comm").unwrap());
    let error = future::block_on(file.read(&mut [0; 8])).unwrap_err();
    assert!(error.to_string().contains("no divisi runtime"), "{error}");
}

#[test]
fn a_runtime_that_was_shut_down_is_told() {
    let runtime = Runtime::builder().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _inside = handle.enter();
    let error = future::block_on(fs::read("/proc/self/comm")).unwrap_err();
    assert!(error.to_string().contains("shutting down"), "{error}");
}

#[divisi::test]
async fn a_directory_of_any_size_is_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    for count in [0, 1, 255, 256, 257, 1000] {
        let inside = folder.path().join(count.to_string());
        std::fs::create_dir(&inside).unwrap();
        for i in 0..count {
            std::fs::write(inside.join(i.to_string()), "").unwrap();
        }
        let mut entries = fs::read_dir(&inside).await.unwrap();
        let mut names = BTreeSet::new();
        while let Some(entry) = entries.try_next().await.unwrap() {
            assert!(entry.file_type().unwrap().is_file());
            assert_eq!(entry.path(), inside.join(entry.file_name()));
            assert!(names.insert(entry.file_name()), "twice");
        }
        assert_eq!(names.len(), count);
        assert!(
            entries.next_entry().await.unwrap().is_none(),
            "it stays at the end"
        );
    }
    let mut entries = fs::read_dir(folder.path()).await.unwrap();
    let entry = entries.next_entry().await.unwrap().unwrap();
    assert!(entry.metadata().await.unwrap().is_dir());
}

#[divisi::test]
async fn a_file_that_is_dropped_unflushed_is_written_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = File::create(&path).await.unwrap();
    file.write_all(b"first, ").await.unwrap();
    file.flush().await.unwrap();
    file.write_all(b"second").await.unwrap();
    assert_eq!(
        fs::read_to_string(&path).await.unwrap(),
        "first, ",
        "it collects"
    );
    drop(file);
    // In the background: there is no event for it.
    while fs::read_to_string(&path).await.unwrap() != "first, second" {}
}

#[test]
fn the_end_of_the_runtime_loses_nothing_that_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for size in [10, 100_000] {
        let runtime = Runtime::builder().worker_threads(1).build().unwrap();
        let mut file = runtime.block_on(async {
            let mut file = File::create(&path).await.unwrap();
            file.write_all(&vec![7; size]).await.unwrap();
            file
        });
        drop(runtime);
        // Whatever this gives, the bytes are not lost.
        let _ = future::block_on(file.flush());
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap().len(), size);
    }
}

#[divisi::test]
async fn errors_of_writing_show_at_the_latest_at_the_flush() {
    let mut full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .await
        .unwrap();
    full.write_all(b"text").await.unwrap();
    assert_eq!(
        full.flush().await.unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    full.flush().await.unwrap();
    full.write_all(b"more").await.unwrap();
    assert!(full.sync_all().await.is_err());

    let mut wrong_way = File::open("/proc/self/comm").await.unwrap();
    wrong_way.write_all(b"text").await.unwrap();
    assert!(wrong_way.close().await.is_err());
}

#[divisi::test]
async fn what_cannot_be_sought_gives_an_error_and_no_loop() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::io::write(&writer, b"abc").unwrap();
    let mut file = File::from_std(reader.into());
    assert_eq!(file.read(&mut [0; 1]).await.unwrap(), 1);
    assert!(file.write(b"x").await.is_err(), "two bytes were read ahead");
    assert!(file.seek(SeekFrom::Start(0)).await.is_err());
    let mut buf = [0; 8];
    assert_eq!(file.read(&mut buf).await.unwrap(), 2);
    assert_eq!(&buf[..2], b"bc");
}

#[divisi::test]
async fn lengths_and_permissions_belong_to_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .await
        .unwrap();
    assert!(
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .await
            .is_err()
    );
    file.write_all(b"0123456789").await.unwrap();
    assert_eq!(file.metadata().await.unwrap().len(), 10);
    file.set_len(4).await.unwrap();
    file.sync_data().await.unwrap();
    file.seek(SeekFrom::Start(1)).await.unwrap();
    let mut clone = file.try_clone().await.unwrap();
    let mut text = String::new();
    clone.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "123");
    let mut permissions = file.metadata().await.unwrap().permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions).await.unwrap();
    assert!(fs::metadata(&path).await.unwrap().permissions().readonly());
    let mut std = file.into_std().await.unwrap();
    assert_eq!(std::io::Seek::stream_position(&mut std).unwrap(), 4);
}

/// What a program may do with a file. `Give` polls an operation once and drops it.
#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Write(usize, u8),
    SeekStart(u64),
    SeekCurrent(i64),
    SeekEnd(i64),
    Flush,
    GiveUpRead(usize),
    GiveUpFlush,
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![0..10_usize, 0..200_000_usize];
    let offset = prop_oneof![-10..10_i64, -200_000..200_000_i64];
    prop_oneof![
        length.clone().prop_map(Step::Read),
        (length.clone(), any::<u8>()).prop_map(|(length, byte)| Step::Write(length, byte)),
        (0..300_000_u64).prop_map(Step::SeekStart),
        offset.clone().prop_map(Step::SeekCurrent),
        offset.prop_map(Step::SeekEnd),
        Just(Step::Flush),
        length.prop_map(Step::GiveUpRead),
        Just(Step::GiveUpFlush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Read-ahead, collected writes and dropped operations show nowhere: every step gives what the standard library gives on a file of its own.
    #[test]
    fn a_file_behaves_as_the_standard_librarys(steps in proptest::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        let runtime = Runtime::builder().worker_threads(1).build().unwrap();
        let mut options = std::fs::File::options();
        options.read(true).write(true).create(true).truncate(true);
        let mut std = options.open(&theirs).unwrap();
        runtime.block_on(async {
            use std::io::{Read, Seek, Write};

            let mut file = OpenOptions::from(options).open(&ours).await.unwrap();
            for step in steps {
                match step {
                    Step::Read(length) => {
                        let mut expected = Vec::new();
                        (&std).take(length as u64).read_to_end(&mut expected).unwrap();
                        let mut got = Vec::new();
                        let mut limited = (&mut file).take(length as u64);
                        limited.read_to_end(&mut got).await.unwrap();
                        assert!(got == expected, "{step:?}");
                    }
                    Step::Write(length, byte) => {
                        std.write_all(&vec![byte; length]).unwrap();
                        file.write_all(&vec![byte; length]).await.unwrap();
                    }
                    Step::SeekStart(_) | Step::SeekCurrent(_) | Step::SeekEnd(_) => {
                        let to = match step {
                            Step::SeekStart(to) => SeekFrom::Start(to),
                            Step::SeekCurrent(to) => SeekFrom::Current(to),
                            Step::SeekEnd(to) => SeekFrom::End(to),
                            _ => unreachable!(),
                        };
                        let expected = std.seek(to).map_err(|error| error.kind());
                        let got = file.seek(to).await.map_err(|error| error.kind());
                        assert_eq!(got, expected, "{step:?}");
                    }
                    Step::Flush => {
                        file.flush().await.unwrap();
                        assert!(std::fs::read(&ours).unwrap() == std::fs::read(&theirs).unwrap());
                    }
                    Step::GiveUpRead(length) => {
                        let mut buf = vec![0; length];
                        if let Some(read) = future::poll_once(file.read(&mut buf)).await {
                            let length = read.unwrap();
                            let mut expected = vec![0; length];
                            std.read_exact(&mut expected).unwrap();
                            assert!(buf[..length] == expected, "{step:?}");
                        }
                    }
                    Step::GiveUpFlush => drop(future::poll_once(file.flush()).await),
                }
            }
            assert_eq!(file.seek(SeekFrom::Current(0)).await.unwrap(), std.stream_position().unwrap());
            file.flush().await.unwrap();
        });
        prop_assert!(std::fs::read(&ours).unwrap() == std::fs::read(&theirs).unwrap());
    }
}

#[test]
fn a_write_that_fails_without_a_runtime_has_written_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = File::from_std(std::fs::File::create(&path).unwrap());
    let much = vec![b'x'; 1 << 20];
    assert!(future::block_on(file.write(&much)).is_err());
    drop(file);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

/// Runs `test` where each operation on a file waits for the one before.
fn with_one_thread_for_files(test: impl Future<Output = ()>) {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(test);
}

#[test]
fn a_dropped_read_that_met_the_end_hides_nothing_that_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    with_one_thread_for_files(async {
        fs::write(&path, "").await.unwrap();
        let mut file = File::open(&path).await.unwrap();
        let mut buf = [0; 8];
        let _ = future::poll_once(file.read(&mut buf)).await;
        // There is one thread: this comes after the read.
        fs::write(&path, "later").await.unwrap();
        assert_eq!(file.read(&mut buf).await.unwrap(), 5);
        assert_eq!(&buf[..5], b"later");
        assert_eq!(file.read(&mut buf).await.unwrap(), 0, "the end");
    });
}

#[test]
fn what_was_read_ahead_is_kept_when_an_operation_fails_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "abc").unwrap();
    let runtime = Runtime::builder().worker_threads(1).build().unwrap();
    let options = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path);
    let mut file = File::from_std(options.unwrap());
    let mut one = [0];
    runtime.block_on(file.read_exact(&mut one)).unwrap();
    assert!(future::block_on(file.seek(SeekFrom::Current(0))).is_err());
    assert!(future::block_on(file.write(b"x")).is_err());
    let mut rest = String::new();
    runtime.block_on(file.read_to_string(&mut rest)).unwrap();
    assert_eq!((one, rest.as_str()), ([b'a'], "bc"));
}

#[test]
fn a_seek_to_the_end_is_not_answered_by_one_that_was_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    with_one_thread_for_files(async {
        fs::write(&path, "four").await.unwrap();
        let mut file = File::open(&path).await.unwrap();
        let _ = future::poll_once(file.seek(SeekFrom::End(0))).await;
        // There is one thread: this comes after the seek.
        fs::write(&path, "longer").await.unwrap();
        assert_eq!(file.seek(SeekFrom::End(0)).await.unwrap(), 6);
        assert_eq!(file.seek(SeekFrom::End(-2)).await.unwrap(), 4);
    });
}
