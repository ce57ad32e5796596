//! The command line.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const USAGE: &str = "\
Serves the files of a directory and their SHA-256 digests over HTTP/1.1.

Usage: compute_server [OPTIONS] [DIRECTORY]

  DIRECTORY            what to serve [default: the current directory]
  --listen ADDR:PORT   where to listen; port 0 takes any free one
                       [default: 127.0.0.1:8080, with --demo 127.0.0.1:0]
  --timeout SECONDS    time for a request until its answer begins [default: 30]
  --grace SECONDS      time for requests in flight after Ctrl-C [default: 10]
  --demo               measure /health while all cores compute digests, print a
                       table and end; takes about 20 seconds
  -h, --help           print this

Paths:
  GET /files/PATH      the file
  GET /sha256/PATH     the digest of the file, or of every file below the
                       directory, in the format of sha256sum
  GET /health          \"ok\", at once
  GET /metrics         counters of the runtime for Prometheus
";

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// The demo needs no port that anybody knows, so it cannot collide with anything.
const DEMO_LISTEN: &str = "127.0.0.1:0";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// What the command line asks for.
pub(crate) enum Action {
    Help,
    Serve(Args),
    Demo(Args),
}

pub(crate) struct Args {
    pub(crate) directory: PathBuf,
    pub(crate) listen: String,
    /// Until the answer begins.
    pub(crate) limit: Duration,
    pub(crate) grace: Duration,
}

/// A command line that cannot be followed.
#[derive(Debug)]
pub(crate) enum ArgsError {
    Syntax(lexopt::Error),
    Seconds { option: &'static str, value: String },
    Directory { path: PathBuf, error: io::Error },
    NotADirectory(PathBuf),
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgsError::Syntax(error) => error.fmt(f),
            ArgsError::Seconds { option, value } => {
                write!(
                    f,
                    "{option} wants a number of seconds such as 2.5, not {value:?}"
                )
            }
            ArgsError::Directory { path, error } => {
                write!(f, "cannot serve {}: {error}", path.display())
            }
            ArgsError::NotADirectory(path) => {
                write!(f, "cannot serve {}: it is not a directory", path.display())
            }
        }
    }
}

impl From<lexopt::Error> for ArgsError {
    fn from(error: lexopt::Error) -> ArgsError {
        ArgsError::Syntax(error)
    }
}

pub(crate) fn parse() -> Result<Action, ArgsError> {
    let mut directory = None;
    let mut listen = None;
    let mut limit = DEFAULT_TIMEOUT;
    let mut grace = DEFAULT_GRACE;
    let mut demo = false;

    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Action::Help),
            Long("listen") => listen = Some(parser.value()?.string()?),
            Long("timeout") => limit = seconds("--timeout", &parser.value()?.string()?)?,
            Long("grace") => grace = seconds("--grace", &parser.value()?.string()?)?,
            Long("demo") => demo = true,
            Value(path) if directory.is_none() => directory = Some(PathBuf::from(path)),
            _ => return Err(argument.unexpected().into()),
        }
    }

    let directory = directory.unwrap_or_else(|| PathBuf::from("."));
    match directory.metadata() {
        Err(error) => {
            return Err(ArgsError::Directory {
                path: directory,
                error,
            });
        }
        Ok(metadata) if !metadata.is_dir() => return Err(ArgsError::NotADirectory(directory)),
        Ok(_) => {}
    }
    let default_listen = if demo { DEMO_LISTEN } else { DEFAULT_LISTEN };
    let args = Args {
        directory,
        listen: listen.unwrap_or_else(|| default_listen.to_owned()),
        limit,
        grace,
    };
    Ok(if demo {
        Action::Demo(args)
    } else {
        Action::Serve(args)
    })
}

fn seconds(option: &'static str, value: &str) -> Result<Duration, ArgsError> {
    let parsed = value.parse().ok().map(Duration::try_from_secs_f64);
    match parsed {
        Some(Ok(duration)) => Ok(duration),
        _ => Err(ArgsError::Seconds {
            option,
            value: value.to_owned(),
        }),
    }
}
