//! Signals, as something a task can await.
//!
//! A signal handler may do next to nothing: no lock, no allocation. Writing a byte to a socket is
//! allowed, and the other end of a socket is what an async runtime waits for anyway.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use divisi::net::UnixStream;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// What a shell reports for a program that was ended by Ctrl-C: 128 and the signal's number.
const ENDED_BY_SIGINT: i32 = 128 + SIGINT;

/// The end of the socket that the handlers write to.
pub(crate) struct Signals(UnixStream);

/// Takes over SIGINT (Ctrl-C) and SIGTERM. The first one of them is a wish, the second ends the
/// process at once: nobody should need `kill -9` for a server that drains too long.
pub(crate) fn install() -> io::Result<Signals> {
    let (reader, writer) = StdUnixStream::pair()?;
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Actions run in the order of their registration, so the first signal finds the flag down.
        flag::register_conditional_shutdown(signal, ENDED_BY_SIGINT, asked.clone())?;
        flag::register(signal, asked.clone())?;
        low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(Signals(UnixStream::from_std(reader)?))
}

impl Signals {
    /// Waits for the first signal.
    pub(crate) async fn received(&self) -> io::Result<()> {
        self.0.read(&mut [0]).await?;
        Ok(())
    }
}
