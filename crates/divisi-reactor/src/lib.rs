//! The reactor of the divisi async runtime: readiness of file descriptors, timers, the clock.
//!
//! It is the only part of divisi that talks to the operating system's poller. It knows no tasks and
//! no scheduler, only std's [`Waker`](std::task::Waker), so any executor can use it: each worker
//! thread has one [`Reactor`] and sleeps in it.
//!
//! ```text
//!   Source<T> ── IoState ──┐                       ┌── sys::Driver (epoll, or `polling`)
//!   (readiness, waiters)   ├── Reactor::turn ──────┤
//!   Timer ── timers, wheel ┘        │              └── sleep: who sleeps, who rings
//!                                   └── wakes tasks, outside every lock
//! ```
//!
//! | file | concept |
//! |---|---|
//! | `reactor`, `turn` | the reactor and one turn of it |
//! | `sleep` | notification without lost wake-ups |
//! | `source`, `io_future` | I/O objects that can wait |
//! | `io_state`, `readiness`, `waiters` | what is known about a source, who waits, where it is registered |
//! | `sources` | finding a source by the token of an event |
//! | `timer`, `timers`, `wheel` | deadlines |
//! | `released` | timers dropped by threads that must not wait for a lock |
//! | `clock` | real and virtual time |
//! | `sys` | the operating system |
//! | `uninit_read` | reading into hyper's and tokio's buffers (features `hyper`, `tokio-io`); here because it needs `unsafe` |
//! | `tokio_context` | tokio's context of a thread (feature `tokio-compat`); here because it needs `unsafe` |
//!
//! The feature `portable` uses `polling`'s own API on Linux as well, as other systems do.
//!
//! ```
//! use divisi_reactor::{Clock, Reactor, Scratch, Timer, Wait};
//! use std::task::{Context, Poll, Waker};
//! use std::time::Duration;
//!
//! let reactor = Reactor::new(Clock::real())?;
//! let mut scratch = Scratch::new(1024);
//! let mut timer = Timer::after(reactor.clock(), Duration::from_millis(1));
//! let mut cx = Context::from_waker(Waker::noop());
//! while timer.poll_expired(&mut cx, || Ok(reactor.clone())).is_pending() {
//!     reactor.turn(&mut scratch, Wait::Until(None))?;
//! }
//! # std::io::Result::Ok(())
//! ```

#[cfg(not(unix))]
compile_error!("divisi-reactor needs a Unix system: sources are file descriptors");

mod clock;
mod direction;
mod error;
mod io_future;
mod io_state;
mod loom;
mod reactor;
mod readiness;
mod released;
mod sleep;
mod source;
mod sources;
mod sys;
mod timer;
mod timers;
#[cfg(feature = "tokio-compat")]
mod tokio_context;
mod turn;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
mod uninit_read;
mod waiters;
mod wheel;

pub use clock::{Clock, NotVirtual};
pub use direction::{Direction, Progress};
pub use error::ReactorError;
pub use io_future::{IoFuture, ReadyFuture};
pub use reactor::{OutsideSleep, Reactor, ReactorId, ReactorMetrics};
pub use source::Source;
pub use sys::TimerSlack;
#[doc(hidden)]
pub use sys::inherited;
#[doc(hidden)]
pub use sys::priority as thread_priority;
#[doc(hidden)]
pub use sys::signals;
pub use timer::Timer;
#[cfg(feature = "tokio-compat")]
#[doc(hidden)]
pub use tokio_context::TokioContext;
pub use turn::{Scratch, Turn, Wait};
#[cfg(feature = "hyper")]
#[doc(hidden)]
pub use uninit_read::read_to_hyper;
#[cfg(feature = "tokio-io")]
#[doc(hidden)]
pub use uninit_read::read_to_tokio;
