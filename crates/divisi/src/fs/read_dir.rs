//! What is in a directory.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use divisi_task::JoinHandle;
use futures_core::Stream;
use futures_lite::StreamExt;

use super::error::PathError;
use super::functions::with_path;
use crate::pool;

/// Entries that one trip to the blocking pool takes: a system call gives about that many with short names.
const BATCH: usize = 256;

/// Lists a directory, in no order, without `.` and `..`.
///
/// ```
/// use divisi::io::prelude::*;
///
/// # divisi::run(async {
/// let mut entries = divisi::fs::read_dir("/proc/self").await?;
/// let mut names = Vec::new();
/// while let Some(entry) = entries.try_next().await? {
///     names.push(entry.file_name());
/// }
/// assert!(names.iter().any(|name| name == "status"));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// See the [module](super).
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path: Arc<Path> = path.as_ref().into();
    let kept = path.clone();
    let batch = with_path("list", path.to_path_buf(), |path| {
        Ok(Batch::take(std::fs::read_dir(path)?))
    })
    .await?;
    Ok(ReadDir {
        path: kept,
        ready: batch.entries,
        next: match batch.rest {
            Some(rest) => Next::Idle(rest),
            None => Next::Ended,
        },
    })
}

/// The entries of a directory: a [`Stream`], made by [`read_dir`]. Cancel-safe: a dropped `next` loses no entry.
#[derive(Debug)]
pub struct ReadDir {
    path: Arc<Path>,
    ready: VecDeque<io::Result<DirEntry>>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    Idle(std::fs::ReadDir),
    Busy(JoinHandle<Batch>),
    Ended,
}

#[derive(Debug)]
struct Batch {
    entries: VecDeque<io::Result<DirEntry>>,
    rest: Option<std::fs::ReadDir>,
}

impl Batch {
    fn take(mut from: std::fs::ReadDir) -> Batch {
        let mut entries = VecDeque::new();
        while entries.len() < BATCH {
            match from.next() {
                Some(entry) => entries.push_back(entry.map(DirEntry::new)),
                None => {
                    return Batch {
                        entries,
                        rest: None,
                    };
                }
            }
        }
        Batch {
            entries,
            rest: Some(from),
        }
    }
}

impl ReadDir {
    /// The next entry. The same as the stream's.
    ///
    /// # Errors
    ///
    /// See the [module](super).
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        self.try_next().await
    }
}

impl Stream for ReadDir {
    type Item = io::Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(entry) = this.ready.pop_front() {
                let entry = entry.map_err(|error| PathError::wrap("list", &this.path, error));
                return Poll::Ready(Some(entry));
            }
            match std::mem::replace(&mut this.next, Next::Ended) {
                Next::Ended => return Poll::Ready(None),
                Next::Idle(rest) => this.next = Next::Busy(pool::start_io(|| Batch::take(rest))?),
                Next::Busy(mut job) => {
                    let Poll::Ready(joined) = Pin::new(&mut job).poll(cx) else {
                        this.next = Next::Busy(job);
                        return Poll::Pending;
                    };
                    let batch = pool::io_outcome(joined)?;
                    this.ready = batch.entries;
                    if let Some(rest) = batch.rest {
                        this.next = Next::Idle(rest);
                    }
                }
            }
        }
    }
}

/// A file in a directory, found by [`read_dir`].
#[derive(Debug)]
pub struct DirEntry {
    std: std::fs::DirEntry,
    /// Most file systems tell it with the name.
    file_type: io::Result<FileType>,
}

impl DirEntry {
    fn new(std: std::fs::DirEntry) -> DirEntry {
        DirEntry {
            file_type: std.file_type(),
            std,
        }
    }

    /// The path: that of the directory, as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.std.path()
    }

    /// The name.
    pub fn file_name(&self) -> OsString {
        self.std.file_name()
    }

    /// What the file was when it was listed. Links are not followed.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn file_type(&self) -> io::Result<FileType> {
        match &self.file_type {
            Ok(file_type) => Ok(*file_type),
            Err(error) => Err(PathError::wrap(
                "look at",
                &self.path(),
                error.kind().into(),
            )),
        }
    }

    /// What is known about the file. Links are not followed.
    ///
    /// # Errors
    ///
    /// See the [module](super).
    pub async fn metadata(&self) -> io::Result<Metadata> {
        super::symlink_metadata(self.path()).await
    }
}
