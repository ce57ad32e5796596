//! The work-stealing scheduler of the [divisi](https://docs.rs/divisi) async runtime: who runs which task, where and when.
//!
//! ```text
//!             spawn / wake from a worker                 spawn / wake from elsewhere
//!                       │                                            │
//!                       ▼                                            ▼
//!   seat 0 ┌──────────┬────────────┐                         ┌──────────────┐
//!          │ run slot │ run queue  │◄──── batches ───────────┤   injector   │
//!          └────┬─────┴─────┬──────┘                         └──────┬───────┘
//!               │ owner     │ thieves                               │
//!   seat 1 ┌────┴─────┬─────┴──────┐                                │
//!          │ run slot │ run queue  │◄───────────────────────────────┘
//!          └────┬─────┴────────────┘
//!               ▼ nothing to run
//!          `Park::park`: the reactor of this seat
//! ```
//!
//! A [`Scheduler`] has a fixed number of *seats*. A seat is a run queue, a run slot, a driver ([`Park`]) and counters; a *worker*
//! is the thread that holds a seat at the moment. Background threads hold the seats by default; the thread that calls
//! [`Scheduler::block_on`] takes seat 0 while it is inside, so the number of running workers never grows.
//!
//! What the crate guarantees, and where that is argued:
//!
//! | guarantee | module |
//! |---|---|
//! | no wake-up is lost between a producer and a worker that goes to sleep | `idle` |
//! | nothing runnable and no driver stays unattended behind a worker that is stuck in one poll | `lookout`, `monitor` |
//! | no worker waits for a thread of lowered priority that was preempted while it woke a task | `shared`, `lowered` |
//! | an always-ready task cannot keep others from running, nor events from being seen | `worker` |
//! | a task that is woken while the scheduler stops is dropped, not leaked | `shared` |
//!
//! The crate knows no reactor, no timer and no thread pool: those are plugged in by the crate `divisi`, which is what applications depend on.

#![forbid(unsafe_code)]

mod census;
mod config;
mod context;
mod emptying;
mod idle;
mod lookout;
mod lowered;
mod metrics;
mod monitor;
mod park;
mod root;
mod scheduler;
mod seat;
mod settled;
mod shared;
mod slow_lane;
mod spare;
mod sync;
mod thread_state;
mod threads;
mod worker;

pub use census::{Jump, Quiet};
pub use config::{EnterSeat, LongPolls, ReportLongPoll, Setup, Spares};
pub use lowered::mark_lowered;
pub use metrics::{SchedulerMetrics, WorkerMetrics};
pub use park::Park;
pub use scheduler::{BlockOnError, Scheduler, Stopped, is_worker_thread};
pub use spare::{Stall, StallOutcome};
