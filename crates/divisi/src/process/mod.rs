//! Child processes.
//!
//! [`Command`] is std's with asynchronous ends: [`output`](Command::output), [`output_with`](Command::output_with) for a command that also gets input,
//! [`status`](Command::status), or [`spawn`](Command::spawn) for a [`Child`] whose standard streams are [pipes](crate::io::PipeReader).
//!
//! - *No zombies.* A child that has ended is collected, whatever happens to the futures and handles: by whoever waits, or, when the last handle is
//!   dropped, by a thread of divisi's that lives as long as there is something to collect.
//! - *No stranger is signalled.* The number of a process is used only while the process is not collected, so it cannot belong to another.
//! - *Any number of tasks may wait* for one child, through [`Child::handle`]; all get the same status.
//! - *Dropping kills only if asked to*: [`kill_on_drop`](Command::kill_on_drop), and with [`kill_tree`](Command::kill_tree) the child's own children too.
//!
//! On Linux 5.3 and later the end of a child is an event of its process descriptor (pidfd). Where there is none, elsewhere or in a sandbox, a small
//! thread waits for each child; nothing else differs. No handler for SIGCHLD is installed. A program that ignores SIGCHLD, or collects all children by
//! `wait`, takes the statuses away: waiting then gives [`StatusLost`].
//!
//! ```
//! use divisi::process::Command;
//!
//! # divisi::run(async {
//! let output = Command::new("sort").output_with("b\na\n").await?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"a\nb\n");
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

mod child;
mod command;
mod error;
mod exit;
mod handle;
mod reaper;
mod stdio;

pub use child::Child;
pub use command::Command;
pub use error::{SpawnError, StatusLost};
pub use handle::ProcessHandle;
pub use std::process::{ExitStatus, Output, Stdio};
pub use stdio::{ChildStderr, ChildStdin, ChildStdout};
