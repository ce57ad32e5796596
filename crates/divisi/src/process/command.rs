//! What to start, and how.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use super::child::Child;
use super::error::SpawnError;

/// A process to be started: [`std::process::Command`] with asynchronous ends. What has no method here can be set on
/// [`as_std_mut`](Self::as_std_mut).
///
/// ```
/// use divisi::process::Command;
///
/// # divisi::run(async {
/// let output = Command::new("sh").args(["-c", "echo $GREETING"]).env("GREETING", "hello").output().await?;
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Command {
    std: std::process::Command,
    stdin_chosen: bool,
    stdout_chosen: bool,
    stderr_chosen: bool,
    kill_on_drop: bool,
    kill_tree: bool,
    /// A child was started in a group of its own.
    leads_group: bool,
}

impl Command {
    /// A command for `program`, which is looked up in `PATH` if it has no slash.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command::from(std::process::Command::new(program))
    }

    /// A command for `/bin/sh`, which interprets `line`. Never build the line from somebody else's input.
    ///
    /// ```
    /// # divisi::run(async {
    /// let output = divisi::process::Command::shell("echo one two | wc -w").output().await?;
    /// assert_eq!(output.stdout.trim_ascii(), b"2");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn shell(line: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(line);
        command
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.std.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(key, value);
        self
    }

    /// Sets environment variables.
    pub fn envs(
        &mut self,
        vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Command {
        self.std.envs(vars);
        self
    }

    /// Takes an environment variable away.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Takes all environment variables away.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// The directory that the child starts in.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(directory);
        self
    }

    /// The child's standard input. Inherited if not given, except for [`output`](Self::output), where it is empty.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.std.stdin(stdio);
        self.stdin_chosen = true;
        self
    }

    /// The child's standard output. Inherited if not given, except for [`output`](Self::output), where it is a pipe.
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.std.stdout(stdio);
        self.stdout_chosen = true;
        self
    }

    /// The child's standard error. Inherited if not given, except for [`output`](Self::output), where it is a pipe.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.std.stderr(stdio);
        self.stderr_chosen = true;
        self
    }

    /// The user that the child runs as.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.std.uid(id);
        self
    }

    /// The group that the child runs as.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.std.gid(id);
        self
    }

    /// What the child sees as its own name, in place of the program.
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg0(arg);
        self
    }

    /// Whether the process is ended by SIGKILL when its [`Child`], or the future of [`output`](Self::output), [`output_with`](Self::output_with) or
    /// [`status`](Self::status), is dropped: by a cancelled task or a time-out, say. Not if not given.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Starts the child in a process group of its own, so that [`Child::kill_tree`] and [`kill_on_drop`](Self::kill_on_drop) end also what the child
    /// started, as far as it has not made a group of its own.
    ///
    /// Such a child gets no Ctrl-C from the terminal, and stays a zombie until the last handle is dropped: that keeps the number of the group. Once a child of this command
    /// was started so, the later ones are, too.
    pub fn kill_tree(&mut self, tree: bool) -> &mut Command {
        // std offers no way back.
        self.kill_tree = tree || self.leads_group;
        self
    }

    /// The command as std's.
    pub fn as_std(&self) -> &std::process::Command {
        &self.std
    }

    /// The command as std's, to set what has no method here. Standard streams that are set there, [`output`](Self::output) and
    /// [`output_with`](Self::output_with) do not know of.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// Starts the process. The call itself blocks for as long as the system takes, as std's does; it needs no runtime.
    ///
    /// # Errors
    ///
    /// A [`SpawnError`] inside of an [`io::Error`]: [`NotFound`](io::ErrorKind::NotFound) without such a program or directory,
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied), no more file descriptors or processes. Nothing is left behind then.
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        if self.kill_tree {
            self.std.process_group(0);
            self.leads_group = true;
        }
        match self.std.spawn() {
            Ok(child) => Child::new(child, self.kill_on_drop, self.kill_tree),
            Err(error) => Err(error),
        }
        .map_err(|error| SpawnError::new(&self.std, error).into())
    }

    /// Runs the process to its end. It starts with the call, not with the first poll.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child: see [`kill_on_drop`](Self::kill_on_drop).
    #[track_caller]
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        let child = self.spawn();
        async move { child?.wait().await }
    }

    /// Runs the process to its end and collects what it writes to its standard output and standard error. It starts with the call, not with the first poll.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait_with_output`]. A status that is no success is no error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child: see [`kill_on_drop`](Self::kill_on_drop).
    #[track_caller]
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + Send + use<> {
        let child = self.spawn_captured(Stdio::null());
        async move { child?.wait_with_output().await }
    }

    /// As [`output`](Self::output), with `input` as the standard input. Input and output of any size go through at the same time. A process that does not read
    /// all of its input is no error. What [`stdin`](Self::stdin) was set to is replaced, and inherited by later children of this command.
    ///
    /// # Errors
    ///
    /// As for [`output`](Self::output).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child: see [`kill_on_drop`](Self::kill_on_drop).
    #[track_caller]
    pub fn output_with<I: AsRef<[u8]> + Send>(
        &mut self,
        input: I,
    ) -> impl Future<Output = io::Result<Output>> + Send + use<I> {
        self.stdin_chosen = false;
        let child = self.spawn_captured(Stdio::piped());
        async move {
            let input = input;
            child?.communicate(input.as_ref()).await
        }
    }

    /// Spawns with `stdin` and pipes for what was not chosen, which is inherited again afterwards: the command may be used once more.
    #[track_caller]
    fn spawn_captured(&mut self, stdin: Stdio) -> io::Result<Child> {
        self.set_unchosen(stdin, Stdio::piped);
        let child = self.spawn();
        self.set_unchosen(Stdio::inherit(), Stdio::inherit);
        child
    }

    fn set_unchosen(&mut self, stdin: Stdio, output: fn() -> Stdio) {
        if !self.stdin_chosen {
            self.std.stdin(stdin);
        }
        if !self.stdout_chosen {
            self.std.stdout(output());
        }
        if !self.stderr_chosen {
            self.std.stderr(output());
        }
    }
}

/// A command of the standard library. The standard streams that were set on it, [`output`](Command::output) does not know of.
impl From<std::process::Command> for Command {
    fn from(std: std::process::Command) -> Command {
        Command {
            std,
            stdin_chosen: false,
            stdout_chosen: false,
            stderr_chosen: false,
            kill_on_drop: false,
            kill_tree: false,
            leads_group: false,
        }
    }
}
