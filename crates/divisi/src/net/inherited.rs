//! Sockets that a service manager opened before it started this process.

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{OwnedFd, RawFd};

use divisi_reactor::inherited::{self, Refused};
use socket2::{Domain, Socket, Type};

use super::{TcpListener, UnixListener};

/// The first descriptor that is passed, after the three standard streams (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// What a descriptor is called that got no name, as in `sd_listen_fds_with_names`.
const NO_NAME: &str = "unknown";

const DESCRIPTORS: &str = "LISTEN_FDS";
const PROCESS: &str = "LISTEN_PID";
const NAMES: &str = "LISTEN_FDNAMES";

/// The sockets that a service manager passed to this process: systemd's socket activation, and whatever else speaks its protocol (`LISTEN_FDS`, `LISTEN_PID`,
/// `LISTEN_FDNAMES`; see *sd_listen_fds*(3)).
///
/// The manager keeps its own copies, so peers wait in the system's queue while the service restarts.
///
/// ```
/// use divisi::net::{Inherited, Server};
///
/// # divisi::run(async {
/// let mut inherited = Inherited::take()?;
/// let listeners = inherited.tcp(None);
/// let bound = if listeners.is_empty() {
///     Server::builder().bind("127.0.0.1:0").await? // Started by hand.
/// } else {
///     Server::builder().from_listeners(listeners)?
/// };
/// # drop(bound);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// What is not asked for is closed when this is dropped.
///
/// The variables stay in the environment, since no thread may change it while another reads it. A child process sees them and takes nothing, for `LISTEN_PID` is not its
/// own number, and the sockets are closed on `exec`; give it
/// [`env_remove`](crate::process::Command::env_remove) if it should not see them either.
#[derive(Debug)]
pub struct Inherited {
    sockets: Vec<(String, Passed)>,
}

#[derive(Debug)]
enum Passed {
    Tcp(TcpListener),
    Unix(UnixListener),
    Other(OwnedFd),
}

impl Inherited {
    /// Takes the sockets over. There are none if the variables are missing or meant for another process.
    ///
    /// # Errors
    ///
    /// An [`InheritError`], which says what the service manager did wrong, or that they were taken before.
    pub fn take() -> Result<Inherited, InheritError> {
        let plan = Plan::read(|variable| env::var_os(variable), std::process::id())?;
        let mut names = VecDeque::from(plan.names);
        let mut sockets = Vec::new();
        for (descriptor, fd) in plan
            .descriptors
            .clone()
            .zip(inherited::take(plan.descriptors)?)
        {
            let name = names.pop_front().unwrap_or_else(|| NO_NAME.to_owned());
            let passed =
                Passed::of(fd).map_err(|source| InheritError::System { descriptor, source })?;
            sockets.push((name, passed));
        }
        Ok(Inherited { sockets })
    }

    /// Takes out the TCP listeners of this name (`FileDescriptorName=` of the socket unit), or all.
    pub fn tcp(&mut self, name: Option<&str>) -> Vec<TcpListener> {
        self.take_out(name, |passed| match passed {
            Passed::Tcp(listener) => Ok(listener),
            other => Err(other),
        })
    }

    /// Takes out the Unix listeners of this name, or all.
    pub fn unix(&mut self, name: Option<&str>) -> Vec<UnixListener> {
        self.take_out(name, |passed| match passed {
            Passed::Unix(listener) => Ok(listener),
            other => Err(other),
        })
    }

    /// Takes out the descriptors of this name, or all, that are no stream sockets which listen: sockets for datagrams, connections, FIFOs.
    pub fn other(&mut self, name: Option<&str>) -> Vec<OwnedFd> {
        self.take_out(name, |passed| match passed {
            Passed::Other(descriptor) => Ok(descriptor),
            other => Err(other),
        })
    }

    /// The names of what is left, in the order of the descriptors; `unknown` is what got no name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sockets.iter().map(|(name, _)| &**name)
    }

    fn take_out<T>(
        &mut self,
        wanted: Option<&str>,
        as_kind: impl Fn(Passed) -> Result<T, Passed>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for (name, passed) in std::mem::take(&mut self.sockets) {
            let kept = if wanted.is_none_or(|wanted| wanted == name) {
                as_kind(passed).map(|one| found.push(one)).err()
            } else {
                Some(passed)
            };
            self.sockets.extend(kept.map(|passed| (name, passed)));
        }
        found
    }
}

impl Passed {
    fn of(descriptor: OwnedFd) -> io::Result<Passed> {
        let socket = Socket::from(descriptor);
        // What is no socket has neither address nor type.
        let domain = socket.local_addr().map(|address| address.domain());
        let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
        match domain {
            Ok(Domain::IPV4 | Domain::IPV6) if is_stream && listens(&socket) => {
                TcpListener::from_std(socket.into()).map(Passed::Tcp)
            }
            Ok(Domain::UNIX) if is_stream && listens(&socket) => {
                UnixListener::from_std(socket.into()).map(Passed::Unix)
            }
            _ => Ok(Passed::Other(socket.into())),
        }
    }
}

#[cfg(not(target_vendor = "apple"))]
fn listens(socket: &Socket) -> bool {
    rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false)
}

/// Apple's systems do not tell. A stream socket that is passed has a peer or listens.
#[cfg(target_vendor = "apple")]
fn listens(socket: &Socket) -> bool {
    socket.peer_addr().is_err()
}

/// What the environment says.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    descriptors: Range<RawFd>,
    /// One each, or none at all.
    names: Vec<String>,
}

impl Plan {
    fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        own_id: u32,
    ) -> Result<Plan, InheritError> {
        let nothing = Plan {
            descriptors: FIRST..FIRST,
            names: Vec::new(),
        };
        let (Some(count), Some(process)) = (variable(DESCRIPTORS), variable(PROCESS)) else {
            return Ok(nothing);
        };
        if number(&process).ok_or_else(|| malformed(PROCESS, &process))? != own_id {
            return Ok(nothing);
        }
        let end = number(&count)
            .and_then(|count| FIRST.checked_add(RawFd::try_from(count).ok()?))
            .ok_or_else(|| malformed(DESCRIPTORS, &count))?;
        let descriptors = FIRST..end;
        let names: Vec<String> = match variable(NAMES) {
            Some(names) => {
                let text = names.to_str().ok_or_else(|| malformed(NAMES, &names))?;
                text.split(':').map(str::to_owned).collect()
            }
            None => Vec::new(),
        };
        // An empty text is no name, not one that is empty: a manager without descriptors has none to name.
        let names = if names == [""] { Vec::new() } else { names };
        if !names.is_empty() && names.len() != descriptors.len() {
            return Err(InheritError::Names {
                names: names.len(),
                descriptors: descriptors.len(),
            });
        }
        Ok(Plan { descriptors, names })
    }
}

/// Digits only: std's parser takes a sign as well.
fn number(text: &OsStr) -> Option<u32> {
    let text = text.to_str()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    text.parse().ok()
}

fn malformed(variable: &'static str, value: &OsStr) -> InheritError {
    InheritError::Malformed {
        variable,
        value: value.to_owned(),
    }
}

/// What a service manager passed cannot be taken over.
#[derive(Debug)]
#[non_exhaustive]
pub enum InheritError {
    /// A variable is not what the protocol says.
    Malformed {
        /// The variable's name.
        variable: &'static str,
        /// What it is.
        value: OsString,
    },
    /// `LISTEN_FDNAMES` has another number of names than there are descriptors.
    Names {
        /// How many names there are.
        names: usize,
        /// How many descriptors are announced.
        descriptors: usize,
    },
    /// A descriptor that is announced is not open.
    NotOpen {
        /// Its number.
        descriptor: RawFd,
    },
    /// A descriptor that is announced was taken before, by [`Inherited::take`] or by another library, or this process opened it itself.
    Taken {
        /// Its number.
        descriptor: RawFd,
    },
    /// The operating system refused something.
    System {
        /// The number of the descriptor.
        descriptor: RawFd,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InheritError::Malformed { variable, value } => write!(
                f,
                "{variable} is {value:?}, which is not what systemd would set: look at what starts this process"
            ),
            InheritError::Names { names, descriptors } => write!(
                f,
                "{NAMES} has {names} names for {descriptors} descriptors: it needs one for each, with colons between"
            ),
            InheritError::NotOpen { descriptor } => write!(
                f,
                "{DESCRIPTORS} announces descriptor {descriptor}, which is not open: what started this process must not close it"
            ),
            InheritError::Taken { descriptor } => write!(
                f,
                "descriptor {descriptor} belongs to somebody in this process: call `Inherited::take` once, before any other library takes it"
            ),
            InheritError::System { descriptor, source } => {
                write!(f, "descriptor {descriptor} cannot be used: {source}")
            }
        }
    }
}

impl Error for InheritError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            InheritError::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Refused> for InheritError {
    fn from(refused: Refused) -> InheritError {
        match refused {
            Refused::NotOpen(descriptor) => InheritError::NotOpen { descriptor },
            Refused::Owned(descriptor) => InheritError::Taken { descriptor },
            Refused::System(descriptor, source) => InheritError::System { descriptor, source },
        }
    }
}

impl From<InheritError> for io::Error {
    fn from(error: InheritError) -> io::Error {
        let kind = match &error {
            InheritError::System { source, .. } => source.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 42;

    fn read(
        descriptors: Option<&str>,
        process: Option<&str>,
        names: Option<&str>,
    ) -> Result<Plan, InheritError> {
        let value = |variable: &str| match variable {
            DESCRIPTORS => descriptors.map(OsString::from),
            PROCESS => process.map(OsString::from),
            _ => names.map(OsString::from),
        };
        Plan::read(value, OWN)
    }

    #[test]
    fn each_descriptor_has_its_name() {
        let plan = read(Some("2"), Some("42"), Some("web:admin")).unwrap();
        assert_eq!(plan.descriptors, 3..5);
        assert_eq!(plan.names, ["web", "admin"]);
    }

    #[test]
    fn names_may_be_missing_altogether() {
        for names in [None, Some("")] {
            let plan = read(Some("2"), Some("42"), names).unwrap();
            assert_eq!((plan.descriptors, plan.names.len()), (3..5, 0));
        }
    }

    #[test]
    fn what_is_missing_or_meant_for_another_process_passes_nothing() {
        for (descriptors, process) in [
            (None, Some("42")),
            (Some("1"), None),
            (Some("1"), Some("41")),
            (Some("0"), Some("42")),
            // Of another process nothing else is read.
            (Some("many"), Some("41")),
        ] {
            assert!(
                read(descriptors, process, None)
                    .unwrap()
                    .descriptors
                    .is_empty()
            );
        }
    }

    #[test]
    fn nonsense_is_refused_by_the_name_of_its_variable() {
        for (descriptors, process, wrong) in [
            ("many", "42", DESCRIPTORS),
            ("-1", "42", DESCRIPTORS),
            ("+1", "42", DESCRIPTORS),
            ("", "42", DESCRIPTORS),
            ("2147483645", "42", DESCRIPTORS),
            ("99999999999", "42", DESCRIPTORS),
            ("1", "", PROCESS),
            ("1", "4 2", PROCESS),
        ] {
            let error = read(Some(descriptors), Some(process), None).unwrap_err();
            assert!(
                matches!(error, InheritError::Malformed { variable, .. } if variable == wrong),
                "{error}"
            );
        }
        let error = read(Some("2"), Some("42"), Some("one")).unwrap_err();
        assert!(
            matches!(
                error,
                InheritError::Names {
                    names: 1,
                    descriptors: 2
                }
            ),
            "{error}"
        );
    }
}
