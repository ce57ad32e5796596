//! Signals of the process, as something a task can await.
//!
//! [`stream`] takes one signal over, [`receiver`] several; [`ctrl_c`] waits for one Ctrl-C. What holds for all of them:
//!
//! - From the call on (not only from the first await) the signal does no longer what it did: a SIGTERM does not end the process any more.
//! - Any number of receivers may exist for one signal, in any runtime and on any thread. Each gets every signal.
//! - When the last receiver of a signal is dropped, what the signal did before is restored. A handler of another library that was there
//!   before is not called meanwhile; one that is installed meanwhile stays.
//! - Signals of one kind that come before they are taken count as one: the system itself does not count them either.
//! - A receiver that has waited in one runtime belongs to it: when that runtime is shut down, it gives an error.
//! - A signal that the system has not delivered yet when the last receiver is dropped does what it did before: take what you sent yourself first.
//! - No receiver keeps a runtime from ending, and none needs a thread. Child processes start with the default dispositions.
//!
//! A handler of the operating system may do next to nothing; here the code after the await is ordinary code.
//!
//! ```
//! use divisi::signal::{self, Signal};
//!
//! # divisi::run(async {
//! let hang_up = signal::stream(Signal::HUP)?;
//! # let this = rustix::process::getpid();
//! # rustix::process::kill_process(this, rustix::process::Signal::HUP)?;
//! let again = divisi::spawn(async move {
//!     hang_up.recv().await?;
//!     // .. read the configuration again ..
//!     Ok::<(), std::io::Error>(())
//! });
//! again.await.unwrap()
//! # }).unwrap();
//! ```

mod error;
mod number;
mod signals;

pub use error::SignalError;
pub use number::Signal;
pub use signals::{Signals, ctrl_c, receiver, stream};
