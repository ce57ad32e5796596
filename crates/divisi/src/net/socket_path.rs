//! The files of Unix sockets.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::Domain;

use super::sys;

/// The file of a listening Unix socket, which goes with it: dropping this removes the file, if it is still the one that was made.
///
/// The file of another server that has taken the path over is left alone. See [`UnixListener::bind_owned`](super::UnixListener::bind_owned).
#[derive(Debug)]
#[must_use = "dropping it removes the file"]
pub struct SocketPath {
    /// `None` for a name without a file, or one that is to be kept.
    file: Option<Identity>,
    path: PathBuf,
}

/// Which file it is, whatever the path leads to by now.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Identity> {
        let file = std::fs::symlink_metadata(path)?;
        Ok(Identity {
            device: file.dev(),
            inode: file.ino(),
        })
    }
}

impl SocketPath {
    /// The file that was just made at `path`.
    pub(super) fn of_new(path: &Path) -> io::Result<SocketPath> {
        let file = if is_abstract(path) {
            None
        } else {
            Some(Identity::of(path)?)
        };
        Ok(SocketPath {
            file,
            path: path.to_owned(),
        })
    }

    /// The path, or the abstract name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file where it is.
    pub fn keep(mut self) {
        self.file = None;
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let Some(ours) = self.file.take() else { return };
        // Whoever replaces the file between these two calls loses it: the system offers no removal by identity.
        if Identity::of(&self.path).is_ok_and(|there| there == ours) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().first() == Some(&0)
}

/// Removes a socket that a server has left behind: one that nobody answers at.
///
/// # Errors
///
/// [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody does, or if it is no socket.
pub(super) fn remove_stale(path: &Path) -> io::Result<()> {
    if is_abstract(path) {
        return Ok(());
    }
    let in_use = |what: &str| {
        let message = format!("cannot listen at {}: {what}", path.display());
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return in_use("there is a file that is no socket; remove it or choose another path");
        }
        Ok(_) => {}
    }
    // Without waiting: a server whose queue is full lives.
    let socket = sys::stream_socket(Domain::UNIX)?;
    match sys::start_connect(socket, &sys::unix_address(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => in_use("another server listens there"),
    }
}
