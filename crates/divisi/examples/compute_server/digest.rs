//! Digests, on every core.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use divisi::compute::{self, Full};
use divisi::spawn_blocking;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use crate::failure::Failure;
use crate::files::Found;

/// What is digested between two checkpoints. At the speed of a core, a few hundred megabytes to
/// two gigabytes a second, this is some 30 to 200 us: how long I/O waits at most for a computation
/// that stands back at its checkpoints.
const BLOCK: usize = 64 * 1024;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Digests what is in memory.
pub(crate) fn of_bytes(data: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    for block in data.chunks(BLOCK) {
        hasher.update(block);
        compute::checkpoint();
    }
    Digest(hasher.finalize().into())
}

/// The digest of a file, or of every file below a directory, sorted by path, in the format of
/// `sha256sum`.
///
/// When the future is dropped, because the client went away or the time is over, the work stops.
pub(crate) async fn of_found(found: Found) -> Result<Vec<u8>, Failure> {
    let is_directory = found.metadata.is_dir();
    if !is_directory && !found.metadata.is_file() {
        return Err(Failure::NotAFile);
    }

    let interest = StopOnDrop::default();

    // To list a tree is to wait for the disk; to digest it is to compute.
    let path = found.path;
    let (base, files) = if is_directory {
        let (tree, stopped) = (path.clone(), interest.flag());
        let files = spawn_blocking(move || list(&tree, &stopped)).await??;
        (path, files)
    } else {
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        (base, vec![path])
    };

    let stopped = interest.flag();
    let job = compute::Builder::new().name("sha256").try_spawn(move || {
        // On the compute pool, rayon's own methods use the pool's threads: all cores, and all of
        // them stand back behind I/O.
        let lines: Vec<_> = files
            .par_iter()
            .filter_map(|file| line(&base, file, &stopped).transpose())
            .collect::<io::Result<_>>()?;
        Ok::<_, io::Error>(lines.concat())
    });
    Ok(job.map_err(|Full(_job)| Failure::Busy)?.await??)
}

/// The regular files below `tree`, sorted by path. Links are not followed, so a tree is finite.
fn list(tree: &Path, stopped: &AtomicBool) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(tree) {
        check(stopped)?;
        let entry = match entry {
            Ok(entry) => entry,
            // A live tree changes while it is read: what is gone is no part of it.
            Err(error)
                if error
                    .io_error()
                    .is_some_and(|error| error.kind() == io::ErrorKind::NotFound) =>
            {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    // Bytes, not path components: the order of `LC_ALL=C sort`, whatever the names are.
    files.sort_unstable_by(|a, b| {
        a.as_os_str()
            .as_encoded_bytes()
            .cmp(b.as_os_str().as_encoded_bytes())
    });
    Ok(files)
}

/// The line of `sha256sum` for one file; `None` if the file has gone.
fn line(base: &Path, file: &Path, stopped: &AtomicBool) -> io::Result<Option<Vec<u8>>> {
    let digest = match of_file(file, stopped) {
        Ok(digest) => digest,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(io::Error::new(
                error.kind(),
                format!("{}: {error}", file.display()),
            ));
        }
    };
    let name = file
        .strip_prefix(base)
        .unwrap_or(file)
        .as_os_str()
        .as_encoded_bytes();
    let mut line = Vec::with_capacity(name.len() + 68);
    // `sha256sum` marks a line in which it had to escape something by a backslash in front.
    let is_escaped = name.iter().any(|byte| b"\\\n\r".contains(byte));
    if is_escaped {
        line.push(b'\\');
    }
    write!(line, "{digest}  ")?;
    for &byte in name {
        match byte {
            b'\\' => line.extend(b"\\\\"),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            byte => line.push(byte),
        }
    }
    line.push(b'\n');
    Ok(Some(line))
}

/// Reads and digests a file.
///
/// A compute thread may read: it reads ahead of nobody, the system reads ahead for it, and a core
/// that waits for a disk now and then is worth less than a hop between threads for every block.
fn of_file(path: &Path, stopped: &AtomicBool) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        check(stopped)?;
        match file.read(&mut block) {
            Ok(0) => return Ok(Digest(hasher.finalize().into())),
            Ok(read) => hasher.update(&block[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        compute::checkpoint();
    }
}

fn check(stopped: &AtomicBool) -> io::Result<()> {
    if stopped.load(Ordering::Relaxed) {
        return Err(io::Error::other("nobody waits for the result any more"));
    }
    Ok(())
}

/// Raises a flag when it is dropped: with the future that waits for the work.
///
/// Dropping a `JoinHandle` lets its job go on, so somebody has to tell the job. `JoinHandle::cancel`
/// would, at the job's next checkpoint, if it ran on one thread; but rayon takes the files of a tree
/// to whatever thread is free, and what runs there cannot be unwound as part of this job.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_digest_is_the_one_of_the_standard() {
        assert_eq!(of_bytes(b"abc").to_string(), OF_ABC);
    }

    #[test]
    fn blocks_make_no_difference() {
        let data = vec![7; 3 * BLOCK + 1];
        assert!(of_bytes(&data) == Digest(Sha256::digest(&data).into()));
    }
}
