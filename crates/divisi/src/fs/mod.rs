//! Files and directories.
//!
//! The operating system has no waiting for files: a read from a slow disk blocks its thread. So every function here runs on the blocking pool, and awaiting it
//! costs a trip there and back. Few trips are the art: [`read`], [`read_to_string`] and [`write()`] make one for a whole file, [`File`] reads ahead and writes
//! behind in blocks that grow, [`read_dir`] takes many entries at a time.
//!
//! # Errors
//!
//! Those of the operating system, as an [`io::Error`](std::io::Error) of its kind with a [`PathError`] inside that names the operation and the path. Where there is no runtime, or it
//! was shut down, an error says so; nothing here panics.
//!
//! # Cancel safety
//!
//! A system call that has begun cannot be interrupted. Dropping the future of a function lets it finish in the background if it has begun, and otherwise it
//! may never happen: a file may be there or not. For [`File`] see there.
//!
//! ```
//! use divisi::fs;
//!
//! # divisi::run(async {
//! # let folder = std::env::temp_dir().join(format!("divisi-doc-fs-{}", std::process::id()));
//! fs::create_dir_all(&folder).await?;
//! let path = folder.join("greeting");
//! fs::write(&path, "hello").await?;
//! assert_eq!(fs::read_to_string(&path).await?, "hello");
//! fs::remove_dir_all(&folder).await?;
//!
//! let error = fs::read(&path).await.unwrap_err();
//! assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
//! assert!(error.to_string().contains("greeting"));
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

mod error;
mod file;
mod functions;
mod open_options;
mod read_dir;

pub use error::PathError;
pub use file::File;
pub use functions::{
    canonicalize, copy, create_dir, create_dir_all, hard_link, metadata, read, read_link,
    read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions, symlink,
    symlink_metadata, try_exists, write,
};
pub use open_options::OpenOptions;
pub use read_dir::{DirEntry, ReadDir, read_dir};
#[doc(no_inline)]
pub use std::fs::{FileType, Metadata, Permissions};
