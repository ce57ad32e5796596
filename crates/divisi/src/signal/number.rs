//! Signals by name and by number.

use std::fmt;

use rustix::process::Signal as Named;

/// A signal of the operating system.
///
/// ```
/// use divisi::signal::Signal;
///
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// assert_eq!(Signal::from_raw(Signal::TERM.as_raw()), Some(Signal::TERM));
/// assert_eq!(Signal::from_raw(0), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// Signal numbers are 1 to 64; few systems use all of them.
const HIGHEST: i32 = 64;

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $named:ident, $text:literal;)*) => {
        impl Signal {
            $($(#[$doc])* pub const $name: Signal = Signal(Named::$named.as_raw());)*

            /// The name, such as `SIGTERM`, of those that have one here.
            pub const fn name(self) -> Option<&'static str> {
                $(if self.0 == Signal::$name.0 {
                    return Some($text);
                })*
                None
            }
        }
    };
}

signals! {
    /// The terminal is gone; by custom also: read the configuration again.
    HUP = HUP, "SIGHUP";
    /// Ctrl-C.
    INT = INT, "SIGINT";
    /// Ctrl-\\.
    QUIT = QUIT, "SIGQUIT";
    /// A request to end: what `kill`, systemd and container runtimes send first.
    TERM = TERM, "SIGTERM";
    /// Ends a process at once. Can be sent, not received.
    KILL = KILL, "SIGKILL";
    /// Stops a process until [`CONT`](Self::CONT). Can be sent, not received.
    STOP = STOP, "SIGSTOP";
    /// Free for any use.
    USR1 = USR1, "SIGUSR1";
    /// Free for any use.
    USR2 = USR2, "SIGUSR2";
    /// A timer of `alarm` or `setitimer` is due.
    ALRM = ALARM, "SIGALRM";
    /// A child process has ended, stopped or continued.
    CHLD = CHILD, "SIGCHLD";
    /// The process goes on after it was stopped.
    CONT = CONT, "SIGCONT";
    /// Ctrl-Z.
    TSTP = TSTP, "SIGTSTP";
    /// A background process reads from its terminal.
    TTIN = TTIN, "SIGTTIN";
    /// A background process writes to its terminal.
    TTOU = TTOU, "SIGTTOU";
    /// A write to a pipe that nobody reads. Rust programs ignore it and get the error instead.
    PIPE = PIPE, "SIGPIPE";
    /// The window of the terminal has another size.
    WINCH = WINCH, "SIGWINCH";
    /// Input or output is possible.
    IO = IO, "SIGIO";
    /// `abort` was called.
    ABRT = ABORT, "SIGABRT";
    /// An invalid instruction.
    ILL = ILL, "SIGILL";
    /// An arithmetic fault.
    FPE = FPE, "SIGFPE";
    /// An access to memory that is not there.
    SEGV = SEGV, "SIGSEGV";
    /// An access to memory that cannot be done.
    BUS = BUS, "SIGBUS";
}

impl Signal {
    /// The signal with that number, if it is between 1 and 64. Whether this system has it is found when it is used.
    pub const fn from_raw(number: i32) -> Option<Signal> {
        if 0 < number && number <= HIGHEST {
            Some(Signal(number))
        } else {
            None
        }
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
