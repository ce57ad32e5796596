//! An async runtime: asyncio's whole programming model, on every core, with CPU-bound work that never makes I/O wait.
//!
//! ```
//! use std::time::Duration;
//!
//! #[divisi::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = divisi::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!
//!     // A task: runs concurrently, on any core.
//!     let server = divisi::spawn(async move {
//!         let (stream, _peer) = listener.accept().await?;
//!         let mut request = [0; 5];
//!         stream.read_exact(&mut request).await?;
//!         // CPU-bound work goes to the compute pool; this worker goes on with its I/O.
//!         let reply = divisi::offload(move || request.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
//!         stream.write_all(&reply).await
//!     });
//!
//!     let stream = divisi::net::TcpStream::connect(address).await?;
//!     stream.write_all(b"hello").await?;
//!     let mut reply = [0; 5];
//!     divisi::time::timeout(Duration::from_secs(5), stream.read_exact(&mut reply)).await??;
//!     assert_eq!(&reply, b"HELLO");
//!     server.await.unwrap()
//! }
//! ```
//!
//! # The parts
//!
//! | you want to | use |
//! |---|---|
//! | start | [`run`], [`main`], [`Runtime`], [`LocalRuntime`] |
//! | keep tasks together, and lose no error | [`task_group`], [`group`] |
//! | cancel what belongs together | [`scope`], [`time::timeout`], [`shield`] |
//! | do things concurrently | [`spawn`], [`join!`], [`try_join!`], [`select!`], [`future`], [`task`] |
//! | do many things of one kind | [`task::JoinSet`], [`join_all`], [`try_join_all`], [`stream`] |
//! | clean up, also when cancelled | [`finally`], [`with`], [`cleanup`] |
//! | wait for time | [`time`] |
//! | talk to others | [`net`], [`io`], [`protocol`] |
//! | call what waits | [`spawn_blocking`] |
//! | compute | [`offload`], [`compute`] |
//! | read and write files | [`fs`] |
//! | run other programs | [`process`] |
//! | react to signals | [`signal`] |
//! | wait for other tasks | [`sync`] |
//! | pass values between tasks | [`channel`], [`queue`], [`task::promise`] |
//! | try again, remember, slow down | [`wrap`] |
//! | pass a value to all that a task starts | [`mod@context_var`] |
//! | hold back | [`limit`] |
//! | see what goes on | [`debug`], [`Handle::tasks`], [`Handle::metrics`], [`runtime::Builder::exception_handler`], [spans and events](#tracing) |
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | gives |
//! |---|---|
//! | `codec` | `codec::Framed` and ready-made codecs on every stream |
//! | `criterion` | [`Runtime`] and [`LocalRuntime`] as executors of criterion's `Bencher::to_async` |
//! | `hyper` | hyper's I/O, executor and timer traits: hyper, axum and tonic without tokio's runtime |
//! | `portable` | the reactor of the `polling` crate alone, which is what systems other than Linux use anyway |
//! | `tls` | TLS by rustls, with ring's cryptography |
//! | `tokio-compat` | a runtime of tokio's beside divisi's, for libraries that insist on one |
//! | `tokio-io` | tokio's I/O traits on the streams: the traits alone, without its runtime |
//! | `tower` | layers for tower services: limits of rate and concurrency |
//! | `tracing` | [a span for each task, and reports as events](#tracing) |
//!
//! # Tracing
//!
//! With the feature `tracing`, divisi speaks to the subscriber of the [`tracing`](https://docs.rs/tracing) crate, under the target `divisi`:
//!
//! - Every task has a span `task` at the level info, entered while the task is polled and while its future is dropped, with the fields `task` (its number),
//!   `task_name`, `spawned_at` and `spawned_by` (the parent's number). It is a root that follows from the span it was spawned in; a future that is to stay
//!   inside that one takes it along by `tracing::Instrument::in_current_span`. The root future of `block_on` is no task and has no span.
//! - Whatever goes to the exception handler is an event as well, told before the handler is called: an error with the fields `task`, `task_name`, `spawned_at`,
//!   `awaited_at`, `error` and `backtrace`, as far as they are known, or a warning if nothing has failed (`warning` of [`runtime::Report`]). The default handler still prints;
//!   one that does nothing leaves reports to the subscriber alone.
//!
//! # Platforms
//!
//! Linux is tested. Other Unix systems go through the portable path of the `polling` crate and are not.

#![forbid(unsafe_code)]

mod context;
mod pool;

pub mod channel;
pub mod cleanup;
#[cfg(feature = "codec")]
pub mod codec;
pub mod compute;
pub mod context_var;
pub mod debug;
pub mod fs;
pub mod future;
pub mod group;
#[cfg(feature = "hyper")]
pub mod hyper;
pub mod io;
pub mod limit;
pub mod net;
pub mod process;
pub mod protocol;
pub mod queue;
pub mod runtime;
pub mod scope;
pub mod signal;
pub mod stream;
pub mod sync;
pub mod task;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "tower")]
pub mod tower;
pub mod wrap;

#[doc(hidden)]
pub mod __private;

pub use cleanup::{finally, with};
pub use compute::{offload, offload_scope, offload_to};
pub use context::EnterGuard;
pub use divisi_macros::{main, test};
pub use future::{join_all, try_join_all};
pub use group::task_group;
pub use io::prelude;
pub use pool::spawn_blocking;
pub use runtime::{
    BuildError, Clock, Handle, Interrupted, LocalRuntime, Runtime, Shutdown, ShutdownReport, run,
    run_interruptible,
};
pub use scope::{CancelScope, move_on_after, shield, timeout_scope};
pub use task::{JoinError, JoinHandle, spawn, spawn_local, spawn_reporting, yield_now};
