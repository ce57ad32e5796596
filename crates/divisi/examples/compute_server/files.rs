//! Files below one directory, and no others.
//!
//! Every call here that touches the file system waits for a disk, or for a server in the next room,
//! so it runs on the blocking pool. (A regular file is always "ready": the system has no way to
//! tell that a read of it would wait.)

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use divisi::{JoinHandle, spawn_blocking};
use futures_lite::stream::{self, Stream};
use hyper::body::Frame;
use percent_encoding::percent_decode_str;

use crate::failure::Failure;

/// How much of a file is in memory for each download, twice: one chunk is sent while the next is
/// read. Large enough that the hop to another thread does not matter beside the read.
const CHUNK: usize = 256 * 1024;

/// The served directory.
pub(crate) struct Root(PathBuf);

/// Something below the root that exists.
pub(crate) struct Found {
    /// Without links.
    pub(crate) path: PathBuf,
    pub(crate) metadata: Metadata,
}

impl Root {
    pub(crate) fn new(directory: &Path) -> io::Result<Root> {
        Ok(Root(directory.canonicalize()?))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Finds what `url_path`, still percent-encoded, names.
    pub(crate) async fn find(&self, url_path: &str) -> Result<Found, Failure> {
        let wanted = self.0.join(relative(url_path)?);
        let root = self.0.clone();
        spawn_blocking(move || {
            // Links within the tree are fine, and only the file system knows where they lead. The
            // answer holds for the moment: whoever can write to the tree while it is served can
            // still swap a directory for a link between this check and the open.
            let path = wanted.canonicalize()?;
            if !path.starts_with(&root) {
                return Err(Failure::Outside);
            }
            let metadata = path.metadata()?;
            Ok(Found { path, metadata })
        })
        .await?
    }
}

/// The relative path that a URL's path names; it never climbs.
///
/// Each part is decoded after the split, so `%2e%2e` is seen as `..` and `%2f` does not become a
/// separator.
fn relative(url_path: &str) -> Result<PathBuf, Failure> {
    let mut path = PathBuf::new();
    for part in url_path.split('/').filter(|part| !part.is_empty()) {
        if !is_well_encoded(part) {
            return Err(Failure::BadPath("a % without two hexadecimal digits"));
        }
        let name = percent_decode_str(part).decode_utf8();
        let name = name.map_err(|_| Failure::BadPath("a name that is not UTF-8"))?;
        match &*name {
            "." | ".." => return Err(Failure::BadPath("a . or .. in it")),
            name if name.contains(['/', '\0']) => {
                return Err(Failure::BadPath("a name with a slash or a zero byte in it"));
            }
            name => path.push(name),
        }
    }
    Ok(path)
}

/// `percent_decode_str` leaves a stray `%` as it is; to guess what was meant is not our business.
fn is_well_encoded(part: &str) -> bool {
    part.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

/// Opens a file for reading.
pub(crate) async fn open(found: Found) -> Result<File, Failure> {
    // To open a pipe would wait for somebody who writes to it, and hold a thread for as long.
    if !found.metadata.is_file() {
        return Err(Failure::NotAFile);
    }
    Ok(spawn_blocking(move || File::open(found.path)).await??)
}

/// The first `length` bytes of the file, in chunks. The next chunk is read while the last is sent.
///
/// A file that becomes shorter meanwhile is an error, which breaks the connection off: the length
/// was promised in the head of the answer, and there is no other way to tell.
pub(crate) fn chunks(file: File, length: u64) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    let download = Download {
        reading: read_ahead(file, length),
        left: length,
    };
    stream::try_unfold(download, Download::next)
}

struct Download {
    /// `None` at the end.
    reading: Option<JoinHandle<io::Result<(File, Bytes)>>>,
    left: u64,
}

impl Download {
    async fn next(mut self) -> io::Result<Option<(Frame<Bytes>, Download)>> {
        let Some(reading) = self.reading.take() else {
            return Ok(None);
        };
        let (file, chunk) = reading.await.map_err(io::Error::other)??;
        self.left -= chunk.len() as u64;
        self.reading = read_ahead(file, self.left);
        Ok(Some((Frame::data(chunk), self)))
    }
}

fn read_ahead(mut file: File, left: u64) -> Option<JoinHandle<io::Result<(File, Bytes)>>> {
    if left == 0 {
        return None;
    }
    let size = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
    Some(spawn_blocking(move || {
        let mut chunk = vec![0; size];
        file.read_exact(&mut chunk)?;
        Ok((file, chunk.into()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_climbs_is_refused_in_every_spelling() {
        for path in [
            "..",
            "a/../b",
            "a/..",
            "%2e%2e/b",
            "%2E./b",
            "a/%2e",
            "./a",
            "a%2fb",
            "a%2F..%2Fb",
            "a%00",
        ] {
            assert!(matches!(relative(path), Err(Failure::BadPath(_))), "{path}");
        }
    }

    #[test]
    fn a_stray_percent_sign_is_refused() {
        for path in ["%", "a%2", "a%zz", "%%20", "%ff"] {
            assert!(matches!(relative(path), Err(Failure::BadPath(_))), "{path}");
        }
    }

    #[test]
    fn names_are_decoded_and_empty_parts_left_out() {
        let decoded = relative("/a//b%20c/%C3%A9..d/...").expect("a good path");
        assert_eq!(decoded, Path::new("a/b c/é..d/..."));
    }
}
