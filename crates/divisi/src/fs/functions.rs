//! The functions of [`std::fs`], one trip to the blocking pool each.

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use super::error::PathError;
use crate::pool;

/// Does `f` with the path in the blocking pool.
pub(super) async fn with_path<T: Send + 'static>(
    operation: &'static str,
    path: PathBuf,
    f: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let job =
        pool::start_io(move || f(&path).map_err(|error| PathError::wrap(operation, &path, error)))?;
    pool::io_outcome(job.await)?
}

macro_rules! of_a_path {
    ($($(#[$doc:meta])* $name:ident -> $result:ty, $operation:literal;)*) => {
        $(
            $(#[$doc])*
            pub async fn $name(path: impl AsRef<Path>) -> io::Result<$result> {
                with_path($operation, path.as_ref().to_owned(), |path| std::fs::$name(path)).await
            }
        )*
    };
}

of_a_path! {
    /// The contents of a file. See [`std::fs::read`].
    read -> Vec<u8>, "read";
    /// The contents of a file as text; [`InvalidData`](io::ErrorKind::InvalidData) if it is not UTF-8. See [`std::fs::read_to_string`].
    read_to_string -> String, "read";
    /// What is known about a file, a link's target if it is a link. See [`std::fs::metadata`].
    metadata -> Metadata, "look at";
    /// What is known about a file, or about the link itself if it is one. See [`std::fs::symlink_metadata`].
    symlink_metadata -> Metadata, "look at";
    /// The absolute path, without links. See [`std::fs::canonicalize`].
    canonicalize -> PathBuf, "find";
    /// Where a symbolic link leads. See [`std::fs::read_link`].
    read_link -> PathBuf, "read the link";
    /// Creates a directory; its parent must exist. See [`std::fs::create_dir`].
    create_dir -> (), "create the directory";
    /// Creates a directory and all parents that are missing. See [`std::fs::create_dir_all`].
    create_dir_all -> (), "create the directory";
    /// Removes a file. See [`std::fs::remove_file`].
    remove_file -> (), "remove";
    /// Removes an empty directory. See [`std::fs::remove_dir`].
    remove_dir -> (), "remove the directory";
    /// Removes a directory with all that is in it. Does not follow links. See [`std::fs::remove_dir_all`].
    remove_dir_all -> (), "remove the directory";
}

/// Makes `contents` the contents of a file, which is created or overwritten. See [`std::fs::write`].
pub async fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let contents = contents.as_ref().to_vec();
    with_path("write", path.as_ref().to_owned(), |path| {
        std::fs::write(path, contents)
    })
    .await
}

/// Whether there is something at the path; an error if that cannot be told. See [`std::fs::exists`].
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    with_path("look for", path.as_ref().to_owned(), Path::try_exists).await
}

/// Sets the permissions of a file. See [`std::fs::set_permissions`].
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    with_path("set the permissions of", path.as_ref().to_owned(), |path| {
        std::fs::set_permissions(path, permissions)
    })
    .await
}

macro_rules! of_two_paths {
    ($($(#[$doc:meta])* $name:ident -> $result:ty, $operation:literal, $f:path;)*) => {
        $(
            $(#[$doc])*
            pub async fn $name(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<$result> {
                let to = to.as_ref().to_owned();
                with_path($operation, from.as_ref().to_owned(), move |from| {
                    $f(from, &to).map_err(|error| PathError::wrap("make", &to, error))
                })
                .await
            }
        )*
    };
}

of_two_paths! {
    /// Gives a file another name, and replaces what has that name. See [`std::fs::rename`].
    rename -> (), "rename", std::fs::rename;
    /// Copies contents and permissions of a file; returns the length. See [`std::fs::copy`].
    copy -> u64, "copy", std::fs::copy;
    /// Gives a file a second name. See [`std::fs::hard_link`].
    hard_link -> (), "link", std::fs::hard_link;
    /// Makes a symbolic link at the second path that leads to the first. See [`std::os::unix::fs::symlink`].
    symlink -> (), "link to", std::os::unix::fs::symlink;
}
